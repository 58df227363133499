//! Traces of single requests, in Triton's form: who is traced, and the file that it goes to.

mod files;
mod format;
mod settings;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use adulis_types::{
    Fault, Name, Trace, TraceControl, TraceLevels, TraceSettings, TraceSink, TraceSpan, TraceUpdate,
};
use parking_lot::RwLock;

use self::files::Stream;
use self::settings::{Settings, Values};
use self::writer::{Fates, Writer};
use crate::MetricRegistry;

/// What is traced from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOptions {
    /// The file that traces are written to, and the beginning of the names of numbered ones; empty: there are none.
    pub file: PathBuf,
    /// What a trace holds.
    pub levels: TraceLevels,
    /// One request in so many is traced.
    pub rate: u32,
    /// How many requests are traced; `None` for no end.
    pub count: Option<u32>,
    /// A numbered file is full after so many traces; 0: one file without a number.
    pub log_frequency: u32,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            levels: TraceLevels::OFF,
            rate: 1000,
            count: None,
            log_frequency: 0,
        }
    }
}

/// Chooses requests, and has their traces written by a thread of its own.
///
/// While nothing is traced, a request costs one relaxed atomic read. While something is, one that is not chosen costs a look-up
/// of its model's settings and an atomic addition; a chosen one a few allocations. Traces that the thread cannot keep up with
/// are dropped and counted. Traces that wait at the end are written.
pub struct Tracer {
    /// Whether any settings choose requests.
    on: AtomicBool,
    state: RwLock<State>,
    shared: Arc<Shared>,
}

struct State {
    settings: Settings,
    server: Arc<Sampler>,
    /// Of the models that have settings of their own.
    models: HashMap<Name, Arc<Sampler>>,
}

/// What the samplers share.
struct Shared {
    writer: Writer,
    next_span: AtomicU64,
    next_stream: AtomicU64,
}

/// Chooses requests by settings that do not change.
struct Sampler {
    values: Values,
    stream: Stream,
    seen: AtomicU64,
    /// How many requests are still traced; [`NO_END`] for any number.
    left: AtomicU64,
    shared: Arc<Shared>,
}

const NO_END: u64 = u64::MAX;

impl Tracer {
    /// A tracer with metrics of what becomes of its traces. Its thread starts with the first one.
    #[must_use]
    pub fn new(options: TraceOptions, metrics: &MetricRegistry) -> Self {
        let fates = Fates::default();
        let help = "Traces written to their file";
        metrics.register("adulis_traces_written", help, fates.written.clone());
        let help = "Traces that were dropped: their file could not be written, or not fast enough";
        metrics.register("adulis_traces_dropped", help, fates.dropped.clone());
        let TraceOptions { file, levels, rate, count, log_frequency } = options;
        let values = Values { levels, rate: rate.max(1), count, log_frequency };
        let settings = Settings::new(file.to_string_lossy().into(), values);
        let shared = Arc::new(Shared {
            writer: Writer::new(file, fates),
            next_span: AtomicU64::new(1),
            next_stream: AtomicU64::new(1),
        });
        let server = Sampler::new(values, values.count, &shared);
        let tracer = Self {
            on: AtomicBool::new(false),
            state: RwLock::new(State { settings, server, models: HashMap::new() }),
            shared,
        };
        tracer.decide(&tracer.state.read());
        tracer
    }

    /// Looks whether any request may be chosen.
    fn decide(&self, state: &State) {
        let mut samplers = std::iter::once(&state.server).chain(state.models.values());
        self.on.store(samplers.any(|sampler| sampler.is_on()), Ordering::Relaxed);
    }
}

impl TraceControl for Tracer {
    fn trace_settings(&self, model: Option<&str>) -> TraceSettings {
        let state = self.state.read();
        let sampler = state.sampler(model);
        state.settings.told(sampler.values, sampler.left())
    }

    fn update_trace_settings(
        &self,
        model: Option<&str>,
        update: &TraceUpdate,
    ) -> Result<TraceSettings, Fault> {
        let mut state = self.state.write();
        let (settings, renewed) = state.settings.updated(model, update)?;
        for of in renewed {
            let before = Arc::clone(state.sampler(of.as_deref()));
            let values = settings.values(of.as_deref());
            let left = match before.left() {
                _ if settings.restarts_count(of.as_deref(), model, update) => values.count,
                left => left,
            };
            let sampler = Sampler::new(values, left, &self.shared);
            let old = match of {
                None => Some(std::mem::replace(&mut state.server, sampler)),
                Some(name) if settings.is_own(&name) => state.models.insert(name, sampler),
                Some(name) => state.models.remove(&name),
            };
            if let Some(old) = old {
                self.shared.writer.close(old.stream.id);
            }
        }
        state.settings = settings;
        self.decide(&state);
        let sampler = state.sampler(model);
        Ok(state.settings.told(sampler.values, sampler.left()))
    }

    fn is_tracing(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn sample(&self, model: &str) -> Option<Trace> {
        if !self.is_tracing() {
            return None;
        }
        let state = self.state.read();
        let sampler = state.sampler(Some(model));
        let (chosen, was_last) = sampler.choose();
        if was_last {
            self.decide(&state);
        }
        chosen.then(|| Trace::begin(sampler.values.levels, model, Arc::clone(sampler) as _))
    }
}

impl State {
    fn sampler(&self, model: Option<&str>) -> &Arc<Sampler> {
        model.and_then(|model| self.models.get(model)).unwrap_or(&self.server)
    }
}

impl Sampler {
    fn new(values: Values, left: Option<u32>, shared: &Arc<Shared>) -> Arc<Self> {
        let id = shared.next_stream.fetch_add(1, Ordering::Relaxed);
        // With an end there is no waiting for the server's: what is collected by then is a numbered file, as Triton has it.
        let per_file = match values.log_frequency {
            0 => left,
            frequency => Some(frequency),
        };
        Arc::new(Self {
            values,
            stream: Stream { id, per_file },
            seen: AtomicU64::new(0),
            left: AtomicU64::new(left.map_or(NO_END, u64::from)),
            shared: Arc::clone(shared),
        })
    }

    fn is_on(&self) -> bool {
        self.values.levels != TraceLevels::OFF && self.left.load(Ordering::Relaxed) > 0
    }

    fn left(&self) -> Option<u32> {
        match self.left.load(Ordering::Relaxed) {
            NO_END => None,
            left => u32::try_from(left).ok(),
        }
    }

    /// Whether the turn of this request has come, and whether it is the last one.
    fn choose(&self) -> (bool, bool) {
        if !self.is_on() {
            return (false, false);
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if !seen.is_multiple_of(u64::from(self.values.rate)) {
            return (false, false);
        }
        let take = |left| match left {
            0 => None,
            NO_END => Some(NO_END),
            left => Some(left - 1),
        };
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(before) => (true, before == 1),
            Err(_) => (false, false),
        }
    }
}

impl TraceSink for Sampler {
    fn next_id(&self) -> u64 {
        self.shared.next_span.fetch_add(1, Ordering::Relaxed)
    }

    fn collected(&self, spans: Vec<TraceSpan>) {
        self.shared.writer.write(self.stream, spans);
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("on", &self.on).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
