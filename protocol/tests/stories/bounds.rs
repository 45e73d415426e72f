//! What happens at the bounds of the ring and of the budgets.

use tideover_protocol::session::{Budgets, EndReason, OnFull, Reattach, Side, Verdict};

use tideover_replay_store::Reservation;

use crate::world::{World, seconds, wire};

/// A world without a backend and with room for four messages.
fn waiting(on_full: OnFull) -> World {
    let mut world = World::with(|config| {
        config.buffer_messages = 4;
        config.on_full = on_full;
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.kill_backend();
    world
}

#[test]
fn a_full_ring_blocks_the_client() {
    let mut world = waiting(OnFull::Block);
    for number in 0..10 {
        world.say(&number.to_string());
    }
    assert!(!world.session.wants_read(Side::Client));
    assert_eq!(world.session.retained(), 4);
    world.attach();
    assert_eq!(world.backend().messages(), (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_full_ring_closes_with_1013() {
    let mut world = waiting(OnFull::Close);
    for number in 0..4 {
        world.say(&number.to_string());
    }
    assert!(!world.over);
    world.say("one too many");
    assert_eq!((world.client.close_code(), world.reason()), (Some(1013), Some(EndReason::RingFull)));
    assert_eq!((world.over, world.session.counters().abandoned), (true, 4));
}

#[test]
fn a_full_ring_drops_the_oldest_message_never_written() {
    let mut world = World::with(|config| {
        config.buffer_messages = 4;
        config.on_full = OnFull::DropOldest;
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.backend().pongs = false;
    world.backend().room = 7 + 26 + 3;
    world.say("0");
    world.say("1");
    for number in 2..10 {
        world.say(&number.to_string());
    }
    assert_eq!((world.session.retained(), world.session.counters().dropped), (4, 6));
    world.kill_backend();
    world.attach();
    assert_eq!(world.backend().messages(), ["0", "1", "8", "9"]);
}

#[test]
fn messages_dropped_one_after_the_other_leave_no_trace_on_the_leg() {
    let mut world = World::with(|config| {
        config.buffer_messages = 4;
        config.on_full = OnFull::DropOldest;
    });
    world.backend().pongs = false;
    world.backend().room = 7 + 26;
    for number in 0..10 {
        world.say(&number.to_string());
    }
    world.backend().room = usize::MAX;
    world.run();
    assert_eq!(world.backend().messages(), ["0", "7", "8", "9"]);
}

#[test]
fn drop_oldest_blocks_where_everything_was_written() {
    let mut world = World::with(|config| {
        config.buffer_messages = 4;
        config.on_full = OnFull::DropOldest;
    });
    world.backend().pongs = false;
    for number in 0..10 {
        world.say(&number.to_string());
    }
    assert_eq!((world.session.retained(), world.session.counters().dropped), (4, 0));
    assert!(!world.session.wants_read(Side::Client));
}

#[test]
fn a_gap_beside_a_written_message_does_no_harm() {
    // The first two messages fill a chunk of the log to its last byte, so that the dropped ones own whole chunks.
    let mut world = World::with(|config| {
        config.buffer_messages = 3;
        config.on_full = OnFull::DropOldest;
    });
    world.backend().pongs = false;
    world.backend().room = 506 + 26 + 1;
    world.say(&"x".repeat(498));
    world.client.send(&[0x81, 0x80, 1, 2, 3, 4]);
    world.client.send(&wire::text(&"y".repeat(100_000), Some([9; 4])));
    world.run();
    world.backend().ping(b"a pong is due, and the border before it is looked for");
    world.client.send(&wire::text(&"z".repeat(100_000), Some([9; 4])));
    world.run();
    world.backend().room = usize::MAX;
    world.run();
    let lengths: Vec<usize> = world.backend().messages().iter().map(String::len).collect();
    assert_eq!(lengths, [498, 0, 100_000]);
}

#[test]
fn a_message_larger_than_the_ring_passes_through_it() {
    let mut world = World::new();
    world.client.grain = 60_000;
    let large = "x".repeat(16 << 20);
    world.say("before");
    world.say(&large);
    world.say("after");
    world.pass(seconds(1));
    let lengths: Vec<usize> = world.backend().messages().iter().map(String::len).collect();
    assert_eq!(lengths, [6, 16 << 20, 5]);
    assert_eq!(world.client.messages().len(), 3);
    assert_eq!(world.session.buffered(), 0);
}

#[test]
fn whoever_waits_for_memory_is_served_in_turn() {
    let budgets = Budgets::new(256 * 1024);
    let mut holder = World::sharing(&budgets, |_| {});
    holder.backend().pongs = false;
    holder.say(&"x".repeat(100_000));
    let mut first = World::sharing(&budgets, |_| {});
    let mut second = World::sharing(&budgets, |_| {});
    first.say(&"x".repeat(100_000));
    second.say("small, but later");
    assert!(first.session.wants_memory() && second.session.wants_memory());
    assert!(!first.session.wants_read(Side::Client));
    assert!(!second.session.handle_memory(second.now), "somebody waits ahead");
    let ping = holder.backend().pings()[0].to_vec();
    holder.backend().pong(&ping);
    holder.run();
    assert!(first.session.handle_memory(first.now));
    first.run();
    assert!(second.session.handle_memory(second.now));
    second.run();
    assert_eq!((first.backend().messages().len(), second.backend().messages().len()), (1, 1));
    drop((first, second, holder));
    assert_eq!((budgets.upstream.used(), budgets.upstream.waiting()), (0, 0));
}

#[test]
fn an_empty_message_that_waited_for_memory_needs_no_further_byte() {
    let budgets = Budgets::new(2 * 8192);
    let mut others = Reservation::new(budgets.upstream.clone());
    assert!(others.try_cover(8192));
    let mut world = World::sharing(&budgets, |_| {});
    world.client.grain = 1;
    world.client.send(&[0x81, 0x80, 1, 2, 3, 4]);
    world.run();
    assert!(world.session.wants_memory());
    assert_eq!((world.client.outbox.len(), world.backend().messages().len()), (0, 0));
    others.shrink(0);
    world.run();
    assert_eq!(world.backend().messages(), [""]);
}

#[test]
fn an_ended_session_keeps_nothing_of_a_message_that_was_not_whole() {
    let mut world = World::with(|config| config.reattach = Reattach::Never);
    world.backend().echoes = false;
    world.backend().pongs = false;
    world.say("not acknowledged");
    world.backend().send(&wire::frame(wire::TEXT, b"the first of two frames", None));
    world.client.vanish();
    world.kill_backend();
    assert!(world.over);
    assert_eq!(world.session.buffered(), 0);
}
