//! Acknowledgement by barrier.

use tideover_protocol::session::{AckMode, Side, Verdict};

use crate::world::{Peer, World, millis, seconds, wire};

#[test]
fn the_first_message_is_followed_by_a_barrier_at_once() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.say("one");
    assert_eq!(world.backend().pings().len(), 1);
    assert_eq!(world.session.unacknowledged(), 1);
}

#[test]
fn a_barrier_comes_no_sooner_than_the_ack_interval_after_the_last() {
    let mut world = World::new();
    world.say("one");
    world.say("two");
    assert_eq!((world.backend().pings().len(), world.session.unacknowledged()), (1, 1));
    world.pass(millis(19));
    assert_eq!(world.backend().pings().len(), 1);
    world.pass(millis(1));
    assert_eq!((world.backend().pings().len(), world.session.unacknowledged()), (2, 0));
}

#[test]
fn a_half_full_ring_is_followed_by_a_barrier_at_once() {
    let mut world = World::with(|config| config.buffer_messages = 8);
    world.say("one");
    for _ in 0..3 {
        world.say("more");
    }
    assert_eq!(world.backend().pings().len(), 1);
    world.say("the half");
    assert_eq!((world.backend().pings().len(), world.session.unacknowledged()), (2, 0));
}

#[test]
fn at_most_one_barrier_is_in_flight() {
    let mut world = World::with(|config| config.buffer_messages = 8);
    world.backend().pongs = false;
    for _ in 0..8 {
        world.say("more");
        world.pass(millis(50));
    }
    assert_eq!(world.backend().pings().len(), 1);
}

#[test]
fn a_large_frame_waits_behind_a_barrier_for_what_is_before_it() {
    let mut world = World::with(|config| config.buffer_bytes = 1000);
    world.say("one");
    world.say("two");
    assert_eq!(world.session.unacknowledged(), 1);
    let large = wire::text(&"x".repeat(2000), Some([1; 4]));
    world.client.send(&large[..1000]);
    world.run();
    assert_eq!((world.backend().pings().len(), world.session.unacknowledged()), (2, 0));
    world.client.send(&large[1000..]);
    world.run();
    assert_eq!(world.backend().messages().len(), 3);
}

#[test]
fn only_the_pong_that_answers_our_ping_acknowledges() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.backend().pong(b"tide");
    world.say("one");
    let ping = world.backend().pings()[0].to_vec();
    let mut wrong = ping.clone();
    wrong[11] += 1;
    let mut beyond = ping.clone();
    beyond[19] += 1;
    let longer = [&ping[..], &[0]].concat();
    for payload in [b"".as_slice(), b"tide", &wrong, &beyond, &longer, &ping[..19]] {
        world.backend().pong(payload);
    }
    world.run();
    assert_eq!(world.session.unacknowledged(), 1);
    world.backend().pong(&ping);
    world.backend().pong(&ping);
    world.run();
    assert_eq!((world.session.unacknowledged(), world.session.counters().barriers), (0, 1));
}

#[test]
fn a_pong_that_comes_before_its_ping_is_written_is_ignored() {
    let mut world = World::new();
    world.backend().pongs = false;
    world.say("one");
    let first = world.backend().pings()[0].to_vec();
    world.backend().pong(&first);
    world.run();
    world.say("two");
    let frame = wire::text("two", Some([0; 4])).len();
    assert_eq!(frame, 9);
    world.backend().room = 3;
    world.pass(millis(20));
    let mut second = first;
    second[11] = 2;
    second[19] = 2;
    world.backend().pong(&second);
    world.run();
    assert_eq!(world.session.unacknowledged(), 1, "the ping is not wholly written");
}

