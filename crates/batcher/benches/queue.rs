//! What the queue costs per request. Run with `cargo bench -p adulis-batcher`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use adulis_batcher::{BatchPolicy, BatchQueue, Decision, Offer, ShapeClass};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn offer(class: u64, deadline: Option<Instant>) -> Offer<u64> {
    Offer {
        rows: 1,
        class: ShapeClass::new([0, 1, class]),
        priority: 0,
        timeout: None,
        deadline,
        flow: None,
        payload: class,
    }
}

fn queue(max_batch_size: usize) -> BatchQueue<u64> {
    BatchQueue::new(BatchPolicy { max_batch_size, max_queued_rows: 0, ..BatchPolicy::default() })
}

fn fill(queue: &mut BatchQueue<u64>, offers: impl IntoIterator<Item = Offer<u64>>, now: Instant) {
    for offer in offers {
        assert!(queue.push(offer, now).is_ok(), "the queue is unbounded");
    }
}

/// n requests of one class are pushed and leave as one batch.
fn push_and_poll(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push n, poll once");
    let now = Instant::now();
    let deadline = now + Duration::from_secs(30);
    for (name, deadline) in [("plain", None), ("deadline", Some(deadline))] {
        for count in [1_u64, 8, 64] {
            group.throughput(Throughput::Elements(count));
            group.bench_with_input(BenchmarkId::new(name, count), &count, |bencher, count| {
                let mut queue = queue(64);
                bencher.iter(|| {
                    fill(&mut queue, (0..*count).map(|_| offer(7, deadline)), now);
                    black_box(queue.poll(now))
                });
            });
        }
    }
    group.finish();
}

/// A queue of 100,000 requests: one is pushed and one batch is taken, whatever else is waiting.
fn poll_a_long_queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push 1, poll once behind 100,000");
    let now = Instant::now();
    for (name, classes) in [
        ("one class", 1),
        ("100 classes", 100),
        ("100,000 classes", 100_000),
    ] {
        group.bench_function(name, |bencher| {
            let mut queue = queue(2);
            fill(&mut queue, (0..100_000).map(|n| offer(n % classes, None)), now);
            let mut next = 0;
            bencher.iter(|| {
                let taken = match queue.poll(now) {
                    Decision::Dispatch(batch) => batch.members.len(),
                    _ => 0,
                };
                for _ in 0..taken {
                    next = (next + 1) % classes;
                    fill(&mut queue, [offer(next, None)], now);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, push_and_poll, poll_a_long_queue);
criterion_main!(benches);
