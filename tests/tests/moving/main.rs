//! Must be shown, issue 4 (1) and (2): sessions are moved away from backends that drain, and to those that have too few.
//! Their clients notice nothing, and no message is lost, read twice or answered twice.

mod drain;
mod rebalance;
mod rolling;
mod verdict;

use tideover_tests::{Backend, Kind, Proxy, Replaced};

/// Backends of a kind.
fn backends<const N: usize>(kind: Kind) -> [Backend; N] {
    std::array::from_fn(|_| Backend::start(kind))
}

/// A configuration file with these settings, and these backends.
fn text<'a>(settings: &str, backends: impl IntoIterator<Item = &'a Backend>) -> String {
    let urls: Vec<_> = backends.into_iter().map(|backend| format!("'ws://{}'", backend.address())).collect();
    format!("backend = [{}]\n{settings}\n", urls.join(", "))
}

/// A proxy that follows this file.
fn serve(file: &Replaced) -> Proxy {
    Proxy::before([], &["--config", &file.text()])
}
