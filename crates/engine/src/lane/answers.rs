use adulis_batcher::OrderedRelease;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::job::Reply;

/// Replies of one batch, each with the channel it goes to.
pub(crate) type Replies = Vec<(oneshot::Sender<Reply>, Reply)>;

/// Sends replies, and holds them back where the model wants them in order; it has a lock of its own then, since only such
/// models need it.
pub(super) struct Answers(Option<Mutex<OrderedRelease<Replies>>>);

impl Answers {
    pub(super) fn new(preserve_ordering: bool, instances: usize) -> Self {
        // A single instance answers in order by itself.
        Self((preserve_ordering && instances > 1).then(Mutex::default))
    }

    /// Whether replies may have to wait for those of other batches.
    pub(super) fn are_ordered(&self) -> bool {
        self.0.is_some()
    }

    /// No replies come from the batch with this number.
    pub(super) fn abandon(&self, number: u64) {
        let Some(order) = &self.0 else {
            return;
        };
        let mut due = Vec::new();
        let mut order = order.lock();
        order.abandon(number, &mut due);
        due.into_iter().for_each(send);
    }

    /// Sends the replies of the batch with this number, in the order of the numbers where the model wants that.
    pub(super) fn send(&self, number: u64, replies: Replies) {
        let Some(order) = &self.0 else {
            return send(replies);
        };
        let mut due = Vec::new();
        let mut order = order.lock();
        order.complete(number, replies, &mut due);
        // Under the lock, so that no other thread's replies overtake these between their release and here.
        due.into_iter().for_each(send);
    }
}

fn send(replies: Replies) {
    for (caller, reply) in replies {
        // A caller that has gone needs no answer; its outputs are dropped here.
        let _ = caller.send(reply);
    }
}
