//! What a session does while nothing fails.

use tideover_protocol::session::{EndReason, Session, Side};

use crate::world::{World, seconds};

#[test]
fn what_the_client_says_reaches_the_backend_and_its_answer_the_client() {
    let mut world = World::new();
    world.say("one");
    world.say("two");
    assert_eq!(world.backend().messages(), ["one", "two"]);
    assert_eq!(world.client.messages(), ["one", "two"]);
}

#[test]
fn an_idle_session_holds_no_buffers() {
    let mut world = World::new();
    world.say(&"x".repeat(500_000));
    world.client.send(&[0x81]);
    world.run();
    world.client.send(&[0x80, 0, 0, 0, 0]);
    world.pass(seconds(1));
    assert_eq!((world.session.buffered(), world.session.retained()), (0, 0));
    assert_eq!(world.client.messages().len(), 2);
}

#[test]
fn a_session_is_small() {
    let size = size_of::<Session>();
    println!("a session takes {size} bytes and, while attached, a leg");
    assert!(size <= 1536 + 154, "{size}");
}

#[test]
fn the_clients_frames_reach_the_backend_as_they_came() {
    let mut world = World::new();
    world.client.say_in_parts(&["a", "", "bc"]);
    world.client.say(&"x".repeat(70_000));
    let sent: Vec<u8> = world.client.outbox.iter().copied().collect();
    world.backend().pongs = false;
    world.run();
    let ping = 2 + 4 + world.backend().pings()[0].len();
    let read = world.backend().raw.clone();
    let start = read.len() - sent.len();
    assert_eq!(start, ping, "all the rest is one barrier");
    let at = (0..=sent.len()).find(|at| read[*at..].starts_with(&[0x89])).expect("the barrier");
    assert_eq!([&read[..at], &read[at + ping..]].concat(), sent);
}

#[test]
fn each_leg_answers_its_own_pings() {
    let mut world = World::new();
    world.client.ping(b"from the client");
    world.backend().ping(b"from the backend");
    world.run();
    assert!(world.client.heard.contains(&crate::world::wire::Heard::Pong(b"from the client".to_vec())));
    assert!(world.backend().heard.contains(&crate::world::wire::Heard::Pong(b"from the backend".to_vec())));
    assert!(world.backend().pings().iter().all(|ping| *ping != b"from the client"));
}

#[test]
fn a_client_that_does_not_read_stops_the_reading_of_the_backend() {
    let mut world = World::new();
    world.client.room = 10;
    for _ in 0..300 {
        world.backend().say(&"x".repeat(1000));
    }
    world.run();
    assert!(!world.session.wants_read(Side::Backend));
    assert!(world.session.buffered() <= 4 * 64 * 1024, "{}", world.session.buffered());
    world.client.room = usize::MAX;
    world.run();
    assert_eq!(world.client.messages().len(), 300);
    assert_eq!(world.session.buffered(), 0);
}

#[test]
fn a_client_that_cannot_be_written_holds_nothing_back() {
    let mut world = World::with(|config| config.buffer_messages = 4);
    world.client.broken = true;
    for _ in 0..40 {
        world.say(&"x".repeat(10_000));
    }
    world.backend().say_in_parts(&["half a message and ", "the other half"]);
    world.pass(seconds(2));
    assert_eq!(world.backend().messages().len(), 40, "what it says is delivered");
    assert_eq!(world.session.buffered(), 0);
    world.client.vanish();
    world.run();
    assert_eq!(world.reason(), Some(EndReason::ClientVanished));
}

#[test]
fn a_message_of_the_backend_comes_to_the_client_only_when_it_is_whole() {
    let mut world = World::new();
    world.backend().say_in_parts(&["first ", "second ", "third"]);
    let frames: Vec<u8> = world.backend().outbox.drain(..).collect();
    for (index, byte) in frames.iter().enumerate() {
        assert_eq!(world.client.raw.len(), 0, "after {index} bytes");
        world.backend().send(&[*byte]);
        world.run();
    }
    assert_eq!(world.client.messages(), ["first second third"]);
    assert_eq!(world.session.buffered(), 0);
}
