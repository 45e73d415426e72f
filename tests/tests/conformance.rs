//! Autobahn's quick cases through the proxy: as on a direct connection, Close codes included, or stricter. All of them:
//! `cargo run --release -p tideover-tests --bin conformance`.

use tideover_tests::{
    conformance::{Cases, Comparison, of_the_backend_leg, of_the_client_leg},
    lock::machine_shared,
};

fn assert_never_worse(comparison: &Comparison) {
    assert!(comparison.direct.len() >= 240, "{} cases", comparison.direct.len());
    let passed = comparison.direct.values().filter(|verdict| verdict.behavior == "OK" && verdict.close == "OK").count();
    assert!(passed >= 240, "the peer itself passes {passed} cases only");
    assert_eq!(comparison.worse(), Vec::<String>::new());
}

#[test]
fn the_suites_client_sees_through_the_proxy_what_it_sees_of_the_server_itself() {
    let _machine = machine_shared();
    assert_never_worse(&of_the_client_leg(Cases::Quick));
}

#[test]
fn the_suites_server_sees_through_the_proxy_what_it_sees_of_the_client_itself() {
    let _machine = machine_shared();
    assert_never_worse(&of_the_backend_leg(Cases::Quick));
}
