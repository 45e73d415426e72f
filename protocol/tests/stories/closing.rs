//! The client leaves: with a Close, or without.

use tideover_protocol::session::{EndReason, Verdict};

use crate::world::{World, millis, seconds, wire};

#[test]
fn the_clients_close_follows_its_messages_and_is_echoed_when_the_backend_closes() {
    let mut world = World::new();
    world.client.say("one");
    world.client.say("two");
    world.client.close(&wire::code(1000, "done"));
    world.run();
    assert_eq!(world.backend().messages(), ["one", "two"]);
    assert_eq!(world.backends[0].closed(), Some(&wire::code(1000, "done")[..]));
    assert_eq!(world.client.messages(), ["one", "two"], "answers come before the echo");
    assert_eq!(world.client.closed(), Some(&wire::code(1000, "done")[..]));
    assert_eq!((world.over, world.reason()), (true, Some(EndReason::ClientClosed)));
    assert_eq!(world.session.counters().abandoned, 0);
}

#[test]
fn nothing_the_client_says_behind_its_close_counts() {
    let mut world = World::new();
    world.client.close(&wire::code(1000, ""));
    world.client.say("ghost");
    world.run();
    assert_eq!((world.backend().messages().len(), world.session.counters().received), (0, 0));
    assert!(world.over);
}

#[test]
fn a_backend_that_does_not_answer_a_close_is_left_after_the_close_timeout() {
    let mut world = World::new();
    world.backend().closes = false;
    world.client.say("one");
    world.client.close(&wire::code(1000, "done"));
    world.run();
    world.pass(seconds(9));
    assert_eq!(world.client.closed(), None);
    world.pass(seconds(1));
    assert_eq!(world.client.closed(), Some(&wire::code(1000, "done")[..]), "the message was acknowledged");
    assert!(world.over);
}

#[test]
fn a_close_is_answered_with_1012_if_something_before_it_may_be_lost() {
    let mut world = World::new();
    (world.backend().closes, world.backend().pongs) = (false, false);
    world.client.say("one");
    world.client.close(&wire::code(1000, "done"));
    world.pass(seconds(10));
    assert_eq!(world.client.close_code(), Some(1012));
    assert_eq!((world.over, world.session.counters().abandoned), (true, 1));
}

#[test]
fn a_close_waits_for_a_backend_and_is_replayed_behind_its_messages() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    (world.backend().closes, world.backend().pongs) = (false, false);
    world.client.say("one");
    world.client.close(&wire::code(1000, "done"));
    world.run();
    world.kill_backend();
    world.pass(seconds(1));
    world.attach();
    assert_eq!(world.backend().messages(), ["one"]);
    assert_eq!(world.backend().close_code(), Some(1000));
    assert_eq!((world.client.close_code(), world.over), (Some(1000), true));
}

#[test]
fn a_close_without_any_backend_is_answered_by_us() {
    for (said, code) in [(false, 1000), (true, 1012)] {
        let mut world = World::new();
        world.verdict = Some(Verdict::Dying);
        world.dial_succeeds = Some(false);
        world.kill_backend();
        if said {
            world.client.say("one");
        }
        world.client.close(&wire::code(1000, ""));
        world.pass(seconds(10));
        assert_eq!((world.client.close_code(), world.over), (Some(code), true));
    }
}

#[test]
fn a_client_that_closes_and_vanishes_is_still_delivered() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    world.client.say("one");
    world.client.close(&wire::code(1000, ""));
    world.client.vanish();
    world.run();
    assert_eq!((world.backends[0].messages(), world.backends[0].close_code()), (vec!["one".to_owned()], Some(1000)));
    assert!(world.over);
}

#[test]
fn closes_that_cross_both_arrive() {
    let mut world = World::new();
    world.client.closes = false;
    world.backend().closes = false;
    world.backend().close(&wire::code(4001, "from the backend"));
    world.client.close(&wire::code(1000, "from the client"));
    world.run();
    assert_eq!(world.client.close_code(), Some(4001));
    assert_eq!(world.backends[0].close_code(), Some(1000));
    assert!(world.over);
}

#[test]
fn nothing_is_written_to_the_client_behind_its_close() {
    let mut world = World::new();
    world.client.closes = false;
    world.backend().close(&wire::code(4001, ""));
    world.run();
    world.client.ping(b"too late");
    world.client.close(&wire::code(4001, ""));
    world.run();
    assert_eq!(world.client.heard.last(), Some(&wire::Heard::Close(wire::code(4001, ""))));
    assert!(world.over);
}

