//! Output commit: the client sees what a backend said only when a barrier has come behind it.

use tideover_protocol::session::{Commit, Verdict};

use crate::world::{Peer, World, seconds, wire};

fn world() -> World {
    let mut world = World::with(|config| (config.commit, config.dedupe_replies) = (Commit::Barrier, true));
    world.verdict = Some(Verdict::Dying);
    world.backend().pongs = false;
    world
}

#[test]
fn output_is_held_until_a_pong_has_come_behind_it_which_forgets_its_inputs() {
    let mut world = world();
    world.say("one");
    assert_eq!((world.client.messages().len(), world.session.retained()), (0, 1));
    let ping = world.backend().pings()[0].to_vec();
    world.backend().pong(&ping);
    world.run();
    assert_eq!((world.client.messages(), world.session.retained()), (vec!["one".to_owned()], 0));
}

#[test]
fn held_output_dies_with_its_leg_and_is_said_again_once() {
    let mut world = world();
    world.say("one");
    world.kill_backend();
    assert_eq!(world.client.messages(), ["one"]);
    assert_eq!(world.session.counters().swallowed, 0);
}

#[test]
fn held_output_reaches_the_client_where_its_backend_only_ended_the_stream() {
    let mut world = world();
    world.verdict = Some(Verdict::Healthy);
    world.say("one");
    world.kill_backend();
    assert_eq!((world.client.messages(), world.over), (vec!["one".to_owned()], true));
    assert_eq!(world.session.counters().released, 1);
}

#[test]
fn a_close_of_the_backend_comes_behind_what_was_held() {
    let mut world = world();
    world.say("one");
    world.backend().close(&wire::code(4000, "enough"));
    world.run();
    assert_eq!((world.client.messages(), world.client.close_code()), (vec!["one".to_owned()], Some(4000)));
}

#[test]
fn more_than_commit_bytes_is_released() {
    let mut world = World::with(|config| (config.commit, config.commit_bytes) = (Commit::Barrier, 10));
    world.backend().pongs = false;
    world.say("five");
    assert!(world.client.messages().is_empty());
    world.say("more");
    assert_eq!((world.client.messages().len(), world.session.counters().released), (2, 1));
}

#[test]
fn nothing_is_held_for_a_pong_that_never_comes() {
    let mut world = world();
    world.say("one");
    world.pass(seconds(10));
    assert_eq!(world.mutes, [1]);
    world.session.handle_mute(1);
    world.say("two");
    assert_eq!(world.client.messages(), ["one", "two"]);
}

#[test]
fn a_greeting_is_not_held() {
    let mut world = World::with(|config| (config.commit, config.greeting) = (Commit::Barrier, 1));
    world.verdict = Some(Verdict::Dying);
    world.dial_succeeds = None;
    world.backend().pongs = false;
    world.say("one");
    world.backend().say("hello");
    world.kill_backend();
    world.attach_to(Peer::silent_backend());
    world.backend().say("hello");
    world.run();
    assert_eq!(world.client.messages(), ["one"], "what came first greets");
}
