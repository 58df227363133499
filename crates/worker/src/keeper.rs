use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::connection::Connection;
use crate::death::{Death, Order};
use crate::exchange::Failure;
use crate::group::Group;
use crate::process::Process;

/// Starts the thread that keeps one of a group's workers running.
pub(crate) fn start(group: &Arc<Group>, index: usize) -> io::Result<JoinHandle<()>> {
    let group = Arc::clone(group);
    thread::Builder::new()
        .name(format!("adulis-worker-{index}"))
        .spawn(move || keep(&group, index))
}

/// What a worker has been good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has not answered.
    Useless,
    /// It has answered, and died by itself.
    Useful,
    /// It has answered, and was ended for a run's sake, or for none of its own.
    Stopped,
}

impl Life {
    fn of(process: &Process, death: Death) -> Self {
        match (process.has_answered(), death.is_overrun()) {
            (false, _) => Self::Useless,
            (true, false) => Self::Useful,
            (true, true) => Self::Stopped,
        }
    }
}

/// Keeps a worker running until the group is closed.
fn keep(group: &Group, index: usize) {
    let (model, version) = (&group.labels.model, group.labels.version);
    loop {
        if group.is_closed() {
            return;
        }
        let (life, reason) = match start_one(group, index) {
            Ok(process) => {
                tracing::info!(%model, version, worker = index, pid = process.pid(), "worker started");
                let death = process.watch(&group.options);
                group.died(true, death);
                (Life::of(&process, death), death.to_string())
            }
            Err(reason) => (Life::Useless, reason),
        };
        if group.is_closed() {
            // Whoever waits for this worker is not to.
            let _ = group.ended(index, Life::Stopped, "the model is being unloaded");
            return;
        }
        // Where the model is not loaded yet, the load fails and tells why.
        let Some((delay, failures)) = group.ended(index, life, &reason) else {
            return;
        };
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            %model, version, worker = index, reason, failures, delay_milliseconds = milliseconds,
            "a worker died: it is started again"
        );
        if !group.pause(delay) {
            return;
        }
    }
}

/// Starts a worker, has it load the model, and tries it.
fn start_one(group: &Group, index: usize) -> Result<Arc<Process>, String> {
    let deadline = Instant::now() + group.options.start_timeout;
    let process = Process::spawn(&group.command, &group.options);
    let process = Arc::new(process.map_err(|error| format!("it cannot be started: {error}"))?);
    if !group.starting(index, &process) {
        process.kill(Order::Closed);
    }
    match prepare(group, index, &process, deadline) {
        Ok(spares) => {
            group.started(index, &process, spares);
            Ok(process)
        }
        Err(failure) => {
            let order = match &failure {
                Failure::Late => Order::Late,
                Failure::Violation(_) => Order::Violation,
                // It lives, and is of no use.
                Failure::Said(_) | Failure::TooLarge(_) => Order::Closed,
                Failure::Died(_) => Order::None,
            };
            if order != Order::None {
                process.kill(order);
            }
            let death = process.end();
            group.died(false, death);
            match failure {
                Failure::Said(_) | Failure::TooLarge(_) => {
                    let error = group.error(failure);
                    let reason = error.to_string();
                    group.note_refusal(error);
                    Err(reason)
                }
                Failure::Died(_) | Failure::Late | Failure::Violation(_) => {
                    Err(format!("while it loaded the model, {death}"))
                }
            }
        }
    }
}

fn prepare(
    group: &Group,
    index: usize,
    process: &Arc<Process>,
    deadline: Instant,
) -> Result<Vec<Connection>, Failure> {
    process.greet(deadline).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Failure::Late,
        io::ErrorKind::InvalidData => Failure::Violation(error),
        _ => Failure::Died(error),
    })?;
    let mut spares = Vec::new();
    for _ in 0..group.wanted_spares(index) {
        let (mut connection, told) = Connection::open(process, &group.open, (deadline, &|| true))?;
        group.learn(&told)?;
        if let (Some(trial), Some((_, signature))) = (group.trial(), group.opened())
            && !trial.is_empty()
        {
            connection.run_within(deadline, signature, trial)?;
        }
        spares.push(connection);
    }
    Ok(spares)
}
