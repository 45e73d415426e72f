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
        ring.complete(0);
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

/// Writes all that is retained to a new leg. Returns how many bytes that are.
fn write_again(ring: &mut Ring) -> usize {
    ring.rewind();
    let len = ring.unwritten(ring.end()).map(|piece| black_box(piece).len()).sum();
    ring.advance(len);
    len
}

fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay of retained messages of 64 bytes");
    for retained in [1, 64, 1024] {
        let frame = message(64, Some(KEY));
        let mut ring = Ring::new(Limits { messages: 2048, bytes: 1 << 20 });
        for _ in 0..retained {
            ring.append(&frame, 0);
            ring.complete(0);
        }
        assert_eq!(write_again(&mut ring), retained * frame.len());
        assert_eq!((ring.retained(), ring.unacknowledged()), (retained, retained));
        group.throughput(Throughput::Elements(retained as u64));
        group.bench_function(BenchmarkId::from_parameter(retained), |bench| bench.iter(|| write_again(&mut ring)));
    }
}

criterion_group!(benches, ring, replay);
criterion_main!(benches);
