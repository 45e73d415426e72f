//! The ring's life of a message: received, written, acknowledged, forgotten.

#![allow(missing_docs, reason = "criterion's macros generate an undocumented function")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tideover_benches::{KEY, message};
use tideover_replay_store::{Limits, Ring};

/// Messages per barrier.
const BATCH: usize = 64;

/// Pushes a batch, writes it and has it acknowledged. Returns how many messages were forgotten.
fn cycle(ring: &mut Ring, frame: &[u8]) -> usize {
    for _ in 0..BATCH {
        ring.append(frame, 0);
        ring.complete();
    }
    let len = ring.unwritten(ring.end()).map(<[u8]>::len).sum();
    ring.advance(len);
    let last = ring.last_seq();
    ring.acknowledge(last);
    ring.forget(last)
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for payload in [64, 1024, 64 * 1024] {
        let frame = message(payload, Some(KEY));
        let mut ring = Ring::new(Limits { messages: 1024, bytes: 1 << 20 });
        assert_eq!(cycle(&mut ring, &frame), BATCH);
        assert_eq!((ring.retained(), ring.allocated()), (0, 0));
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("push, write, acknowledge", payload), |bench| {
            bench.iter(|| cycle(&mut ring, black_box(&frame)));
        });
    }
}

criterion_group!(benches, ring);
criterion_main!(benches);
