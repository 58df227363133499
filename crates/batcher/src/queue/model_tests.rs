//! The queue against a model that keeps a plain list and looks at all of it, under virtual time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::{QueuePolicy, ShapeClass};

#[derive(Debug, Clone)]
struct Waiting {
    id: usize,
    ticket: Ticket,
    rows: usize,
    class: u64,
    level: u32,
    enqueued: Instant,
    times_out: Option<Instant>,
    delays: bool,
    deadline: Option<Instant>,
    /// Its place among the delayed, if it is one.
    delayed: Option<usize>,
}

impl Waiting {
    fn expires(&self) -> Option<Instant> {
        let timeout = self.times_out.filter(|_| self.delayed.is_none());
        [timeout, self.deadline].into_iter().flatten().min()
    }

    fn weight(&self) -> usize {
        self.rows.max(1)
    }

    fn place(&self) -> (bool, u32, usize) {
        (self.delayed.is_some(), self.level, self.delayed.unwrap_or(self.id))
    }
}

fn lane_and_age(one: &Waiting) -> (bool, u32, usize) {
    (one.delayed.is_some(), one.level, one.id)
}

/// What a request is offered with.
#[derive(Debug, Clone)]
struct Request {
    rows: usize,
    class: u64,
    priority: u64,
    timeout_ms: Option<u64>,
    deadline_ms: Option<u64>,
}

#[derive(Debug, Clone)]
enum Step {
    Push(Request),
    Cancel(usize),
    Expire,
    Poll,
    Pass(u64),
}

/// The queue and its model, compared at every step.
struct Checked {
    policy: BatchPolicy,
    queue: BatchQueue<usize>,
    /// In the order they came.
    waiting: Vec<Waiting>,
    tickets: Vec<Option<Ticket>>,
    /// Ids that left, each once.
    left: BTreeSet<usize>,
    delays: usize,
    batches: u64,
    now: Instant,
}

impl Checked {
    fn new(policy: BatchPolicy) -> Self {
        Self {
            queue: BatchQueue::new(policy.clone()),
            policy,
            waiting: Vec::new(),
            tickets: Vec::new(),
            left: BTreeSet::new(),
            delays: 0,
            batches: 0,
            now: Instant::now(),
        }
    }

    fn merges(&self) -> bool {
        self.policy.max_batch_size > 1
    }

    fn leaves(&mut self, id: usize) -> Waiting {
        assert!(self.left.insert(id), "{id} left twice");
        let index = self.waiting.iter().position(|one| one.id == id);
        self.waiting.remove(index.expect("what leaves was waiting"))
    }

    fn refusal(&self, request: &Request, level: u32) -> Option<RefusedReason> {
        let max = self.policy.max_batch_size;
        if self.merges() && request.rows > max {
            let rows = request.rows;
            return Some(RefusedReason::TooManyRows { rows, max });
        }
        let limit = self.policy.queue_policy(level).max_queue_size;
        if limit != 0 && self.waiting.iter().filter(|one| one.level == level).count() >= limit {
            let what = QueueLimit::Requests;
            return Some(RefusedReason::QueueFull { limit, what });
        }
        let rows: usize = self.waiting.iter().map(Waiting::weight).sum();
        let limit = self.policy.max_queued_rows;
        let what = QueueLimit::Rows;
        (limit != 0 && rows + request.rows.max(1) > limit).then_some(RefusedReason::QueueFull { limit, what })
    }

