//! Messages whose borders mean nothing are cut anew into packets.

use tideover_protocol::session::{EndReason, Side};

use super::{Counted, Spoken, binary, die_for, quiet, ruled_by};
use crate::world::{Peer, World, wire};

fn world() -> World {
    ruled_by(Spoken { cutter: Some(Counted), ..Spoken::default() }, |_| {})
}

fn payloads(peer: &Peer) -> Vec<Vec<u8>> {
    let messages = peer.heard.iter().filter_map(|heard| match heard {
        wire::Heard::Message(message) => Some(message.clone()),
        wire::Heard::Ping(_) | wire::Heard::Pong(_) | wire::Heard::Close(_) => None,
    });
    messages.collect()
}

/// A packet that says `text`.
fn packet(text: &str) -> Vec<u8> {
    let mut packet = vec![text.len() as u8 + 2, b' '];
    packet.extend_from_slice(text.as_bytes());
    packet
}

#[test]
fn packets_are_the_messages_both_ways_however_they_are_cut() {
    let packets = ["one", "ask:2 two", "three"].map(packet);
    let stream = packets.concat();
    for grain in [1, 4, 9, stream.len()] {
        let mut world = world();
        world.backend().pongs = false;
        for piece in stream.chunks(grain) {
            binary(&mut world.client, piece);
            binary(world.backend(), piece);
        }
        world.run();
        assert_eq!(payloads(world.backend()), packets, "in pieces of {grain}");
        assert_eq!(payloads(&world.client), packets, "in pieces of {grain}");
        assert_eq!((world.session.counters().received, world.session.counters().passed), (3, 3));
    }
}

#[test]
fn a_packet_is_pinned_and_acknowledged_as_a_message_is() {
    let mut world = world();
    let all = ["pin:a expects:a hold", "ask:1", "ask:2"].map(packet);
    binary(&mut world.client, &all.concat());
    world.run();
    binary(world.backend(), &[packet("answers:a"), packet("done:2")].concat());
    world.pass(crate::world::seconds(1));
    assert_eq!(world.session.retained(), 1);
    die_for(&mut world, quiet());
    binary(world.backend(), &[packet("answers:a"), packet("done:1"), packet("news")].concat());
    world.run();
    assert_eq!(payloads(world.backend()), [&all[0][..], &all[1]]);
    assert_eq!(payloads(&world.client), ["answers:a", "done:2", "done:1", "news"].map(packet));
    assert_eq!(world.session.retained(), 1, "it was not written yet when that answer came");
}

#[test]
fn half_a_packet_of_a_leg_that_dies_is_dropped_and_the_clients_goes_on() {
    let mut world = world();
    let whole = packet("whole");
    binary(world.backend(), &[&whole[..], &whole[..3]].concat());
    binary(&mut world.client, &whole[..3]);
    world.run();
    die_for(&mut world, quiet());
    binary(world.backend(), &packet("new"));
    binary(&mut world.client, &whole[3..]);
    world.run();
    assert_eq!(payloads(&world.client), [packet("whole"), packet("new")]);
    assert_eq!(payloads(world.backend()), [packet("whole")]);
}

#[test]
fn what_is_no_packet_closes_the_session() {
    for side in [Side::Client, Side::Backend] {
        for text in [false, true] {
            let mut world = world();
            let peer = if side == Side::Client { &mut world.client } else { world.backend() };
            if text {
                peer.say("text")
            } else {
                binary(peer, &[0, 1])
            }
            world.run();
            assert_eq!((world.over, world.client.close_code()), (true, Some(1008)), "{side:?}");
            assert_eq!(world.reason(), Some(EndReason::ClosedByRule(side)));
        }
    }
}