#[test]
fn a_pong_of_a_dead_epoch_acknowledges_nothing() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.backend().pongs = false;
    world.say("one");
    let ping = world.backend().pings()[0].to_vec();
    world.kill_backend();
    world.attach_to(Peer::mute_backend());
    assert_eq!(world.session.epoch(), 2);
    let frame = wire::pong(&ping, None);
    let passed = world.session.handle_backend_data(world.now, 1, &frame);
    assert_eq!((passed.consumed, passed.direct), (frame.len(), 0..0));
    assert_eq!(world.session.counters().dead_bytes, frame.len() as u64);
    assert_eq!(world.session.unacknowledged(), 1);
}

#[test]
fn a_barrier_may_stand_between_the_fragments_of_a_message() {
    let mut world = World::new();
    world.say("one");
    world.say("two");
    world.client.say_in_parts(&["begin ", "middle ", "end"]);
    let parts: Vec<u8> = world.client.outbox.drain(..).collect();
    world.client.send(&parts[..6 + 6]);
    world.run();
    assert_eq!(world.session.unacknowledged(), 1);
    world.pass(millis(20));
    assert_eq!((world.backend().pings().len(), world.session.unacknowledged()), (2, 0));
    world.client.send(&parts[6 + 6..]);
    world.pass(millis(20));
    assert_eq!(world.backend().messages(), ["one", "two", "begin middle end"]);
    assert_eq!(world.session.unacknowledged(), 0);
}

#[test]
fn a_backend_that_answers_no_pings_gets_a_sliding_window() {
    let mut world = World::with(|config| config.buffer_messages = 4);
    world.backend().pongs = false;
    for _ in 0..6 {
        world.say("more");
    }
    assert!(!world.session.wants_read(Side::Client));
    world.pass(seconds(10));
    assert_eq!(world.mutes, [1]);
    world.session.handle_mute(1);
    world.run();
    for _ in 0..100 {
        world.say("more");
    }
    assert_eq!(world.backend().messages().len(), 106);
    assert_eq!((world.session.retained(), world.session.counters().slid), (4, 102));
}

#[test]
fn a_window_that_slid_keeps_the_newest_for_the_next_leg() {
    let mut world = World::with(|config| config.buffer_messages = 2);
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    world.session.handle_mute(1);
    for text in ["one", "two", "three"] {
        world.say(text);
    }
    world.kill_backend();
    assert_eq!(world.backend().messages(), ["two", "three"]);
}

#[test]
fn without_acknowledgement_nothing_is_replayed() {
    let mut world = World::with(|config| config.ack = AckMode::None);
    world.verdict = Some(Verdict::Dying);
    world.say("one");
    assert_eq!((world.session.retained(), world.backend().pings().len()), (0, 0));
    world.kill_backend();
    world.say("two");
    assert_eq!(world.backends[1].messages(), ["two"]);
    assert_eq!(world.session.counters().replayed, 0);
}

#[test]
fn a_message_that_lingers_is_replayed_too() {
    let mut world = World::with(|config| config.ack_linger = millis(250));
    world.verdict = Some(Verdict::Dying);
    world.say("old");
    world.pass(millis(251));
    world.say("young");
    world.pass(millis(100));
    assert_eq!((world.session.retained(), world.session.unacknowledged()), (1, 0));
    world.kill_backend();
    assert_eq!(world.backend().messages(), ["young"]);
}

#[test]
fn linger_time_does_not_run_while_there_is_no_leg() {
    let mut world = World::with(|config| config.ack_linger = millis(250));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.say("young");
    world.pass(millis(100));
    world.kill_backend();
    world.pass(seconds(3));
    world.attach();
    assert_eq!(world.backend().messages(), ["young"]);
}

#[test]
fn lingering_messages_make_room_first_and_hold_nobody_back() {
    let mut world = World::with(|config| {
        config.ack_linger = seconds(60);
        config.buffer_messages = 4;
    });
    for _ in 0..20 {
        world.say("more");
    }
    assert_eq!(world.backend().messages().len(), 20);
    assert!(world.session.retained() <= 4);
    assert!(world.session.counters().evicted >= 16);
}
