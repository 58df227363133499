use std::time::Instant;

use super::BatchQueue;
use super::entries::{LaneKey, weight};
use super::shares::Tag;
use crate::{Flow, Offer, Position, QueueLimit, Refused, RefusedReason, Ticket};

impl<T> BatchQueue<T> {
    /// [`Self::push`] that, where the queue has no room for its rows, takes out requests of lower priority until it has: of the
    /// lowest priority the youngest first. Where flows are told apart, requests of its own level that would be served later make
    /// room, too, the last of them first: so it is the flow with the most that gives way. What is taken out is appended to
    /// `displaced`; nothing is where that would not make room enough.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_displacing(
        &mut self,
        offer: Offer<T>,
        now: Instant,
        displaced: &mut Vec<T>,
    ) -> Result<Ticket, Refused<T>> {
        let level = self.policy.level(offer.priority);
        if let Err(RefusedReason::QueueFull { what: QueueLimit::Rows, limit }) = self.admit(offer.rows, level)
        {
            let start = self.shares.start(level, offer.flow);
            self.make_room((offer.rows, limit), (level, start), displaced);
        }
        self.push(offer, now)
    }

    /// Where a request would stand that is pushed now.
    #[must_use]
    pub fn position(&self, rows: usize, priority: u64, flow: Option<Flow>) -> Position {
        let level = self.policy.level(priority);
        let lane = LaneKey { delayed: false, level };
        let (rows_ahead, requests_ahead) = self.lanes.up_to(lane);
        let start = self.shares.start(level, flow);
        if start == 0 {
            return Position { rows: weight(rows), rows_ahead, requests_ahead };
        }
        // Of its own level, only what has its turn before: as many requests as such rows have on average.
        let (lane_rows, lane_requests) = self.lanes.count_of(lane);
        let told_apart = self.shares.rows(level).min(lane_rows);
        let before = lane_rows - told_apart + self.shares.rows_ahead(level, flow, start).min(told_apart);
        let requests = (before * lane_requests).div_ceil(lane_rows.max(1));
        Position {
            rows: weight(rows),
            rows_ahead: rows_ahead - lane_rows + before,
            requests_ahead: requests_ahead - lane_requests + requests,
        }
    }

    fn make_room(
        &mut self,
        (rows, limit): (usize, usize),
        (level, start): (u32, Tag),
        displaced: &mut Vec<T>,
    ) {
        let needed = |queue: &Self| (queue.rows + weight(rows)).saturating_sub(limit);
        if weight(rows) > limit
            || self.lanes.rows_below(level) + self.rows_behind(level, start, needed(self)) < needed(self)
        {
            return;
        }
        while needed(self) > 0 {
            let own = || self.last_behind(level, start);
            let Some(slot) = self.lanes.youngest_below(level).or_else(own) else {
                break;
            };
            displaced.push(self.detach(slot).payload);
        }
        self.expiry.settle(&self.entries);
    }

    /// The last entry of a level, if it is served after one that starts at `start`.
    fn last_behind(&self, level: u32, start: Tag) -> Option<u32> {
        let last = self.lanes.last_of(LaneKey { delayed: false, level })?;
        self.is_behind(last, start).then_some(last)
    }

    fn is_behind(&self, slot: u32, start: Tag) -> bool {
        self.entries.at(slot).share.is_some_and(|share| share.start.get() > start)
    }

    /// Rows of a level that are served after a request that starts at `start`: as many as are looked for, or all there are.
    fn rows_behind(&self, level: u32, start: Tag, wanted: usize) -> usize {
        let mut rows = 0;
        for slot in self.lanes.backwards(LaneKey { delayed: false, level }) {
            if rows >= wanted || !self.is_behind(slot, start) {
                break;
            }
            rows += weight(self.entries.at(slot).rows);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{offer, payloads, policy};
    use super::*;
    use crate::BatchPolicy;

    fn at(payload: u32, rows: usize, priority: u64) -> Offer<u32> {
        Offer { priority, ..offer(payload, rows) }
    }

    fn full(limit: usize) -> BatchQueue<u32> {
        let levels = BatchPolicy { priority_levels: 3, max_queued_rows: limit, ..policy(4, 0) };
        BatchQueue::new(levels)
    }

    /// Payloads that were taken out, or why the request was refused.
    fn push(queue: &mut BatchQueue<u32>, offer: Offer<u32>, now: Instant) -> Result<Vec<u32>, RefusedReason> {
        let mut displaced = Vec::new();
        match queue.push_displacing(offer, now, &mut displaced) {
            Ok(_) => Ok(displaced),
            Err(refused) => {
                assert!(displaced.is_empty(), "{displaced:?} made room for nobody");
                Err(refused.reason)
            }
        }
    }

    #[test]
    fn the_youngest_of_the_lowest_priority_make_room() {
        let (mut queue, now) = (full(4), Instant::now());
        for offer in [at(0, 1, 2), at(1, 1, 3), at(2, 1, 3), at(3, 1, 2)] {
            assert_eq!(push(&mut queue, offer, now), Ok(vec![]));
        }
        assert_eq!(push(&mut queue, at(4, 1, 1), now), Ok(vec![2]));
        assert_eq!(push(&mut queue, at(5, 1, 2), now), Ok(vec![1]));
        assert_eq!(push(&mut queue, at(6, 2, 1), now), Ok(vec![5, 3]));
        assert_eq!((queue.len(), queue.rows()), (3, 4));
        assert_eq!(payloads(queue.poll(now)), [4, 6, 0]);
    }

    #[test]
    fn nobody_is_taken_out_in_vain() {
        let (mut queue, now) = (full(4), Instant::now());
        for offer in [at(0, 2, 1), at(1, 2, 2)] {
            assert_eq!(push(&mut queue, offer, now), Ok(vec![]));
        }
        let refused = RefusedReason::QueueFull { limit: 4, what: QueueLimit::Rows };
        assert_eq!(push(&mut queue, at(2, 3, 1), now), Err(refused), "one of higher priority is in the way");
        assert_eq!(push(&mut queue, at(3, 1, 2), now), Err(refused), "equals do not give way");
        assert_eq!(push(&mut queue, at(4, 1, 3), now), Err(refused));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn one_that_was_taken_out_cannot_be_cancelled_and_expires_no_more() {
        let (mut queue, now) = (full(1), Instant::now());
        let low = queue.push(Offer { deadline: Some(now), ..at(0, 1, 3) }, now).unwrap();
        assert_eq!(push(&mut queue, at(1, 1, 1), now), Ok(vec![0]));
        assert_eq!(queue.cancel(low), None);
        let mut expired = Vec::new();
        queue.expire(now, &mut expired);
        assert_eq!((expired, queue.next_expiry()), (vec![], None));
    }

    #[test]
    fn a_place_counts_what_is_served_before() {
        let (mut queue, now) = (full(0), Instant::now());
        for offer in [at(0, 2, 1), at(1, 0, 2), at(2, 3, 2), at(3, 4, 3)] {
            queue.push(offer, now).unwrap();
        }
        let position = |priority| {
            let Position { rows, rows_ahead, requests_ahead } = queue.position(0, priority, None);
            assert_eq!(rows, 1);
            (rows_ahead, requests_ahead)
        };
        assert_eq!([position(1), position(2), position(3)], [(2, 1), (6, 3), (10, 4)]);
    }
}
