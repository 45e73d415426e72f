//! Control frames of our own stand between frames, never in one. The peers' ears panic where one does.

use tideover_protocol::session::EndReason;

use crate::world::{World, millis, seconds, wire};

#[test]
fn control_frames_never_stand_inside_a_frame() {
    for grain in [1, 2, 3, 7] {
        let mut world = World::with(|config| config.ack_interval = millis(0));
        world.client.grain = grain;
        world.backend().grain = grain;
        for number in 0..20 {
            world.client.say(&"x".repeat(number * 11));
            world.client.ping(&[number as u8; 5]);
            world.client.say_in_parts(&["a", "", "b"]);
            world.backend().ping(&[number as u8; 5]);
            world.backend().say_in_parts(&["c", "", "d"]);
            for _ in 0..number {
                world.turn();
            }
        }
        world.pass(seconds(20));
        assert_eq!(world.backend().messages().len(), 40, "grain {grain}");
        assert_eq!(world.client.messages().len(), 60, "grain {grain}");
        assert_eq!(world.session.unacknowledged(), 0);
    }
}

#[test]
fn a_pong_waits_for_the_end_of_the_frame_that_blocks_the_leg() {
    for room in 0..30 {
        let mut world = World::new();
        world.client.room = room;
        world.backend().room = room;
        world.client.say("a message of the client");
        world.client.ping(b"ping");
        world.backend().say("a message of the backend");
        world.backend().ping(b"ping");
        world.run();
        (world.client.room, world.backend().room) = (usize::MAX, usize::MAX);
        world.run();
        let pong = wire::Heard::Pong(b"ping".to_vec());
        assert!(world.client.heard.contains(&pong) && world.backend().heard.contains(&pong), "room {room}");
    }
}

#[test]
fn pings_are_answered_in_order_and_of_very_many_the_latest() {
    let mut world = World::new();
    for number in 0..10 {
        world.client.ping(&[number]);
    }
    world.run();
    assert_eq!(world.client.heard, (0..10).map(|number| wire::Heard::Pong(vec![number])).collect::<Vec<_>>());
    world.client.room = 0;
    for number in 0..100 {
        world.client.ping(&[number]);
    }
    world.run();
    world.client.room = usize::MAX;
    world.run();
    assert_eq!(world.client.heard.last(), Some(&wire::Heard::Pong(vec![99])));
    assert!(world.client.ear.frames <= 10 + 17);
}

#[test]
fn a_farewell_never_stands_inside_a_frame() {
    for room in 0..40 {
        let mut world = World::new();
        world.backend().room = room;
        world.client.say("half of this may be written");
        world.backend().close(&wire::code(1012, ""));
        world.run();
        assert_eq!(world.backends[1].messages(), ["half of this may be written"], "room {room}");
    }
}

#[test]
fn a_client_that_answers_without_a_mask_lives_as_with_any_server_that_forgives_it() {
    for grain in [1, 2, 100] {
        let mut world = World::new();
        (world.client.masks_answers, world.client.grain) = (false, grain);
        world.say("one");
        world.pass(seconds(60));
        assert!(!world.client.pings().is_empty(), "it was pinged");
        world.backend().ping(b"still there?");
        world.say("two");
        assert_eq!(world.client.messages(), ["one", "two"]);
        world.backend().close(&wire::code(1000, "bye"));
        world.run();
        assert_eq!((world.over, world.client.close_code()), (true, Some(1000)), "in pieces of {grain}");
        assert!(matches!(world.reason(), Some(EndReason::BackendClosed(_))), "{:?}", world.reason());
    }
}

#[test]
fn whatever_else_a_client_says_without_a_mask_ends_its_session() {
    for frame in [wire::text("x", None), wire::ping(b"x", None), wire::frame(wire::CONTINUATION, b"x", None)] {
        let mut world = World::new();
        world.client.send(&frame);
        world.run();
        assert_eq!((world.over, world.client.close_code()), (true, Some(1002)));
    }
}
