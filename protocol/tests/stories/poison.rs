//! Messages that backends die of, and messages that are too old; and who is slowed where memory is short.

use tideover_protocol::session::{
    Budgets, Config, EndReason, Isolation, Linger, OnExpired, OnPoison, Side, Verdict, Weight,
};

use crate::world::{Peer, World, millis, seconds, wire};

/// A world whose backends die of the third of four messages, and of nothing else.
fn deadly(on_poison: OnPoison) -> World {
    deadly_with(|config| config.on_poison = on_poison)
}

fn deadly_with(change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::with(change);
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = Peer::silent_backend();
    for text in ["one", "two", "deadly", "four"] {
        world.say(text);
    }
    world
}

/// The backend dies if it has read the deadly message, else it answers the latest ping. Returns whether it died.
fn live_or_die(world: &mut World) -> bool {
    if world.backend().messages().iter().any(|text| text == "deadly") {
        world.kill_backend();
        return true;
    }
    let ping = world.backend().pings().last().map(|ping| ping.to_vec());
    if let Some(ping) = ping {
        world.backend().pong(&ping);
    }
    world.pass(millis(20));
    false
}

#[test]
fn a_first_death_is_followed_by_a_replay_at_full_speed_and_a_second_by_isolation() {
    let mut world = deadly(OnPoison::Drop);
    world.kill_backend();
    world.attach_to(Peer::silent_backend());
    assert_eq!(world.backend().messages().len(), 4);
    assert!(!world.requests[0].spare_last);
    world.kill_backend();
    world.pass(seconds(1));
    assert!(world.requests[1].spare_last, "what is replayed may kill the last healthy backend");
    world.attach_to(Peer::silent_backend());
    assert_eq!(world.backend().messages(), ["one"]);
    live_or_die(&mut world);
    assert_eq!(world.backend().messages(), ["one", "two"]);
    assert_eq!(world.session.counters().isolations, 1);
}

#[test]
fn in_isolation_a_message_lingers_only_until_its_answer() {
    let mut world = deadly_with(|config| config.ack_linger = Linger::Auto);
    for _ in 0..2 {
        world.kill_backend();
        world.pass(seconds(1));
        world.attach_to(Peer::silent_backend());
    }
    let answer_ping = |world: &mut World| {
        let ping = world.backend().pings().last().expect("a barrier").to_vec();
        world.backend().pong(&ping);
        world.run();
    };
    world.backend().say("re: one");
    world.run();
    answer_ping(&mut world);
    assert_eq!(world.backend().messages(), ["one", "two"], "answered, then its pong");
    answer_ping(&mut world);
    assert_eq!(world.backend().messages(), ["one", "two"], "its pong, but no answer: it may still kill");
    world.backend().say("re: two");
    world.run();
    assert_eq!(world.backend().messages(), ["one", "two", "deadly"], "then its answer");
    world.pass(millis(1));
    answer_ping(&mut world);
    world.pass(millis(249));
    assert_eq!(world.backend().messages().len(), 3);
    world.pass(millis(1));
    assert_eq!(world.backend().messages().len(), 4, "nothing came of it: no answer is due");
}

#[test]
fn a_message_that_was_alone_at_a_death_is_set_aside_and_its_neighbours_are_handled() {
    let mut world = deadly(OnPoison::Drop);
    for _ in 0..20 {
        if world.dialling {
            world.attach_to(Peer::silent_backend());
        }
        live_or_die(&mut world);
        world.pass(seconds(3));
    }
    assert_eq!(world.poisoned.iter().map(|poisoned| (poisoned.seq, poisoned.deaths)).collect::<Vec<_>>(), [(3, 3)]);
    assert_eq!(world.backend().messages(), ["four"]);
    assert_eq!((world.session.retained(), world.session.counters().poisoned), (0, 1));
    assert!(!world.over);
}

#[test]
fn a_message_that_kills_after_its_pong_is_found_though_newer_ones_are_acknowledged_meanwhile() {
    let mut world = deadly_with(|config| {
        (config.on_poison, config.ack_linger) = (OnPoison::Drop, Linger::Auto);
    });
    for round in 0..20 {
        if world.dialling {
            world.attach_to(Peer::silent_backend());
        }
        world.say(&format!("newer {round}"));
        let ping = world.backend().pings().last().map(|ping| ping.to_vec());
        if let Some(ping) = ping {
            world.backend().pong(&ping);
            world.run();
        }
        live_or_die(&mut world);
        world.pass(seconds(3));
    }
    assert_eq!(world.poisoned.iter().map(|poisoned| (poisoned.seq, poisoned.deaths)).collect::<Vec<_>>(), [(3, 3)]);
    assert!(!world.over);
}

