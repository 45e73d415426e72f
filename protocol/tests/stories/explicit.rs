//! Backends that speak the session protocol.

use tideover_protocol::session::{AckCarrier, AttachFailure, Event, Loss, OnFull, Verdict};

use crate::world::{Peer, World, seconds};

fn world(carrier: AckCarrier) -> World {
    let mut world = World::speaking(carrier, |_| {});
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = Peer::silent_backend();
    world
}

#[test]
fn only_the_backend_acknowledges_and_cumulatively() {
    let mut world = world(AckCarrier::Pong);
    world.backend().pongs = true;
    for text in ["one", "two", "three"] {
        world.say(text);
    }
    world.pass(seconds(3));
    assert_eq!(world.session.unacknowledged(), 3, "pongs only show that it lives");
    world.backend().pong(b"tideover:ack:2");
    world.run();
    assert_eq!(world.session.retained(), 1);
}

#[test]
fn an_acknowledgement_as_a_text_message_does_not_reach_the_client() {
    let mut world = world(AckCarrier::Message);
    world.say("one");
    world.say("two");
    world.backend().say("tideover:ack:1");
    world.backend().say_in_parts(&["tideover:", "ack:2"]);
    world.backend().say("tideover:ack:x");
    world.run();
    assert_eq!(world.client.messages(), ["tideover:ack:x"]);
    assert_eq!(world.session.retained(), 0);
}

#[test]
fn with_the_pong_carrier_such_a_text_is_the_clients() {
    let mut world = world(AckCarrier::Pong);
    world.say("one");
    world.backend().say("tideover:ack:1");
    world.run();
    assert_eq!((world.client.messages().len(), world.session.retained()), (1, 1));
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_a_protocol_error() {
    let mut world = world(AckCarrier::Pong);
    world.say("one");
    world.backend().pong(b"tideover:ack:2");
    world.run();
    assert_eq!(world.backends[0].close_code(), Some(1002));
    let lost = Event::LegLost { epoch: 1, loss: Loss::AckAhead(2), retained: 1 };
    assert!(world.events.contains(&lost) && world.dialling);
}

#[test]
fn a_handshake_says_where_the_session_stands() {
    let mut world = world(AckCarrier::Pong);
    for text in ["one", "two", "three"] {
        world.say(text);
    }
    world.backend().say("answer to one");
    world.backend().pong(b"tideover:ack:1");
    world.kill_backend();
    let request = world.requests[0];
    assert_eq!((request.epoch, request.next_seq, request.delivered), (2, Some(2), Some(1)));
    assert!(request.explicit && !request.spare_last);
}

#[test]
fn no_message_is_dropped_between_a_handshake_and_its_leg() {
    let mut world = World::with(|config| (config.buffer_messages, config.on_full) = (2, OnFull::DropOldest));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.kill_backend();
    for text in ["one", "two", "three"] {
        world.say(text);
    }
    assert_eq!((world.requests[0].next_seq, world.session.counters().dropped), (Some(1), 0));
    world.fail_to_attach(AttachFailure::Failed);
    assert_eq!(world.session.counters().dropped, 1, "until the next handshake");
}

#[test]
fn a_backend_that_counts_its_messages_sees_no_gap() {
    let mut world = World::speaking(AckCarrier::Pong, |config| {
        (config.buffer_messages, config.on_full) = (2, OnFull::DropOldest);
    });
    *world.backend() = Peer::silent_backend();
    world.backend().room = 7;
    for text in ["1", "2", "3", "4"] {
        world.say(text);
    }
    assert_eq!(world.session.counters().dropped, 0);
    world.backend().room = usize::MAX;
    world.run();
    assert_eq!(world.backend().messages(), ["1", "2"]);
}

#[test]
fn a_client_that_vanished_does_not_make_an_acknowledgement_unheard() {
    let mut world = world(AckCarrier::Message);
    world.say("one");
    world.client.vanish();
    world.run();
    assert!(!world.over);
    world.backend().say("tideover:ack:1");
    world.run();
    assert_eq!((world.over, world.session.counters().abandoned), (true, 0));
}