    fn push(&mut self, request: &Request) {
        let id = self.tickets.len();
        let level = self.policy.level(request.priority);
        let deadline = request.deadline_ms.map(|ms| self.now + Duration::from_millis(ms));
        let timeout = request.timeout_ms.map(Duration::from_millis);
        let offer = Offer {
            rows: request.rows,
            class: ShapeClass::new([request.class]),
            priority: request.priority,
            timeout,
            deadline,
            flow: None,
            payload: id,
        };
        let expected = self.refusal(request, level);
        let pushed = self.queue.push(offer, self.now);
        assert_eq!(pushed.as_ref().err().map(|refused| refused.reason), expected);
        self.tickets.push(pushed.as_ref().ok().copied());
        match pushed {
            Err(refused) => assert_eq!(refused.payload, id),
            Ok(ticket) => {
                let queue_policy = self.policy.queue_policy(level);
                self.waiting.push(Waiting {
                    id,
                    ticket,
                    rows: request.rows,
                    class: request.class,
                    level,
                    enqueued: self.now,
                    times_out: queue_policy.timeout(timeout).map(|timeout| self.now + timeout),
                    delays: queue_policy.timeout_action == TimeoutAction::Delay,
                    deadline,
                    delayed: None,
                });
            }
        }
    }

    fn cancel(&mut self, nth: usize) {
        let Some(Some(ticket)) = self.tickets.get(nth % self.tickets.len().max(1)).copied() else {
            return;
        };
        let expected = self.waiting.iter().find(|one| one.ticket == ticket).map(|one| one.id);
        assert_eq!(self.queue.cancel(ticket), expected);
        if let Some(id) = expected {
            self.leaves(id);
        }
    }

