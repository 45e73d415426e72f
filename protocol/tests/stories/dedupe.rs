//! Replies that the client was given are not given again.

use std::time::Duration;

use tideover_protocol::session::{Budgets, Linger, Verdict};

use crate::world::{Peer, World, millis, seconds, wire};

fn world() -> World {
    let mut world = World::with(|config| config.dedupe_replies = true);
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    world.dial_succeeds = None;
    world
}

/// The backend dies, and the next answers no pings unless it is told to.
fn die(world: &mut World) {
    die_for(world, Peer::mute_backend());
}

/// The backend dies, and this is the next.
fn die_for(world: &mut World, next: Peer) {
    world.kill_backend();
    world.pass(seconds(3));
    world.attach_to(next);
}

/// Answers the latest ping of the latest leg.
fn pong(world: &mut World) {
    let ping = world.backend().pings().last().expect("a ping").to_vec();
    world.backend().pong(&ping);
    world.run();
}

#[test]
fn what_a_new_leg_repeats_is_swallowed() {
    let mut world = world();
    for text in ["a", "a", "b"] {
        world.say(text);
    }
    die(&mut world);
    world.say("c");
    assert_eq!(world.client.messages(), ["a", "a", "b", "c"]);
    assert_eq!(world.session.counters().swallowed, 3);
}

#[test]
fn a_reply_in_fragments_is_recognised_by_its_payload() {
    let mut world = world();
    world.say("hello");
    die_for(&mut world, Peer::silent_backend());
    world.backend().say_in_parts(&["hel", "", "lo"]);
    let frame = wire::text("hello", None);
    world.backend().send(&frame);
    world.run();
    assert_eq!(world.client.messages(), ["hello", "hello"], "once, and once more that is new");
}

#[test]
fn the_first_difference_ends_the_swallowing() {
    let mut world = world();
    world.say("a");
    world.say("b");
    die_for(&mut world, Peer::silent_backend());
    for text in ["a", "other", "b"] {
        world.backend().say(text);
    }
    world.run();
    assert_eq!(world.client.messages(), ["a", "b", "other", "b"]);
}

#[test]
fn a_second_death_inside_a_replay_starts_the_comparison_anew() {
    let mut world = world();
    for text in ["a", "b", "c"] {
        world.say(text);
    }
    die_for(&mut world, Peer::silent_backend());
    world.backend().say("a");
    die(&mut world);
    assert_eq!(world.client.messages(), ["a", "b", "c"]);
}

#[test]
fn a_barrier_inside_a_replay_forgets_only_what_was_repeated_before_it() {
    let mut world = world();
    world.say("a");
    world.say("b");
    die(&mut world);
    // After a second death a barrier stands behind each message.
    die(&mut world);
    assert_eq!(world.backend().messages(), ["a"]);
    pong(&mut world);
    world.pass(seconds(1));
    assert_eq!(world.backend().messages(), ["a", "b"]);
    assert_eq!(world.client.messages(), ["a", "b"]);
}

#[test]
fn what_was_said_to_messages_that_lingered_goes_with_them() {
    let mut world = World::with(|config| {
        config.dedupe_replies = true;
        config.ack_linger = Linger::For(millis(100));
    });
    world.verdict = Some(Verdict::Dying);
    world.say("same");
    world.pass(millis(50));
    world.say("same");
    world.pass(millis(60));
    assert_eq!(world.session.retained(), 1);
    world.kill_backend();
    world.say("same");
    assert_eq!(world.client.messages(), ["same", "same", "same"]);
}

#[test]
fn beyond_dedupe_entries_replies_are_repeated() {
    let mut world = World::with(|config| (config.dedupe_replies, config.dedupe_entries) = (true, 2));
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    for text in ["a", "b", "c"] {
        world.say(text);
    }
    world.kill_backend();
    assert_eq!(world.client.messages(), ["a", "b", "c", "c"]);
}

#[test]
fn what_is_remembered_for_comparison_counts_in_the_budget() {
    let budgets = Budgets::new(1 << 20);
    let mut world = World::sharing(&budgets, |config| {
        (config.dedupe_replies, config.ack_linger) = (true, Linger::For(Duration::ZERO));
    });
    world.backend().pongs = false;
    world.say("question");
    for number in 0..1000 {
        world.backend().say(&number.to_string());
    }
    world.run();
    assert_eq!(world.client.messages().len(), 1001);
    let used = budgets.downstream.used();
    assert!(used >= 24 * 1000, "{used} bytes for a thousand messages of 24 bytes");
    pong(&mut world);
    assert_eq!((world.session.retained(), budgets.downstream.used()), (0, 0));
}
