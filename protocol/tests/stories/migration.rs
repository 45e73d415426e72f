//! A session is moved to another backend on purpose.

use tideover_protocol::session::{
    AckCarrier, AckMode, BackendTraits, Commit, Event, Hindrance, Linger, Loss, OnFull, OnMigrateTimeout, PongOrder,
    Reattach, Side, Unmovable, Verdict,
};

use crate::world::{Peer, World, millis, seconds, wire};

/// A world whose backend is known to answer pings behind what it was sent before.
fn late() -> World {
    late_with(|_| {})
}

fn late_with(configure: impl FnOnce(&mut tideover_protocol::session::Config)) -> World {
    let mut world = World::with(configure);
    for text in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        world.say(text);
        world.pass(millis(30));
    }
    assert_eq!(world.orders, [PongOrder::Late]);
    world
}

/// A world whose backend has answered one message after 500 ms, and pings at once.
fn early() -> World {
    let mut world = World::new();
    world.backend().echoes = false;
    world.say("first");
    world.pass(millis(500));
    world.backend().say("first");
    world.pass(millis(500));
    world
}

fn failed(world: &World) -> Option<Hindrance> {
    world.events.iter().find_map(|event| if let Event::MigrationFailed(why) = event { Some(*why) } else { None })
}

fn has_migrated(world: &World) -> bool {
    world.events.iter().any(|event| matches!(event, Event::Migrated(_)))
}

#[test]
fn the_old_leg_gets_1001_once_it_is_quiet_and_the_new_one_only_what_comes_after() {
    let mut world = late();
    world.migrate();
    world.say("while it comes to rest");
    assert_eq!(world.backends.len(), 1);
    world.pass(millis(60));
    assert_eq!(world.backends[0].close_code(), Some(1001));
    assert_eq!(world.backends[1].messages(), ["while it comes to rest"]);
    world.say("after");
    assert_eq!(world.backends[1].messages(), ["while it comes to rest", "after"]);
    assert_eq!(world.client.messages().len(), 11, "each message is answered once");
    assert_eq!(world.client.closed(), None);
    let counters = world.session.counters();
    assert_eq!((counters.migrations, counters.replayed, counters.failovers), (1, 0, 0));
}

#[test]
fn the_other_backend_is_dialled_while_the_session_goes_on() {
    let mut world = late();
    world.prepare_succeeds = None;
    world.migrate();
    world.pass(seconds(3));
    world.say("to the old one");
    assert!(world.backends[0].messages().contains(&"to the old one".to_owned()));
    let request = world.requests[0];
    assert_eq!((request.epoch, request.next_seq, request.delivered), (2, None, None), "not known yet");
    world.prepare();
    world.pass(millis(60));
    assert!(has_migrated(&world));
}

#[test]
fn answers_that_come_behind_the_pong_are_waited_for() {
    let mut world = early();
    world.say("slow");
    world.migrate();
    world.say("collected");
    world.pass(millis(500));
    assert_eq!((world.session.unacknowledged(), world.backends.len()), (1, 1), "read, not answered");
    world.backend().say("slow");
    world.pass(millis(40));
    assert_eq!(world.client.messages(), ["first", "slow"]);
    assert_eq!(world.backends.len(), 1, "not silent for long enough");
    world.pass(millis(12));
    assert_eq!(world.backends[1].messages(), ["collected"]);
    assert_eq!(world.backends[0].messages(), ["first", "slow"]);
}

#[test]
fn many_answers_under_way_are_all_waited_for() {
    let mut world = early();
    let sent: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    for text in &sent {
        world.say(text);
        world.pass(millis(50));
    }
    world.migrate();
    for text in &sent {
        world.backend().say(text);
        world.pass(millis(70));
    }
    assert_eq!(world.client.messages().len(), 11);
    assert!(has_migrated(&world));
    assert_eq!(world.client.messages()[1..], sent[..]);
}

