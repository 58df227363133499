//! The queue against a model that keeps plain lists and looks at all of them, under virtual time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ShapeClass;

#[derive(Debug, Clone)]
struct Request {
    id: u8,
    start: bool,
    end: bool,
    class: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Push(Request),
    Cancel(usize),
    Expire,
    Poll(usize),
    /// Which of its members fail, by bit, and whether the instance loses its state.
    Complete(usize, u8, bool),
    Pass(u64),
}

#[derive(Debug, Clone)]
struct Waiting {
    payload: usize,
    request: Request,
    enqueued: Instant,
}

/// An id that is open, or has something to do.
#[derive(Debug)]
struct Sequence {
    id: u8,
    open: bool,
    waiting: Vec<Waiting>,
    running: Option<Waiting>,
    slot: Option<(usize, usize)>,
    /// Since when its first request can run, or since when there is none.
    since: Instant,
}

impl Sequence {
    fn is_ready(&self, instance: usize) -> bool {
        self.is_on(instance) && self.running.is_none() && !self.waiting.is_empty()
    }

    fn is_on(&self, instance: usize) -> bool {
        self.slot.is_some_and(|(its, _)| its == instance)
    }

    fn is_idle(&self) -> bool {
        self.slot.is_some() && self.running.is_none() && self.waiting.is_empty()
    }

    /// Takes out what waits up to the next start.
    fn give_up(&mut self, from: usize) -> Vec<usize> {
        let next = self.waiting[from..].iter().position(|one| one.request.start);
        self.open &= next.is_some();
        let to = next.map_or(self.waiting.len(), |next| from + next);
        self.waiting.drain(from..to).map(|one| one.payload).collect()
    }
}

/// The queue and its model, compared at every step.
struct Checked {
    policy: SequencePolicy,
    queue: SequenceQueue<u8, usize>,
    sequences: Vec<Sequence>,
    tickets: Vec<Option<SequenceTicket>>,
    /// Payloads that left, each once.
    left: BTreeSet<usize>,
    now: Instant,
}

impl Checked {
    fn new(policy: SequencePolicy) -> Self {
        Self {
            queue: SequenceQueue::new(policy.clone()),
            policy,
            sequences: Vec::new(),
            tickets: Vec::new(),
            left: BTreeSet::new(),
            now: Instant::now(),
        }
    }

    fn leaves(&mut self, payload: usize) {
        assert!(self.left.insert(payload), "{payload} left twice");
    }

