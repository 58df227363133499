use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{BatchQueue, Choice, Plan};
use crate::{Decision, ShapeBucket};

/// How long a batch of so many rows takes, which are of this size; no less for more rows.
type Cost<'a> = &'a dyn Fn(ShapeBucket, usize) -> Duration;

/// What becomes of a plan when its members' deadlines are looked at.
enum Spared {
    /// It goes, as it was or with fewer members.
    Go(Plan),
    /// Members were taken out: plan anew.
    Again,
}

impl<T> BatchQueue<T> {
    /// [`Self::poll`] for whoever knows what batches cost, so that none is run for answers that come too late.
    ///
    /// - The head is taken out and appended to `late` if it can't be answered before its deadline any more, even alone.
    /// - A batch that would be too late for some of its members gets fewer, or goes without those that it is too late for,
    ///   whichever gives more answers in time for the time that it takes.
    /// - A batch that waits for company waits no longer than its members' deadlines allow.
    ///
    /// The last request that waits is run in any case: what runs cost is learnt from runs, and what was learnt may be wrong.
    ///
    /// Nothing of this costs anything while no request has a deadline or timeout.
    pub fn poll_in_time(&mut self, now: Instant, cost: Cost<'_>, late: &mut Vec<T>) -> Decision<T> {
        if self.next_expiry().is_none() {
            return self.poll(now);
        }
        let now = self.tick(now);
        loop {
            self.drop_late_heads(now, cost, late);
            let plan = match self.choose(now) {
                Choice::Nothing => return Decision::Idle,
                Choice::Wait { class, until } => match self.hurry(class, (now, until), cost) {
                    Ok(plan) => plan,
                    Err(until) => return Decision::WaitUntil(until),
                },
                Choice::Go(plan) => plan,
            };
            if let Spared::Go(plan) = self.spare(plan, now, cost, late) {
                return Decision::Dispatch(self.dispatch(&plan));
            }
        }
    }

    fn drop_late_heads(&mut self, now: Instant, cost: Cost<'_>, late: &mut Vec<T>) {
        while self.len() > 1 {
            let Some(head) =
                self.lanes.first().filter(|head| self.misses(*head, now + self.alone(*head, cost)))
            else {
                break;
            };
            late.push(self.detach(head).payload);
        }
        self.expiry.settle(&self.entries);
    }

    /// The batch of a class that waits for company, if it can't wait any longer, or until when it can.
    fn hurry(&self, class: u32, (now, until): (Instant, Instant), cost: Cost<'_>) -> Result<Plan, Instant> {
        let plan = self.plan(class, true);
        let members = self.members(&plan);
        let rows = members.iter().map(|slot| self.rows_of(*slot)).sum();
        let took = cost(self.bucket_of(class), rows);
        let deadlines = members.iter().filter_map(|slot| self.entries.at(*slot).deadline);
        match deadlines.min().map(|tightest| tightest.checked_sub(took).unwrap_or(now)) {
            Some(latest) if latest <= now => Ok(plan),
            Some(latest) => Err(latest.min(until)),
            None => Err(until),
        }
    }

    fn spare(&mut self, plan: Plan, now: Instant, cost: Cost<'_>, late: &mut Vec<T>) -> Spared {
        let members = self.members(&plan);
        let rows: usize = members.iter().map(|slot| self.rows_of(*slot)).sum();
        let bucket = self.bucket_of(plan.class);
        let cost = |rows: usize| cost(bucket, rows);
        let end = now + cost(rows);
        let mut lost = members.clone();
        lost.retain(|slot| self.misses(*slot, end));
        if lost.is_empty() {
            return Spared::Go(plan);
        }
        let (few, few_rows) = self.in_time(&members, now, &cost);
        let lost_rows: usize = lost.iter().map(|slot| self.rows_of(*slot)).sum();
        let others = (members.len() - lost.len(), cost(rows - lost_rows));
        // Answers per time, multiplied out.
        let is_better = few as f64 * others.1.as_secs_f64() >= others.0 as f64 * cost(few_rows).as_secs_f64();
        if few > 0 && is_better {
            return Spared::Go(Plan { members: few, ..plan });
        }
        if lost.len() == self.len() {
            return Spared::Go(plan);
        }
        late.extend(lost.into_iter().map(|slot| self.detach(slot).payload));
        self.expiry.settle(&self.entries);
        Spared::Again
    }

    /// How many members, from the first on, can be answered in time together, and their rows.
    fn in_time(&self, members: &[u32], now: Instant, cost: &dyn Fn(usize) -> Duration) -> (usize, usize) {
        let (mut rows, mut tightest) = (0, None::<Instant>);
        let mut good = (0, 0);
        for (count, slot) in (1..).zip(members) {
            rows += self.rows_of(*slot);
            tightest = [tightest, self.entries.at(*slot).deadline].into_iter().flatten().min();
            if tightest.is_some_and(|deadline| deadline < now + cost(rows)) {
                break;
            }
            good = (count, rows);
        }
        good
    }

    fn members(&self, plan: &Plan) -> SmallVec<[u32; 64]> {
        self.classes.at(plan.class).lanes.slots(&self.entries).take(plan.members).collect()
    }

