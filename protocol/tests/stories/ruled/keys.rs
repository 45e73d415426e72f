//! Messages that a message of the backend with their key acknowledges, out of order.

use tideover_protocol::session::{AckMode, Linger, OnFull, Side};

use super::{Spoken, die_for, quiet, reattach, ruled, ruled_by, ruled_with, tell};
use crate::world::{Peer, World, millis, seconds};

#[test]
fn keys_acknowledge_out_of_order_and_only_their_message() {
    let mut world = ruled();
    for message in ["ask:1 one", "ask:2 two", "ask:3 three", "ask:2 four"] {
        world.say(message);
    }
    world.pass(seconds(1));
    assert_eq!(world.session.retained(), 4, "a pong does not acknowledge them");
    tell(&mut world, "done:2");
    tell(&mut world, "done:nobody");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:1 one", "ask:3 three", "ask:2 four"], "the oldest with the key");
    for answer in ["done:3", "done:2", "done:1"] {
        tell(&mut world, answer);
    }
    assert_eq!((world.session.retained(), world.session.counters().keyed), (0, 4));
}

#[test]
fn messages_without_a_key_fall_back_to_the_barrier() {
    let mut world = ruled();
    for message in ["ask:1 one", "notify", "ask:2 two", "notify again"] {
        world.say(message);
    }
    world.pass(seconds(1));
    assert_eq!((world.session.retained(), world.session.unacknowledged()), (2, 2));
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:1 one", "ask:2 two"]);
}

#[test]
fn what_the_client_gives_up_is_acknowledged_by_the_barrier_behind_it_and_replayed_until_then() {
    let mut world = ruled();
    for message in ["ask:1 one", "ask:2 two", "ask:1 three", "give-up:1"] {
        world.say(message);
    }
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:1 one", "ask:2 two", "ask:1 three", "give-up:1"], "it may be unread");
    world.pass(seconds(1));
    assert_eq!((world.session.retained(), world.session.counters().keyed), (2, 0));
    tell(&mut world, "done:1");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:2 two"], "its answer would have been for the oldest, which is none");
}

