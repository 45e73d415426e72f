//! Runs all of Autobahn's cases directly and through the proxy, on either leg, and writes `docs/conformance.md`. Takes a
//! minute, and half an hour more for those of compression. Fails if the proxy is worse than no proxy in any case.

use std::{fs, path::Path, process::ExitCode};

use tideover_tests::{
    conformance::{Cases, of_the_backend_leg, of_the_client_leg, page},
    lock::machine_shared,
};

fn main() -> ExitCode {
    let _machine = machine_shared();
    let (client, backend) = (of_the_client_leg(Cases::All), of_the_backend_leg(Cases::All));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::write(docs.join("conformance.md"), page(&client, &backend)).expect("docs/conformance.md");
    let worse = [client.worse(), backend.worse()].concat();
    worse.iter().for_each(|case| eprintln!("{case}"));
    if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