    fn expire(&mut self) {
        let mut expired = Vec::new();
        self.queue.expire(self.now, &mut expired);
        let now = self.now;
        let past = |when: Option<Instant>| when.is_some_and(|when| when <= now);
        let mut due: Vec<_> = self.waiting.iter().filter(|one| past(one.expires())).cloned().collect();
        due.sort_by_key(|one| (one.expires(), one.id));
        let (gone, delayed): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|one| !one.delays || past(one.deadline));
        assert_eq!(expired, gone.iter().map(|one| one.id).collect::<Vec<_>>());
        for id in expired {
            self.leaves(id);
        }
        for late in delayed {
            let one = self.waiting.iter_mut().find(|one| one.id == late.id).unwrap();
            one.delayed = Some(self.delays);
            self.delays += 1;
        }
        let next = self.waiting.iter().filter_map(Waiting::expires).min();
        assert_eq!(self.queue.next_expiry(), next);
    }

    /// The class's entries in the order in which they are served.
    fn line(&self, class: u64) -> Vec<&Waiting> {
        let mut line: Vec<_> = self.waiting.iter().filter(|one| one.class == class).collect();
        line.sort_by_key(|one| one.place());
        line
    }

    fn is_due(&self, one: &Waiting) -> bool {
        one.enqueued + self.policy.max_queue_delay <= self.now
    }

    /// Whether the class has a late entry first in one of its lanes, or the oldest of all.
    fn is_late(&self, class: u64) -> bool {
        let oldest = self.waiting.first().filter(|one| one.class == class);
        let line = self.line(class);
        let lane = |one: &Waiting| (one.delayed.is_some(), one.level);
        let heads = line.chunk_by(|one, other| lane(one) == lane(other)).map(|lane| lane[0]);
        heads.chain(oldest).any(|one| self.is_due(one))
    }

    /// The size, in members, of the class's batch now, and whether it need not wait.
    fn batch(&self, class: u64) -> (usize, bool) {
        let line = self.line(class);
        let max = self.policy.max_batch_size;
        let rows = |members: usize| line[..members].iter().map(|one| one.weight()).sum::<usize>();
        let all = (0..=line.len()).filter(|members| rows(*members) <= max).max().unwrap_or(0);
        let delay = !self.policy.max_queue_delay.is_zero();
        let due = delay && self.is_late(class);
        let sizes = &self.policy.preferred_batch_sizes;
        let preferred = (1..=all).filter(|members| sizes.contains(&rows(*members))).max();
        let beyond = sizes.iter().filter(|size| (1..=max).contains(*size)).max();
        let full = all < line.len() || rows(all) == max || beyond.is_some_and(|size| rows(all) >= *size);
        match preferred.filter(|_| !due) {
            Some(members) => (members, true),
            None => (all, full || due || !delay),
        }
    }

    /// Checks the batch against the rules, and takes it out of the model.
    fn dispatched(&mut self, batch: &Batch<usize>) {
        assert_eq!(batch.sequence, self.batches);
        self.batches += 1;
        let ids: Vec<usize> = batch.members.iter().map(|member| member.payload).collect();
        let head = self.waiting.iter().min_by_key(|one| one.place()).expect("nothing is waiting");
        if !self.merges() {
            assert_eq!(ids, [head.id]);
        } else {
            let first = self.waiting.iter().find(|one| one.id == ids[0]).expect("it is waiting");
            let class = first.class;
            let (members, ready) = self.batch(class);
            let line: Vec<usize> = self.line(class).iter().map(|one| one.id).collect();
            assert_eq!(ids, line[..members], "in order, of one class, of the right size");
            assert!(ready, "it should have waited");
            if class != head.class {
                assert!(!self.batch(head.class).1, "the head was ready and was passed over");
                let oldest = &self.waiting[0];
                let late = self.is_due(oldest);
                assert!(!late || class == oldest.class, "the oldest was late and was passed over");
                let ahead = self.waiting.iter().filter(|one| lane_and_age(one) < lane_and_age(first));
                let ready = ahead.map(|one| one.class).find(|class| self.batch(*class).1);
                assert!(late || ready.is_none(), "class {ready:?} was ready and further ahead");
            }
        }
        let mut rows = 0;
        for member in &batch.members {
            let one = self.leaves(member.payload);
            assert_eq!((member.rows, member.enqueued), (one.rows, one.enqueued));
            rows += one.rows;
        }
        assert_eq!(batch.rows, rows);
        assert!(!self.merges() || rows <= self.policy.max_batch_size, "over size");
    }

    /// Whether a batch went.
    fn poll(&mut self) -> Decision<usize> {
        let decision = self.queue.poll(self.now);
        match &decision {
            Decision::Idle => assert!(self.waiting.is_empty()),
            Decision::Dispatch(batch) => self.dispatched(batch),
            Decision::WaitUntil(until) => {
                let delay = self.policy.max_queue_delay;
                assert!(*until > self.now && *until <= self.now + delay);
                assert_eq!(*until, self.waiting[0].enqueued + delay);
                assert!(self.merges());
                for one in &self.waiting {
                    assert!(!self.is_due(one), "{one:?} has waited the delay");
                    assert!(!self.batch(one.class).1, "class {} could go", one.class);
                }
            }
        }
        decision
    }

    fn compare(&self) {
        assert_eq!(self.queue.len(), self.waiting.len());
        assert_eq!(self.queue.is_empty(), self.waiting.is_empty());
        assert_eq!(self.queue.rows(), self.waiting.iter().map(Waiting::weight).sum::<usize>());
        assert_eq!(self.queue.oldest(), self.waiting.first().map(|one| one.enqueued));
    }

    /// Everything that was taken in came out once, or does now.
    fn finish(mut self) {
        let rest: Vec<usize> = self.waiting.iter().map(|one| one.id).collect();
        assert_eq!(self.queue.drain(), rest);
        for id in rest {
            self.leaves(id);
        }
        self.compare();
        assert_eq!(self.left.len(), self.tickets.iter().flatten().count());
        assert!(matches!(self.queue.poll(self.now), Decision::Idle));
    }
}

fn queue_policy() -> impl Strategy<Value = QueuePolicy> {
    (
        any::<bool>(),
        prop::option::of(1_u64..12),
        any::<bool>(),
        prop_oneof![Just(0), 1_usize..8],
    )
        .prop_map(|(delay, timeout_ms, allow_timeout_override, max_queue_size)| QueuePolicy {
            timeout_action: if delay { TimeoutAction::Delay } else { TimeoutAction::Reject },
            default_timeout: timeout_ms.map(Duration::from_millis),
            allow_timeout_override,
            max_queue_size,
        })
}

