//! What a new leg says again, and the client is not to hear.

use super::{die_for, grained, quiet, reattach, ruled, ruled_with, tell};
use crate::world::{Peer, seconds};

#[test]
fn the_answer_to_a_pin_is_swallowed_only_if_the_client_had_one() {
    let mut world = ruled();
    world.say("pin:a expects:a one");
    world.say("pin:b expects:b two");
    tell(&mut world, "answers:a first");
    world.pass(seconds(1));
    for _ in 0..2 {
        die_for(&mut world, quiet());
        tell(&mut world, "answers:a again");
        tell(&mut world, "answers:b again");
        assert_eq!(world.client.messages(), ["answers:a first", "answers:b again"]);
    }
    assert_eq!(world.session.counters().ruled_swallowed, 3);
}

#[test]
fn answers_of_one_key_belong_to_the_pins_in_their_order() {
    let mut world = ruled();
    world.say("pin:a expects:k one");
    tell(&mut world, "answers:k one");
    world.say("pin:b expects:k two");
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    for answer in ["answers:k again", "answers:k two", "answers:k more"] {
        tell(&mut world, answer);
    }
    assert_eq!(world.client.messages(), ["answers:k one", "answers:k two", "answers:k more"]);
}

#[test]
fn a_newer_pin_of_the_same_key_has_an_answer_of_its_own() {
    let mut world = ruled();
    world.say("pin:a expects:k one");
    tell(&mut world, "answers:k one");
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    world.say("pin:a expects:k two");
    tell(&mut world, "answers:k again");
    tell(&mut world, "answers:k two");
    assert_eq!(world.client.messages(), ["answers:k one", "answers:k two"]);
}

#[test]
fn what_is_swallowed_never_reaches_the_client_in_whatever_pieces_it_comes() {
    for grain in [1, 2, 7, usize::MAX] {
        let mut world = ruled();
        world.say("pin:a expects:a one");
        tell(&mut world, "answers:a first");
        world.pass(seconds(1));
        die_for(&mut world, grained(grain));
        world.backend().say("before");
        world.backend().say_in_parts(&["answers:a", " in", "", " parts"]);
        world.backend().say("answers:none");
        world.run();
        assert_eq!(world.client.messages(), ["answers:a first", "before", "answers:none"], "in pieces of {grain}");
    }
}

#[test]
fn what_every_leg_says_first_reaches_the_client_once_a_session() {
    let mut world = ruled();
    tell(&mut world, "hello from one");
    tell(&mut world, "hello once more");
    die_for(&mut world, quiet());
    tell(&mut world, "hello from two");
    tell(&mut world, "hello again from two");
    assert_eq!(world.client.messages(), ["hello from one", "hello once more", "hello again from two"]);
}

#[test]
fn a_backend_that_stays_may_say_more_than_once_what_is_to_be_had_once() {
    let mut world = ruled();
    world.say("ask:1 live query");
    tell(&mut world, "once:1 result");
    tell(&mut world, "once:1 newer result");
    die_for(&mut world, quiet());
    tell(&mut world, "once:1 newer result");
    tell(&mut world, "once:1 newest result");
    let heard = ["once:1 result", "once:1 newer result", "once:1 newest result"];
    assert_eq!(world.client.messages(), heard);
}

#[test]
fn while_a_message_is_retained_the_client_gets_one_answer_of_the_kind_it_is_to_have_once() {
    let mut world = ruled();
    world.say("ask:1 query");
    tell(&mut world, "once:1 result");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["ask:1 query"]);
    tell(&mut world, "once:1 result");
    tell(&mut world, "done:1 complete");
    tell(&mut world, "once:1 of something else");
    assert_eq!(world.client.messages(), ["once:1 result", "done:1 complete", "once:1 of something else"]);
}

#[test]
fn what_is_swallowed_is_no_reply_and_not_remembered_for_deduplication() {
    let mut world = ruled_with(|config| {
        config.ack = tideover_protocol::session::AckMode::Pong;
        config.dedupe_replies = true;
    });
    world.backend().pongs = false;
    world.say("pin:a expects:a one");
    tell(&mut world, "answers:a first");
    world.say("two");
    tell(&mut world, "to two");
    world.kill_backend();
    reattach(&mut world, Peer::silent_backend());
    assert_eq!(world.backend().messages(), ["pin:a expects:a one", "two"]);
    tell(&mut world, "answers:a again");
    tell(&mut world, "to two");
    tell(&mut world, "news");
    assert_eq!(world.client.messages(), ["answers:a first", "to two", "news"]);
    let counters = world.session.counters();
    assert_eq!((counters.ruled_swallowed, counters.swallowed), (1, 1));
}
