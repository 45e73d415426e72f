use hyper::header;

use super::*;

const BASE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn headers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, value.parse().unwrap())])
}

fn offers(client: &str) -> Offers {
    Offers::of_client(&headers(client))
}

/// What the backend of a client that offers this gets; "" for nothing.
fn offered(client: &str) -> String {
    offers(client).header().map_or(String::new(), |value| value.to_str().unwrap().replace(BASE, "D"))
}

#[test]
fn a_clients_offers_are_rewritten_so_that_no_context_is_taken_over() {
    for (client, backend) in [
        ("permessage-deflate", "D"),
        ("permessage-deflate; client_max_window_bits", "D; client_max_window_bits"),
        ("permessage-deflate; client_max_window_bits=10", "D; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=\"10\"", "D; client_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=9", "D; server_max_window_bits=9"),
        (BASE, "D"),
        (
            "permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=15",
            "D; server_max_window_bits=15; client_max_window_bits",
        ),
        // In the client's order, each once.
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate, permessage-deflate; \
             client_no_context_takeover",
            "D; server_max_window_bits=8, D",
        ),
    ] {
        assert_eq!(offered(client), backend, "{client}");
    }
}

#[test]
fn what_is_no_good_offer_of_permessage_deflate_is_declined() {
    for client in [
        "",
        "x-webkit-deflate-frame",
        "permessage-bzip2, PerMessage-Deflate",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=300",
        // No list of extensions at all.
        "permessage-deflate; =, permessage-deflate",
    ] {
        assert_eq!(offered(client), "", "{client}");
    }
    assert_eq!(offered("other; x=1, permessage-deflate; unknown, permessage-deflate"), "D", "what is good is left");
}

#[test]
fn so_many_offers_pass_and_no_more() {
    let many: Vec<_> = (8..=15).map(|bits| format!("permessage-deflate; server_max_window_bits={bits}")).collect();
    let offers = offers(&many.join(", "));
    assert_eq!((offers.0.len(), offers.0[3].server_bits), (4, Some(11)));
}

/// What the client is answered when the backend answers `D` and this; `None` if that is no answer.
fn answer(client: &str, backend: &str) -> Option<String> {
    let agreed = offers(client).answered(&headers(&backend.replace('D', BASE))).ok()?;
    Some(agreed.map_or(String::new(), |agreed| agreed.header().to_str().unwrap().replace(BASE, "D")))
}

#[test]
fn a_clients_answer_forbids_it_context_takeover_and_passes_windows_on() {
    let client = "permessage-deflate; client_max_window_bits";
    for (backend, expected) in [
        ("", ""),
        ("D", "D"),
        // The backend may leave this one out; the client must not (RFC 7692 7.1.1.2).
        ("permessage-deflate; server_no_context_takeover", "D"),
        ("D; client_max_window_bits=9", "D; client_max_window_bits=9"),
        // A server may limit itself unasked (7.1.2.1).
        ("D; server_max_window_bits=10", "D; server_max_window_bits=10"),
        (
            "D; client_max_window_bits=15; server_max_window_bits=8",
            "D; server_max_window_bits=8; client_max_window_bits=15",
        ),
    ] {
        assert_eq!(answer(client, backend).as_deref(), Some(expected), "{backend}");
    }
}

#[test]
fn what_was_not_offered_is_no_answer() {
    let plain = "permessage-deflate";
    for (client, backend) in [
        ("", "D"),
        ("", "other"),
        (plain, "other"),
        (plain, "D, other"),
        (plain, "D, D"),
        (plain, "permessage-deflate"),
        (plain, "permessage-deflate; client_no_context_takeover"),
        (plain, "D; unknown"),
        (plain, "D; client_no_context_takeover"),
        (plain, "D; client_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits", "D; client_max_window_bits"),
        ("permessage-deflate; client_max_window_bits=10", "D; client_max_window_bits=11"),
        ("permessage-deflate; server_max_window_bits=10", "D"),
        ("permessage-deflate; server_max_window_bits=10", "D; server_max_window_bits=11"),
        (plain, "D; server_max_window_bits=7"),
        (plain, "D;"),
    ] {
        assert_eq!(answer(client, backend), None, "{client} / {backend}");
    }
}

#[test]
fn an_answer_may_be_to_any_of_several_offers() {
    let client = "permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits";
    assert!(answer(client, "D; server_max_window_bits=9").is_some());
    assert!(answer(client, "D; client_max_window_bits=9").is_some());
    let fallback = "permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate";
    assert_eq!(answer(fallback, "D; client_max_window_bits=9"), None, "mixed of both");
}

#[test]
fn a_later_backend_is_offered_what_was_agreed_and_must_keep_to_it() {
    let agree = |client: &str, backend: &str| {
        offers(client).answered(&headers(&backend.replace('D', BASE))).unwrap().expect("an agreement")
    };
    let bits = "permessage-deflate; client_max_window_bits; server_max_window_bits=12";
    let again = |first: Agreement, later: &str| {
        let answered = first.offers().answered(&headers(&later.replace('D', BASE)));
        answered.is_ok_and(|later| later.is_some_and(|later| first.is_kept_by(later)))
    };
    for (first, later, good) in [
        (agree("permessage-deflate", "D"), "D", true),
        (agree("permessage-deflate", "D"), "permessage-deflate; server_no_context_takeover", true),
        (agree("permessage-deflate", "D"), "D; server_max_window_bits=9", true),
        (agree("permessage-deflate", "D"), "", false),
        (agree("permessage-deflate", "D"), "permessage-deflate", false),
        (agree("permessage-deflate; client_max_window_bits", "D"), "D; client_max_window_bits=15", false),
        (agree(bits, "D; server_max_window_bits=12"), "D; server_max_window_bits=12", true),
        (agree(bits, "D; server_max_window_bits=11"), "D; server_max_window_bits=12", false),
        (agree(bits, "D; server_max_window_bits=11"), "D", false),
        (agree(bits, "D; server_max_window_bits=9; client_max_window_bits=10"), "D; server_max_window_bits=8", true),
        (
            agree(bits, "D; server_max_window_bits=9; client_max_window_bits=10"),
            "D; server_max_window_bits=9; client_max_window_bits=10",
            true,
        ),
        (
            agree(bits, "D; server_max_window_bits=9; client_max_window_bits=10"),
            "D; server_max_window_bits=9; client_max_window_bits=9",
            false,
        ),
    ] {
        assert_eq!(again(first, later), good, "{first:?} {later}");
    }
}
