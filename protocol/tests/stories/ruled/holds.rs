//! A pinned message behind which a new leg is written nothing more until its answer has come.

use tideover_protocol::session::{EndReason, HoldFailure, Verdict};

use super::{die_for, hold_failures, quiet, reattach, ruled, ruled_with, tell};
use crate::world::{Peer, World, millis, seconds, wire};

const LOGIN: &str = "pin:login expects:in hold";

/// A world whose client has logged in and subscribed, and whose backend is dead.
fn logged_in() -> World {
    let mut world = ruled();
    log_in(&mut world);
    world.kill_backend();
    world
}

fn log_in(world: &mut World) {
    world.say(LOGIN);
    world.say("pin:sub subscribe");
    tell(world, "answers:in welcome");
    world.pass(seconds(1));
}

#[test]
fn the_first_leg_waits_for_nothing() {
    let mut world = ruled();
    world.say(LOGIN);
    world.say("two");
    assert_eq!(world.backend().messages(), [LOGIN, "two"], "the client knows when to go on");
}

#[test]
fn nothing_more_is_written_until_the_answer_has_come() {
    let mut world = logged_in();
    world.client.say("news");
    reattach(&mut world, quiet());
    world.pass(millis(500));
    assert_eq!(world.backend().messages(), [LOGIN]);
    assert_eq!(world.backend().raw.len(), wire::text(LOGIN, Some([0; 4])).len(), "no barrier either");
    tell(&mut world, "answers:other");
    assert_eq!(world.backend().messages(), [LOGIN]);
    tell(&mut world, "answers:in welcome again");
    assert_eq!(world.backend().messages(), [LOGIN, "pin:sub subscribe", "news"]);
    assert_eq!(world.client.messages(), ["answers:in welcome", "answers:other"]);
}

#[test]
fn what_the_client_says_meanwhile_waits_and_its_close_too() {
    let mut world = logged_in();
    reattach(&mut world, quiet());
    world.client.say("news");
    world.client.close(&wire::code(1000, ""));
    world.run();
    assert_eq!(world.backend().messages(), [LOGIN]);
    tell(&mut world, "answers:in");
    assert_eq!(world.backend().messages().last().unwrap(), "news");
    assert_eq!((world.over, world.client.close_code()), (true, Some(1000)));
}

#[test]
fn a_refusal_fails_the_attach_and_the_client_is_not_told() {
    let mut world = logged_in();
    reattach(&mut world, quiet());
    tell(&mut world, "answers:in no");
    assert_eq!(hold_failures(&world), [HoldFailure::Refused]);
    assert_eq!(world.backend().close_code(), Some(1001));
    assert_eq!(world.client.messages(), ["answers:in welcome"]);
    reattach(&mut world, quiet());
    tell(&mut world, "answers:in");
    assert_eq!(world.backend().messages(), [LOGIN, "pin:sub subscribe"]);
    let counters = world.session.counters();
    assert_eq!((counters.failovers, counters.holds_failed), (1, 1), "one backend was lost, one attempt failed");
}

#[test]
fn nothing_else_follows_from_a_refusal_that_another_backend_may_not_share() {
    let mut world = logged_in();
    world.say("ask:1 question");
    reattach(&mut world, quiet());
    tell(&mut world, "answers:in no ends:login done:1");
    reattach(&mut world, quiet());
    tell(&mut world, "answers:in");
    let said = [LOGIN, "pin:sub subscribe", "ask:1 question"];
    assert_eq!(world.backend().messages(), said, "still pinned, and still retained");
}

#[test]
fn what_the_client_had_no_answer_to_may_be_refused_to_it_by_a_later_backend() {
    let mut world = ruled();
    world.say(LOGIN);
    die_for(&mut world, quiet());
    tell(&mut world, "answers:in no ends:login");
    assert_eq!(world.client.messages(), ["answers:in no ends:login"]);
    assert_eq!((world.over, world.session.counters().holds_failed), (false, 0));
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), [""; 0], "what was refused is not said again");
}

#[test]
fn the_end_of_the_leg_fails_the_attach_and_nobody_is_asked_about_it() {
    let mut world = logged_in();
    reattach(&mut world, quiet());
    world.verdict = Some(Verdict::Healthy);
    world.kill_backend();
    assert!(!world.over);
    for code in [1001, 1011, 4000] {
        reattach(&mut world, quiet());
        world.backend().close(&wire::code(code, ""));
        world.run();
    }
    assert_eq!(hold_failures(&world), [HoldFailure::Ended; 4]);
    assert_eq!((world.over, world.session.counters().poisoned), (false, 0));
}

#[test]
fn the_applications_close_on_two_legs_in_a_row_is_for_the_client() {
    let mut world = logged_in();
    for round in 0..2 {
        assert!(!world.over, "round {round}");
        reattach(&mut world, quiet());
        world.backend().close(&wire::code(4403, "forbidden"));
        world.run();
    }
    assert_eq!(world.client.closed().unwrap(), wire::code(4403, "forbidden"));
    assert_eq!(world.reason(), Some(EndReason::BackendClosed(tideover_protocol::close::CloseCode::new(4403))));
}

#[test]
fn an_answer_that_does_not_come_within_hold_timeout_fails_the_attach() {
    let mut world = ruled_with(|config| config.hold_timeout = seconds(2));
    log_in(&mut world);
    die_for(&mut world, quiet());
    world.pass(millis(1999));
    assert_eq!(hold_failures(&world), []);
    world.pass(millis(1));
    assert_eq!(hold_failures(&world), [HoldFailure::TimedOut]);
}

#[test]
fn holds_that_fail_use_up_the_failover_timeout() {
    let mut world = ruled_with(|config| {
        config.hold_timeout = seconds(7);
        config.stable_after = seconds(1);
    });
    log_in(&mut world);
    world.kill_backend();
    let began = world.now;
    while !world.over && world.now.since(began) < seconds(60) {
        if world.dialling {
            world.attach_to(quiet());
        }
        // It lives and talks, but is not stable.
        tell(&mut world, "chatter");
        world.pass(millis(500));
    }
    assert_eq!((world.over, world.client.close_code()), (true, Some(1013)));
    assert!(world.now.since(began) <= seconds(31 + 7), "{:?}", world.now.since(began));
}

#[test]
fn each_hold_has_its_own_time() {
    let mut world = ruled_with(|config| config.hold_timeout = seconds(2));
    log_in(&mut world);
    world.say("pin:room expects:room hold enter");
    tell(&mut world, "answers:room entered");
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    world.pass(millis(1900));
    tell(&mut world, "answers:in");
    world.pass(millis(1900));
    tell(&mut world, "answers:room");
    assert_eq!(hold_failures(&world), []);
    assert_eq!(world.backend().messages().len(), 3);
}

#[test]
fn a_death_inside_a_hold_blames_no_message() {
    let mut world = ruled_with(|config| config.max_replays = 2);
    log_in(&mut world);
    world.backend().pongs = false;
    world.say("innocent");
    world.kill_backend();
    for _ in 0..5 {
        reattach(&mut world, Peer::silent_backend());
        world.kill_backend();
    }
    let counters = world.session.counters();
    assert_eq!((counters.poisoned, counters.isolations, counters.holds_failed), (0, 0, 5), "alone at one death");
}
