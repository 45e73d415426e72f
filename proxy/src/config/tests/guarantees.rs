//! The rules of the flags that make promises about messages and sessions.

use tideover_protocol::session::{Commit, Linger};

use super::*;

#[test]
fn dedupe_replies_is_on_where_its_mode_wants_it() {
    let dedupe =
        |flags: &[_]| config(&[&[BACKEND], flags].concat(), &[]).map(|config| config.routes[0].session.dedupe_replies);
    for (ack, expected) in [("none", false), ("pong", true), ("reply", false), ("explicit", false)] {
        assert_eq!(dedupe(&[("ack", ack)]), Ok(expected), "{ack}");
        assert_eq!(dedupe(&[("ack", ack), ("dedupe-replies", "off")]), Ok(false), "{ack}");
    }
    assert_eq!(dedupe(&[("ack", "reply"), ("dedupe-replies", "on")]), Ok(true));
    assert_eq!(dedupe(&[("commit", "barrier")]), Ok(false));
}

#[test]
fn modes_that_exclude_each_other_are_reported() {
    let wrong = |flags: &[_]| report(config(&[&[BACKEND], flags].concat(), &[]), None);
    let cases: [(&[_], &str); 4] = [
        (&[("dedupe-replies", "on"), ("ack", "explicit")], "--dedupe-replies, --ack: a backend that acknowledges"),
        (&[("dedupe-replies", "on"), ("commit", "barrier")], "--dedupe-replies, --commit: output commit leaves"),
        (&[("commit", "barrier"), ("ack", "reply")], "--commit, --ack: output commit needs --ack pong"),
        (&[("commit", "barrier"), ("ack-linger", "250ms")], "--commit, --ack-linger: output commit forgets"),
    ];
    for (flags, start) in cases {
        let lines = wrong(flags);
        assert!(lines.len() == 1 && lines[0].starts_with(start), "{lines:?}");
    }
    assert_eq!(wrong(&[("commit", "barrier"), ("ack", "x")]).len(), 1, "what follows from a bad value");
    for linger in ["auto", "0"] {
        let session =
            config(&[BACKEND, ("commit", "barrier"), ("ack-linger", linger)], &[]).unwrap().routes.remove(0).session;
        assert_eq!((session.commit, session.ack_linger), (Commit::Barrier, Linger::For(Duration::ZERO)));
    }
}

#[test]
fn a_reattach_header_is_a_free_field() {
    for name in ["Tideover-Again", "tideover_again", "Sec-WebSocket-Key", "connection", "Host", "X-Forwarded-For"] {
        let lines = report(config(&[BACKEND, ("reattach-header", name)], &[]), None);
        assert_eq!(lines, [format!("--reattach-header: {name:?} is a field that the proxy sets or drops itself")]);
    }
    let config = config(&[BACKEND, ("reattach-header", "X-Balancer-Reconnect")], &[]).unwrap();
    assert_eq!(config.routes[0].reattach_header.as_ref().unwrap(), "x-balancer-reconnect");
}

#[test]
fn the_session_key_is_read_and_never_shown() {
    let file = Scratch::new("key", "correct horse battery staple\n");
    let config_of = |file: &Scratch| config(&[BACKEND, ("session-key-file", file.path())], &[]);
    let good = config_of(&file).unwrap();
    assert!(good.routes[0].session_key.is_some());
    assert!(!format!("{good:?}").contains("horse"));
    let places = |file: &Scratch| report(config_of(file), Some(file)).concat();
    let short = Scratch::new("short-key", "only fifteen by\n");
    let at = "--session-key-file: \"tideover.toml\" has";
    assert_eq!(places(&short), format!("{at} a key of 15 bytes; at least 16 are needed"));
    let long = Scratch::new("long-key", &"x".repeat(5000));
    assert_eq!(places(&long), format!("{at} more than 4096 bytes: it is no key"));
    let lines = report(config(&[BACKEND], &[("TIDEOVER_SESSION_KEY_FILE", "/does/not/exist")]), None);
    assert!(lines[0].starts_with("TIDEOVER_SESSION_KEY_FILE: \"/does/not/exist\" cannot be read: "), "{lines:?}");
}
