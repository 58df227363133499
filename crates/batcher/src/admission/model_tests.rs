//! Admission, queue and places together, under virtual time, against what would become of requests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::cost;
use super::*;
use crate::{Batch, BatchQueue, CostModel, Decision, Offer, ShapeClass};

const MS: Duration = Duration::from_millis(1);

/// A server of one model: a queue, places where batches run, and whether requests are admitted by cost.
struct Server {
    queue: BatchQueue<u64>,
    control: AdmissionControl,
    by_cost: bool,
    /// What batches really take.
    costs: CostModel,
    /// Of that: per cent that are added or taken away, in turn, and whether the server learns from it.
    noise_percent: i32,
    /// Places that are free, and the batches on the others with their end.
    free: Vec<usize>,
    running: BTreeMap<(Instant, usize), Vec<u64>>,
    deadlines: Vec<Instant>,
    admitted: Vec<bool>,
    /// When each was answered.
    answered: Vec<Option<Instant>>,
    batches: u32,
}

#[derive(Debug, Clone, Copy)]
struct Setup {
    places: usize,
    max_batch_size: usize,
    by_cost: bool,
    noise_percent: i32,
}

impl Server {
    fn new(setup: Setup) -> Self {
        let Setup { places, max_batch_size, by_cost, noise_percent } = setup;
        let batching = BatchPolicy { max_batch_size, max_queued_rows: 0, ..BatchPolicy::default() };
        let policy = AdmissionPolicy { parallel: places, max_queue_time: None };
        Self {
            control: AdmissionControl::new(policy, &batching, cost().into()),
            queue: BatchQueue::new(batching),
            by_cost,
            costs: cost(),
            noise_percent,
            free: (0..places).collect(),
            running: BTreeMap::new(),
            deadlines: Vec::new(),
            admitted: Vec::new(),
            answered: Vec::new(),
            batches: 0,
        }
    }

    /// Rows per second of full batches on all places.
    fn capacity(&self, setup: Setup) -> f64 {
        let full = self.costs.estimate(setup.max_batch_size).unwrap().as_secs_f64();
        (setup.places * setup.max_batch_size) as f64 / full
    }

    fn arrive(&mut self, timeout: Duration, now: Instant) -> Result<(), TooLate> {
        let (id, deadline) = (self.deadlines.len() as u64, now + timeout);
        self.deadlines.push(deadline);
        self.answered.push(None);
        let verdict = match self.by_cost {
            true => self.control.admit((id, Some(deadline)), self.queue.position(1, 0, None), now),
            false => Ok(()),
        };
        self.admitted.push(verdict.is_ok());
        verdict?;
        let offer = Offer {
            rows: 1,
            class: ShapeClass::default(),
            priority: 0,
            timeout: None,
            deadline: Some(deadline),
            flow: None,
            payload: id,
        };
        assert!(self.queue.push(offer, now).is_ok());
        self.dispatch(now);
        Ok(())
    }

    fn dispatch(&mut self, now: Instant) {
        let mut gone = Vec::new();
        self.queue.expire(now, &mut gone);
        while let Some(place) = self.free.pop() {
            let control = &self.control;
            let decision = match self.by_cost {
                true => self.queue.poll_in_time(now, &|bucket, rows| control.cost(bucket, rows), &mut gone),
                false => self.queue.poll(now),
            };
            let Decision::Dispatch(batch) = decision else {
                self.free.push(place);
                break;
            };
            let ids: Vec<u64> = batch.members.iter().map(|member| member.payload).collect();
            let Batch { rows, bucket, .. } = batch;
            let began = Began { place, rows, bucket, others_wait: !self.queue.is_empty() };
            self.control.began(began, ids.iter().copied(), now);
            let end = now + self.took(batch.rows);
            self.running.insert((end, place), ids);
        }
        for id in gone {
            self.control.left(id, now);
        }
    }

    fn took(&mut self, rows: usize) -> Duration {
        self.batches += 1;
        let sign = if self.batches.is_multiple_of(2) { 1 } else { -1 };
        let percent = 100 + sign * self.noise_percent;
        self.costs.estimate(rows).unwrap() * u32::try_from(percent).unwrap() / 100
    }

    /// Lets everything happen that does by then.
    fn run_until(&mut self, until: Instant) {
        while let Some(entry) = self.running.first_entry() {
            let (end, place) = *entry.key();
            if end > until {
                break;
            }
            for id in entry.remove() {
                self.answered[usize::try_from(id).unwrap()] = Some(end);
            }
            // Without noise the model is right already, and must not be moved by rounding.
            let learns = self.noise_percent != 0;
            self.control.ended(place, (learns, !self.queue.is_empty()), end);
            self.free.push(place);
            self.dispatch(end);
        }
    }

    fn is_in_time(&self, id: usize) -> bool {
        self.answered[id].is_some_and(|answered| answered <= self.deadlines[id])
    }

    /// When a request that comes now would be answered, if nobody came after it: everything is played through.
    fn played_through(&self, setup: Setup, now: Instant) -> Instant {
        let mut free: Vec<Instant> = self.running.keys().map(|(end, _)| *end).collect();
        free.resize(setup.places, now);
        let mut waiting = self.queue.len() + 1;
        loop {
            free.sort_unstable();
            let rows = waiting.min(setup.max_batch_size);
            waiting -= rows;
            free[0] += self.costs.estimate(rows).unwrap();
            if waiting == 0 {
                return free[0];
            }
        }
    }
}

