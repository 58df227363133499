use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use adulis_types::{ErrorKind, Failure, Fault, LogControl, LogLineFormat, LogSettings, LogUpdate};
use parking_lot::Mutex;
use tracing_core::{Interest, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::levels::Levels;
use super::{AUDIT_TARGET, LoggingError};

/// The process's log, whose levels and form can be changed while it is written.
///
/// A change costs a walk over all places that log; between changes a place that is not shown costs what it always does.
#[derive(Debug)]
pub struct Log {
    levels: Mutex<Levels>,
    filter: reload::Handle<EnvFilter, Registry>,
    switches: Switches,
}

/// What the layers of the log look at. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Switches {
    hidden: Arc<AtomicU8>,
    iso8601: Arc<AtomicBool>,
}

const LEVELS: [Level; 3] = [Level::ERROR, Level::WARN, Level::INFO];

impl Log {
    pub(super) fn new(
        levels: Levels,
        filter: reload::Handle<EnvFilter, Registry>,
        switches: Switches,
    ) -> Self {
        Self { levels: Mutex::new(levels), filter, switches }
    }
}

impl Log {
    /// Starts anew with other directives: what clients have changed is forgotten.
    ///
    /// # Errors
    /// [`LoggingError`] if they cannot be read; then nothing has changed.
    pub fn restart(&self, directives: &str) -> Result<(), LoggingError> {
        let failed = |error: String| LoggingError::Filter { filter: directives.to_owned(), reason: error };
        let mut levels = self.levels.lock();
        let filter = EnvFilter::try_new(directives).map_err(|error| failed(error.to_string()))?;
        let next = Levels::of(directives);
        self.switches.set(&next);
        self.filter.reload(filter).map_err(|error| failed(error.to_string()))?;
        *levels = next;
        Ok(())
    }
}

impl LogControl for Log {
    fn log_settings(&self) -> LogSettings {
        self.levels.lock().settings()
    }

    fn update_log_settings(&self, update: &LogUpdate) -> Result<LogSettings, Fault> {
        let mut levels = self.levels.lock();
        let next = levels.updated(update);
        let failed = |error: String| {
            Failure::new(ErrorKind::Internal, format!("the log's levels cannot be changed: {error}"))
        };
        let filter = EnvFilter::try_new(next.directives()).map_err(|error| failed(error.to_string()))?;
        self.switches.set(&next);
        // Last: it has every place that logs ask again whether it is shown.
        self.filter.reload(filter).map_err(|error| failed(error.to_string()))?;
        *levels = next;
        Ok(levels.settings())
    }
}

impl Switches {
    fn set(&self, levels: &Levels) {
        let hidden = LEVELS.iter().enumerate().filter(|(_, level)| levels.hides(**level));
        let bits = hidden.fold(0, |bits, (index, _)| bits | 1 << index);
        self.hidden.store(bits, Ordering::Relaxed);
        self.iso8601.store(levels.format() == LogLineFormat::Iso8601, Ordering::Relaxed);
    }

    fn hides(&self, metadata: &Metadata<'_>) -> bool {
        if !metadata.is_event() || metadata.target() == AUDIT_TARGET {
            return false;
        }
        let index = LEVELS.iter().position(|candidate| candidate == metadata.level());
        index.is_some_and(|index| self.hidden.load(Ordering::Relaxed) & 1 << index != 0)
    }
}

/// Hides whole levels, whatever else shows them. Spans are not lines, and stay; so do lines about changes ([`AUDIT_TARGET`]).
#[derive(Debug)]
pub(super) struct HideLevels(pub(super) Switches);

impl<S: Subscriber> Layer<S> for HideLevels {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.0.hides(metadata) { Interest::never() } else { Interest::always() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        !self.0.hides(metadata)
    }
}

/// Lets lines through while the log has the form that is asked for, or while it has not.
#[derive(Debug)]
pub(super) struct InForm {
    pub(super) switches: Switches,
    pub(super) iso8601: bool,
}

impl<S> Filter<S> for InForm {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.switches.iso8601.load(Ordering::Relaxed) == self.iso8601
    }
}