fn policy() -> impl Strategy<Value = BatchPolicy> {
    let sizes = (
        prop_oneof![Just(0), Just(1), 2_usize..9, 2_usize..9],
        prop::collection::vec(0_usize..10, 0..3),
    );
    let delay_ms = prop_oneof![Just(0_u64), 1_u64..8, 1_u64..8];
    let levels = (0_u32..4, 0_u32..5);
    let policies = (queue_policy(), prop::collection::btree_map(1_u32..4, queue_policy(), 0..3));
    let rows = prop_oneof![Just(0), 8_usize..40];
    (sizes, delay_ms, levels, policies, rows).prop_map(|(sizes, delay_ms, levels, policies, rows)| {
        BatchPolicy {
            max_batch_size: sizes.0,
            preferred_batch_sizes: sizes.1,
            max_queue_delay: Duration::from_millis(delay_ms),
            priority_levels: levels.0,
            default_priority: levels.1,
            default_queue_policy: policies.0,
            priority_queue_policy: policies.1,
            max_queued_rows: rows,
        }
    })
}

fn request() -> impl Strategy<Value = Request> {
    let rows = prop_oneof![6 => 1_usize..4, 1 => 0_usize..12];
    let timeout_ms = prop::option::of(0_u64..12);
    let deadline_ms = prop::option::weighted(0.2, 0_u64..20);
    (rows, 0_u64..4, 0_u64..5, timeout_ms, deadline_ms).prop_map(
        |(rows, class, priority, timeout_ms, deadline_ms)| Request {
            rows,
            class,
            priority,
            timeout_ms,
            deadline_ms,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => request().prop_map(Step::Push),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => Just(Step::Expire),
        4 => Just(Step::Poll),
        3 => (1_u64..6).prop_map(Step::Pass),
    ]
}

/// Free instances poll until there is nothing for them, and time never passes what they wait for: so a request that
/// has waited the delay has done so because all instances were busy.
fn simulate(policy: BatchPolicy, arrivals: &[(u64, Request)], instances: &[u64]) {
    let mut checked = Checked::new(policy);
    let mut free_at = vec![checked.now; instances.len()];
    let mut arrivals = arrivals.iter().peekable();
    let mut next_arrival = checked.now;
    for _ in 0..10_000 {
        while let Some((gap_ms, request)) = arrivals.next_if(|_| next_arrival <= checked.now) {
            checked.push(request);
            next_arrival += Duration::from_millis(*gap_ms);
        }
        checked.expire();
        let mut wake: Vec<Instant> = arrivals.peek().map(|_| next_arrival).into_iter().collect();
        for (free_at, busy_ms) in free_at.iter_mut().zip(instances) {
            if *free_at <= checked.now {
                match checked.poll() {
                    Decision::Idle => {}
                    Decision::WaitUntil(until) => wake.push(until),
                    Decision::Dispatch(_) => *free_at = checked.now + Duration::from_millis(*busy_ms),
                }
            }
            wake.extend(Some(*free_at).filter(|at| *at > checked.now));
        }
        checked.compare();
        if free_at.iter().any(|at| *at <= checked.now) {
            let late = checked.waiting.iter().find(|one| checked.is_due(one));
            assert!(late.is_none(), "{late:?} waits past the delay though an instance is free");
        }
        wake.extend(checked.queue.next_expiry());
        match wake.into_iter().min() {
            Some(at) => checked.now = at,
            None => break,
        }
    }
    assert!(checked.waiting.is_empty(), "never answered: {:?}", checked.waiting);
    checked.finish();
}

proptest! {
    #[test]
    fn the_queue_does_what_the_model_does(
        policy in policy(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut checked = Checked::new(policy);
        for step in &steps {
            match step {
                Step::Push(request) => checked.push(request),
                Step::Cancel(nth) => checked.cancel(*nth),
                Step::Expire => checked.expire(),
                Step::Poll => drop(checked.poll()),
                Step::Pass(ms) => checked.now += Duration::from_millis(*ms),
            }
            checked.compare();
        }
        checked.finish();
    }

    #[test]
    fn nobody_waits_past_the_delay_while_an_instance_is_free(
        policy in policy(),
        arrivals in prop::collection::vec((0_u64..4, request()), 1..80),
        instances in prop::collection::vec(1_u64..12, 1..4),
    ) {
        simulate(policy, &arrivals, &instances);
    }
}
