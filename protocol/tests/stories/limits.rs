//! What a client may ask of the proxy, and what it sees beyond that.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use tideover_protocol::session::{Budgets, EndReason, Event, Limit, OnRate, Side, Verdict};

use crate::world::{World, millis, seconds, wire};

fn messages_a_second(rate: u32, on_rate: OnRate) -> World {
    World::with(|config| {
        config.limits.message_rate = NonZeroU32::new(rate);
        config.limits.on_rate = on_rate;
    })
}

fn bytes_a_second(rate: u64, on_rate: OnRate) -> World {
    World::with(|config| {
        config.limits.byte_rate = NonZeroU64::new(rate);
        config.limits.on_rate = on_rate;
    })
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn say_all(world: &mut World, messages: &[String]) {
    for message in messages {
        world.client.say(message);
    }
    world.run();
}

/// The limits that the operator was told of.
fn slowed(world: &World) -> Vec<Limit> {
    world.events.iter().filter_map(|event| if let Event::Slowed(limit) = event { Some(*limit) } else { None }).collect()
}

// Messages and bytes a second.

#[test]
fn messages_beyond_the_rate_wait_and_none_is_lost() {
    let mut world = messages_a_second(40, OnRate::Throttle);
    let messages = numbers(200);
    say_all(&mut world, &messages);
    assert_eq!(world.backend().messages().len(), 40, "a second's worth at once");
    assert!(!world.session.wants_read(Side::Client));
    world.pass(seconds(2));
    assert_eq!(world.backend().messages().len(), 120);
    world.pass(seconds(3));
    assert_eq!(world.backend().messages(), messages);
    assert_eq!(world.client.messages(), messages);
    assert_eq!(slowed(&world), [Limit::Messages], "told once a spell");
}

#[test]
fn what_is_saved_of_a_rate_is_one_seconds_worth() {
    let mut world = messages_a_second(40, OnRate::Throttle);
    world.pass(seconds(3600));
    say_all(&mut world, &numbers(100));
    assert_eq!(world.backend().messages().len(), 40);
}

#[test]
fn who_keeps_to_the_rate_never_waits() {
    let mut world = messages_a_second(10, OnRate::Close);
    for number in 0..100 {
        world.say(&number.to_string());
        assert_eq!(world.backend().messages().len(), number + 1);
        world.pass(millis(100));
    }
    assert!(!world.over && slowed(&world).is_empty());
}

#[test]
fn a_fragmented_message_is_one_and_is_not_stopped_half_way() {
    let mut world = messages_a_second(1, OnRate::Throttle);
    world.client.say_in_parts(&["a", "b", "c"]);
    world.client.say("next");
    world.run();
    assert_eq!(world.backend().messages(), ["abc"]);
    world.pass(seconds(1));
    assert_eq!(world.backend().messages(), ["abc", "next"]);
}

#[test]
fn more_messages_than_the_rate_are_closed_with_1008_where_that_is_asked_for() {
    let mut world = messages_a_second(40, OnRate::Close);
    say_all(&mut world, &numbers(40));
    assert!(!world.over);
    world.client.say("one too many");
    world.client.say("and more");
    world.run();
    assert_eq!(world.client.close_code(), Some(1008));
    assert_eq!((world.over, world.reason()), (true, Some(EndReason::OverLimit(Limit::Messages))));
    let handled = world.backend().messages();
    assert_eq!(world.client.messages(), handled, "what came before the Close is handled and answered first");
    assert_eq!(world.session.counters().abandoned, 0);
}

#[test]
fn bytes_beyond_the_rate_wait_also_within_a_message() {
    let mut world = bytes_a_second(1000, OnRate::Throttle);
    let long = "x".repeat(4000);
    world.client.say(&long);
    world.run();
    assert_eq!(world.client.taken, 1000, "a second's worth at once");
    world.pass(seconds(1));
    assert_eq!((world.client.taken, world.backend().messages().len()), (2000, 0));
    world.pass(seconds(3));
    assert_eq!(world.backend().messages(), [long]);
    assert_eq!(slowed(&world), [Limit::Bytes]);
}

#[test]
fn more_bytes_than_the_rate_are_closed_with_1008_where_that_is_asked_for() {
    let mut world = bytes_a_second(1000, OnRate::Close);
    world.say("within");
    world.client.grain = 500;
    world.client.say(&"x".repeat(3000));
    world.run();
    assert_eq!(world.client.close_code(), Some(1008));
    assert_eq!((world.over, world.reason()), (true, Some(EndReason::OverLimit(Limit::Bytes))));
    assert_eq!(world.backend().messages(), ["within"]);
}

#[test]
fn a_slowed_client_is_not_suspected_and_its_close_takes_its_turn() {
    let mut world = messages_a_second(1, OnRate::Throttle);
    say_all(&mut world, &numbers(60));
    world.client.close(&wire::code(1000, ""));
    world.pass(seconds(70));
    assert_eq!(world.backend().messages(), numbers(60));
    assert_eq!((world.client.close_code(), world.reason()), (Some(1000), Some(EndReason::ClientClosed)));
}

#[test]
fn a_slowed_client_loses_nothing_when_its_backend_dies() {
    let mut world = messages_a_second(20, OnRate::Throttle);
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    say_all(&mut world, &numbers(60));
    world.kill_backend();
    world.pass(seconds(5));
    assert_eq!(world.backends.len(), 2);
    assert_eq!(world.backend().messages(), numbers(60));
}

// Control frames and tiny fragments a second.

#[test]
fn a_flood_of_pings_is_read_no_faster_than_the_rate() {
    let mut world = World::new();
    for _ in 0..5000 {
        world.client.ping(b"flood");
    }
    world.run();
    let frame = wire::ping(b"flood", Some([0; 4])).len();
    assert_eq!(world.client.taken, 1000 * frame, "the default");
    world.say("behind the flood");
    world.pass(seconds(3));
    assert_eq!(world.client.taken, 4000 * frame);
    world.pass(seconds(2));
    assert_eq!(world.backend().messages(), ["behind the flood"]);
    assert_eq!(slowed(&world), [Limit::Controls]);
}

#[test]
fn a_flood_of_pongs_is_closed_with_1008_where_that_is_asked_for() {
    let mut world = World::with(|config| {
        config.limits.control_rate = NonZeroU32::new(50);
        config.limits.on_rate = OnRate::Close;
    });
    world.say("before");
    for _ in 0..50 {
        world.client.pong(b"unasked");
    }
    world.run();
    assert!(!world.over);
    world.client.pong(b"one too many");
    world.run();
    assert_eq!((world.client.close_code(), world.over), (Some(1008), true));
    assert_eq!(world.reason(), Some(EndReason::OverLimit(Limit::Controls)));
    assert_eq!(world.client.messages(), ["before"]);
}

#[test]
fn a_flood_of_tiny_fragments_is_read_no_faster_than_the_rate() {
    let mut world = World::new();
    let tiny = [&[0x00, 0x85, 0, 0, 0, 0][..], b"tiny."].concat();
    world.client.send(&[0x01, 0x80, 0, 0, 0, 0]);
    world.client.send(&tiny.repeat(2999));
    world.client.send(&[0x80, 0x80, 0, 0, 0, 0]);
    world.run();
    assert_eq!(world.client.taken, 6 + 999 * tiny.len(), "the default");
    world.pass(seconds(3));
    assert_eq!(world.backend().messages(), ["tiny.".repeat(2999)]);
    assert_eq!(slowed(&world), [Limit::Controls]);
}

#[test]
fn a_flood_of_tiny_fragments_is_closed_with_1008_on_both_sides_where_that_is_asked_for() {
    let mut world = World::with(|config| {
        config.limits.control_rate = NonZeroU32::new(50);
        config.limits.on_rate = OnRate::Close;
    });
    world.say("before");
    world.client.say_in_parts(&["tiny."; 100]);
    world.run();
    assert_eq!((world.client.close_code(), world.over), (Some(1008), true));
    assert_eq!(world.reason(), Some(EndReason::OverLimit(Limit::Controls)));
    assert_eq!(world.client.messages(), ["before"]);
    assert_eq!((world.backend().messages(), world.backend().close_code()), (vec!["before".to_owned()], Some(1008)));
}

#[test]
fn a_message_whose_last_fragment_is_tiny_ends_with_it() {
    let mut world = World::with(|config| config.limits.control_rate = NonZeroU32::new(2));
    world.client.say_in_parts(&["begun", ""]);
    world.run();
    assert_eq!(world.backend().messages(), ["begun"]);
}

#[test]
fn fragments_that_bring_more_than_their_headers_are_not_counted() {
    let mut world = World::with(|config| config.limits.control_rate = NonZeroU32::new(10));
    world.client.say_in_parts(&["enough"; 5000]);
    world.run();
    assert_eq!(world.backend().messages(), ["enough".repeat(5000)]);
    assert!(slowed(&world).is_empty());
}

// Time.

fn idle_for(timeout: Duration) -> World {
    World::with(|config| config.limits.idle_timeout = Some(timeout))
}

#[test]
fn pings_do_not_keep_a_session_from_being_idle() {
    let mut world = idle_for(seconds(60));
    for _ in 0..59 {
        world.pass(seconds(1));
        world.client.ping(b"there");
        world.run();
    }
    assert!(!world.over);
    world.pass(seconds(1));
    assert_eq!((world.client.close_code(), world.over), (Some(1001), true));
    assert_eq!(world.backend().close_code(), Some(1001));
    assert_eq!(world.reason(), Some(EndReason::OverLimit(Limit::Idle)));
}

#[test]
fn a_message_of_either_side_keeps_a_session_from_being_idle() {
    let mut world = idle_for(seconds(60));
    world.backend().echoes = false;
    for _ in 0..5 {
        world.pass(seconds(59));
        world.say("of the client");
        world.pass(seconds(59));
        world.backend().say("of the backend");
        world.run();
    }
    assert!(!world.over);
    world.pass(seconds(60));
    assert!(world.over);
}

#[test]
fn a_message_on_its_way_keeps_a_session_from_being_idle() {
    let mut world = idle_for(seconds(60));
    // It would answer a ping in the middle of a frame.
    world.client.pongs = false;
    let long = "x".repeat(2000);
    for piece in wire::text(&long, Some([1, 2, 3, 4])).chunks(200) {
        world.client.send(piece);
        world.pass(seconds(59));
        assert!(!world.over);
    }
    assert_eq!(world.backend().messages(), [long]);
}

fn ends_at_age(seed: u8) -> (Duration, World) {
    let mut world = World::seeded(seed, |config| config.limits.max_age = Some(seconds(1000)));
    let began = world.now;
    while !world.over && world.now.since(began) < seconds(2000) {
        world.pass(seconds(1));
    }
    (world.now.since(began), world)
}

#[test]
fn a_session_ends_at_its_age_and_a_fleet_not_at_once() {
    let ages: Vec<_> = (1..=20)
        .map(|seed| {
            let (age, world) = ends_at_age(seed);
            assert_eq!(
                (world.client.close_code(), world.reason()),
                (Some(1001), Some(EndReason::OverLimit(Limit::Age)))
            );
            age
        })
        .collect();
    assert!(ages.iter().all(|age| (seconds(900)..=seconds(1001)).contains(age)), "{ages:?}");
    let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*last - *first > seconds(50), "{ages:?}");
}

