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

# Licences, advisories and sources of the dependencies (installs cargo-deny below target/)
deny:
    .ci/run deny

# See it survive killed backends
demo *ARGS:
    cargo run --release -- demo {{ARGS}}
