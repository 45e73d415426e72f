//! A backend that hangs, and one that is only slow.

use tideover_protocol::session::{Event, Loss, Side, Verdict};

use crate::world::{World, millis, seconds};

/// A world whose backend answered a barrier once and then answers nothing more.
fn stuck() -> World {
    let mut world = World::new();
    world.say("one");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.backend().echoes = false;
    world.say("two");
    world.pass(millis(9_999));
    assert_eq!(world.asked, []);
    world
}

#[test]
fn an_overdue_barrier_makes_a_leg_suspect_and_proof_moves_the_session() {
    let mut world = stuck();
    world.pass(millis(1));
    assert_eq!(world.asked, [(1, false)]);
    assert!(world.events.contains(&Event::Suspect(1)));
    world.answer(Verdict::Dying);
    assert!(world.events.contains(&Event::LegLost { epoch: 1, loss: Loss::Hung, retained: 1 }));
    assert_eq!(world.backends[1].messages(), ["two"]);
    assert!(world.backends[0].end_of_stream);
}

#[test]
fn a_suspect_leg_of_a_healthy_backend_is_kept_and_asked_about_again() {
    let mut world = stuck();
    world.pass(millis(1));
    world.answer(Verdict::Healthy);
    world.pass(millis(9_999));
    assert_eq!(world.asked, []);
    world.pass(millis(1));
    assert_eq!(world.asked, [(1, false)]);
    assert_eq!(world.session.epoch(), 1);
}

#[test]
fn any_byte_clears_suspicion() {
    let mut world = stuck();
    world.pass(millis(1));
    world.backend().send(&[0x81]);
    world.run();
    assert!(world.events.contains(&Event::Cleared(1)));
    world.answer(Verdict::Dying);
    assert_eq!(world.session.epoch(), 1, "the proof is about a leg that lives");
}

#[test]
fn a_leg_that_never_answered_a_ping_is_never_suspect_for_it() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.backend().echoes = false;
    world.say("one");
    world.pass(seconds(3600));
    assert_eq!((world.asked.len(), world.over), (0, false));
}

#[test]
fn silence_proves_nothing_while_we_do_not_read() {
    let mut world = World::new();
    world.say("one");
    world.pass(seconds(1));
    world.client.room = 10;
    for _ in 0..100 {
        world.backend().say(&"x".repeat(1000));
    }
    world.run();
    assert!(!world.session.wants_read(Side::Backend));
    world.say("two");
    world.pass(seconds(60));
    assert_eq!(world.asked, []);
    world.client.room = usize::MAX;
    world.pass(seconds(1));
    assert_eq!((world.session.unacknowledged(), world.asked.len()), (0, 0));
}

#[test]
fn a_backend_that_does_not_read_becomes_suspect() {
    let mut world = World::new();
    world.say("one");
    world.pass(seconds(1));
    world.backend().room = 3;
    world.say("two");
    world.pass(seconds(10));
    assert_eq!(world.asked, [(1, false)]);
}

#[test]
fn a_leg_that_was_blocked_and_drained_is_not_suspect() {
    let mut world = World::new();
    world.say("one");
    world.pass(seconds(1));
    world.backend().room = 3;
    world.say("two");
    world.backend().room = usize::MAX;
    world.pass(seconds(14));
    assert_eq!(world.asked, []);
}

#[test]
fn a_slow_handler_is_healthy() {
    let mut world = World::new();
    world.say("one");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.say("two");
    for _ in 0..8 {
        world.pass(seconds(9));
        world.backend().say("still at it");
    }
    world.run();
    assert_eq!(world.asked, []);
}

#[test]
fn a_hung_leg_is_lost_without_proof_after_the_hang_timeout() {
    let mut world = World::with(|config| config.hang_timeout = Some(seconds(20)));
    world.verdict = Some(Verdict::Healthy);
    world.say("one");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.backend().echoes = false;
    world.say("two");
    world.pass(seconds(29));
    assert_eq!(world.session.epoch(), 1);
    world.pass(seconds(1));
    assert_eq!(world.backends[1].messages(), ["two"]);
}

#[test]
fn an_idle_leg_is_pinged_and_its_silence_is_suspect() {
    let mut world = World::new();
    world.pass(seconds(1));
    assert_eq!(world.backend().pings().len(), 1);
    world.pass(seconds(15));
    assert_eq!((world.backend().pings().len(), world.client.pings().len()), (2, 2));
    world.backend().pongs = false;
    world.pass(seconds(25));
    assert_eq!(world.asked, [(1, false)]);
}

#[test]
fn a_client_that_hangs_is_taken_to_have_vanished_after_the_hang_timeout() {
    let mut world = World::with(|config| config.hang_timeout = Some(seconds(20)));
    world.pass(seconds(1));
    world.client.pongs = false;
    world.pass(seconds(15 + 10 + 19));
    assert!(!world.over);
    world.pass(seconds(1));
    assert!(world.over);
}