#[test]
fn a_backend_that_never_answered_has_half_the_timeout_to_do_so() {
    let mut world = World::new();
    world.backend().echoes = false;
    world.say("the first one takes twelve seconds");
    world.migrate();
    world.pass(seconds(5));
    world.say("goes to the old one: nothing shows that it may not");
    assert_eq!(world.backend().messages().len(), 2);
    world.pass(seconds(7));
    world.backend().say("done");
    world.run();
    assert_eq!((world.client.messages().len(), world.backends.len()), (1, 1));
    world.pass(seconds(5));
    assert!(!has_migrated(&world), "one answer is owed, as far as one can tell");
    world.backend().say("done");
    world.pass(millis(60));
    assert!(has_migrated(&world));
}

#[test]
fn a_backend_that_answers_nothing_is_left_after_half_the_timeout() {
    let mut world = World::new();
    world.backend().echoes = false;
    for _ in 0..400 {
        if has_migrated(&world) {
            break;
        }
        world.say("a measurement");
        world.pass(millis(50));
        if world.session.counters().migrations_failed == 0 && world.session.counters().received == 20 {
            world.migrate();
        }
    }
    assert!(has_migrated(&world));
    let received = world.session.counters().received;
    let read: usize = world.backends.iter().map(|backend| backend.messages().len()).sum();
    assert_eq!(read as u64, received, "each was read once");
    assert!((300..330).contains(&received), "{received}");
}

#[test]
fn a_lull_is_waited_for_where_answers_are_not_one_a_message() {
    let mut world = early();
    world.backend().say("and more");
    world.run();
    world.say("tell me a story");
    world.migrate();
    for _ in 0..100 {
        world.backend().say("once");
        world.pass(millis(40));
    }
    world.say("go on");
    assert!(world.backend().messages().contains(&"go on".to_owned()), "the writing goes on");
    world.pass(millis(1100));
    assert!(has_migrated(&world));
    assert_eq!(world.client.messages().len(), 102);
}

#[test]
fn who_never_falls_silent_is_left_at_a_message_border() {
    let mut world = early();
    world.backend().say("tick");
    world.run();
    world.migrate();
    let mut ticks = 1;
    while !has_migrated(&world) {
        world.say("input");
        world.pass(millis(20));
        if !has_migrated(&world) {
            world.backend().say_in_parts(&["ti", "ck"]);
            world.run();
            ticks += 1;
        }
        assert!(ticks < 900);
    }
    assert_eq!(world.client.messages().iter().filter(|message| *message == "tick").count(), ticks);
    assert!(world.backends[1].messages().len() < 70, "for little more than a second");
    assert!(world.client.ear.is_between_messages());
    let read: usize = world.backends.iter().map(|backend| backend.messages().len()).sum();
    assert_eq!(read as u64, world.session.counters().received);
}

#[test]
fn half_a_message_of_the_backend_is_waited_for() {
    let mut world = late();
    let whole = wire::text("a long one", None);
    world.backend().send(&whole[..5]);
    world.migrate();
    world.pass(seconds(5));
    assert!(!has_migrated(&world));
    world.backend().send(&whole[5..]);
    world.pass(millis(60));
    assert!(has_migrated(&world));
    assert_eq!(world.client.messages().last().map(String::as_str), Some("a long one"));
}

#[test]
fn half_a_message_of_the_client_is_finished_where_it_began() {
    let mut world = late();
    let mut parts = Peer::client();
    parts.say_in_parts(&["begin ", "end"]);
    let parts: Vec<u8> = parts.outbox.into_iter().collect();
    for cut in 1..parts.len() {
        world.client.send(&parts[..cut]);
        world.migrate();
        world.pass(millis(60));
        let stays = world.session.epoch();
        world.client.send(&parts[cut..]);
        world.say("behind");
        world.pass(millis(100));
        assert!(world.session.epoch() >= stays);
        assert_eq!(world.session.counters().migrations, cut as u64, "cut after {cut} bytes");
        world.pass(millis(100));
    }
    let all: Vec<String> = world.backends.iter().flat_map(Peer::messages).collect();
    assert_eq!(all.len(), 9 + 2 * (parts.len() - 1), "each message whole and once");
}