    fn waiting(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.waiting.len()).sum()
    }

    /// Ends what is over and gives free slots to those that have waited longest.
    fn tidy(&mut self) {
        self.sequences.retain(|one| one.open || one.running.is_some() || !one.waiting.is_empty());
        for _ in 0..self.sequences.len() {
            let taken = |instance| self.sequences.iter().filter(|one| one.is_on(instance)).count();
            let instance = (0..self.policy.instances).min_by_key(|instance| taken(*instance));
            let Some(instance) = instance.filter(|instance| taken(*instance) < self.policy.slots) else {
                return;
            };
            let free = |slot: &usize| self.sequences.iter().all(|one| one.slot != Some((instance, *slot)));
            let slot = (0..self.policy.slots).find(free).expect("one is free");
            let backlog = self.sequences.iter_mut().filter(|one| one.slot.is_none());
            if let Some(first) = backlog.min_by_key(|one| one.waiting[0].payload) {
                (first.slot, first.since) = (Some((instance, slot)), self.now);
            }
        }
    }

    fn expire_model(&mut self) {
        let (now, max_idle) = (self.now, self.policy.max_idle);
        self.sequences.retain(|one| !one.is_idle() || one.since + max_idle > now);
        self.tidy();
    }

    fn push(&mut self, request: &Request) {
        self.expire_model();
        let payload = self.tickets.len();
        let Request { id, start, end, class } = request.clone();
        let known = self.sequences.iter().position(|one| one.id == id);
        let limit = self.policy.max_queued_requests;
        let expected = if !start && !known.is_some_and(|index| self.sequences[index].open) {
            Some(SequenceRefusedReason::NotStarted)
        } else {
            Some(SequenceRefusedReason::QueueFull { limit }).filter(|_| limit != 0 && self.waiting() >= limit)
        };
        let offer = SequenceOffer { id, owner: 0, start, end, class: ShapeClass::new([class]), payload };
        let pushed = self.queue.push(offer, self.now);
        assert_eq!(pushed.as_ref().err().map(|refused| refused.reason), expected);
        self.tickets.push(pushed.as_ref().ok().copied());
        if let Err(refused) = pushed {
            assert_eq!(refused.payload, payload);
            return;
        }
        let waiting = Waiting { payload, request: request.clone(), enqueued: self.now };
        match known.map(|index| &mut self.sequences[index]) {
            Some(sequence) => {
                if sequence.is_idle() {
                    sequence.since = self.now;
                }
                sequence.open = !end;
                sequence.waiting.push(waiting);
            }
            None => {
                let since = self.now;
                let waiting = vec![waiting];
                self.sequences
                    .push(Sequence { id, open: !end, waiting, running: None, slot: None, since });
            }
        }
        self.tidy();
    }

    fn cancel(&mut self, nth: usize) {
        let payload = nth % self.tickets.len().max(1);
        let Some(Some(ticket)) = self.tickets.get(payload).copied() else {
            return;
        };
        let mut orphans = Vec::new();
        let cancelled = self.queue.cancel(ticket, self.now, &mut orphans);
        let place = self.sequences.iter().enumerate().find_map(|(sequence, one)| {
            let index = one.waiting.iter().position(|one| one.payload == payload)?;
            Some((sequence, index))
        });
        assert_eq!(cancelled, place.map(|_| payload));
        let Some((sequence, index)) = place else {
            assert!(orphans.is_empty());
            return;
        };
        let sequence = &mut self.sequences[sequence];
        if index == 0 && sequence.running.is_none() && sequence.slot.is_some() {
            sequence.since = self.now;
        }
        let gone = sequence.waiting.remove(index);
        let expected = if gone.request.start { sequence.give_up(index) } else { Vec::new() };
        assert_eq!(orphans, expected);
        self.leaves(payload);
        orphans.into_iter().for_each(|orphan| self.leaves(orphan));
        self.tidy();
    }

    /// Whether a batch went.
    fn poll(&mut self, instance: usize) -> SequenceDecision<usize> {
        let decision = self.queue.poll(instance, self.now);
        let busy = self.sequences.iter().any(|one| one.is_on(instance) && one.running.is_some());
        let ready = || self.sequences.iter().filter(|one| one.is_ready(instance));
        match &decision {
            SequenceDecision::Idle => assert!(busy || ready().next().is_none()),
            SequenceDecision::WaitUntil(until) => {
                let first = ready().map(|one| one.since).min().expect("something waits");
                assert!(!busy && *until > self.now);
                assert_eq!(*until, first + self.delay());
                assert!(!self.is_enough(instance), "there is no need to wait");
            }
            SequenceDecision::Dispatch(batch) => {
                assert!(!busy, "one batch at a time");
                self.dispatched(instance, batch);
            }
        }
        decision
    }

    fn delay(&self) -> Duration {
        match &self.policy.strategy {
            SequenceStrategy::Direct { max_queue_delay, .. }
            | SequenceStrategy::Oldest { max_queue_delay, .. } => *max_queue_delay,
        }
    }

    /// Ready sequences that share the class of the one that has been ready for longest.
    fn line(&self, instance: usize) -> Vec<&Sequence> {
        let mut ready: Vec<_> = self.sequences.iter().filter(|one| one.is_ready(instance)).collect();
        ready.sort_by_key(|one| (one.since, one.slot));
        let class = ready.first().map(|one| one.waiting[0].request.class);
        ready.retain(|one| Some(one.waiting[0].request.class) == class);
        ready
    }

    /// Whether what is ready is worth a batch at once.
    fn is_enough(&self, instance: usize) -> bool {
        let line = self.line(instance).len();
        match &self.policy.strategy {
            SequenceStrategy::Direct { minimum_slot_utilization, .. } => {
                line as f32 >= minimum_slot_utilization * self.policy.slots as f32
            }
            SequenceStrategy::Oldest { max_batch_size, preferred_batch_sizes, .. } => {
                line >= *max_batch_size || preferred_batch_sizes.iter().any(|size| (1..=line).contains(size))
            }
        }
    }

    /// Checks the batch against the rules, and moves its members on.
    fn dispatched(&mut self, instance: usize, batch: &SequenceBatch<usize>) {
        let line = self.line(instance);
        let late = line.first().is_some_and(|one| one.since + self.delay() <= self.now);
        let members: Vec<usize> = batch.members.iter().map(|member| member.payload).collect();
        match &self.policy.strategy {
            SequenceStrategy::Direct { .. } => {
                assert!(late || self.is_enough(instance), "it should have waited");
                let expected: BTreeSet<usize> = line.iter().map(|one| one.waiting[0].payload).collect();
                assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), expected);
                let open = self.sequences.iter().filter(|one| one.is_on(instance));
                let span = open.filter_map(|one| one.slot).map(|(_, slot)| slot + 1).max();
                assert_eq!(Some(batch.rows), span);
            }
            SequenceStrategy::Oldest { max_batch_size, .. } => {
                assert!(members.len() <= (*max_batch_size).max(1));
                assert_eq!(batch.rows, members.len());
                let waits = self.sequences.iter().filter(|one| one.is_ready(instance));
                let taken = waits.filter(|one| members.contains(&one.waiting[0].payload));
                let longest = taken.map(|one| one.since).min();
                assert!(!late || longest == Some(line[0].since), "another has waited for longer");
            }
        }
        let mut class = None;
        for (index, member) in batch.members.iter().enumerate() {
            let place = (instance, member.slot);
            let sequence = self.sequences.iter_mut().find(|one| one.slot == Some(place)).unwrap();
            assert!(sequence.running.is_none(), "two requests of a sequence at once");
            let first = sequence.waiting.remove(0);
            assert_eq!(member.payload, first.payload, "out of order");
            assert_eq!((member.start, member.end), (first.request.start, first.request.end));
            assert_eq!(member.enqueued, first.enqueued);
            let direct = matches!(self.policy.strategy, SequenceStrategy::Direct { .. });
            assert_eq!(member.row, if direct { member.slot } else { index });
            assert_eq!(*class.get_or_insert(first.request.class), first.request.class);
            sequence.running = Some(first);
            self.leaves(member.payload);
        }
        assert!(batch.members.is_sorted_by_key(|member| member.row));
    }

    fn complete(&mut self, instance: usize, failed: u8, lost: bool) {
        let mut orphans = Vec::new();
        let slots: Vec<usize> = (0..8).filter(|slot| failed >> slot & 1 == 1).collect();
        self.queue.complete(instance, RunEnd { failed: &slots, lost }, self.now, &mut orphans);
        let mut expected = Vec::new();
        for sequence in self.sequences.iter_mut().filter(|one| one.is_on(instance)) {
            let ran = sequence.running.take();
            let slot = sequence.slot.map_or(0, |(_, slot)| slot);
            let start_failed = ran.as_ref().is_some_and(|ran| ran.request.start) && slots.contains(&slot);
            let starts = sequence.waiting.first().is_some_and(|first| first.request.start);
            if (lost || start_failed) && !starts {
                expected.extend(sequence.give_up(0));
                sequence.since = self.now;
            }
            if ran.is_some() {
                sequence.since = self.now;
            }
            if ran.is_some_and(|ran| ran.request.end) {
                sequence.slot = None;
            }
        }
        orphans.sort_unstable();
        expected.sort_unstable();
        assert_eq!(orphans, expected);
        orphans.into_iter().for_each(|orphan| self.leaves(orphan));
        self.tidy();
    }

    fn expire(&mut self) {
        self.queue.expire(self.now);
        self.expire_model();
    }

    fn compare(&self) {
        assert_eq!(self.queue.len(), self.waiting());
        let backlog = self.sequences.iter().filter(|one| one.slot.is_none()).count();
        assert_eq!((self.queue.backlog(), self.queue.active()), (backlog, self.sequences.len() - backlog));
        let idle = self.sequences.iter().filter(|one| one.is_idle());
        assert_eq!(self.queue.next_expiry(), idle.map(|one| one.since + self.policy.max_idle).min());
        for instance in 0..self.policy.instances {
            let ready = self.sequences.iter().any(|one| one.is_ready(instance));
            assert_eq!(self.queue.has_ready(instance), ready);
            for slot in 0..self.policy.slots {
                let taken = self.sequences.iter().any(|one| one.slot == Some((instance, slot)));
                assert_eq!(self.queue.is_taken(instance, slot), taken, "slot {slot} of {instance}");
            }
        }
        let limit = self.policy.instances * self.policy.slots + self.policy.max_queued_requests;
        assert!(self.policy.max_queued_requests == 0 || self.sequences.len() <= limit, "unbounded");
    }

    /// Everything that was taken in came out once, or does now.
    fn finish(mut self) {
        let waiting = self.sequences.iter_mut().flat_map(|one| one.waiting.drain(..));
        let mut rest: Vec<usize> = waiting.map(|one| one.payload).collect();
        rest.sort_unstable();
        assert_eq!(self.queue.drain(), rest);
        rest.into_iter().for_each(|payload| self.leaves(payload));
        assert_eq!(self.left.len(), self.tickets.iter().flatten().count());
        for instance in 0..self.policy.instances {
            self.queue.complete(instance, RunEnd::default(), self.now, &mut Vec::new());
        }
        assert_eq!((self.queue.len(), self.queue.active(), self.queue.backlog()), (0, 0, 0));
        let slots = (0..self.policy.instances).flat_map(|instance| (0..8).map(move |slot| (instance, slot)));
        for (instance, slot) in slots {
            assert!(!self.queue.is_taken(instance, slot), "slot {slot} of {instance} leaked");
        }
    }
}

