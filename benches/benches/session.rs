//! The engine: a turn of a busy session, and a failover.

#![allow(missing_docs, reason = "criterion's macros generate an undocumented function")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tideover_benches::{KEY, Rig, message};

fn turn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn: message, barrier, answer, pong");
    for payload in [64, 1024, 64 * 1024] {
        let mut rig = Rig::new(payload);
        assert_eq!(rig.turn(), message(payload, None).len());
        assert_eq!((rig.unacknowledged(), rig.counters().barriers, rig.counters().forgotten), (0, 1, 1));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(payload), |bench| bench.iter(|| rig.turn()));
        assert_eq!(rig.counters().received, rig.counters().forgotten);
    }
}

fn loaded(retained: usize) -> Rig {
    let mut rig = Rig::new(100);
    rig.retain(retained);
    rig
}

fn failover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("failover with retained messages of 100 bytes");
    for retained in [1, 100, 1000] {
        let mut rig = loaded(retained);
        let barrier = 2 + 4 + 20;
        assert_eq!(rig.fail_over(), retained * message(100, Some(KEY)).len() + barrier);
        assert_eq!((rig.counters().replayed, rig.counters().failovers), (retained as u64, 1));
        group.throughput(Throughput::Elements(retained as u64));
        group.bench_function(BenchmarkId::from_parameter(retained), |bench| {
            bench.iter_batched_ref(|| loaded(retained), Rig::fail_over, BatchSize::LargeInput);
        });
    }
}

criterion_group!(benches, turn, failover);
criterion_main!(benches);
