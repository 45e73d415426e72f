//! Sessions whose ends agreed on permessage-deflate (RFC 7692): what is compressed passes as it came.

use flate2::{Compress, Compression, FlushCompress};
use tideover_protocol::session::{AckCarrier, BackendTraits, Verdict};

use crate::world::{Peer, World, seconds, wire};

/// What a story compresses: long enough that levels make a difference.
const ANSWER: &str = "an answer, an answer, and once more an answer";

fn world() -> World {
    let mut world = World::deflating(BackendTraits::default(), |config| config.dedupe_replies = true);
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.backend().pongs = false;
    world.backend().echoes = false;
    world
}

fn silent() -> Peer {
    let mut backend = Peer::silent_backend();
    backend.ear.deflate = true;
    backend
}

/// The backend dies, and this is the next.
fn die_for(world: &mut World, next: Peer) {
    world.kill_backend();
    world.pass(seconds(3));
    world.attach_to(next);
}

/// Compressed with nothing before it. Level 0 stores, so its bytes are never those of another level.
fn deflated(text: &str, level: u32) -> Vec<u8> {
    let mut state = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(text.len() + 100);
    state.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).expect("it compresses");
    out.truncate(out.len() - 4);
    out
}

fn say_compressed(peer: &mut Peer, text: &str, level: u32) {
    let frame = wire::frame(wire::FIN | wire::RSV1 | wire::TEXT, &deflated(text, level), peer.mask());
    peer.send(&frame);
}

fn say_compressed_in_frames(peer: &mut Peer, text: &str, level: u32) {
    let payload = deflated(text, level);
    let (first, last) = payload.split_at(payload.len() / 2);
    let frames =
        [(wire::RSV1 | wire::TEXT, first), (wire::CONTINUATION, &[][..]), (wire::FIN | wire::CONTINUATION, last)];
    for (bits, part) in frames {
        let frame = wire::frame(bits, part, peer.mask());
        peer.send(&frame);
    }
}

fn payloads(peer: &Peer) -> Vec<Vec<u8>> {
    let messages = peer.heard.iter().filter_map(|heard| match heard {
        wire::Heard::Message(message) => Some(message.clone()),
        wire::Heard::Ping(_) | wire::Heard::Pong(_) | wire::Heard::Close(_) => None,
    });
    messages.collect()
}

#[test]
fn compressed_messages_pass_as_they_came_both_ways_and_again_at_a_replay() {
    for grain in [1, 7, usize::MAX] {
        let mut world = world();
        (world.client.grain, world.backend().grain) = (grain, grain);
        say_compressed(&mut world.client, "hello", 6);
        say_compressed_in_frames(&mut world.client, "in frames", 6);
        let sent = [deflated("hello", 6), deflated("in frames", 6)];
        say_compressed_in_frames(world.backend(), "a push in frames", 6);
        say_compressed(world.backend(), "a push", 0);
        let said: Vec<u8> = world.backend().outbox.iter().copied().collect();
        world.run();
        assert_eq!(world.client.raw, said);
        die_for(&mut world, silent());
        world.run();
        assert!(world.backends.iter().all(|backend| payloads(backend) == sent), "grain {grain}");
    }
}

#[test]
fn an_answer_that_another_backend_compresses_otherwise_is_swallowed() {
    let plain = |backend: &mut Peer| backend.say(ANSWER);
    let stored = |backend: &mut Peer| say_compressed(backend, ANSWER, 0);
    let dense = |backend: &mut Peer| say_compressed(backend, ANSWER, 9);
    let dense_in_frames = |backend: &mut Peer| say_compressed_in_frames(backend, ANSWER, 9);
    let ways: [fn(&mut Peer); 4] = [plain, stored, dense, dense_in_frames];
    for first in ways {
        for second in ways {
            let mut world = world();
            world.say("question");
            first(world.backend());
            world.run();
            die_for(&mut world, silent());
            second(world.backend());
            say_compressed(world.backend(), "new", 6);
            world.run();
            assert_eq!(payloads(&world.client).len(), 2, "once, and what is new");
            assert_eq!(world.session.counters().swallowed, 1);
        }
    }
}

