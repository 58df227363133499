use std::sync::Arc;
use std::thread::JoinHandle;

use adulis_backend::{BackendError, LoadRequest, Model, ModelInstance, ModelSignature};
use parking_lot::Mutex;

use crate::death::Death;
use crate::group::{Group, Plan};
use crate::instance::RemoteInstance;
use crate::keeper;
use crate::open::Opened;

/// A model that lives in worker processes. They end with it.
pub(crate) struct RemoteModel {
    group: Arc<Group>,
    opened: Opened,
    signature: Arc<ModelSignature>,
    keepers: Mutex<Vec<JoinHandle<()>>>,
}

impl RemoteModel {
    /// Starts the workers and waits until each has loaded the model.
    pub(crate) fn load(plan: Plan<'_>, request: &LoadRequest) -> Result<Self, BackendError> {
        let group = Group::new(plan);
        let failed = |reason: String| BackendError::Load { path: request.path.display().to_string(), reason };
        // From here on they end with this, whatever happens.
        let mut workers = Keepers { group: Arc::clone(&group), threads: Vec::new() };
        for index in 0..group.options.count {
            let thread = keeper::start(&group, index).map_err(|error| failed(error.to_string()))?;
            workers.threads.push(thread);
        }
        group.wait_for_start().map_err(|fault| match fault {
            Ok(BackendError::Broken { reason }) => failed(reason),
            Ok(error) => error,
            Err(reason) => failed(format!("a worker process could not load it: {reason}")),
        })?;
        let (opened, signature) = group
            .opened()
            .cloned()
            .ok_or_else(|| failed("no worker told what it is like".to_owned()))?;
        let keepers = Mutex::new(std::mem::take(&mut workers.threads));
        Ok(Self { group, opened, signature, keepers })
    }

    pub(crate) fn is_decoupled(&self) -> bool {
        self.opened.is_decoupled
    }
}

/// Keepers of a model that is being loaded.
struct Keepers {
    group: Arc<Group>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Keepers {
    fn drop(&mut self) {
        // Empty once the model has them.
        if !self.threads.is_empty() {
            end(&self.group, self.threads.drain(..));
        }
    }
}

fn end(group: &Group, threads: impl Iterator<Item = JoinHandle<()>>) {
    group.close();
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!(model = %group.labels.model, "the thread that keeps a worker panicked");
        }
    }
    group.metrics.forget(Death::CAUSES);
}

impl Model for RemoteModel {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn placement(&self) -> String {
        let placement = &self.opened.placement;
        match self.group.options.count {
            1 => format!("{placement} in a worker process"),
            count => format!("{placement} in {count} worker processes"),
        }
    }

    fn keeps_state(&self) -> bool {
        self.opened.keeps_state
    }

    fn reads_requests(&self) -> bool {
        self.opened.reads_requests
    }

    fn prefers_fixed_batches(&self) -> bool {
        self.opened.prefers_fixed_batches
    }

    fn runs_elsewhere(&self) -> bool {
        true
    }

    fn unready(&self) -> Option<Arc<str>> {
        self.group.unready()
    }

    fn instance(&self) -> Result<Box<dyn ModelInstance>, BackendError> {
        let mut instance = RemoteInstance::new(Arc::clone(&self.group));
        if self.group.has_up() {
            // Made in its worker now rather than by its first run; where there is none, that waits for one.
            instance.settle()?;
        }
        Ok(Box::new(instance))
    }
}

impl Drop for RemoteModel {
    fn drop(&mut self) {
        let keepers = std::mem::take(self.keepers.get_mut());
        end(&self.group, keepers.into_iter());
    }
}