#[test]
fn an_echo_of_1001_is_no_failover() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.client.say("one");
    world.client.close(&wire::code(1001, "leaving the page"));
    world.run();
    assert_eq!((world.backends.len(), world.client.close_code()), (1, Some(1001)));
    assert_eq!((world.over, world.session.counters().abandoned), (true, 0));
}

#[test]
fn an_end_of_stream_behind_an_acknowledged_close_is_a_good_end() {
    let mut world = World::new();
    world.backend().closes = false;
    world.client.close(&wire::code(1000, "done"));
    world.run();
    world.kill_backend();
    assert_eq!((world.client.close_code(), world.over), (Some(1000), true));
    assert!(world.asked.is_empty());
    assert_eq!(world.reason(), Some(EndReason::ClientClosed));
}

#[test]
fn what_a_vanished_client_sent_is_delivered_before_the_end_of_stream() {
    let mut world = World::new();
    world.backend().room = 7;
    world.backend().pongs = false;
    world.client.say("one");
    world.client.say("two");
    world.client.send(&[0x81, 0x85, 0, 0, 0, 0, b'h']);
    world.client.vanish();
    world.pass(seconds(1));
    assert!(!world.over);
    world.backend().room = usize::MAX;
    world.run();
    assert!(!world.over, "not acknowledged yet");
    let ping = world.backend().pings().last().expect("a barrier").to_vec();
    world.backend().pong(&ping);
    world.run();
    assert!(world.over);
    assert_eq!(world.backends[0].messages(), ["one", "two"]);
    assert_eq!((world.backends[0].closed(), world.backends[0].end_of_stream), (None, true));
}

#[test]
fn half_a_message_of_a_vanished_client_reaches_no_later_leg() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    world.client.say("one");
    world.client.send(&[0x01, 0x84, 0, 0, 0, 0, b'h', b'a', b'l', b'f']);
    world.run();
    world.client.vanish();
    world.run();
    assert!(!world.backends[0].ear.is_between_messages(), "half of it stands on the first leg");
    world.kill_backend();
    world.run();
    assert_eq!(world.backends[1].messages(), ["one"]);
    assert!(world.backends[1].ear.is_between_messages());
    assert!(world.over);
}

#[test]
fn a_vanished_client_is_given_up_after_the_orphan_timeout() {
    let mut world = World::new();
    world.say("answered");
    world.backend().pongs = false;
    world.pass(millis(100));
    world.client.say("one");
    world.client.vanish();
    world.pass(millis(29_999));
    assert!(!world.over);
    world.pass(millis(1));
    assert_eq!((world.over, world.session.counters().abandoned), (true, 1));
    assert_eq!(world.reason(), Some(EndReason::ClientVanished));
}

#[test]
fn a_handler_that_never_reads_soon_sees_that_its_client_vanished() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.client.say("one");
    world.client.vanish();
    world.pass(millis(999));
    assert!(!world.over);
    world.pass(millis(1));
    assert!(world.over, "directly it would have seen the end of the stream at once");
}

#[test]
fn what_a_backend_says_to_a_vanished_client_is_read_and_ignored() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.client.say("one");
    world.client.vanish();
    world.run();
    for _ in 0..100 {
        world.backend().say(&"x".repeat(10_000));
    }
    world.run();
    assert_eq!(world.backend().outbox.len(), 0);
    let ping = world.backend().pings()[0].to_vec();
    world.backend().pong(&ping);
    world.run();
    assert!(world.over);
}

#[test]
fn a_clients_answer_reaches_a_backend_that_closed_inside_a_frame_of_the_client() {
    for vanishes in [false, true] {
        let mut world = World::new();
        world.client.closes = false;
        let frame = wire::frame(wire::FIN | wire::TEXT, &[b'x'; 5000], Some([1, 2, 3, 4]));
        world.client.send(&frame[..1500]);
        world.run();
        world.backend().close(&wire::code(4001, "enough"));
        world.run();
        assert_eq!(world.client.close_code(), Some(4001));
        if vanishes {
            world.client.vanish();
            world.run();
            assert_eq!(world.backend().closed(), None, "there is no Close inside a frame");
        } else {
            world.client.send(&frame[1500..]);
            world.client.close(&wire::code(4001, "as you like"));
            world.run();
            assert_eq!(world.backend().messages(), ["x".repeat(5000)]);
            assert_eq!(world.backend().close_code(), Some(4001));
        }
        assert!(world.over);
    }
}