#[test]
fn what_lingers_is_not_replayed_and_what_was_told_is_not_swallowed() {
    let mut world = late_with(|config| {
        config.ack_linger = Linger::For(seconds(60));
        config.dedupe_replies = true;
    });
    assert!(world.session.retained() > 0);
    world.migrate();
    world.pass(millis(60));
    assert_eq!(world.session.retained(), 0);
    for text in ["1", "2"] {
        world.say(text);
    }
    assert_eq!(world.backends[1].messages(), ["1", "2"]);
    assert_eq!(world.client.messages().len(), 11, "the same answers as on the old leg");
    assert_eq!(world.session.counters().swallowed, 0);
}

#[test]
fn held_output_is_released_and_nothing_is_held_for_messages_of_the_next_leg() {
    let mut world = late_with(|config| config.commit = Commit::Barrier);
    world.backend().pongs = false;
    world.say("held");
    world.prepare_succeeds = None;
    world.migrate();
    world.prepare();
    world.say("collected");
    assert_eq!(world.client.messages().len(), 9);
    world.backend().pongs = true;
    let ping = world.backend().pings().last().expect("a barrier").to_vec();
    world.backend().pong(&ping);
    world.run();
    assert_eq!(world.client.messages().len(), 10);
    world.backend().say("a push");
    world.run();
    assert_eq!(world.client.messages().len(), 11, "it answers nothing that is retained");
    world.pass(millis(300));
    assert_eq!(world.backends[1].messages(), ["collected"]);
}

#[test]
fn the_new_backends_greeting_is_swallowed() {
    let mut world = World::with(|config| config.greeting = 1);
    world.backend().say("welcome");
    world.say("hi");
    world.migrate();
    world.prepared.as_mut().expect("a new leg").say("welcome");
    world.pass(millis(60));
    world.say("there");
    assert_eq!(world.client.messages(), ["welcome", "hi", "there"]);
}

#[test]
fn replies_are_counted_anew_on_the_new_leg() {
    let mut world = World::with(|config| config.ack = AckMode::Reply);
    world.say("one");
    world.backend().echoes = false;
    world.say("two");
    world.migrate();
    world.say("three");
    world.pass(millis(900));
    assert!(!has_migrated(&world), "two is not answered");
    world.backend().say("two");
    world.pass(millis(60));
    assert_eq!(world.backends[1].messages(), ["three"]);
    assert_eq!((world.session.retained(), world.session.counters().fallbacks), (0, 0));
    assert_eq!(world.client.messages(), ["one", "two", "three"]);
}

#[test]
fn without_acknowledgement_a_barrier_still_proves_what_was_read() {
    let mut world = World::with(|config| config.ack = AckMode::None);
    world.say("one");
    world.backend().pongs = false;
    world.migrate();
    assert_eq!(world.backend().pings().len(), 1);
    world.pass(seconds(1));
    assert!(!has_migrated(&world));
    let ping = world.backend().pings()[0].to_vec();
    world.backend().pong(&ping);
    world.pass(millis(60));
    assert!(has_migrated(&world));
}

#[test]
fn a_backend_that_answers_no_pings_is_left_once_it_is_silent() {
    let mut world = World::new();
    world.backend().pongs = false;
    for text in ["one", "two"] {
        world.say(text);
        world.pass(millis(100));
    }
    world.migrate();
    world.pass(seconds(9));
    assert!(!has_migrated(&world), "it may still answer");
    world.pass(seconds(2));
    assert_eq!(world.mutes, [1]);
    world.session.handle_mute(1);
    world.pass(millis(60));
    assert!(has_migrated(&world));
    world.say("three");
    assert_eq!(world.backends[1].messages(), ["three"]);
    assert_eq!(world.session.counters().slid, 2, "nothing acknowledged them");
}

