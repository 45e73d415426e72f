//! A backend is lost and the session goes on with another one.

use tideover_protocol::session::{AttachFailure, EndReason, Event, Loss, OnAmbiguous, Reattach, Side, Verdict, Weight};

use crate::world::{World, millis, seconds, wire};

fn doomed() -> World {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    world
}

#[test]
fn a_killed_backend_is_asked_about_and_what_was_not_acknowledged_is_replayed() {
    let mut world = World::new();
    world.dial_succeeds = None;
    world.say("acknowledged");
    world.backend().pongs = false;
    world.pass(millis(20));
    world.say("read, not acknowledged");
    world.kill_backend();
    assert_eq!(world.asked, [(1, true)]);
    assert!(!world.dialling, "nothing is proven yet");
    world.answer(Verdict::Dying);
    assert!(world.dialling);
    world.say("said meanwhile");
    world.attach();
    assert_eq!(world.backends[1].messages(), ["read, not acknowledged", "said meanwhile"]);
    assert_eq!(world.session.counters().replayed, 1);
    world.pass(seconds(1));
    assert_eq!(world.session.retained(), 0);
}

#[test]
fn codes_of_a_backend_that_goes_away_fail_over_without_a_question() {
    for code in [1001, 1012, 1013, 1014] {
        let mut world = World::new();
        world.backend().pongs = false;
        world.say("one");
        world.backend().close(&wire::code(code, "bye"));
        world.run();
        assert!(world.asked.is_empty());
        assert_eq!(world.backends[0].close_code(), Some(code), "the Close is answered");
        assert!(world.backends[0].end_of_stream);
        assert_eq!(world.backends[1].messages(), ["one"]);
        assert_eq!(world.client.closed(), None);
    }
}

#[test]
fn a_message_written_in_part_is_written_again_from_its_first_byte() {
    let frame = wire::text("a message", Some([0; 4])).len();
    for cut in 0..=frame {
        let mut world = doomed();
        world.backend().room = cut;
        world.say("a message");
        world.kill_backend();
        assert_eq!(world.backends[1].messages(), ["a message"], "cut after {cut} bytes");
    }
}

#[test]
fn a_message_that_is_still_being_received_is_replayed_too() {
    let mut world = doomed();
    world.client.say_in_parts(&["begin ", "end"]);
    let parts: Vec<u8> = world.client.outbox.drain(..).collect();
    for cut in 1..parts.len() {
        world.client.send(&parts[..cut]);
        world.run();
        world.kill_backend();
        world.client.send(&parts[cut..]);
        world.pass(seconds(10));
        assert_eq!(world.backend().messages(), ["begin end"], "cut after {cut} bytes");
        world.pass(seconds(10));
    }
}

#[test]
fn half_a_message_of_a_dead_leg_never_reaches_the_client() {
    let mut first = World::new();
    first.backend().say_in_parts(&["half", " whole"]);
    let parts: Vec<u8> = first.backend().outbox.drain(..).collect();
    for cut in 0..parts.len() {
        let mut world = doomed();
        world.backend().say("before");
        world.backend().send(&parts[..cut]);
        world.kill_backend();
        world.backend().say("after");
        world.run();
        assert_eq!(world.client.messages(), ["before", "after"], "cut after {cut} bytes");
        assert!(world.client.ear.is_between_messages());
    }
}

#[test]
fn what_a_dead_leg_had_said_whole_still_reaches_a_slow_client() {
    let mut world = doomed();
    world.client.room = 5;
    world.backend().say("before");
    world.backend().say("the end");
    world.kill_backend();
    world.backend().say("after");
    world.run();
    world.client.room = usize::MAX;
    world.run();
    assert_eq!(world.client.messages(), ["before", "the end", "after"]);
}

#[test]
fn a_backend_that_breaks_the_protocol_is_left_and_told_why() {
    for (bytes, name) in [
        (&[0xC1, 0][..], "reserved bit"),
        (&[0x83, 0], "reserved opcode"),
        (&[0x81, 0x80, 0, 0, 0, 0], "mask"),
        (&[0x80, 0], "continuation"),
        (&[0x88, 1, 3], "Close of a byte"),
        (&[0x88, 2, 3, 0xED], "Close 1005"),
        (&[0x09, 0], "fragmented ping"),
        (&[0x89, 126, 0, 126], "long ping"),
        (&[0x81, 126, 0, 125], "length"),
        (&[0x01, 0, 0x01, 0], "message inside a message"),
    ] {
        let mut world = World::new();
        world.backend().send(bytes);
        world.run();
        assert_eq!(world.backends[0].close_code(), Some(1002), "{name}");
        let lost = world.events.iter().any(|event| matches!(event, Event::LegLost { loss: Loss::Protocol(_), .. }));
        assert!(lost && world.backends.len() == 2, "{name}");
        world.say("still here");
        assert_eq!(world.client.messages(), ["still here"], "{name}");
    }
}

#[test]
fn nothing_behind_a_protocol_error_or_a_close_reaches_the_client() {
    for bytes in [&[0x83, 0][..], &[0x88, 2, 3, 0xF4]] {
        let mut world = World::new();
        world.backend().send(bytes);
        world.backend().say("ghost");
        world.run();
        assert_eq!(world.client.messages().len(), 0);
        assert_eq!(world.session.epoch(), 2);
    }
}