#[test]
fn on_poison_close_shows_the_client_the_end_of_the_last_backend_that_died() {
    let mut world = World::with(|config| config.max_replays = 1);
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = Peer::silent_backend();
    world.say("deadly");
    for _ in 0..2 {
        world.kill_backend();
        world.pass(seconds(1));
        world.attach_to(Peer::silent_backend());
    }
    world.backend().close(&wire::code(1011, "what was that?"));
    world.run();
    assert_eq!(world.client.closed(), Some(&wire::code(1011, "what was that?")[..]));
    assert_eq!((world.poisoned.len(), world.session.counters().poisoned), (1, 1));
}

/// A world whose client waits for one answer, whose backends have died twice, and that has a third one.
fn isolated() -> World {
    let mut world = World::with(|config| {
        (config.on_poison, config.failover_timeout) = (OnPoison::Drop, seconds(1000));
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    *world.backend() = Peer::silent_backend();
    world.say("slow");
    kill_and_replace(&mut world);
    kill_and_replace(&mut world);
    world
}

fn kill_and_replace(world: &mut World) {
    world.kill_backend();
    world.pass(seconds(3));
    world.attach_to(Peer::silent_backend());
}

#[test]
fn deaths_that_would_have_come_without_the_message_too_do_not_make_it_poison() {
    let mut world = isolated();
    world.weight = Weight::NONE;
    for _ in 0..20 {
        kill_and_replace(&mut world);
    }
    assert_eq!(world.session.counters().poisoned, 0);
    assert_eq!(world.backend().messages(), ["slow"]);
}

#[test]
fn deaths_that_would_have_come_anyway_do_not_isolate() {
    for (chance, deaths) in [(0.0, 2), (0.1, 4), (0.3, 12), (1.0, 30)] {
        let mut world = deadly_with(|config| config.failover_timeout = seconds(1000));
        world.weight = Weight::of_chance(chance);
        for death in 1..=deaths {
            assert_eq!(world.session.counters().isolations, 0, "{death} deaths, each by chance in {chance}");
            world.kill_backend();
            world.pass(seconds(3));
            world.attach_to(Peer::silent_backend());
        }
        assert_eq!(world.session.counters().isolations, u64::from(chance < 1.0), "each by chance in {chance}");
    }
}

#[test]
fn a_death_weighs_more_the_less_probable_it_was() {
    for (chance, deaths) in [(0.0, 3), (0.01, 3), (0.1, 6), (0.2, 9), (0.5, 18)] {
        let mut world = isolated();
        world.weight = Weight::of_chance(chance);
        for death in 1..=deaths {
            assert_eq!(world.poisoned.len(), 0, "{death} deaths, each by chance in {chance}");
            kill_and_replace(&mut world);
        }
        assert_eq!(world.poisoned.len(), 1, "{deaths} deaths, each by chance in {chance}");
    }
    assert_eq!([0.51, 1.0, f64::NAN].map(Weight::of_chance), [Weight::NONE; 3]);
}

#[test]
fn in_isolation_each_message_waits_for_its_turn_and_has_it_until_it_is_forgotten() {
    let mut world = deadly(OnPoison::Drop);
    world.gives_turns = false;
    for _ in 0..2 {
        world.kill_backend();
        world.pass(seconds(1));
        world.attach_to(Peer::silent_backend());
    }
    for read in [&["one"][..], &["one", "two"], &["one", "two", "deadly"]] {
        assert_eq!(world.session.isolation(), Isolation::Waiting);
        assert_eq!(world.backend().messages().len() + 1, read.len());
        world.session.handle_turn(world.session.epoch() - 1);
        assert_eq!(world.session.isolation(), Isolation::Waiting, "the turn of another leg");
        world.session.handle_turn(world.session.epoch());
        world.run();
        assert_eq!(world.session.isolation(), Isolation::Alone);
        assert_eq!(world.backend().messages(), read);
        if read.len() < 3 {
            assert!(!live_or_die(&mut world));
        }
    }
    world.kill_backend();
    assert_eq!(world.session.isolation(), Isolation::Waiting, "a turn ends with its leg");
}

#[test]
fn who_waits_for_a_turn_in_vain_goes_without_and_the_deaths_say_nothing() {
    let mut world = isolated();
    world.gives_turns = false;
    for _ in 0..10 {
        kill_and_replace(&mut world);
        world.pass(millis(4_999));
        assert!(world.backend().messages().is_empty());
        world.pass(millis(1));
        assert_eq!(world.session.isolation(), Isolation::InCompany);
        assert_eq!(world.backend().messages(), ["slow"]);
    }
    assert_eq!(world.session.counters().poisoned, 0);
}

#[test]
fn while_messages_wait_for_their_turn_the_leg_is_kept_alive() {
    let mut world = isolated();
    world.gives_turns = false;
    world.kill_backend();
    world.pass(seconds(3));
    world.attach();
    world.backend().ping(b"there?");
    world.backend().say("a push");
    world.pass(millis(20));
    assert_eq!(world.backend().heard, [wire::Heard::Pong(b"there?".to_vec())]);
    assert_eq!(world.client.messages(), ["a push"]);
    assert!(world.backend().messages().is_empty());
}

#[test]
fn restarts_are_no_deaths() {
    let mut world = World::with(|config| config.max_replays = 1);
    for _ in 0..5 {
        *world.backend() = Peer::silent_backend();
        world.say("innocent");
        world.backend().close(&wire::code(1012, ""));
        world.run();
        world.pass(seconds(3));
    }
    assert_eq!((world.poisoned.len(), world.session.counters().isolations), (0, 0));
}

#[test]
fn a_message_acknowledged_in_between_makes_a_death_the_first_again() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    for _ in 0..6 {
        world.say("handled");
        world.pass(millis(20));
        world.backend().pongs = false;
        world.say("not handled");
        world.kill_backend();
        world.pass(seconds(3));
    }
    assert_eq!(world.session.counters().isolations, 0);
}

#[test]
fn where_no_pings_are_answered_nothing_is_isolated_and_nobody_is_poison() {
    let mut world = World::new();
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.traits.mute = true;
    world.backend().pongs = false;
    world.session.handle_mute(1);
    for _ in 0..5 {
        world.say("subscribe");
        world.kill_backend();
        world.pass(seconds(3));
        world.attach_to(Peer::mute_backend());
    }
    assert_eq!(world.backend().messages(), ["subscribe"; 5]);
    assert_eq!(world.session.counters().poisoned, 0);
}

#[test]
fn a_message_over_replay_max_age_ends_the_session_with_1013() {
    let mut world = World::with(|config| config.replay_max_age = Some(seconds(2)));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = Some(false);
    world.backend().pongs = false;
    world.say("one");
    world.kill_backend();
    world.pass(millis(1_900));
    assert!(!world.over);
    world.pass(seconds(2));
    assert_eq!((world.client.close_code(), world.reason()), (Some(1013), Some(EndReason::Expired)));
}

#[test]
fn drop_prefix_drops_what_is_too_old_and_keeps_what_is_not() {
    let mut world = World::with(|config| {
        (config.replay_max_age, config.on_expired) = (Some(seconds(5)), OnExpired::DropPrefix);
    });
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = Some(false);
    world.backend().pongs = false;
    world.say("old");
    world.pass(seconds(4));
    world.say("young");
    world.kill_backend();
    world.pass(millis(1_500));
    world.dial_succeeds = Some(true);
    world.pass(seconds(2));
    assert_eq!(world.backend().messages(), ["young"]);
    assert_eq!(world.session.counters().expired, 1);
}

#[test]
fn where_memory_is_short_who_holds_the_most_is_slowed_first() {
    let budgets = Budgets::new(512 * 1024);
    let mut large = World::sharing(&budgets, |config| config.buffer_bytes = 200_000);
    let mut small = World::sharing(&budgets, |config| config.buffer_bytes = 200_000);
    for world in [&mut large, &mut small] {
        world.backend().pongs = false;
    }
    for _ in 0..30 {
        large.say(&"x".repeat(6_000));
    }
    small.say("x");
    assert!(budgets.upstream.used() * 4 > budgets.upstream.limit() * 3);
    assert!(!large.session.wants_read(Side::Client));
    assert!(small.session.wants_read(Side::Client));
}

#[test]
fn a_ring_that_is_full_of_bytes_is_not_short_of_memory() {
    let mut world = World::with(|config| config.buffer_bytes = 100);
    world.backend().pongs = false;
    world.session.handle_mute(1);
    for _ in 0..20 {
        world.say("a message of thirty-two bytes...");
    }
    assert_eq!(world.backend().messages().len(), 20, "the window slides");
}
