//! Rules together with poison, the session protocol, compression and output commit.

use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};
use tideover_protocol::session::{AckCarrier, AckMode, BackendTraits, Commit, OnPoison, Verdict};

use super::{Spoken, die_for, quiet, ruled, ruled_by, ruled_with, tell};
use crate::world::{Peer, World, seconds, wire};

#[test]
fn a_message_that_kills_is_found_behind_pins_that_do_not() {
    let mut world = ruled_with(|config| config.on_poison = OnPoison::Drop);
    world.say("pin:a one");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.say("deadly");
    world.say("ask:1 two");
    for _ in 0..8 {
        if !world.backend().messages().iter().any(|text| text == "deadly") {
            break;
        }
        die_for(&mut world, Peer::silent_backend());
    }
    assert_eq!(world.poisoned.iter().map(|poisoned| poisoned.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(world.backend().messages(), ["pin:a one", "ask:1 two"]);
}

#[test]
fn a_message_that_kills_and_is_pinned_alone_is_set_aside_with_its_pin() {
    let mut world = ruled_with(|config| config.on_poison = OnPoison::Drop);
    world.backend().pongs = false;
    world.say("pin:a deadly");
    // Two deaths without its turn, and three with it.
    for _ in 0..5 {
        die_for(&mut world, Peer::silent_backend());
    }
    assert_eq!((world.poisoned.len(), world.backend().messages()), (1, Vec::new()));
}

#[test]
fn pins_that_share_a_leg_are_not_blamed() {
    let mut world = ruled();
    world.say("pin:a one");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.say("pin:b two");
    for _ in 0..5 {
        die_for(&mut world, Peer::silent_backend());
        assert_eq!(world.backend().messages(), ["pin:a one", "pin:b two"]);
    }
    assert_eq!((world.poisoned.len(), world.over), (0, false));
}

#[test]
fn with_the_session_protocol_what_is_retained_keeps_its_place_and_its_number() {
    let mut world = World::speaking(AckCarrier::Pong, |config| {
        config.rules = Some(Arc::new(Spoken::default()));
        config.ack = AckMode::Explicit;
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = quiet();
    for message in ["pin:a one", "two", "pin:b three", "local four"] {
        world.say(message);
    }
    world.backend().pong(b"tideover:ack:1");
    world.run();
    die_for(&mut world, quiet());
    assert_eq!((world.requests[0].pinned, world.requests[0].next_seq), (Some(1), Some(2)));
    let messages = world.backend().messages();
    assert_eq!(messages, ["pin:a one", "two", "pin:b three", "local four"], "there is no gap");
    world.backend().pong(b"tideover:ack:4");
    world.run();
    die_for(&mut world, quiet());
    assert_eq!((world.requests[1].pinned, world.requests[1].next_seq), (Some(2), Some(5)));
}

#[test]
fn with_the_session_protocol_keys_acknowledge_nothing() {
    let mut world = World::speaking(AckCarrier::Message, |config| {
        config.rules = Some(Arc::new(Spoken::default()));
        config.ack = AckMode::Rules;
    });
    *world.backend() = quiet();
    world.say("ask:1 one");
    tell(&mut world, "done:1");
    assert_eq!(world.session.retained(), 1);
    tell(&mut world, "tideover:ack:1");
    assert_eq!((world.session.retained(), world.client.messages().len()), (0, 1));
}

fn deflated(text: &str) -> Vec<u8> {
    let mut state = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(text.len() + 100);
    state.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).expect("it compresses");
    out.truncate(out.len() - 4);
    out
}

fn say_compressed(peer: &mut Peer, payload: &[u8]) {
    let frame = wire::frame(wire::FIN | wire::RSV1 | wire::TEXT, payload, peer.mask());
    peer.send(&frame);
}

fn deflating(strict: bool) -> World {
    let mut world = World::deflating(BackendTraits::default(), |config| {
        config.rules = Some(Arc::new(Spoken { strict, ..Spoken::default() }));
        config.ack = AckMode::Rules;
        config.inspect_bytes = 200;
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.backend().echoes = false;
    world
}

#[test]
fn compressed_messages_are_inflated_to_be_looked_at_and_relayed_as_they_came() {
    let mut world = deflating(false);
    say_compressed(&mut world.client, &deflated("pin:a expects:a one"));
    say_compressed(&mut world.client, &deflated("ask:1 two"));
    world.run();
    say_compressed(world.backend(), &deflated("answers:a"));
    say_compressed(world.backend(), &deflated("done:1"));
    world.pass(seconds(1));
    assert_eq!((world.session.retained(), world.session.counters().keyed), (0, 1));
    let mut next = quiet();
    next.ear.deflate = true;
    die_for(&mut world, next);
    say_compressed(world.backend(), &deflated("answers:a"));
    world.run();
    let pinned = wire::Heard::Message(deflated("pin:a expects:a one"));
    assert_eq!(world.backend().heard[0], pinned);
    assert_eq!(world.session.counters().ruled_swallowed, 1);
}

#[test]
fn a_bad_or_overlong_deflate_stream_cannot_be_looked_into() {
    let bombs = [b"\xff\xff\xff\xff".to_vec(), deflated(&"x".repeat(1000))];
    for bomb in bombs {
        for strict in [false, true] {
            let mut world = deflating(strict);
            say_compressed(&mut world.client, &bomb);
            world.run();
            assert_eq!((world.session.counters().opaque, world.client.close_code()), (1, strict.then_some(1008)));
            let mut world = deflating(strict);
            say_compressed(world.backend(), &bomb);
            world.run();
            assert_eq!((world.session.counters().opaque, world.client.close_code()), (1, strict.then_some(1008)));
        }
    }
}

#[test]
fn output_is_committed_beside_rules_for_the_client_alone() {
    let rules = Spoken { one_sided: true, ..Spoken::default() };
    let mut world = ruled_by(rules, |config| (config.ack, config.commit) = (AckMode::Pong, Commit::Barrier));
    world.say("pin:a one");
    world.pass(seconds(1));
    world.backend().pongs = false;
    world.say("two");
    tell(&mut world, "held");
    assert_eq!(world.client.messages(), [""; 0]);
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:a one", "two"]);
    tell(&mut world, "to two");
    world.pass(seconds(1));
    assert_eq!(world.client.messages(), ["to two"]);
}

#[test]
fn output_is_not_held_where_rules_look_at_it() {
    let mut world = ruled_with(|config| (config.ack, config.commit) = (AckMode::Pong, Commit::Barrier));
    world.backend().pongs = false;
    world.say("one");
    tell(&mut world, "to one");
    assert_eq!(world.client.messages(), ["to one"]);
}

#[test]
fn without_acknowledgement_pins_are_all_that_another_leg_is_told() {
    let mut world = ruled_with(|config| config.ack = AckMode::None);
    world.say("pin:a one");
    world.say("two");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["pin:a one"]);
}

#[test]
fn what_comes_at_once_keeps_its_order_around_what_is_changed_or_swallowed() {
    let mut world = ruled();
    world.say("pin:s expects:s learns");
    tell(&mut world, "answers:s new-id:old");
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    for said in ["one", "two", "answers:s new-id:new", "three", "id:new four", "five", "six"] {
        world.backend().say(said);
    }
    world.run();
    let heard = ["answers:s new-id:old", "one", "two", "three", "id:old four", "five", "six"];
    assert_eq!(world.client.messages(), heard);
}

#[test]
fn what_rules_let_pass_at_once_is_written_at_once() {
    let mut world = ruled();
    (1..=8).for_each(|ask| world.say(&format!("ask:{ask}")));
    for answer in 1..=8 {
        world.backend().say(&format!("done:{answer}"));
    }
    let data = world.backend().readable().to_vec();
    let passed = world.session.handle_backend_data(world.now, 1, &data);
    assert_eq!((passed.consumed, passed.direct), (data.len(), 0..data.len()));
    assert_eq!((world.session.counters().keyed, world.session.retained()), (8, 0));
}