#[test]
fn what_was_said_before_the_age_is_handled_first() {
    let mut world = World::with(|config| config.limits.max_age = Some(seconds(100)));
    world.backend().room = 0;
    world.pass(seconds(89));
    world.say("in time");
    world.pass(seconds(11));
    assert_eq!((world.over, world.client.close_code()), (false, None));
    world.backend().room = usize::MAX;
    world.run();
    assert_eq!((world.backend().messages(), world.client.messages()), (vec!["in time".into()], vec!["in time".into()]));
    assert_eq!((world.over, world.client.close_code(), world.session.counters().abandoned), (true, Some(1001), 0));
}

#[test]
fn a_message_that_never_ends_does_not_put_off_the_age() {
    let mut world = World::with(|config| config.limits.max_age = Some(seconds(100)));
    world.client.send(&[0x81, 0xFE, 0x01, 0x00, 1, 2, 3, 4, b'x']);
    world.pass(seconds(100));
    assert_eq!((world.over, world.client.close_code()), (true, Some(1001)));
}

// Clients that do not read.

/// A backend that has more to say than a client takes that reads nothing.
fn unread(budgets: &Budgets, timeout: Option<Duration>) -> World {
    let mut world = World::sharing(budgets, |config| config.limits.slow_client_timeout = timeout);
    world.client.room = 0;
    for _ in 0..40 {
        let message = "x".repeat(10_000);
        world.backend().say(&message);
    }
    world.run();
    world
}