#[test]
fn what_cannot_be_inflated_is_the_same_only_byte_by_byte() {
    let broken = wire::frame(wire::FIN | wire::RSV1 | wire::TEXT, b"no DEFLATE", None);
    let other = wire::frame(wire::FIN | wire::RSV1 | wire::TEXT, b"no DEFLATE either", None);
    for (again, told) in [(&broken, 1), (&other, 2)] {
        let mut world = world();
        world.say("question");
        world.backend().send(&broken);
        world.run();
        die_for(&mut world, silent());
        world.backend().send(again);
        world.run();
        assert_eq!(payloads(&world.client).len(), told);
    }
}

#[test]
fn without_dedupe_bytes_an_answer_compressed_otherwise_is_repeated() {
    let mut world = World::deflating(BackendTraits::default(), |config| {
        (config.dedupe_replies, config.dedupe_bytes) = (true, 0);
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = silent();
    world.say("question");
    say_compressed(world.backend(), ANSWER, 6);
    say_compressed(world.backend(), ANSWER, 6);
    world.run();
    die_for(&mut world, silent());
    say_compressed(world.backend(), ANSWER, 6);
    say_compressed(world.backend(), ANSWER, 0);
    world.run();
    assert_eq!(payloads(&world.client).len(), 3);
}

#[test]
fn what_is_kept_for_comparison_is_given_back_when_nothing_is_retained() {
    let mut world = world();
    world.say("question");
    say_compressed(world.backend(), &"x".repeat(100_000), 0);
    world.run();
    assert!(world.session.buffered() > 100_000);
    let ping = world.backend().pings().last().expect("a barrier").to_vec();
    world.backend().pong(&ping);
    world.run();
    assert_eq!((world.session.buffered(), world.session.retained()), (0, 0));
}

#[test]
fn a_compressed_acknowledgement_counts_like_a_plain_one() {
    let traits = BackendTraits { carrier: Some(AckCarrier::Message), ..BackendTraits::default() };
    let mut world = World::deflating(traits, |_| {});
    *world.backend() = silent();
    for text in ["one", "two", "three"] {
        world.say(text);
    }
    say_compressed(world.backend(), "tideover:ack:1", 6);
    say_compressed_in_frames(world.backend(), "tideover:ack:2", 6);
    say_compressed(world.backend(), "tideover:ack:x", 6);
    world.run();
    assert_eq!(world.session.retained(), 1);
    assert_eq!(payloads(&world.client), [deflated("tideover:ack:x", 6)]);
}

#[test]
fn reserved_bits_are_an_error_but_for_rsv1_where_it_was_agreed_on() {
    let first_frames: [(bool, u8, bool); 6] = [
        (true, 0xC1, true),
        (true, 0xC2, true),
        (false, 0xC1, false),
        (true, 0xE1, false),
        (true, 0x91, false),
        (true, 0xC9, false),
    ];
    for (deflate, first, legal) in first_frames {
        let mut world = if deflate { world() } else { World::new() };
        let frame = wire::frame(first, b"x", world.client.mask());
        world.client.send(&frame);
        world.run();
        assert_eq!(world.client.close_code(), (!legal).then_some(1002), "a client's {first:#x}");
        let mut world = if deflate { self::world() } else { World::new() };
        world.backend().send(&wire::frame(first, b"x", None));
        world.run();
        assert_eq!(world.backends[0].close_code(), (!legal).then_some(1002), "a backend's {first:#x}");
    }
}

#[test]
fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
    for (first, second) in [(0x41, 0xC0), (0x01, 0xC0)] {
        let mut world = world();
        for bits in [first, second] {
            let frame = wire::frame(bits, b"x", world.client.mask());
            world.client.send(&frame);
        }
        world.run();
        assert_eq!(world.client.close_code(), Some(1002));
    }
}
