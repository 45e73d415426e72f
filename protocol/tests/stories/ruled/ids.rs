//! Ids that each backend chooses anew: the client knows one for the whole session.

use super::{die_for, grained, quiet, reattach, ruled, tell};
use crate::world::{World, seconds};

const SUBSCRIBE: &str = "pin:s expects:s learns";

/// A world whose client has subscribed, and was told that its subscription is called `old`.
fn subscribed() -> World {
    let mut world = ruled();
    world.say(SUBSCRIBE);
    tell(&mut world, "answers:s new-id:old yours");
    world.pass(seconds(1));
    world
}

#[test]
fn ids_are_translated_both_ways_over_two_failovers() {
    let mut world = subscribed();
    tell(&mut world, "id:old news one");
    for (leg, id) in ["second", "3"].into_iter().enumerate() {
        die_for(&mut world, quiet());
        tell(&mut world, &format!("answers:s new-id:{id} yours"));
        tell(&mut world, &format!("id:{id} news"));
        world.say("ask:1 id:old stop");
        assert_eq!(world.backend().messages(), [SUBSCRIBE.to_owned(), format!("ask:1 id:{id} stop")]);
        tell(&mut world, "done:1");
        assert_eq!(world.client.messages().iter().filter(|text| *text == "id:old news").count(), leg + 1);
    }
    let heard = world.client.messages();
    assert!(heard.iter().all(|text| !text.contains("second") && !text.contains(":3")), "{heard:?}");
    assert_eq!(world.session.counters().translated, 4);
}

#[test]
fn an_id_that_the_client_knows_for_something_else_comes_to_it_by_another_name() {
    for (first, second, name) in [("1", "2", "11"), ("\"a\"", "\"b\"", "\"a0\""), ("-7", "0", "-17")] {
        let mut world = ruled();
        world.say(SUBSCRIBE);
        tell(&mut world, &format!("answers:s new-id:{first}"));
        world.pass(seconds(1));
        die_for(&mut world, quiet());
        tell(&mut world, &format!("answers:s new-id:{second}"));
        world.say("pin:t expects:t learns");
        tell(&mut world, &format!("answers:t new-id:{first}"));
        tell(&mut world, &format!("id:{first} news of t"));
        tell(&mut world, &format!("id:{second} news of s"));
        let heard = [
            format!("answers:s new-id:{first}"),
            format!("answers:t new-id:{name}"),
            format!("id:{name} news of t"),
            format!("id:{first} news of s"),
        ];
        assert_eq!(world.client.messages(), heard);
        world.say(&format!("ask:1 id:{name} stop"));
        world.say(&format!("ask:2 id:{first} stop"));
        let said = [format!("ask:1 id:{first} stop"), format!("ask:2 id:{second} stop")];
        assert_eq!(world.backend().messages()[2..], said);
    }
}

#[test]
fn a_retained_message_says_another_id_on_each_leg() {
    let mut world = subscribed();
    world.say("ask:1 id:old stop");
    world.say("ask:2 other");
    world.client.send(&wire_head());
    world.run();
    for id in ["a-long-one", "b"] {
        world.backend().close(&crate::world::wire::code(1012, ""));
        world.run();
        reattach(&mut world, quiet());
        assert_eq!(world.backend().messages(), [SUBSCRIBE], "the ring waits for the id");
        tell(&mut world, &format!("answers:s new-id:{id}"));
        let said = [SUBSCRIBE.to_owned(), format!("ask:1 id:{id} stop"), "ask:2 other".to_owned()];
        assert_eq!(world.backend().messages(), said);
    }
    world.client.send(b"\0\0\0\0xyz");
    world.run();
    assert_eq!(world.backend().messages().last().unwrap(), "xyz", "a message that was begun is not hurt");
}

/// The beginning of a message of three bytes.
fn wire_head() -> [u8; 2] {
    [0x81, 0x83]
}

#[test]
fn what_the_client_says_before_the_new_id_is_known_is_translated_too() {
    let mut world = subscribed();
    world.kill_backend();
    world.say("ask:1 id:old said without a leg");
    reattach(&mut world, quiet());
    world.say("ask:2 id:old said in the prelude");
    tell(&mut world, "answers:s new-id:new");
    assert_eq!(
        world.backend().messages()[1..],
        ["ask:1 id:new said without a leg", "ask:2 id:new said in the prelude"]
    );
}

#[test]
fn a_message_that_names_an_id_ends_the_pin_that_brought_it_once_it_is_answered() {
    const OTHER: &str = "pin:o expects:o learns";
    let mut world = subscribed();
    world.say(OTHER);
    tell(&mut world, "answers:o new-id:another");
    world.say("ask:1 id:old unpin-later:which");
    die_for(&mut world, quiet());
    tell(&mut world, "answers:s new-id:x");
    tell(&mut world, "answers:o new-id:y");
    assert_eq!(
        world.backend().messages(),
        [SUBSCRIBE, OTHER, "ask:1 id:x unpin-later:which"],
        "it is not answered yet"
    );
    tell(&mut world, "done:1");
    die_for(&mut world, quiet());
    assert_eq!(world.backend().messages(), [OTHER]);
}

#[test]
fn an_id_that_no_backend_chose_is_left_alone() {
    let mut world = subscribed();
    die_for(&mut world, quiet());
    tell(&mut world, "answers:s new-id:new");
    tell(&mut world, "id:other news");
    world.say("id:unknown stop");
    assert_eq!(world.client.messages().last().unwrap(), "id:other news");
    assert_eq!(world.backend().messages().last().unwrap(), "id:unknown stop");
}

#[test]
fn ids_of_two_subscriptions_that_cross_are_told_apart() {
    let mut world = ruled();
    for (name, id) in [("s", "1"), ("t", "2")] {
        world.say(&format!("pin:{name} expects:{name} learns"));
        tell(&mut world, &format!("answers:{name} new-id:{id}"));
    }
    world.pass(seconds(1));
    die_for(&mut world, quiet());
    for (name, id) in [("s", "2"), ("t", "1")] {
        tell(&mut world, &format!("answers:{name} new-id:{id}"));
    }
    tell(&mut world, "id:2 for s");
    tell(&mut world, "id:1 for t");
    let heard = world.client.messages();
    assert_eq!(heard[2..], ["id:1 for s", "id:2 for t"]);
}

#[test]
fn a_message_with_another_id_is_passed_whole_in_whatever_pieces_it_comes() {
    for grain in [1, 3, usize::MAX] {
        let mut world = subscribed();
        die_for(&mut world, grained(grain));
        tell(&mut world, "answers:s new-id:longer-by-far");
        world.backend().say_in_parts(&["id:longer-by", "-far in", " parts"]);
        world.backend().say("plain");
        world.run();
        let heard = world.client.messages();
        assert_eq!(heard[1..], ["id:old in parts", "plain"], "in pieces of {grain}");
    }
}