/// Gaps of a Poisson process, in milliseconds, the same for each seed.
fn gaps(per_second: f64, mut seed: u64) -> impl Iterator<Item = Duration> {
    std::iter::repeat_with(move || {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let uniform = ((seed >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() / per_second)
    })
}

/// Answers in time per second, and the share of those admitted, once it has gone on for a while.
fn goodput(setup: Setup, factor: f64, timeout: Duration) -> (f64, f64) {
    const WARM: Duration = Duration::from_secs(4);
    const MEASURED: Duration = Duration::from_secs(10);
    let mut server = Server::new(setup);
    let start = Instant::now();
    let mut now = start;
    let mut counted = Vec::new();
    for (id, gap) in gaps(server.capacity(setup) * factor, 7).enumerate() {
        now += gap;
        if now > start + WARM + MEASURED {
            break;
        }
        server.run_until(now);
        // A refusal is counted below.
        let _ = server.arrive(timeout, now);
        if now > start + WARM {
            counted.push(id);
        }
    }
    server.run_until(now + timeout * 2);
    let good = counted.iter().filter(|id| server.is_in_time(**id)).count() as f64;
    let admitted = counted.iter().filter(|id| server.admitted[**id]).count() as f64;
    (good / MEASURED.as_secs_f64(), good / admitted)
}

#[test]
fn goodput_holds_under_overload_where_first_come_first_served_collapses() {
    let setup = Setup { places: 2, max_batch_size: 8, by_cost: true, noise_percent: 10 };
    let timeout = 100 * MS;
    let by_cost = [1.0, 2.0, 5.0, 10.0].map(|factor| goodput(setup, factor, timeout));
    let peak = by_cost.iter().map(|(good, _)| *good).fold(0.0, f64::max);
    for (good, of_admitted) in by_cost {
        assert!(good >= 0.95 * peak, "{by_cost:?}");
        assert!(of_admitted >= 0.97, "{by_cost:?}");
    }
    let capacity = Server::new(setup).capacity(setup);
    assert!(peak > 0.9 * capacity, "{peak} of {capacity}");
    for factor in [2.0, 5.0, 10.0] {
        let (fifo, _) = goodput(Setup { by_cost: false, ..setup }, factor, timeout);
        assert!(fifo < 0.2 * peak, "{factor} times: {fifo} of {peak}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_would_be_in_time_is_admitted_and_what_would_not_is_refused(
        places in 1_usize..4,
        max_batch_size in 1_usize..9,
        waiting in 0_usize..40,
        runs_since_ms in prop::collection::vec(0_u32..12, 0..4),
        timeout_ms in 1_u32..120,
    ) {
        let setup = Setup { places, max_batch_size, by_cost: true, noise_percent: 0 };
        let mut server = Server::new(setup);
        let start = Instant::now();
        let now = start + 20 * MS;
        // As many waiting ones as there are only while all places are taken.
        let busy = if waiting > 0 { places } else { runs_since_ms.len().min(places) };
        for place in 0..busy {
            let since = now - MS * runs_since_ms.get(place).copied().unwrap_or(0);
            let began = Began { place, rows: 1, bucket: ShapeBucket::NONE, others_wait: false };
            server.control.began(began, std::iter::empty(), since);
            server.free.retain(|free| *free != place);
            server.running.insert((since + server.costs.estimate(1).unwrap(), place), Vec::new());
        }
        for _ in 0..waiting {
            let offer = Offer {
                rows: 1,
                class: ShapeClass::default(),
                priority: 0,
                timeout: None,
                deadline: None,
                flow: None,
                payload: u64::MAX,
            };
            prop_assert!(server.queue.push(offer, now).is_ok());
        }
        let answered = server.played_through(setup, now);
        let in_time = answered <= now + MS * timeout_ms;
        let idle = waiting == 0 && busy < places;
        prop_assert_eq!(server.arrive(MS * timeout_ms, now).is_ok(), in_time || idle, "answered at {:?}", answered - now);
    }

    #[test]
    fn what_is_admitted_is_in_time_whoever_comes_later(
        places in 1_usize..4,
        max_batch_size in 1_usize..9,
        factor in 2_u32..12,
        slack_ms in 0_u32..100,
    ) {
        let setup = Setup { places, max_batch_size, by_cost: true, noise_percent: 0 };
        let mut server = Server::new(setup);
        let full = server.costs.estimate(max_batch_size).unwrap();
        let timeout = full * 2 + MS * slack_ms;
        let gap = Duration::from_secs_f64(1.0 / (server.capacity(setup) * f64::from(factor)));
        let start = Instant::now();
        // Until batches are known to be full.
        let warm = start + full * 60;
        let (mut now, mut first) = (start, None);
        while now < start + full * 120 {
            server.run_until(now);
            let _ = server.arrive(timeout, now);
            if now > warm {
                first.get_or_insert(server.deadlines.len() - 1);
            }
            now += gap;
        }
        server.run_until(now + timeout * 2);
        let first = first.unwrap();
        let admitted: Vec<usize> = (first..server.deadlines.len()).filter(|id| server.admitted[*id]).collect();
        let late: Vec<Option<Duration>> = admitted.iter().filter(|id| !server.is_in_time(**id))
            .map(|id| server.answered[*id].map(|answered| answered - server.deadlines[*id])).collect();
        // Where the deadline leaves no slack at all, a batch that goes a row short leaves its last one for the next.
        let bearable = if slack_ms == 0 { admitted.len() / 33 } else { 0 };
        prop_assert!(late.len() <= bearable, "{} of {} after their deadlines: {late:?}", late.len(), admitted.len());
        let share = admitted.len() as f64 / (60.0 * (places * max_batch_size) as f64);
        // Where the deadline leaves no slack, a batch may go a row short.
        prop_assert!(share > 0.85, "only {} of the capacity was used", share);
    }
}
