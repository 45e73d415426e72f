//! How fast frames are found: the steps of a stream, and runs of whole messages.

#![allow(missing_docs, reason = "criterion's macros generate an undocumented function")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tideover_benches::{KEY, message};
use tideover_protocol::scan::{MessageLimits, Scanner, Sender, Step};

/// Bytes of frames scanned per iteration.
const STREAM: usize = 1 << 20;
const LIMITS: MessageLimits = MessageLimits { bytes: 1 << 20, frames: 1 << 10 };

fn steps(mut input: &[u8]) -> usize {
    let mut scanner = Scanner::new(Sender::Client, LIMITS);
    let mut messages = 0;
    while let Ok(step) = scanner.step(&mut input) {
        match step {
            Step::Starved => break,
            Step::Announced(_) => scanner.admit(),
            Step::Payload { ends_message, .. } => messages += usize::from(ends_message),
            Step::Ping(_) | Step::Pong(_) | Step::Close(_) => {}
        }
    }
    messages
}

fn run(input: &[u8]) -> usize {
    Scanner::new(Sender::Client, LIMITS).whole_messages(input, usize::MAX).1
}

/// Streams of messages of these payloads in turn, and what they are called.
const MIXES: [(&str, &[usize]); 4] =
    [("64", &[64]), ("1024", &[1024]), ("65536", &[65536]), ("mixed", &[64, 5, 1024, 0, 200, 64, 16 * 1024, 125, 126])];

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for (name, payloads) in MIXES {
        let frames = payloads.iter().flat_map(|payload| message(*payload, Some(KEY))).collect::<Vec<_>>();
        let times = STREAM / frames.len();
        let (count, stream) = (times * payloads.len(), frames.repeat(times));
        assert_eq!((steps(&stream), run(&stream)), (count, count));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("steps", name), &stream, |bench, stream| {
            bench.iter(|| steps(black_box(stream)));
        });
        group.bench_with_input(BenchmarkId::new("whole messages", name), &stream, |bench, stream| {
            bench.iter(|| run(black_box(stream)));
        });
    }
}

criterion_group!(benches, scan);
criterion_main!(benches);
