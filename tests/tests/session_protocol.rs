//! Backends that speak the session protocol are killed at random: each message is done once, and each answer reaches its
//! client once.

use tideover_tests::{
    example::Language,
    lock::machine_alone,
    matrix::{Counts, ExactlyOnce},
};

/// Must be shown: `explicit`: 0 lost, 0 applied twice, 0 answers lost. The pool mixes both languages, so both carriers of
/// the acknowledgement, over one database.
#[test]
fn killed_at_random_each_message_is_done_once_and_each_answer_comes_once() {
    let _machine = machine_alone();
    let pool = vec![Language::Python, Language::Node, Language::Python, Language::Node];
    let fire = ExactlyOnce { pool, kills: 200 };
    let outcome = fire.run();
    eprintln!("{} messages, {} re-attachments", outcome.counts.sent, outcome.counts.rescued);
    let Counts { kills, sent, rescued, .. } = outcome.counts;
    let flawless = Counts { kills, sent, rescued, ..Counts::default() };
    assert_eq!(outcome.counts, flawless, "{:?}", outcome.notes);
    assert_eq!(fire.void(&outcome), Vec::<String>::new());
}