    /// How long an entry takes in a batch of its own.
    fn alone(&self, slot: u32, cost: Cost<'_>) -> Duration {
        cost(self.bucket_of(self.entries.at(slot).class), self.rows_of(slot))
    }

    fn rows_of(&self, slot: u32) -> usize {
        self.entries.at(slot).rows
    }

    fn misses(&self, slot: u32, answered: Instant) -> bool {
        self.entries.at(slot).deadline.is_some_and(|deadline| deadline < answered)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, offer, payloads, policy, wait};
    use super::*;
    use crate::Offer;

    /// 10 ms and 2 ms for each row, whatever its size.
    fn cost(_: ShapeBucket, rows: usize) -> Duration {
        ms(10 + 2 * rows as u64)
    }

    fn due(payload: u32, deadline: Instant) -> Offer<u32> {
        Offer { deadline: Some(deadline), ..offer(payload, 1) }
    }

    fn poll(queue: &mut BatchQueue<u32>, now: Instant) -> (Vec<u32>, Vec<u32>) {
        let mut late = Vec::new();
        let taken = payloads(queue.poll_in_time(now, &cost, &mut late));
        (taken, late)
    }

    fn filled(max_batch_size: usize, deadlines_ms: &[u64], now: Instant) -> BatchQueue<u32> {
        let mut queue = BatchQueue::new(policy(max_batch_size, 0));
        for (payload, deadline) in (0..).zip(deadlines_ms) {
            queue.push(due(payload, now + ms(*deadline)), now).unwrap();
        }
        queue
    }

    #[test]
    fn what_can_be_in_time_no_more_is_not_run() {
        let now = Instant::now();
        let mut queue = filled(4, &[11, 5, 16, 40], now);
        assert_eq!(poll(&mut queue, now), (vec![2, 3], vec![0, 1]));
        assert_eq!(queue.next_expiry(), None);
    }

    #[test]
    fn the_last_one_is_run_in_any_case() {
        let now = Instant::now();
        let mut queue = filled(4, &[3, 3, 3], now);
        assert_eq!(poll(&mut queue, now), (vec![2], vec![0, 1]));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_gets_fewer_members_where_that_answers_more_in_time() {
        let now = Instant::now();
        // Together they take 18 ms, three of them 16: too long for the first two, which are more than the others.
        let mut queue = filled(4, &[14, 14, 17, 18], now);
        assert_eq!(poll(&mut queue, now), (vec![0, 1], vec![]));
        // One answer in 12 ms or three in 16: without the first, which is too early for them.
        let mut queue = filled(4, &[12, 30, 30, 30], now);
        assert_eq!(poll(&mut queue, now), (vec![1, 2, 3], vec![0]));
    }

    #[test]
    fn what_rows_cost_depends_on_their_size() {
        let (small, large) = (ShapeBucket::of(8), ShapeBucket::of(800));
        let cost = |bucket, rows: usize| {
            let each = if bucket == large { 100 } else { 1 };
            ms(each * rows as u64)
        };
        let now = Instant::now();
        let sized = |payload, bucket: ShapeBucket, deadline| Offer {
            class: crate::ShapeClass::default().in_bucket(bucket),
            ..due(payload, now + ms(deadline))
        };
        let mut queue = BatchQueue::new(policy(4, 0));
        for offer in [
            sized(0, large, 50),
            sized(1, small, 50),
            sized(2, large, 150),
            sized(3, large, 300),
        ] {
            queue.push(offer, now).unwrap();
        }
        let mut late = Vec::new();
        let mut taken = || payloads(queue.poll_in_time(now, &cost, &mut late));
        assert_eq!(taken(), [1], "the first would take 100 ms");
        // Together they would take 200 ms, of which the first has 150.
        assert_eq!(taken(), [2]);
        assert_eq!(taken(), [3]);
        assert_eq!((late, queue.mix()), (vec![0], &crate::Mix::default()));
    }

    #[test]
    fn nobody_waits_for_company_beyond_the_deadline() {
        let (mut queue, now) = (BatchQueue::new(policy(4, 100)), Instant::now());
        queue.push(due(0, now + ms(50)), now).unwrap();
        let mut late = Vec::new();
        let decision = queue.poll_in_time(now, &cost, &mut late);
        assert_eq!(wait(&decision), Some(now + ms(38)));
        queue.push(offer(1, 1), now).unwrap();
        assert_eq!(wait(&queue.poll_in_time(now, &cost, &mut late)), Some(now + ms(36)));
        assert_eq!(poll(&mut queue, now + ms(36)), (vec![0, 1], vec![]));
    }

    #[test]
    fn without_deadlines_it_is_an_ordinary_poll() {
        let (mut queue, now) = (BatchQueue::new(policy(4, 5)), Instant::now());
        queue.push(offer(0, 1), now).unwrap();
        assert_eq!(wait(&queue.poll_in_time(now, &cost, &mut Vec::new())), Some(now + ms(5)));
        assert_eq!(poll(&mut queue, now + ms(5)), (vec![0], vec![]));
        assert!(matches!(queue.poll_in_time(now, &cost, &mut Vec::new()), Decision::Idle));
    }
}
