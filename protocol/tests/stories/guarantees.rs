//! Acknowledgement by reply, greetings, and how long what is acknowledged lingers.

use tideover_protocol::session::{AckMode, Event, Linger, PongOrder, Verdict};

use crate::world::{Peer, World, millis, seconds};

fn by_reply() -> World {
    let mut world = World::with(|config| config.ack = AckMode::Reply);
    world.verdict = Some(Verdict::Dying);
    world.backend().echoes = false;
    world
}

fn fell_back(world: &World) -> bool {
    world.events.contains(&Event::FellBack)
}

#[test]
fn each_reply_acknowledges_one_message() {
    let mut world = by_reply();
    world.say("one");
    world.say("two");
    world.pass(seconds(1));
    assert_eq!(world.session.unacknowledged(), 2, "pongs acknowledge nothing");
    world.backend().say("the first reply");
    world.run();
    assert_eq!(world.session.retained(), 1);
    world.kill_backend();
    assert_eq!(world.backend().messages(), ["two"]);
    assert!(!fell_back(&world));
}

#[test]
fn equal_replies_are_not_taken_for_repetitions() {
    let mut world = World::with(|config| {
        config.ack = AckMode::Reply;
        config.dedupe_replies = true;
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.backend().echoes = false;
    world.say("one");
    world.say("two");
    world.backend().say("done");
    world.kill_backend();
    world.attach_to(Peer::silent_backend());
    world.backend().say("done");
    world.run();
    assert_eq!(world.client.messages(), ["done", "done"], "the second answers the second message");
}

#[test]
fn a_push_makes_reply_fall_back_to_pong() {
    let mut world = by_reply();
    world.backend().say("news");
    world.run();
    assert!(fell_back(&world));
    world.say("one");
    assert_eq!((world.session.unacknowledged(), world.session.counters().fallbacks), (0, 1));
}

#[test]
fn a_message_that_nobody_answers_makes_reply_fall_back() {
    let mut world = by_reply();
    world.say("one");
    world.pass(millis(9_999));
    assert!(!fell_back(&world));
    world.pass(millis(1));
    assert!(fell_back(&world));
    assert_eq!(world.session.retained(), 0);
}

#[test]
fn pongs_that_prove_nothing_new_do_not_put_off_the_fallback() {
    let mut world = World::with(|config| {
        config.ack = AckMode::Reply;
        config.ack_timeout = seconds(40);
    });
    world.backend().echoes = false;
    world.say("one");
    world.pass(seconds(41));
    assert!(world.backend().pings().len() > 1, "the idle leg is pinged meanwhile");
    assert!(fell_back(&world));
}

#[test]
fn the_client_is_greeted_once_and_a_greeting_is_no_reply() {
    let mut world = World::with(|config| (config.ack, config.greeting) = (AckMode::Reply, 1));
    world.verdict = Some(Verdict::Dying);
    world.backend().say("hello");
    world.run();
    assert!(!fell_back(&world));
    world.kill_backend();
    world.backend().say("hello");
    world.say("one");
    assert_eq!(world.client.messages(), ["hello", "one"]);
    assert_eq!((world.session.retained(), world.session.counters().swallowed), (0, 0));
}

#[test]
fn a_greeting_that_died_on_its_way_is_given_by_the_next_leg() {
    let mut world = World::with(|config| config.greeting = 2);
    world.verdict = Some(Verdict::Dying);
    world.backend().say("hello");
    world.kill_backend();
    world.backend().say("hello");
    world.backend().say("what can I do for you?");
    world.backend().say("well?");
    world.run();
    assert_eq!(world.client.messages(), ["hello", "what can I do for you?", "well?"]);
}

fn auto() -> World {
    let mut world = World::with(|config| config.ack_linger = Linger::Auto);
    world.verdict = Some(Verdict::Dying);
    world
}

#[test]
fn while_the_order_of_pongs_is_not_known_messages_linger_for_250_ms() {
    let mut world = auto();
    world.backend().echoes = false;
    world.say("one");
    assert_eq!((world.session.retained(), world.session.unacknowledged()), (1, 0));
    world.pass(millis(249));
    assert_eq!(world.session.retained(), 1);
    world.pass(millis(1));
    assert_eq!(world.session.retained(), 0);
}

#[test]
fn nothing_lingers_once_eight_barriers_in_a_row_had_one_answer_a_message_before_them() {
    let mut world = auto();
    for _ in 0..7 {
        world.say("question");
        world.pass(millis(20));
    }
    assert!(world.orders.is_empty());
    world.say("question");
    assert_eq!(world.orders, [PongOrder::Late]);
    world.pass(millis(250));
    world.say("one more");
    assert_eq!(world.session.retained(), 0);
}

#[test]
fn one_answer_behind_its_pong_shows_that_pongs_come_early_for_good() {
    let mut world = auto();
    world.backend().echoes = false;
    world.say("question");
    world.backend().say("late answer");
    world.run();
    assert_eq!(world.orders, [PongOrder::Early]);
    world.backend().echoes = true;
    for _ in 0..20 {
        world.say("question");
        world.pass(millis(20));
    }
    assert_eq!(world.orders, [PongOrder::Early]);
    assert!(world.session.retained() > 0, "messages still linger");
}
