//! Loading and unloading on request.

use std::sync::Arc;

use adulis_repository::{Repositories, Scan};
use adulis_types::{LoadModel, Name};
use tokio::sync::oneshot;

use crate::control::{ControlError, ControlMode};
use crate::lifecycle::Lifecycle;
use crate::loaders::{MAX_WAITING, NotTaken};
use crate::overrides::{OverrideError, OverrideFolder};
use crate::source::Source;

impl Lifecycle {
    /// Loads a model, or loads it again, from the repositories or from what the request brought along. If the caller goes
    /// away, the load goes on.
    pub(crate) async fn load_on_request(self: Arc<Self>, request: LoadModel) -> Result<(), ControlError> {
        self.check_control()?;
        let (told, outcome) = oneshot::channel();
        let (lifecycle, name) = (Arc::clone(&self), request.name.clone());
        let work = move || {
            // A caller that has gone needs no answer; the index has it.
            let _ = told.send(lifecycle.load_by_name(&request));
        };
        let taken = self.loaders.submit_bounded(&name.as_str().into(), work);
        taken.map_err(|reason| not_taken(&name, reason))?;
        outcome.await.unwrap_or(Err(ControlError::Closing))
    }

    /// Unloads a model, and waits until its requests are answered and its memory is given back, within the limit.
    pub(crate) async fn unload_on_request(self: Arc<Self>, name: Name) -> Result<(), ControlError> {
        self.check_control()?;
        let (told, outcome) = oneshot::channel();
        let (lifecycle, model) = (Arc::clone(&self), name.clone());
        let work = move || {
            let _ = told.send(lifecycle.unload_by_name(&model));
        };
        let taken = self.loaders.submit_bounded(&name.as_str().into(), work);
        taken.map_err(|reason| not_taken(&name, reason))?;
        for gone in outcome.await.map_err(|_| ControlError::Closing)? {
            // An end that was dropped says the same.
            let _ = gone.await;
        }
        Ok(())
    }

    fn check_control(&self) -> Result<(), ControlError> {
        match self.settings.control {
            ControlMode::Explicit(_) => Ok(()),
            ControlMode::None => Err(ControlError::AtStartOnly),
            ControlMode::Poll(_) => Err(ControlError::Polled),
        }
    }

    fn load_by_name(self: &Arc<Self>, request: &LoadModel) -> Result<(), ControlError> {
        let name = &request.name;
        let loaded = self.try_load(request);
        // What came with a request and never served must not be kept in mind for ever.
        if loaded.is_err() && !self.table.answers(name) && !self.is_in_repository(name) {
            self.table.unload(name, true);
        }
        loaded
    }

    fn try_load(self: &Arc<Self>, request: &LoadModel) -> Result<(), ControlError> {
        let name = &request.name;
        let failed = |reason| ControlError::Failed { model: name.clone(), reason };
        let (scan, files) = self.look_up(request)?;
        for note in &scan.notes {
            tracing::warn!("{note}");
        }
        let entry = match scan.model(name) {
            Some(Ok(entry)) => entry,
            Some(Err(problems)) => return Err(failed(self.fail(name, problems))),
            None => {
                // A repository that cannot be read may well have it.
                scan.problems.iter().for_each(|problem| tracing::error!(model = %name, "{problem}"));
                return Err(ControlError::NotFound { model: name.clone() });
            }
        };
        let source = Source::found(entry, &scan).with_files(files);
        self.load(&source, false).map_err(failed)
    }

    /// Finds the model, in the repositories or in the files that came along.
    fn look_up(&self, request: &LoadModel) -> Result<(Scan, Option<Arc<OverrideFolder>>), ControlError> {
        let LoadModel { name, config, files } = request;
        let refused = |error: OverrideError| ControlError::Override {
            model: name.clone(),
            reason: error.to_string().into(),
        };
        let config = config.as_deref();
        if files.is_empty() {
            return Ok((self.settings.repositories.find(name, config), None));
        }
        if config.is_none() {
            return Err(refused(OverrideError::NoConfig));
        }
        let folder = self.overrides.write(name, files).map_err(refused)?;
        let scan = Repositories::new(vec![folder.model().to_owned()]).find(name, config);
        Ok((scan, Some(folder)))
    }

    fn unload_by_name(self: &Arc<Self>, name: &str) -> Vec<oneshot::Receiver<()>> {
        let leave = !self.is_in_repository(name);
        let displaced = self.table.unload(name, leave);
        self.retire(displaced, Some(self.settings.unload_timeout))
    }

    fn is_in_repository(&self, name: &str) -> bool {
        self.settings.repositories.names().contains_key(name)
    }
}

fn not_taken(name: &Name, reason: NotTaken) -> ControlError {
    match reason {
        NotTaken::Full => ControlError::Busy { model: name.clone(), limit: MAX_WAITING },
        NotTaken::Closed => ControlError::Closing,
        NotTaken::NoThread(reason) => ControlError::Failed { model: name.clone(), reason: reason.into() },
    }
}