#[test]
fn a_client_that_does_not_read_is_not_left_without_what_is_under_way() {
    let mut world = late();
    world.client.room = 0;
    let long = "x".repeat(60_000);
    for _ in 0..4 {
        world.say(&long);
    }
    assert!(!world.session.wants_read(Side::Backend));
    world.migrate();
    world.pass(seconds(5));
    assert!(!has_migrated(&world), "the backend has more to say");
    world.client.room = usize::MAX;
    world.run();
    assert!(!has_migrated(&world));
    world.pass(millis(60));
    assert!(has_migrated(&world));
    assert_eq!(world.client.messages().len(), 13);
}

#[test]
fn a_new_leg_that_ends_first_changes_nothing() {
    for close in [true, false] {
        let mut world = early();
        world.say("slow");
        world.migrate();
        world.say("collected");
        if close {
            world.session.handle_prepared_data(&wire::text("hello", None));
            world.session.handle_prepared_data(&wire::close(&wire::code(1011, ""), None));
        } else {
            world.session.handle_prepared_end();
        }
        world.run();
        assert_eq!((failed(&world), world.discarded), (Some(Hindrance::NewLegEnded), 1));
        assert_eq!(world.backends[0].messages(), ["first", "slow", "collected"], "the session stays, and goes on");
        world.pass(seconds(60));
        assert_eq!(world.backends.len(), 1);
    }
}

#[test]
fn without_another_backend_nothing_changes() {
    let mut world = late();
    world.prepare_succeeds = None;
    world.migrate();
    world.fail_to_prepare();
    world.say("still here");
    assert_eq!(failed(&world), Some(Hindrance::NoBackend));
    assert_eq!(world.backends[0].messages().len(), 10);
    world.migrate();
    world.pass(seconds(31));
    assert_eq!(world.session.counters().migrations_failed, 2, "a dial that never ends");
    assert_eq!((world.discarded, world.backends.len()), (1, 1));
}

#[test]
fn when_the_old_leg_is_lost_the_new_one_takes_over_with_replay() {
    for dies in [true, false] {
        let mut world = late();
        world.verdict = Some(Verdict::Dying);
        world.backend().pongs = false;
        world.say("read, not acknowledged");
        world.migrate();
        world.say("collected");
        if dies {
            world.kill_backend();
        } else {
            world.backend().close(&wire::code(1001, ""));
            world.run();
        }
        assert_eq!(world.backends[1].messages(), ["read, not acknowledged", "collected"]);
        assert_eq!((world.dials, failed(&world)), (0, Some(Hindrance::OldLegEnded)));
        let counters = world.session.counters();
        assert_eq!((counters.failovers, counters.migrations, counters.replayed), (1, 0, 1));
    }
}

#[test]
fn an_old_leg_that_is_lost_before_the_new_one_is_there_is_an_ordinary_failover() {
    let mut world = late();
    world.verdict = Some(Verdict::Dying);
    world.prepare_succeeds = None;
    world.migrate();
    world.kill_backend();
    assert_eq!((world.dials, world.discarded, world.backends.len()), (1, 1, 2));
    world.say("goes on");
    assert_eq!(world.backends[1].messages(), ["goes on"]);
}

#[test]
fn a_decision_of_the_old_backend_is_the_clients() {
    let mut world = early();
    world.say("slow");
    world.migrate();
    world.backend().close(&wire::code(4001, "enough"));
    world.run();
    assert_eq!(world.client.close_code(), Some(4001));
    assert_eq!((world.discarded, failed(&world)), (1, Some(Hindrance::Ending)));
}

#[test]
fn a_client_that_closes_is_served_to_the_end_by_the_old_backend() {
    let mut world = early();
    world.say("slow");
    world.migrate();
    world.client.say("collected");
    world.client.close(&wire::code(1000, "bye"));
    world.run();
    assert_eq!(world.backends[0].messages(), ["first", "slow", "collected"]);
    assert_eq!(world.backends[0].close_code(), Some(1000));
    assert_eq!(world.client.close_code(), Some(1000));
    assert!(world.over && world.backends.len() == 1 && world.discarded == 1);
}

