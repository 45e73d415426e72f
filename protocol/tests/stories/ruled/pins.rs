//! Pinned messages: what a new leg is written first.

use tideover_protocol::rules::{Again, Kind, Pin};
use tideover_protocol::session::{AckMode, Event};

use super::{die_for, grained, key, quiet, reattach, ruled, ruled_with, tell};
use crate::world::{millis, seconds};

#[test]
fn pinned_messages_are_written_first_in_order_and_each_once_on_every_leg() {
    let mut world = ruled();
    for message in ["pin:a one", "two", "pin:b three"] {
        world.say(message);
    }
    world.pass(seconds(1));
    assert_eq!(world.session.retained(), 0);
    for _ in 0..3 {
        world.kill_backend();
        world.client.say("four");
        reattach(&mut world, quiet());
        assert_eq!(world.backend().messages()[..2], ["pin:a one", "pin:b three"]);
        assert_eq!(world.backend().messages()[2..], ["four"]);
        world.pass(seconds(1));
    }
    assert_eq!(world.session.counters().pins_sent, 6);
    assert!(world.requests.iter().all(|request| request.pinned == Some(2)));
}

#[test]
fn pinned_frames_are_written_as_they_came() {
    let mut world = ruled();
    world.client.say_in_parts(&["pin:a ", "", "in parts"]);
    let sent: Vec<u8> = world.client.outbox.iter().copied().collect();
    world.pass(seconds(1));
    for grain in [1, 5, usize::MAX] {
        die_for(&mut world, grained(grain));
        assert_eq!(world.backend().raw[..sent.len()], sent);
    }
}

#[test]
fn a_message_that_is_pinned_and_retained_is_written_once_in_the_pins_place() {
    let mut world = ruled();
    world.backend().pongs = false;
    for message in ["one", "pin:a two", "three", "pin:b four"] {
        world.say(message);
    }
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:a two", "pin:b four", "one", "three"]);
    world.pass(seconds(1));
    assert_eq!(world.session.retained(), 0, "the first barrier behind the prelude acknowledges it too");
    assert_eq!(world.session.counters().replayed, 2, "two were written as pins");
}

#[test]
fn a_pinned_message_that_no_leg_has_had_is_written_in_its_place_too() {
    let mut world = ruled();
    world.say("pin:a one");
    world.pass(seconds(1));
    world.kill_backend();
    world.client.say("two");
    world.client.say("pin:b three");
    world.run();
    reattach(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:a one", "two", "pin:b three"], "the handshake had said one is pinned");
    world.backend().pongs = false;
    assert_eq!(world.requests[0].pinned, Some(1));
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages()[..2], ["pin:a one", "pin:b three"]);
}

#[test]
fn a_newer_message_takes_the_place_of_the_older_with_its_key_or_moves_to_the_end() {
    let mut world = ruled();
    for message in ["pin:a one", "pin:b two", "pin:c three", "pin:a four", "pin:b move five"] {
        world.say(message);
        world.pass(seconds(1));
    }
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:a four", "pin:c three", "pin:b move five"]);
}

#[test]
fn an_older_message_that_is_not_acknowledged_stays_ahead_of_the_newer_one() {
    let mut world = ruled();
    world.say("pin:x zero");
    world.pass(seconds(1));
    world.say("pin:a ask:1 one");
    world.say("pin:a ask:2 two");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:x zero", "pin:a ask:1 one", "pin:a ask:2 two"]);
    tell(&mut world, "done:1");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:x zero", "pin:a ask:2 two"]);
}

#[test]
fn a_pin_ends_when_the_message_that_says_so_comes_or_when_it_is_acknowledged() {
    let mut world = ruled();
    world.say("pin:a one");
    world.say("pin:b two");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.say("unpin:a three");
    world.say("unpin-later:b four");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:b two", "unpin:a three", "unpin-later:b four"]);
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), [""; 0]);
}

#[test]
fn a_pin_that_the_backend_ends_is_neither_pinned_nor_replayed() {
    let mut world = ruled();
    world.backend().pongs = false;
    world.say("pin:a ask:1 one");
    world.say("pin:b two");
    tell(&mut world, "ends:a");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:b two"]);
}

#[test]
fn what_the_client_said_elsewhere_is_pinned_from_the_start() {
    let mut world = ruled();
    let pin = Pin { key: key("c"), again: Again::Replace, expects: Some(key("c")), hold: true, learns: false };
    assert!(world.session.pin_ahead(Kind::Text, b"connect", &pin));
    world.say("one");
    assert_eq!(world.backend().messages(), ["one"], "the first backend was told elsewhere");
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    world.say("two");
    assert_eq!(world.backend().messages(), ["connect"]);
    tell(&mut world, "answers:c");
    assert_eq!(world.backend().messages(), ["connect", "two"]);
    assert!(world.client.messages().is_empty(), "the client had its answer elsewhere");
}

#[test]
fn pins_are_not_counted_among_the_messages_of_a_leg_that_replies_one_a_message() {
    let mut world = ruled_with(|config| config.ack = AckMode::Reply);
    world.say("pin:a expects:a one");
    tell(&mut world, "answers:a");
    world.say("pin:b two");
    tell(&mut world, "to two");
    assert_eq!(world.session.retained(), 0);
    world.say("three");
    world.say("four");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:a expects:a one", "pin:b two", "three", "four"]);
    tell(&mut world, "answers:a");
    tell(&mut world, "to two");
    assert_eq!(world.session.retained(), 2, "these were replies to pinned messages");
    tell(&mut world, "to three");
    tell(&mut world, "to four");
    assert_eq!((world.session.retained(), world.session.counters().fallbacks), (0, 0));
}

#[test]
fn a_migrated_session_begins_with_its_pins_like_any_other_leg() {
    let mut world = ruled();
    world.say("pin:a one");
    world.say("ask:1 two");
    world.migrate();
    world.pass(seconds(5));
    assert_eq!(world.backends.len(), 1, "a message with a key is not answered yet");
    tell(&mut world, "done:1");
    world.pass(seconds(25));
    assert!(world.events.iter().any(|event| matches!(event, Event::Migrated(2))), "{:?}", world.events);
    world.say("three");
    assert_eq!(world.backend().messages(), ["pin:a one", "three"]);
    assert_eq!(world.requests[0].pinned, None, "not known while the old leg goes on");
    assert_eq!(world.session.counters().replayed, 0);
}

#[test]
fn pings_are_answered_inside_a_prelude_at_frame_borders() {
    let mut world = ruled();
    world.client.say_in_parts(&["pin:a expects:a hold ", "first, ", "second"]);
    world.pass(seconds(1));
    world.kill_backend();
    world.pass(seconds(3));
    world.attach_to(grained(3));
    world.backend().ping(b"are you there");
    world.pass(millis(100));
    let backend = world.backend();
    assert!(backend.heard.contains(&crate::world::wire::Heard::Pong(b"are you there".to_vec())));
    assert_eq!(backend.messages(), ["pin:a expects:a hold first, second"]);
}
