//! A backend ends a leg and is healthy: the client sees what it would have seen without a proxy.

use tideover_protocol::frame::FrameError;
use tideover_protocol::session::{EndReason, Verdict};

use crate::world::{Peer, World, seconds, wire};

fn healthy() -> World {
    let mut world = World::new();
    world.verdict = Some(Verdict::Healthy);
    world
}

#[test]
fn the_end_of_stream_of_a_healthy_backend_is_an_end_of_stream_for_the_client() {
    let mut world = healthy();
    world.backend().say("last words");
    world.kill_backend();
    assert!(world.over && world.client.end_of_stream);
    assert_eq!((world.client.messages(), world.client.closed()), (vec!["last words".to_owned()], None));
    assert_eq!(world.reason(), Some(EndReason::BackendEndedStream));
}

#[test]
fn an_ambiguous_close_of_a_healthy_backend_comes_as_it_was_sent() {
    for payload in [wire::code(1011, "unexpected"), Vec::new()] {
        let mut world = healthy();
        world.backend().close(&payload);
        world.run();
        assert_eq!(world.client.closed(), Some(&payload[..]));
        assert_eq!(world.backends[0].closed(), Some(&payload[..]), "the client's answer is the farewell");
        assert!(world.over);
    }
}

#[test]
fn a_close_of_the_application_passes_unchanged_and_unasked() {
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4001, 4999] {
        let mut world = World::new();
        world.client.closes = false;
        world.backend().say("last words");
        world.backend().close(&wire::code(code, "r\u{e9}ason"));
        world.run();
        assert!(world.asked.is_empty());
        assert_eq!(world.client.messages(), ["last words"]);
        assert_eq!(world.client.closed(), Some(&wire::code(code, "r\u{e9}ason")[..]));
        world.client.close(&wire::code(4777, "the client's answer"));
        world.run();
        assert_eq!(world.backends[0].closed(), Some(&wire::code(4777, "the client's answer")[..]));
        assert_eq!(world.reason().map(|reason| reason.to_string()), Some(format!("backend closed with {code}")));
        assert!(world.over);
    }
}

#[test]
fn a_client_that_does_not_answer_a_close_is_left_after_the_close_timeout() {
    let mut world = World::new();
    world.client.closes = false;
    world.backend().close(&wire::code(4001, ""));
    world.pass(seconds(9));
    assert!(!world.over);
    world.pass(seconds(1));
    assert!(world.over);
    assert_eq!(world.backends[0].close_code(), Some(4001), "nobody answered, so the backend gets its own Close back");
}

#[test]
fn a_slow_client_gets_all_messages_before_the_close() {
    let mut world = World::new();
    world.client.grain = 1;
    for _ in 0..20 {
        world.backend().say("message");
    }
    world.backend().close(&wire::code(4001, ""));
    world.run();
    assert_eq!((world.client.messages().len(), world.client.close_code()), (20, Some(4001)));
}

#[test]
fn a_write_error_does_not_hide_the_close_that_the_backend_sent() {
    let mut world = World::new();
    world.backend().broken = true;
    world.backend().close(&wire::code(4001, "quota"));
    world.say("too late");
    assert_eq!(world.client.closed(), Some(&wire::code(4001, "quota")[..]));
}

#[test]
fn a_backend_message_that_is_too_big_is_answered_with_1009_on_both_sides() {
    let mut world = World::with(|config| config.max_message.bytes = 100);
    world.backend().say(&"x".repeat(101));
    world.run();
    assert_eq!(
        (world.client.close_code(), world.reason()),
        (Some(1009), Some(EndReason::BackendOverLimit(FrameError::TooBig)))
    );
    assert!(world.over);
    assert_eq!(world.backends[0].close_code(), Some(1009));
}