#[test]
fn a_client_that_vanishes_is_delivered_to_the_old_backend() {
    let mut world = early();
    world.say("slow");
    world.migrate();
    world.say("collected");
    world.client.vanish();
    world.run();
    assert_eq!(world.backends[0].messages(), ["first", "slow", "collected"]);
    assert_eq!((world.discarded, world.backends.len()), (1, 1));
}

#[test]
fn a_leg_that_does_not_come_to_rest_in_time_is_a_failover_or_stays() {
    for stay in [false, true] {
        let mut world = late();
        world.backend().pongs = false;
        world.say("slow");
        let on_timeout = if stay { OnMigrateTimeout::Stay } else { OnMigrateTimeout::FailOver };
        world.session.migrate(world.now, on_timeout).expect("it can be moved");
        world.say("collected");
        world.pass(millis(29_999));
        assert_eq!(world.backends.len(), 1);
        world.pass(millis(1));
        assert_eq!(failed(&world), Some(Hindrance::Unsettled));
        if stay {
            assert_eq!(world.backends[0].messages().len(), 11);
            assert_eq!(world.discarded, 1);
        } else {
            assert!(world.events.iter().any(|e| matches!(e, Event::LegLost { loss: Loss::Unsettled, .. })));
            assert_eq!(world.backends[0].close_code(), Some(1001));
            assert_eq!(world.backends[1].messages(), ["slow", "collected"]);
        }
    }
}

#[test]
fn who_cannot_be_moved_is_told_why() {
    let now = |world: &World| world.now;
    let mut world = late();
    world.prepare_succeeds = None;
    world.migrate();
    assert_eq!(world.session.migrate(now(&world), OnMigrateTimeout::Stay), Err(Unmovable::Busy));
    let mut world = late();
    world.kill_backend();
    assert_eq!(world.session.migrate(now(&world), OnMigrateTimeout::Stay), Err(Unmovable::Detached));
    let mut world = late();
    world.backend().closes = false;
    world.client.close(&wire::code(1000, ""));
    world.run();
    assert_eq!(world.session.migrate(now(&world), OnMigrateTimeout::Stay), Err(Unmovable::Ending));
    for reattach in [Reattach::Never, Reattach::Whole] {
        let mut world = World::with(|config| config.reattach = reattach);
        assert_eq!(world.session.migrate(now(&world), OnMigrateTimeout::Stay), Err(Unmovable::Forbidden));
    }
}

#[test]
fn where_a_full_ring_costs_messages_it_does_not_fill_up() {
    for on_full in [OnFull::Close, OnFull::DropOldest] {
        let mut world = World::with(|config| (config.buffer_messages, config.on_full) = (8, on_full));
        world.say("first");
        world.backend().echoes = false;
        world.say("slow");
        world.migrate();
        for text in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            world.say(text);
            world.pass(millis(25));
        }
        assert_eq!((failed(&world), world.backends.len()), (Some(Hindrance::Crowded), 1));
        assert_eq!(world.backends[0].messages().len(), 11);
        assert!(!world.over && world.session.counters().dropped == 0);
    }
}

fn speaking() -> World {
    let mut world = World::speaking(AckCarrier::Pong, |_| {});
    world.backend().echoes = false;
    world.prepare_succeeds = None;
    world
}

#[test]
fn with_the_session_protocol_the_handshake_is_made_at_rest_and_stays_true() {
    let mut world = speaking();
    for text in ["one", "two"] {
        world.say(text);
    }
    world.backend().say("answer to one");
    world.backend().pong(b"tideover:ack:1");
    world.migrate();
    world.say("three");
    world.pass(millis(500));
    assert!(!world.preparing, "two is not done");
    world.backend().say("answer to two");
    world.backend().pong(b"tideover:ack:2");
    world.pass(millis(60));
    assert!(world.preparing);
    let request = world.requests[0];
    assert_eq!((request.epoch, request.next_seq, request.delivered, request.explicit), (2, Some(3), Some(2), true));
    world.backend().say("too late: the next backend says it again");
    world.run();
    assert_eq!(world.client.messages().len(), 2);
    world.prepare();
    assert_eq!(world.backends[1].messages(), ["three"]);
    assert_eq!(world.client.messages()[1..], ["answer to two", "three"]);
    assert_eq!(world.session.counters().replayed, 0);
}

