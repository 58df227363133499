use super::*;

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn timings(queue: u64, input: u64, infer: u64, output: u64) -> StageTimings {
    StageTimings {
        queue: milliseconds(queue),
        batch: Duration::ZERO,
        compute_input: milliseconds(input),
        compute_infer: milliseconds(infer),
        compute_output: milliseconds(output),
    }
}

fn sum(count: u64, total: u64) -> DurationStatistic {
    DurationStatistic { count, total: milliseconds(total) }
}

#[test]
fn counts_and_sums_add_up() {
    let statistics = Statistics::new(8);
    let arrived = Instant::now();
    let answered = |rows, took, timings| Answered {
        arrived,
        answered: arrived + milliseconds(took),
        rows,
        timings,
        cache: None,
    };
    // Three requests of 2, 1 and 1 rows share an execution; the last has one for itself.
    let shared = timings(3, 1, 10, 2);
    statistics.executed(4, &shared);
    for rows in [2, 1, 1] {
        statistics.succeeded(&answered(rows, 17, shared));
    }
    let alone = timings(0, 1, 5, 1);
    statistics.executed(1, &alone);
    statistics.succeeded(&answered(1, 8, alone));
    statistics.failed(ErrorKind::Overloaded, milliseconds(4));

    assert_eq!(statistics.failures(), [1, 0, 0, 0]);
    let read = statistics.read(&"m".into(), 3);
    assert_eq!((&*read.name, read.version), ("m", 3));
    assert_eq!((read.inference_count, read.execution_count), (5, 2));
    let inference = InferenceStatistics {
        success: sum(4, 3 * 17 + 8),
        fail: sum(1, 4),
        queue: sum(4, 9),
        compute_input: sum(4, 4),
        compute_infer: sum(4, 35),
        compute_output: sum(4, 7),
        ..InferenceStatistics::default()
    };
    assert_eq!(read.inference, inference);
    let batch = |batch_size, input, infer, output| BatchStatistics {
        batch_size,
        compute_input: sum(1, input),
        compute_infer: sum(1, infer),
        compute_output: sum(1, output),
    };
    assert_eq!(read.batches, [batch(1, 1, 5, 1), batch(4, 1, 10, 2)]);
}

#[test]
fn the_time_of_day_of_the_last_inference_is_told() {
    let statistics = Statistics::new(1);
    assert_eq!(statistics.read(&"m".into(), 1).last_inference, Duration::ZERO);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (arrived, answered) = (Instant::now(), Instant::now());
    statistics.succeeded(&Answered { arrived, answered, rows: 1, timings: timings(0, 0, 0, 0), cache: None });
    let last = statistics.read(&"m".into(), 1).last_inference;
    assert!(last.abs_diff(now) < Duration::from_secs(1), "{last:?} is not {now:?}");
}

#[test]
fn batches_of_every_size_are_counted_in_order() {
    let statistics = Statistics::new(1 << 20);
    let sizes = [1000, 65, 64, 1, 65];
    for rows in sizes {
        statistics.executed(rows, &timings(0, 0, 1, 0));
    }
    let read = statistics.read(&"m".into(), 1);
    let counted: Vec<(u64, u64)> =
        read.batches.iter().map(|batch| (batch.batch_size, batch.compute_infer.count)).collect();
    assert_eq!(counted, [(1, 1), (64, 1), (65, 2), (1000, 1)]);
    assert_eq!(read.execution_count, 5);
}