#[test]
fn what_waits_for_a_slow_client_is_bounded() {
    let (all, piece) = (40 * 10_004, 10_004);
    for bytes in [64 << 10, 20_000, 1 << 20] {
        let mut world = World::with(|config| config.limits.slow_client_bytes = bytes);
        world.client.room = 0;
        world.backend().grain = piece;
        for _ in 0..40 {
            let message = "x".repeat(10_000);
            world.backend().say(&message);
        }
        world.run();
        let (taken, least) = (world.backend().taken, all.min(bytes as usize));
        assert!((least..least + piece).contains(&taken), "{taken} for {bytes}");
        world.client.room = usize::MAX;
        world.run();
        assert_eq!(world.client.messages().len(), 40);
    }
}

#[test]
fn a_client_that_takes_nothing_is_closed_with_1008_in_time() {
    let mut world = unread(&Budgets::new(1 << 30), Some(seconds(60)));
    world.pass(seconds(59));
    assert_eq!(world.reason(), None);
    world.client.ping(b"alive, but not reading");
    world.pass(seconds(1));
    assert_eq!(world.reason(), Some(EndReason::OverLimit(Limit::SlowClient)));
    world.pass(seconds(10));
    assert!(world.over, "close-timeout later");
    assert_eq!((world.session.buffered(), world.backend().close_code()), (0, Some(1001)));
}

