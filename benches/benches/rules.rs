//! What looking into a message costs: the rules of GraphQL, most of which ask for a value of its JSON.

#![allow(missing_docs, reason = "criterion's macros generate an undocumented function")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tideover_protocol::rules::model::{Actions, JsonTest, Match, Operation, Rule, Scalar, Side, ValueTest};
use tideover_protocol::rules::{Key, Kind, Message, RuleSet, Rules};

/// Bytes of a message.
const SIZES: [usize; 2] = [64, 1024];

fn json(pointer: &str, test: ValueTest) -> JsonTest {
    JsonTest { pointer: pointer.into(), test }
}

fn is_type(name: &str) -> JsonTest {
    json("/type", ValueTest::OneOf(vec![Scalar::Text(name.into())]))
}

fn rule(from: Side, json: Vec<JsonTest>, key: &str) -> Rule {
    let does = Actions { acknowledge: Some(key.into()), ..Actions::default() };
    Rule { name: key.into(), from, matches: Match { json, ..Match::default() }, goes_on: false, does }
}

/// As the profile has them, all of one action.
fn graphql() -> RuleSet {
    let subscription =
        ValueTest::Operation { operation: Operation::Subscription, named: Some("/payload/operationName".into()) };
    let rules = [
        rule(Side::Client, vec![is_type("connection_init")], "ack"),
        rule(Side::Client, vec![is_type("subscribe"), json("/payload/query", subscription)], "operation {/id}"),
        rule(Side::Client, vec![is_type("subscribe")], "operation {/id}"),
        rule(Side::Backend, vec![is_type("connection_ack")], "ack"),
        rule(Side::Backend, vec![is_type("next")], "operation {/id}"),
    ];
    RuleSet::compile(&rules).expect("they are well-formed")
}

/// `head`, filled up to `size` bytes, `tail`.
fn filled(head: &str, tail: &str, size: usize) -> String {
    let filling = size.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(filling))
}

fn rules(criterion: &mut Criterion) {
    let rules = graphql();
    let mut group = criterion.benchmark_group("rules");
    for size in SIZES {
        let subscribe = filled(r#"{"id":"7","type":"subscribe","payload":{"query":"{a"#, r#"}"}}"#, size);
        let next = filled(r#"{"id":"7","type":"next","payload":{"data":{"a":""#, r#""}}}"#, size);
        let message = |text: &'static str| Message { kind: Kind::Text, payload: text.as_bytes(), nth: 1 };
        let (subscribe, next) = (message(subscribe.leak()), message(next.leak()));
        let key = Some(Key::of(b"operation \"7"));
        assert_eq!((rules.client(&subscribe).acknowledge, rules.backend(&next).acknowledge), (key, key));
        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::new("subscribe", size), &subscribe, |bench, message| {
            bench.iter(|| rules.client(black_box(message)));
        });
        group.bench_with_input(BenchmarkId::new("next", size), &next, |bench, message| {
            bench.iter(|| rules.backend(black_box(message)));
        });
    }
}

criterion_group!(benches, rules);
criterion_main!(benches);