#[test]
fn backoff_doubles_with_jitter_up_to_two_seconds() {
    let mut world = doomed();
    world.dial_succeeds = None;
    world.kill_backend();
    let mut full = 25;
    for _ in 0..12 {
        assert!(world.dialling);
        world.fail_to_attach(AttachFailure::Failed);
        assert!(!world.dialling);
        world.pass(millis(full / 2 - 1));
        assert!(!world.dialling, "before half of {full} ms");
        world.pass(millis(full - full / 2 + 1));
        assert!(world.dialling, "after {full} ms");
        full = (full * 2).min(2000);
    }
}

#[test]
fn a_session_without_a_backend_ends_with_1013_after_the_failover_timeout() {
    let mut world = doomed();
    world.dial_succeeds = Some(false);
    world.kill_backend();
    world.pass(millis(29_999));
    assert!(!world.over && world.client.closed().is_none());
    world.pass(millis(1));
    assert_eq!(world.client.close_code(), Some(1013));
    assert_eq!(world.reason(), Some(EndReason::NoBackend));
    assert!(world.over);
}

#[test]
fn only_time_without_a_leg_counts_for_the_failover_timeout() {
    let mut world = World::with(|config| config.failover_timeout = seconds(3));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    for _ in 0..2 {
        world.kill_backend();
        world.pass(seconds(1));
        world.attach();
        world.backend().pongs = false;
        world.pass(seconds(4));
    }
    world.kill_backend();
    world.pass(millis(999));
    assert!(!world.over);
    world.pass(millis(2));
    assert_eq!(world.client.close_code(), Some(1013));
}

#[test]
fn a_stable_leg_makes_the_session_patient_again() {
    let mut world = World::with(|config| config.failover_timeout = seconds(3));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    for _ in 0..5 {
        world.kill_backend();
        assert!(world.dialling, "a first attempt is made at once");
        world.pass(seconds(2));
        world.attach();
        world.say("answer my barrier");
        world.pass(seconds(5));
    }
    assert!(!world.over);
}

#[test]
fn a_leg_that_brings_the_session_further_makes_it_patient_again() {
    let mut world = World::with(|config| config.failover_timeout = seconds(3));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    for _ in 0..5 {
        world.kill_backend();
        assert!(world.dialling, "a first attempt is made at once");
        world.pass(seconds(2));
        world.attach();
        world.say("one step further");
        world.pass(millis(50));
    }
    assert!(!world.over);
}

#[test]
fn a_leg_that_lived_and_spoke_is_stable_although_its_handler_owes_the_pong() {
    let mut world = World::with(|config| config.failover_timeout = seconds(3));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    for _ in 0..5 {
        world.kill_backend();
        assert!(world.dialling, "a first attempt is made at once");
        world.pass(seconds(2));
        world.attach();
        world.backend().pongs = false;
        world.backend().say("an answer");
        world.pass(seconds(5));
    }
    assert!(!world.over);
}

#[test]
fn a_session_that_backends_deny_ends_with_1008() {
    let mut world = doomed();
    world.dial_succeeds = None;
    world.kill_backend();
    world.fail_to_attach(AttachFailure::Denied);
    assert_eq!((world.client.close_code(), world.reason()), (Some(1008), Some(EndReason::Denied)));
}

#[test]
fn reattach_never_shows_the_client_every_end() {
    for code in [1001, 1011, 1012, 4000] {
        let mut world = World::with(|config| config.reattach = Reattach::Never);
        world.backend().close(&wire::code(code, "as it came"));
        world.run();
        assert_eq!(world.client.closed(), Some(&wire::code(code, "as it came")[..]));
    }
    let mut world = World::with(|config| config.reattach = Reattach::Never);
    world.kill_backend();
    assert!(world.over && world.client.end_of_stream && world.client.closed().is_none());
}

#[test]
fn reattach_whole_wants_every_message_of_the_session() {
    let mut whole = World::with(|config| config.reattach = Reattach::Whole);
    whole.verdict = Some(Verdict::Dying);
    whole.backend().pongs = false;
    whole.say("one");
    whole.kill_backend();
    assert_eq!(whole.backends[1].messages(), ["one"]);
    whole.pass(seconds(1));
    whole.kill_backend();
    assert_eq!((whole.client.close_code(), whole.reason()), (Some(1012), Some(EndReason::NotWhole)));
}

#[test]
fn on_ambiguous_failover_needs_no_proof_and_end_takes_none() {
    let mut failover = World::with(|config| config.on_ambiguous = OnAmbiguous::Failover);
    failover.kill_backend();
    assert_eq!((failover.backends.len(), failover.asked.len()), (2, 0));
    let mut end = World::with(|config| config.on_ambiguous = OnAmbiguous::End);
    end.kill_backend();
    assert!(end.over && end.client.end_of_stream);
}

#[test]
fn a_dead_epoch_is_dead() {
    let mut world = doomed();
    world.kill_backend();
    let (now, ghost) = (world.now, wire::text("ghost", None));
    assert_eq!(world.session.handle_backend_data(now, 1, &ghost).direct, 0..0);
    world.session.handle_end_of_stream(now, Side::Backend, 1);
    world.session.handle_verdict(now, 1, Verdict::Dying, Weight::NONE);
    world.session.handle_mute(1);
    world.run();
    assert_eq!((world.session.epoch(), world.client.messages().len()), (2, 0));
    assert!(world.session.wants_read(Side::Backend));
}

#[test]
fn a_leg_nobody_wants_any_more_is_refused() {
    let mut world = doomed();
    world.dial_succeeds = None;
    world.kill_backend();
    world.client.vanish();
    world.run();
    assert!(world.over);
    assert_eq!(world.session.handle_attached(world.now, Default::default()), None);
}
