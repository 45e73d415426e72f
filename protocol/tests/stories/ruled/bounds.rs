//! Bounds, what cannot be looked into, and messages with which there is no session.

use tideover_protocol::session::{EndReason, Event, Reattach, Side};

use super::{Spoken, die_for, quiet, ruled, ruled_by, ruled_with, tell};
use crate::world::{seconds, wire};

#[test]
fn with_too_many_pins_the_session_goes_on_but_is_not_attached_again() {
    for (messages, bytes) in [(2, 1000), (10, 40)] {
        let mut world = ruled_with(|config| (config.pin_messages, config.pin_bytes) = (messages, bytes));
        for message in ["pin:a one", "pin:b two", "pin:c three"] {
            world.say(message);
        }
        tell(&mut world, "news");
        assert_eq!(world.client.messages(), ["news"]);
        assert!(world.events.contains(&Event::PinRefused));
        assert_eq!((world.session.counters().pinned, world.session.counters().pins_refused), (2, 1));
        world.kill_backend();
        assert_eq!((world.client.close_code(), world.reason()), (Some(1012), Some(EndReason::NotWhole)));
    }
}

#[test]
fn pins_count_among_the_memory_of_the_session_and_the_process() {
    let budgets = tideover_protocol::session::Budgets::new(1 << 20);
    let mut world = crate::world::World::sharing(&budgets, |config| {
        config.rules = Some(std::sync::Arc::new(Spoken::default()));
    });
    world.say(&format!("pin:a {}", "x".repeat(20_000)));
    world.pass(seconds(1));
    assert!(world.session.retained() == 0 && world.session.buffered() > 20_000);
    assert!(budgets.upstream.used() >= world.session.buffered());
    world.say("unpin:a");
    world.pass(seconds(1));
    assert!(world.session.buffered() < 1000, "{}", world.session.buffered());
}

#[test]
fn an_empty_message_that_waited_for_memory_is_looked_at_like_any_other() {
    let budgets = tideover_protocol::session::Budgets::new(2 * 8192);
    let mut others = tideover_replay_store::Reservation::new(budgets.upstream.clone());
    assert!(others.try_cover(8192));
    let mut world = crate::world::World::sharing(&budgets, |config| {
        config.rules = Some(std::sync::Arc::new(Spoken::default()));
    });
    world.client.send(&[0x81, 0x80, 1, 2, 3, 4]);
    world.run();
    assert!(world.session.wants_memory());
    others.shrink(0);
    world.run();
    assert_eq!(world.backend().messages(), [""]);
    world.say("next");
    assert_eq!(world.backend().messages(), ["", "next"]);
}

#[test]
fn a_session_is_whole_of_which_only_what_was_pinned_is_forgotten() {
    for (message, whole) in [("pin:b two", true), ("two", false), ("unpin:a pin:b two", true)] {
        let mut world = ruled_with(|config| config.reattach = Reattach::Whole);
        world.say("pin:a one");
        world.say(message);
        world.pass(seconds(1));
        assert_eq!(world.session.retained(), 0);
        world.kill_backend();
        assert_eq!(world.dialling, whole, "{message}");
    }
}

#[test]
fn a_message_with_which_there_is_no_session_takes_the_place_of_the_clients_close() {
    let mut world = ruled();
    world.client.say("ask:1 one");
    world.client.say("forbidden two");
    world.client.say("three");
    world.run();
    assert_eq!(world.backend().messages(), ["ask:1 one"]);
    assert_eq!(world.backend().close_code(), Some(1008));
    assert_eq!((world.over, world.client.close_code()), (true, Some(1008)));
    assert_eq!(world.reason(), Some(EndReason::ClosedByRule(Side::Client)));
    assert_eq!(world.session.counters().rule_closes, 1);
}

#[test]
fn a_message_of_a_backend_with_which_there_is_no_session_is_not_passed_on() {
    for grain in [1, usize::MAX] {
        let mut world = ruled();
        world.backend().grain = grain;
        for message in ["one", "forbidden two", "three"] {
            world.backend().say(message);
        }
        world.run();
        assert_eq!(world.client.messages(), ["one"]);
        assert_eq!((world.client.close_code(), world.backend().close_code()), (Some(1008), Some(1008)));
        assert_eq!(world.reason(), Some(EndReason::ClosedByRule(Side::Backend)));
    }
}

#[test]
fn the_clients_messages_are_numbered_through_the_session() {
    let mut world = ruled();
    world.say("nth:2 one");
    die_for(&mut world, quiet());
    world.say("nth:3 two");
    assert!(!world.over && world.session.counters().rule_closes == 0);
    world.say("nth:3 three");
    assert_eq!(world.session.counters().rule_closes, 1);
}

#[test]
fn nothing_of_a_message_is_written_before_it_is_whole_and_looked_at() {
    let mut world = ruled();
    let frame = wire::text("forbidden", world.client.mask());
    let (head, tail) = frame.split_at(frame.len() - 1);
    world.client.send(head);
    world.run();
    assert_eq!(world.backend().raw.len(), 0);
    world.client.send(tail);
    world.run();
    assert_eq!(world.backend().messages(), [""; 0]);
}

#[test]
fn what_is_too_long_to_be_looked_into_passes_unless_rules_would_rather_close() {
    let long = format!("pin:a {}", "x".repeat(200));
    for strict in [false, true] {
        let rules = Spoken { strict, ..Spoken::default() };
        let mut world = ruled_by(rules, |config| config.inspect_bytes = 100);
        world.say(&long);
        assert_eq!(world.backend().messages().len(), usize::from(!strict));
        assert_eq!((world.session.counters().opaque, world.session.counters().pinned), (1, 0));
        assert_eq!(world.client.close_code(), strict.then_some(1008));
        for grain in [1, usize::MAX] {
            let mut world = ruled_by(Spoken { strict, ..Spoken::default() }, |config| config.inspect_bytes = 100);
            world.backend().grain = grain;
            tell(&mut world, &long);
            assert_eq!(world.client.messages().len(), usize::from(!strict));
            assert_eq!((world.session.counters().opaque, world.client.close_code()), (1, strict.then_some(1008)));
        }
    }
}