#[test]
fn with_the_session_protocol_too_nothing_changes_without_another_backend() {
    let mut world = speaking();
    world.say("one");
    world.backend().pong(b"tideover:ack:1");
    world.migrate();
    world.say("two");
    world.pass(millis(60));
    world.backend().say("said meanwhile");
    world.fail_to_prepare();
    assert_eq!(world.backends[0].messages(), ["one", "two"]);
    assert_eq!(world.client.messages(), ["said meanwhile"]);
}

#[test]
fn what_is_not_acknowledged_at_rest_is_sent_again_where_the_backend_knows_it() {
    let mut world = speaking();
    for text in ["one", "two"] {
        world.say(text);
    }
    world.migrate();
    world.pass(millis(1100));
    assert_eq!(world.requests[0].next_seq, Some(1));
    world.prepare();
    assert_eq!(world.backends[1].messages(), ["one", "two"]);
}

#[test]
fn a_new_backend_that_speaks_the_session_protocol_is_dialled_again_at_rest() {
    let mut world = late();
    world.traits = BackendTraits { carrier: Some(AckCarrier::Pong), ..BackendTraits::default() };
    world.prepare_succeeds = None;
    world.migrate();
    assert_eq!(world.requests[0].next_seq, None);
    world.prepare();
    assert!(world.prepared.is_none(), "what its handshake said is not true");
    world.say("collected");
    world.pass(millis(60));
    assert_eq!((world.requests[1].next_seq, world.requests[1].delivered), (Some(10), Some(9)));
    world.prepare();
    assert_eq!(world.backends[1].messages(), ["collected"]);
}

#[test]
fn after_a_migration_the_old_epoch_is_dead() {
    let mut world = late();
    world.migrate();
    world.pass(millis(60));
    let ghost = wire::text("ghost", None);
    let _ = world.session.handle_backend_data(world.now, 1, &ghost);
    world.session.handle_end_of_stream(world.now, Side::Backend, 1);
    world.run();
    assert_eq!((world.client.messages().len(), world.session.epoch()), (9, 2));
    assert_eq!(world.session.counters().dead_bytes, ghost.len() as u64);
}

#[test]
fn what_a_migration_forgets_is_no_progress_of_a_later_leg() {
    let mut world = late_with(|config| config.ack_linger = Linger::For(seconds(60)));
    assert_eq!(world.session.retained(), 9, "the migration is what forgets them");
    (world.verdict, world.dial_succeeds, world.prepare_succeeds) = (Some(Verdict::Dying), None, None);
    world.migrate();
    world.prepare();
    world.prepared = Some(Peer::silent_backend());
    world.say("deadly");
    world.pass(millis(60));
    assert!(has_migrated(&world));
    world.kill_backend();
    world.attach_to(Peer::silent_backend());
    world.backend().say("welcome");
    world.run();
    world.say("newer");
    world.kill_backend();
    world.pass(seconds(1));
    world.attach_to(Peer::silent_backend());
    assert_eq!(world.session.counters().isolations, 1, "two deaths, and nothing was acknowledged in between");
    assert_eq!(world.backend().messages(), ["deadly"]);
}

#[test]
fn a_session_on_which_nothing_happens_is_moved_at_once() {
    let mut world = World::new();
    world.migrate();
    world.pass(millis(2));
    assert!(has_migrated(&world));
    world.say("hello");
    assert_eq!((world.backends[0].messages().len(), world.backends[1].messages().len()), (0, 1));
}
