//! What is not replayed to another leg, though it is retained.

use super::{die_for, quiet, reattach, ruled, tell};
use crate::world::{millis, seconds};

#[test]
fn what_concerns_one_leg_only_is_never_written_to_another() {
    let mut world = ruled();
    world.backend().pongs = false;
    for message in ["one", "local two", "three", "local four"] {
        world.say(message);
    }
    world.kill_backend();
    world.say("local said meanwhile");
    world.say("five");
    reattach(&mut world, quiet());
    world.say("local six");
    assert_eq!(world.backend().messages(), ["one", "three", "five", "local six"]);
    assert_eq!(world.session.counters().skipped, 3);
}

#[test]
fn what_was_never_written_and_concerns_the_old_leg_is_not_written_either() {
    let mut world = ruled();
    world.backend().room = 0;
    world.say("local one");
    world.say("two");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["two"]);
}

#[test]
fn what_is_ephemeral_is_not_written_again_once_any_of_it_was() {
    let mut world = ruled();
    world.backend().pongs = false;
    world.say("one");
    world.say("brief two");
    world.backend().room = 3;
    world.say("brief three");
    world.say("brief four");
    world.say("five");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), ["one", "brief four", "five"]);
    assert_eq!(world.session.counters().skipped, 2);
}

#[test]
fn what_is_older_than_its_rule_allows_is_not_replayed_and_the_rest_is() {
    let mut world = ruled();
    world.backend().pongs = false;
    world.say("age:500 one");
    world.say("age:60000 two");
    world.say("three");
    world.pass(millis(600));
    world.say("age:500 four");
    world.kill_backend();
    world.attach_to(quiet());
    assert_eq!(world.backend().messages(), ["age:60000 two", "three", "age:500 four"]);
    assert_eq!(world.session.counters().expired, 1);
}

#[test]
fn a_command_that_grew_stale_while_there_was_no_backend_is_not_delivered() {
    let mut world = ruled();
    world.kill_backend();
    world.say("age:1000 command");
    world.fail_to_attach(tideover_protocol::session::AttachFailure::Failed);
    world.pass(millis(100));
    world.fail_to_attach(tideover_protocol::session::AttachFailure::Failed);
    world.pass(seconds(2));
    while world.dialling {
        world.fail_to_attach(tideover_protocol::session::AttachFailure::Failed);
        world.pass(millis(1500));
        if world.session.counters().expired > 0 {
            break;
        }
    }
    world.attach_to(quiet());
    assert_eq!(world.backend().messages(), [""; 0]);
    assert_eq!(world.session.counters().expired, 1);
}

#[test]
fn a_migrated_session_does_not_take_along_what_concerned_the_old_leg() {
    let mut world = ruled();
    world.say("one");
    tell(&mut world, "to one");
    world.session.migrate(world.now, tideover_protocol::session::OnMigrateTimeout::FailOver).expect("it can");
    world.run();
    world.client.say("local answer to the old leg");
    world.client.say("two");
    world.pass(seconds(30));
    assert_eq!(world.session.counters().migrations, 1);
    let both: Vec<_> = world.backends.iter().map(crate::world::Peer::messages).collect();
    let local = both[1].iter().any(|message| message.starts_with("local"));
    assert!(!local, "{both:?}");
    assert!(both.iter().flatten().any(|message| message == "two"), "{both:?}");
}