#[test]
fn a_backend_message_of_too_many_frames_is_answered_with_1008_on_both_sides() {
    let mut world = World::with(|config| config.max_message.frames = 3);
    world.backend().send(&[0x01, 0, 0, 0, 0x80, 0]);
    world.backend().send(&[0x01, 0, 0, 0, 0, 0, 0, 0]);
    world.run();
    assert_eq!(world.client.messages(), vec![String::new()], "one of as many frames as may be");
    assert_eq!(world.client.close_code(), Some(1008));
    assert_eq!(world.reason(), Some(EndReason::BackendOverLimit(FrameError::TooManyFrames)));
    assert!(world.over);
    assert_eq!(world.backends[0].close_code(), Some(1008));
}

#[test]
fn a_flood_of_empty_fragments_ends_at_the_bound_and_none_of_it_reaches_a_backend_as_a_message() {
    let mut world = World::with(|config| {
        config.max_message.frames = 1000;
        config.limits.control_rate = None;
    });
    world.client.send(&[0x01, 0x80, 0, 0, 0, 0]);
    for _ in 0..100 {
        world.client.send(&[0x00, 0x80, 0, 0, 0, 0].repeat(100));
        world.run();
    }
    assert_eq!(world.client.close_code(), Some(1008));
    assert_eq!(world.reason(), Some(EndReason::ClientError(FrameError::TooManyFrames)));
    assert!(world.backend().messages().is_empty());
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_with_the_right_code() {
    for (bytes, code) in [
        (&[0x81, 0][..], 1002),
        (&[0xC1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        (&[0x88, 0x81, 0, 0, 0, 0, 3], 1002),
        (&[0x88, 0x82, 0, 0, 0, 0, 3, 0xED], 1002),
        (&[0x88, 0x83, 0, 0, 0, 0, 3, 0xE8, 0xFF], 1002),
        (&[0x81, 0xFF, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        let mut world = World::new();
        world.client.send(bytes);
        world.run();
        assert_eq!(world.client.close_code(), Some(code), "{bytes:?}");
        assert!(matches!(world.reason(), Some(EndReason::ClientError(_))));
        assert!(world.over);
    }
}

#[test]
fn what_a_client_said_before_it_broke_the_protocol_is_answered_first() {
    let mut world = World::new();
    world.client.say("one");
    world.client.send(&[0xC1, 0x80, 0, 0, 0, 0]);
    world.client.say("behind the error");
    world.run();
    assert_eq!(world.client.messages(), ["one"]);
    assert_eq!((world.client.close_code(), world.backend().close_code()), (Some(1002), Some(1002)));
    assert_eq!(world.backend().messages(), ["one"]);
    assert!(world.over && matches!(world.reason(), Some(EndReason::ClientError(_))));
}

#[test]
fn a_client_that_broke_the_protocol_is_told_in_time_though_its_backend_is_silent() {
    let mut world = World::new();
    *world.backend() = Peer::silent_backend();
    world.backend().closes = false;
    world.client.say("one");
    world.client.send(&[0xC1, 0x80, 0, 0, 0, 0]);
    world.run();
    assert_eq!((world.client.close_code(), world.backend().close_code()), (None, Some(1002)));
    world.pass(seconds(10));
    assert_eq!((world.client.close_code(), world.over), (Some(1002), true));
    assert!(matches!(world.reason(), Some(EndReason::ClientError(_))));
}

#[test]
fn what_a_client_said_before_it_broke_the_protocol_outlives_its_backend() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    *world.backend() = Peer::silent_backend();
    world.backend().closes = false;
    world.client.say("one");
    world.client.send(&[0xC1, 0x80, 0, 0, 0, 0]);
    world.run();
    world.kill_backend();
    assert_eq!((world.backends.len(), world.backend().messages()), (2, vec!["one".to_owned()]));
    assert_eq!((world.client.messages(), world.client.close_code()), (vec!["one".to_owned()], Some(1002)));
}

#[test]
fn at_a_shutdown_both_sides_get_1001() {
    let mut world = World::new();
    world.say("one");
    world.session.shutdown(world.now);
    world.run();
    assert_eq!(world.client.close_code(), Some(1001));
    assert_eq!(world.backends[0].close_code(), Some(1001));
    assert_eq!((world.over, world.reason()), (true, Some(EndReason::Shutdown)));
}
