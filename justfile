# The recipes are CI's steps: `.ci/run` is the one place that says how each is done.

# All that has to hold before a change is merged
ci:
    .ci/run

# Formatting, without changing a file
fmt:
    .ci/run fmt

# Lints, warnings as errors
clippy:
    .ci/run clippy

# The engine and the ring depend on nothing that does I/O
purity:
    .ci/run purity

# Rustdoc, warnings as errors
doc:
    .ci/run doc

# All tests, the end-to-end ones included
test:
    .ci/run test

# Licences and sources of the dependencies (installs cargo-deny below target/)
deny:
    .ci/run deny

# Known vulnerabilities of the dependencies (reaches the advisory database)
advisories:
    .ci/run advisories

# See it survive killed backends
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Tideover beside HAProxy and nginx, under the same load; `just bench --help` says how
bench *ARGS:
    benches/setup
    cargo run --release -p tideover-benches --bin relay -- {{ARGS}}

# The engine's instructions against benches/baseline.txt (needs valgrind)
instructions *ARGS:
    cargo run --release -p tideover-benches --bin instructions -- {{ARGS}}

# Times of the scan, the ring, a turn and a failover
micro *ARGS:
    cargo bench -p tideover-benches -- {{ARGS}}

# Mixed load with kills for long: memory, descriptors and accounts, and nothing lost (docs/soak.md)
soak *ARGS:
    cargo run --release -p tideover-tests --bin soak -- {{ARGS}}

# How long honest sessions wait beside each attack (docs/attacks.md)
attacks *ARGS:
    cargo run --release -p tideover-tests --bin attacks -- {{ARGS}}