fn strategy() -> impl Strategy<Value = SequenceStrategy> {
    let delay = prop_oneof![Just(0_u64), 1_u64..6].prop_map(Duration::from_millis);
    let direct = (delay.clone(), prop_oneof![Just(0.0_f32), 0.0_f32..1.0]).prop_map(
        |(max_queue_delay, minimum_slot_utilization)| SequenceStrategy::Direct {
            max_queue_delay,
            minimum_slot_utilization,
        },
    );
    let oldest = (0_usize..5, prop::collection::vec(1_usize..4, 0..2), delay).prop_map(
        |(max_batch_size, preferred_batch_sizes, max_queue_delay)| SequenceStrategy::Oldest {
            max_batch_size,
            preferred_batch_sizes,
            max_queue_delay,
        },
    );
    prop_oneof![direct, oldest]
}

fn policy() -> impl Strategy<Value = SequencePolicy> {
    let queued = prop_oneof![Just(0_usize), 2_usize..12];
    (1_usize..4, 1_usize..5, strategy(), 1_u64..30, queued).prop_map(
        |(instances, slots, strategy, idle_ms, max_queued_requests)| SequencePolicy {
            instances,
            slots,
            strategy,
            max_idle: Duration::from_millis(idle_ms),
            max_queued_requests,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let flags = (prop::bool::weighted(0.4), prop::bool::weighted(0.2));
    let request = (0_u8..9, flags, 0_u64..2)
        .prop_map(|(id, (start, end), class)| Step::Push(Request { id, start, end, class }));
    let failed = prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    prop_oneof![
        10 => request,
        2 => any::<usize>().prop_map(Step::Cancel),
        1 => Just(Step::Expire),
        5 => (0_usize..3).prop_map(Step::Poll),
        5 => (0_usize..3, failed, prop::bool::weighted(0.1))
            .prop_map(|(instance, failed, lost)| Step::Complete(instance, failed, lost)),
        2 => (1_u64..8).prop_map(Step::Pass),
    ]
}

/// Clients that each run one sequence after the other, the next request when the last is answered, and a pause of this many
/// milliseconds between sequences. Time goes on to whatever happens next.
fn simulate(policy: SequencePolicy, clients: &[(u64, Vec<usize>)], busy_ms: &[u64]) {
    let policy = SequencePolicy { max_idle: Duration::from_secs(3600), max_queued_requests: 0, ..policy };
    let mut checked = Checked::new(policy);
    let mut free_at = vec![checked.now; checked.policy.instances];
    let mut running = vec![Vec::new(); checked.policy.instances];
    // For each client: the sequence it is in, its requests that were answered, and when it sends the next one.
    let mut progress: Vec<(usize, usize, Option<Instant>)> = vec![(0, 0, Some(checked.now)); clients.len()];
    let mut owner = Vec::new();
    for _ in 0..20_000 {
        for instance in 0..free_at.len() {
            if !running[instance].is_empty() && free_at[instance] <= checked.now {
                checked.complete(instance, 0, false);
                for payload in std::mem::take(&mut running[instance]) {
                    let client: usize = owner[payload];
                    let (pause_ms, lengths) = &clients[client];
                    let (sequence, answered, next) = &mut progress[client];
                    *answered += 1;
                    let over = *answered == lengths[*sequence];
                    if over {
                        (*sequence, *answered) = (*sequence + 1, 0);
                    }
                    let pause = Duration::from_millis(if over { *pause_ms } else { 0 });
                    *next = (*sequence < lengths.len()).then(|| checked.now + pause);
                }
            }
        }
        for (client, (sequence, answered, next)) in progress.iter_mut().enumerate() {
            if next.take_if(|next| *next <= checked.now).is_some() {
                let last = clients[client].1[*sequence] - 1;
                let (start, end) = (*answered == 0, *answered == last);
                let id = u8::try_from(client).unwrap();
                checked.push(&Request { id, start, end, class: 0 });
                owner.push(client);
            }
        }
        let mut wake: Vec<Instant> = progress.iter().filter_map(|(_, _, next)| *next).collect();
        for instance in 0..free_at.len() {
            match checked.poll(instance) {
                SequenceDecision::Idle => {}
                SequenceDecision::WaitUntil(until) => wake.push(until),
                SequenceDecision::Dispatch(batch) => {
                    running[instance] = batch.members.iter().map(|member| member.payload).collect();
                    let busy_ms = busy_ms[instance % busy_ms.len()];
                    free_at[instance] = checked.now + Duration::from_millis(busy_ms);
                }
            }
            wake.extend(Some(free_at[instance]).filter(|_| !running[instance].is_empty()));
        }
        checked.compare();
        match wake.into_iter().min() {
            Some(at) => checked.now = at.max(checked.now),
            None => break,
        }
    }
    for (client, (sequence, ..)) in progress.iter().enumerate() {
        assert_eq!(*sequence, clients[client].1.len(), "client {client} starved");
    }
    assert_eq!(checked.queue.active(), 0, "all have ended");
    checked.finish();
}

proptest! {
    #[test]
    fn the_queue_does_what_the_model_does(
        policy in policy(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut checked = Checked::new(policy);
        let instances = checked.policy.instances;
        for step in &steps {
            match step {
                Step::Push(request) => checked.push(request),
                Step::Cancel(nth) => checked.cancel(*nth),
                Step::Expire => checked.expire(),
                Step::Poll(instance) => drop(checked.poll(instance % instances)),
                Step::Complete(instance, failed, lost) => {
                    checked.complete(instance % instances, *failed, *lost);
                }
                Step::Pass(ms) => checked.now += Duration::from_millis(*ms),
            }
            checked.compare();
        }
        checked.finish();
    }

    #[test]
    fn every_sequence_gets_its_turn_and_ends(
        policy in policy(),
        clients in prop::collection::vec((0_u64..5, prop::collection::vec(1_usize..5, 1..4)), 1..12),
        busy_ms in prop::collection::vec(1_u64..6, 3),
    ) {
        simulate(policy, &clients, &busy_ms);
    }
}
