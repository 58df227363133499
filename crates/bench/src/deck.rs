//! The requests that a run sends, and the law by which the next one is drawn. No clock, no socket.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Which request comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Law {
    /// All of them in turn.
    InTurn,
    /// With this probability one that was sent before, each of those alike; else the next new one.
    Repeat(f64),
    /// The request of rank `k` in proportion to `k` to the power of minus this.
    Zipf(f64),
}

/// Requests in wire form, shared by all who send them, and which of them have been sent.
#[derive(Debug)]
pub(crate) struct Deck {
    requests: Box<[Bytes]>,
    sent: Box<[AtomicBool]>,
    law: Law,
    /// With [`Law::Zipf`].
    ranks: Option<Alias>,
    /// With [`Law::Repeat`]: how many new ones were drawn, those counted in that there are no more of.
    drawn: AtomicUsize,
}

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Drawn<'d> {
    pub(crate) request: &'d Bytes,
    /// Whether the same has been sent before, in this run.
    pub(crate) is_repeat: bool,
}

impl Deck {
    pub(crate) fn new(requests: Vec<Bytes>, law: Law) -> Self {
        let ranks = match law {
            Law::Zipf(exponent) => Some(Alias::new(&zipf_weights(requests.len(), exponent))),
            Law::InTurn | Law::Repeat(_) => None,
        };
        Self {
            sent: requests.iter().map(|_| AtomicBool::new(false)).collect(),
            requests: requests.into(),
            law,
            ranks,
            drawn: AtomicUsize::new(0),
        }
    }

    /// The index of the next request.
    fn draw(&self, random: &mut SmallRng, turn: &mut usize) -> usize {
        match (self.law, &self.ranks) {
            (Law::Zipf(_), Some(ranks)) => ranks.draw(random),
            (Law::Repeat(ratio), _) => {
                let earlier = self.drawn.load(Ordering::Relaxed).min(self.requests.len());
                if earlier > 0 && random.random_bool(ratio) {
                    return random.random_range(0..earlier);
                }
                self.drawn.fetch_add(1, Ordering::Relaxed) % self.requests.len()
            }
            _ => {
                let index = *turn % self.requests.len();
                *turn = index + 1;
                index
            }
        }
    }

    /// Marks a request as sent. Returns whether it was already.
    fn send(&self, index: usize) -> bool {
        // Most have been sent before, and a read disturbs no other thread.
        let sent = &self.sent[index];
        sent.load(Ordering::Relaxed) || sent.swap(true, Ordering::Relaxed)
    }
}

/// One who draws from a deck.
#[derive(Debug)]
pub(crate) struct Dealer {
    random: SmallRng,
    turn: usize,
}

impl Dealer {
    /// One of many, by its number: they begin at different requests, and draw differently.
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        // Far apart, whatever the generator makes of seeds that are close to each other.
        let mixed = seed ^ (number as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { random: SmallRng::seed_from_u64(mixed), turn: number }
    }

    /// The next request. There must be one.
    pub(crate) fn next<'d>(&mut self, deck: &'d Deck) -> Drawn<'d> {
        let index = deck.draw(&mut self.random, &mut self.turn);
        Drawn { is_repeat: deck.send(index), request: &deck.requests[index] }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a million ranks")]
fn zipf_weights(count: usize, exponent: f64) -> Vec<f64> {
    (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect()
}

/// Draws numbers in proportion to weights, each at the same cost.
///
/// Source: Walker's alias method in Vose's form, "A linear algorithm for generating random numbers with a given
/// distribution", IEEE Transactions on Software Engineering 17 (1991).
#[derive(Debug)]
struct Alias {
    /// With what chance a number stands for itself, and what else it stands for.
    columns: Box<[(f64, u32)]>,
}

impl Alias {
    /// At most 2³² weights, none negative, and one at least positive.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "at most a million weights"
    )]
    fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut columns: Vec<(f64, u32)> =
            weights.iter().enumerate().map(|(index, weight)| (weight / mean, index as u32)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|index| columns[*index].0 < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            columns[poor].1 = rich as u32;
            columns[rich].0 -= 1.0 - columns[poor].0;
            if columns[rich].0 < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { columns: columns.into() }
    }

    fn draw(&self, random: &mut SmallRng) -> usize {
        let index = random.random_range(0..self.columns.len());
        let (chance, other) = self.columns[index];
        if random.random::<f64>() < chance { index } else { other as usize }
    }
}

#[cfg(test)]
mod tests;
