//! Scheduling decisions as plain state machines: which requests share a batch and when it goes
//! ([`BatchQueue`]), which requests of a stateful model's sequences do ([`SequenceQueue`]), which model runs next on a
//! device ([`FairQueue`]), what a batch will cost ([`CostModel`], [`CostLines`]), which requests are worth
//! queueing ([`AdmissionControl`]), how fast requests come ([`Pace`]), and in which order
//! answers leave ([`OrderedRelease`]).
//!
//! The crate deliberately lacks a clock, a channel, a lock and a metric: time comes in as `now: Instant`, requests come
//! in as opaque payloads, and the caller acts on what it is told. So every rule can be tested under virtual time.
//!
//! # Invariants
//! - A batch is never over `max_batch_size` rows, and never mixes two [`ShapeClass`]es. A request is never split.
//! - What is pushed comes out exactly once: dispatched, expired, found too late, displaced, cancelled or drained.
//! - While an instance is free, nobody waits longer than `max_queue_delay`.
//! - Within a priority level and a class, requests leave in the order they came.
//! - Of a sequence, one request runs at a time, in the order they came, on the instance that has its slot.
//! - No operation costs more than O(log n) per request it touches, whatever mixture of classes is waiting.

mod admission;
mod bucket;
mod class;
mod cost;
mod decision;
mod fair;
mod offer;
mod pace;
mod policy;
mod queue;
mod release;
mod resources;
mod sequence;

pub use admission::{AdmissionControl, AdmissionPolicy, Began, Forecast, Load, Position, TooLate};
pub use bucket::ShapeBucket;
pub use class::ShapeClass;
pub use cost::{CostLines, CostModel};
pub use decision::{Batch, Decision, Member};
pub use fair::FairQueue;
pub use offer::{Flow, Offer, QueueLimit, Refused, RefusedReason, Ticket};
pub use pace::Pace;
pub use policy::{BatchPolicy, QueuePolicy, TimeoutAction};
pub(crate) use queue::LONGEST_DELAY;
pub use queue::{Backlog, BatchQueue, Mix};
pub use release::OrderedRelease;
pub use resources::{LimitFault, Needs, Resource, ResourceLimit, ResourceLimiter};
pub use sequence::{
    RunEnd, SequenceBatch, SequenceDecision, SequenceMember, SequenceOffer, SequencePolicy, SequenceQueue,
    SequenceRefused, SequenceRefusedReason, SequenceStrategy, SequenceTicket,
};
