//! What looking into a message costs: the rules of GraphQL, most of which ask for a value of its JSON. And what it costs
//! where messages are compressed: turns of a session without rules, with them, and with a message to inflate.

#![allow(missing_docs, reason = "criterion's macros generate an undocumented function")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, FlushCompress};
use tideover_benches::{KEY, Rig, text};
use tideover_protocol::rules::model::{Actions, JsonTest, Match, Operation, Rule, Scalar, Side, ValueTest};
use tideover_protocol::rules::{Key, Kind, Message, RuleSet, Rules};

/// Bytes of a message.
const SIZES: [usize; 2] = [64, 1024];
/// Bytes of what a compressed message says.
const INFLATED: [usize; 2] = [1024, 64 << 10];

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

/// A query of `size` bytes that compresses as JSON does, to some fourth of it.
fn query(size: usize) -> String {
    let (mut query, mut state) = (r#"{"id":"7","type":"subscribe","payload":{"query":"{a"#.to_owned(), 1_u32);
    while query.len() < size - 32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        query += &format!(" field{}(id: {})", state >> 29, state >> 20 & 0xff);
    }
    let filling = size - query.len() - 4;
    query + &" ".repeat(filling) + r#"}"}}"#
}

/// As a client compresses a message, without context (RFC 7692 7.2.1).
fn deflated(text: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(text.len() + 64);
    let mut state = Compress::new(Compression::default(), false);
    state.compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync).expect("it can be compressed");
    assert!(payload.ends_with(&[0, 0, 0xff, 0xff]), "there was room for all");
    payload.truncate(payload.len() - 4);
    payload
}

fn compressed(criterion: &mut Criterion) {
    let rules = Arc::new(graphql());
    let mut group = criterion.benchmark_group("rules in a session");
    for size in INFLATED {
        let query = query(size);
        assert_eq!(query.len(), size);
        let [plain, compressed] = [text(query.as_bytes(), false, Some(KEY)), text(&deflated(&query), true, Some(KEY))];
        assert!(compressed.len() < plain.len() / 2, "{} of {}", compressed.len(), plain.len());
        let answer = text(br#"{"id":"7","type":"next","payload":{"data":{"a":1}}}"#, false, None);
        group.throughput(Throughput::Elements(1));
        for (name, looks, request) in
            [("not looked into", false, &compressed), ("plain", true, &plain), ("inflated", true, &compressed)]
        {
            let rules = looks.then(|| Arc::clone(&rules) as Arc<dyn Rules>);
            let mut rig = Rig::compressing(rules, request.clone(), answer.clone());
            assert_eq!(rig.turn(), answer.len());
            // The key of the answer is that which stands in the request.
            let counters = rig.counters();
            assert_eq!((counters.received, counters.keyed, counters.opaque), (1, u64::from(looks), 0), "{name}");
            group.bench_function(BenchmarkId::new(name, size), |bench| bench.iter(|| black_box(rig.turn())));
            assert_eq!(rig.counters().keyed, if looks { rig.counters().received } else { 0 }, "{name}");
        }
    }
}

criterion_group!(benches, rules, compressed);
criterion_main!(benches);