#[test]
fn a_client_that_takes_a_little_is_only_slow() {
    let mut world = unread(&Budgets::new(1 << 30), Some(seconds(60)));
    for _ in 0..10 {
        world.pass(seconds(50));
        world.client.room = 100;
        world.run();
    }
    assert_eq!(world.reason(), None);
}

#[test]
fn a_client_that_takes_nothing_is_in_nobodys_way_and_stays() {
    let mut world = unread(&Budgets::new(1 << 30), None);
    world.pass(seconds(24 * 3600));
    assert_eq!(world.reason(), None);
    world.client.room = usize::MAX;
    world.run();
    assert_eq!(world.client.messages().len(), 40);
}

#[test]
fn a_client_that_takes_nothing_is_closed_when_others_wait_for_its_memory() {
    let budgets = Budgets::new(2 * 100_000);
    let mut unread = unread(&budgets, None);
    unread.pass(seconds(3600));
    assert_eq!(unread.reason(), None, "nobody waits");
    let mut other = World::sharing(&budgets, |_| {});
    other.now = unread.now;
    other.backend().grain = 1000;
    let long = "y".repeat(50_000);
    other.backend().say(&long);
    other.run();
    assert!(other.session.wants_memory());
    unread.pass(seconds(16));
    assert!(unread.over);
    assert_eq!(unread.reason(), Some(EndReason::OverLimit(Limit::SlowClient)));
    other.run();
    assert_eq!(other.client.messages(), [long]);
}

#[test]
fn a_session_without_limits_has_no_deadline_for_them() {
    let mut world = World::with(|config| config.ping_interval = None);
    world.say("hello");
    world.pass(seconds(10));
    assert_eq!(world.session.poll_timeout(), None);
}