#[test]
fn messages_without_a_key_linger_behind_one_that_waits_for_its_key() {
    let mut world = ruled_with(|config| config.ack_linger = Linger::For(millis(200)));
    world.say("ask:1 one");
    world.say("notify");
    world.pass(millis(100));
    assert_eq!((world.session.retained(), world.session.unacknowledged()), (2, 1));
    world.kill_backend();
    reattach(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:1 one", "notify"]);
    world.pass(seconds(1));
    assert_eq!((world.session.retained(), world.session.unacknowledged()), (1, 1));
}

#[test]
fn an_answer_acknowledges_nothing_that_the_leg_has_not_been_written() {
    let mut world = ruled();
    world.say("ask:1 one");
    world.kill_backend();
    world.pass(seconds(3));
    let mut next = quiet();
    next.room = 3;
    world.attach_to(next);
    tell(&mut world, "done:1");
    world.backend().room = usize::MAX;
    world.run();
    assert_eq!(world.backend().messages(), ["ask:1 one"]);
    assert_eq!(world.session.retained(), 1);
}

#[test]
fn a_pinned_message_is_acknowledged_by_its_key_while_it_is_in_the_prelude() {
    let mut world = ruled();
    world.say("pin:a expects:a hold ask:1 one");
    world.say("ask:2 two");
    die_for(&mut world, quiet());
    assert_eq!(world.session.retained(), 2);
    tell(&mut world, "answers:a done:1");
    assert_eq!((world.session.retained(), world.client.messages().len()), (1, 1), "it is the first answer");
    assert_eq!(world.backend().messages(), ["pin:a expects:a hold ask:1 one", "ask:2 two"]);
}

#[test]
fn the_answer_to_a_pin_does_not_acknowledge_a_newer_message_that_uses_its_key_again() {
    let mut world = ruled();
    world.say("pin:a expects:1 ask:1 login");
    tell(&mut world, "answers:1 done:1 welcome");
    world.say("ask:1 query");
    die_for(&mut world, quiet());
    tell(&mut world, "answers:1 done:1 welcome again");
    assert_eq!(world.session.retained(), 1);
    tell(&mut world, "answers:1 done:1 result");
    assert_eq!(world.session.retained(), 0);
    assert_eq!(world.client.messages(), ["answers:1 done:1 welcome", "answers:1 done:1 result"]);
}

/// A world whose ring has room for four messages, and holds three that were read and not answered, and one.
fn full(on_full: OnFull, linger: bool) -> World {
    let mut world = ruled_with(|config| {
        (config.buffer_messages, config.on_full) = (4, on_full);
        if linger {
            config.ack_linger = Linger::For(seconds(60));
        }
    });
    for message in ["ask:1 one", "ask:2 two", "notify", "ask:3 three"] {
        world.say(message);
    }
    world.pass(seconds(1));
    world
}

#[test]
fn a_full_ring_evicts_what_lingers_before_what_was_read() {
    let mut world = full(OnFull::Block, true);
    assert_eq!(world.session.retained(), 4);
    world.say("ask:4 four");
    let counters = world.session.counters();
    assert_eq!((counters.evicted, counters.evicted_keyed, world.session.retained()), (1, 0, 4));
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:1 one", "ask:2 two", "ask:3 three", "ask:4 four"]);
}

#[test]
fn a_full_ring_evicts_the_oldest_that_a_barrier_proved_read_before_it_blocks() {
    for on_full in [OnFull::Block, OnFull::Close, OnFull::DropOldest] {
        let mut world = full(on_full, false);
        for message in ["ask:4 four", "ask:5 five"] {
            world.say(message);
            world.pass(millis(100));
        }
        let counters = *world.session.counters();
        assert_eq!((counters.evicted_keyed, counters.dropped, world.over), (1, 0, false), "{on_full:?}");
        tell(&mut world, "done:1 late");
        assert_eq!(world.client.messages(), ["done:1 late"]);
        die_for(&mut world, quiet());
        let kept = ["ask:2 two", "ask:3 three", "ask:4 four", "ask:5 five"];
        assert_eq!(world.backend().messages(), kept);
    }
}

#[test]
fn a_full_ring_blocks_where_nothing_was_proven_read() {
    let mut world = ruled_with(|config| config.buffer_messages = 2);
    world.backend().pongs = false;
    for message in ["ask:1 one", "ask:2 two", "ask:3 three"] {
        world.say(message);
    }
    assert!(!world.session.wants_read(Side::Client) && world.session.counters().received == 2);
    tell(&mut world, "done:2");
    assert_eq!(world.backend().messages().len(), 3);
}

#[test]
fn in_isolation_a_message_that_was_read_is_waited_for_so_long_and_the_next_goes_out() {
    let mut world = ruled_with(|config| config.ack_timeout = seconds(5));
    world.backend().pongs = false;
    world.say("ask:1 one");
    world.say("ask:2 two");
    for _ in 0..2 {
        die_for(&mut world, Peer::silent_backend());
    }
    die_for(&mut world, quiet());
    world.pass(seconds(4));
    assert_eq!(world.backend().messages(), ["ask:1 one"]);
    world.pass(seconds(2));
    assert_eq!(world.backend().messages(), ["ask:1 one", "ask:2 two"]);
    assert_eq!(world.session.retained(), 2, "that it is not waited for is no reason to forget it");
}

#[test]
fn in_isolation_pinned_messages_that_are_retained_hold_up_nothing() {
    let mut world = ruled();
    world.say("pin:p zero");
    world.pass(seconds(1));
    world.backend().pongs = false;
    for message in ["pin:a one", "pin:b two", "three", "pin:c four", "five"] {
        world.say(message);
    }
    for _ in 0..2 {
        die_for(&mut world, Peer::silent_backend());
    }
    die_for(&mut world, quiet());
    world.pass(seconds(10));
    let said = ["pin:p zero", "pin:a one", "pin:b two", "pin:c four", "three", "five"];
    assert_eq!((world.backend().messages(), world.session.retained()), (said.map(String::from).to_vec(), 0));
}

#[test]
fn in_isolation_an_answer_lets_the_next_message_out() {
    let mut world = ruled();
    world.backend().pongs = false;
    world.say("pin:p zero");
    world.say("ask:1 one");
    world.say("ask:2 two");
    for _ in 0..3 {
        die_for(&mut world, Peer::silent_backend());
    }
    world.backend().pongs = true;
    world.pass(seconds(30));
    let ping = world.backend().pings().last().expect("a barrier").to_vec();
    world.backend().pong(&ping);
    world.pass(seconds(1));
    assert_eq!(world.backend().messages(), ["pin:p zero", "ask:1 one"]);
    tell(&mut world, "done:1");
    assert_eq!(world.backend().messages(), ["pin:p zero", "ask:1 one", "ask:2 two"]);
}

#[test]
fn without_rules_for_backends_messages_of_theirs_pass_untouched_and_pins_still_come_first() {
    let mut world = ruled_by(Spoken { one_sided: true, ..Spoken::default() }, |config| config.ack = AckMode::Pong);
    world.say("pin:a expects:a one");
    tell(&mut world, "answers:a first");
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    world.say("two");
    assert_eq!(world.backend().messages(), ["pin:a expects:a one", "two"]);
    tell(&mut world, "answers:a again");
    assert_eq!(world.client.messages().len(), 2);
}
