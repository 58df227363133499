//! Loading and unloading on request.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use adulis_repository::{Repositories, Scan};
use adulis_types::{Identity, LoadModel, Name, UnloadModel};
use tokio::sync::{mpsc, oneshot};

use crate::composing::{self, Descent};
use crate::control::{ControlError, ControlMode};
use crate::ensemble::Ensemble;
use crate::lifecycle::Lifecycle;
use crate::loaders::{MAX_WAITING, NotTaken};
use crate::overrides::{OverrideError, OverrideFolder};
use crate::source::Source;

/// Where a load's outcome goes.
type Told = oneshot::Sender<Result<(), ControlError>>;
/// Where it goes that a further model is being unloaded: a receiver that tells when that is done.
type Further = mpsc::UnboundedSender<oneshot::Receiver<()>>;

/// An ensemble that is to be loaded, and how far its models are.
struct Below {
    ensemble: Source,
    told: Told,
    /// Who asks, if that is known.
    identity: Option<Arc<Identity>>,
    descent: Descent,
    /// The ensembles that it is made of.
    inner: HashMap<String, Source>,
}

impl Lifecycle {
    /// Loads a model, or loads it again, from the repositories or from what the request brought along; while the server starts
    /// from repositories that lie elsewhere, after what it starts with. If the caller goes away, the load goes on.
    pub(crate) async fn load_on_request(self: Arc<Self>, request: LoadModel) -> Result<(), ControlError> {
        self.check_control()?;
        self.begun().await;
        let (told, outcome) = oneshot::channel();
        let (lifecycle, name) = (Arc::clone(&self), request.name.clone());
        let work = move || lifecycle.begin_load(&request, told);
        let taken = self.loaders.submit_bounded(&name.as_str().into(), work);
        taken.map_err(|reason| not_taken(&name, reason))?;
        outcome.await.unwrap_or(Err(ControlError::Closing))
    }

    /// Unloads a model, and waits until its requests are answered and its memory is given back, within the limit. With
    /// `unload_dependents`, the models that were loaded only because of it go too.
    pub(crate) async fn unload_on_request(self: Arc<Self>, request: UnloadModel) -> Result<(), ControlError> {
        self.check_control()?;
        self.begun().await;
        let UnloadModel { name, unload_dependents } = request;
        let (told, outcome) = oneshot::channel();
        let (further, mut all_gone) = mpsc::unbounded_channel();
        let (lifecycle, model) = (Arc::clone(&self), name.clone());
        let work = move || {
            let _ = told.send(lifecycle.unload_by_name(&model, unload_dependents.then_some(&further)));
        };
        let taken = self.loaders.submit_bounded(&name.as_str().into(), work);
        taken.map_err(|reason| not_taken(&name, reason))?;
        for gone in outcome.await.map_err(|_| ControlError::Closing)? {
            // An end that was dropped says the same.
            let _ = gone.await;
        }
        while let Some(gone) = all_gone.recv().await {
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

    /// Looks a model up and loads it; an ensemble after the models that it is made of.
    fn begin_load(self: &Arc<Self>, request: &LoadModel, told: Told) {
        let source = match self.source_of(request) {
            Ok(source) => source,
            Err(error) => {
                self.forget_unanswered(&request.name);
                // A caller that has gone needs no answer; the index has it.
                let _ = told.send(Err(error));
                return;
            }
        };
        let steps = composing::steps(&source.entry.config);
        if steps.is_empty() {
            return self.finish_load(&source, told);
        }
        if let Err(error) = check_steps(request.identity.as_deref(), &source.name, &steps) {
            let _ = told.send(Err(error));
            return;
        }
        let (identity, descent) = (request.identity.clone(), Descent::new(&source.name, steps));
        self.load_below(Below { ensemble: source, told, identity, descent, inner: HashMap::new() });
    }

    fn finish_load(self: &Arc<Self>, source: &Source, told: Told) {
        let failed = |reason| ControlError::Failed { model: (&*source.name).into(), reason };
        let loaded = self.load(source, false).map_err(failed);
        if loaded.is_err() {
            self.forget_unanswered(&source.name);
        }
        let _ = told.send(loaded);
    }

    /// What came with a request and does not answer must not be kept in mind for ever.
    fn forget_unanswered(self: &Arc<Self>, name: &str) {
        if !self.table.answers(name) && !self.is_in_repository(name) {
            let displaced = self.table.unload(name, true);
            self.retire(displaced, Some(self.settings.unload_timeout));
        }
    }

    /// Goes on with the models that an ensemble is made of: has those loaded that are not, or that look otherwise by now, as
    /// they are in the repositories, and then the ensemble itself.
    ///
    /// Each is looked up at its own turn: what is fetched for it must not change what another task is reading.
    fn load_below(self: &Arc<Self>, mut below: Below) {
        let Some(name) = below.descent.next() else {
            return self.load_ensembles(below);
        };
        let lifecycle = Arc::clone(self);
        let model: Arc<str> = name.as_str().into();
        let work = move || {
            let source = lifecycle.source_below(&name);
            let steps = source.as_ref().map(|source| composing::steps(&source.entry.config));
            let steps = steps.unwrap_or_default();
            if let Err(error) = check_steps(below.identity.as_deref(), &below.ensemble.name, &steps) {
                let _ = below.told.send(Err(error));
                return;
            }
            match source {
                Some(source) if steps.is_empty() => {
                    below.descent.enter(name, steps);
                    // The others need not wait for this one to be loaded.
                    lifecycle.load_below(below);
                    // What went wrong is in the index, and the reason why the ensemble is not ready.
                    drop(lifecycle.load(&source, true));
                }
                source => {
                    below.inner.extend(source.map(|source| (name.clone(), source)));
                    below.descent.enter(name, steps);
                    lifecycle.load_below(below);
                }
            }
        };
        // Where it is not taken, the caller is told by the end that is dropped.
        let _ = self.loaders.submit(&model, work);
    }

    /// Loads an ensemble, and before it those that it is made of, when everything else below them has had its turn.
    fn load_ensembles(self: &Arc<Self>, below: Below) {
        let Below { ensemble, told, descent, mut inner, .. } = below;
        let mut before: Vec<Arc<str>> = Vec::new();
        for name in descent.into_found() {
            let model: Arc<str> = name.as_str().into();
            if let Some(source) = inner.remove(&name) {
                let lifecycle = Arc::clone(self);
                let work = move || drop(lifecycle.load(&source, true));
                let _ = self.loaders.submit_after(&model, before.clone(), work);
            }
            before.push(model);
        }
        let (lifecycle, name) = (Arc::clone(self), Arc::clone(&ensemble.name));
        let _ = self.loaders.submit_after(&name, before, move || lifecycle.finish_load(&ensemble, told));
    }

    /// A model of an ensemble as it is in the repositories; `None` where that is not to be loaded. For that model's own turn.
    fn source_below(&self, name: &str) -> Option<Source> {
        let serving = self.table.serving(name);
        if serving.values().any(|serving| serving.served.came_with_request()) {
            return None;
        }
        let scan = self.settings.repositories.find(name, None);
        match scan.model(name)? {
            Ok(entry) => Some(Source::found(entry, &scan).asked(false)),
            Err(problems) => {
                if serving.is_empty() {
                    self.fail(name, problems);
                }
                None
            }
        }
    }

    fn source_of(&self, request: &LoadModel) -> Result<Source, ControlError> {
        let name = &request.name;
        let (scan, files) = self.look_up(request)?;
        for note in &scan.notes {
            tracing::warn!("{note}");
        }
        match scan.model(name) {
            Some(Ok(entry)) => Ok(Source::found(entry, &scan).with_files(files)),
            Some(Err(problems)) => {
                let reason = self.fail(name, problems);
                Err(ControlError::Failed { model: name.clone(), reason })
            }
            None if scan.problems.is_empty() => Err(ControlError::NotFound { model: name.clone() }),
            None => {
                // A repository that cannot be read may well have it.
                scan.problems.iter().for_each(|problem| tracing::error!(model = %name, "{problem}"));
                Err(ControlError::Unreadable { model: name.clone() })
            }
        }
    }

    /// Finds the model, in the repositories or in the files that came along.
    fn look_up(&self, request: &LoadModel) -> Result<(Scan, Option<Arc<OverrideFolder>>), ControlError> {
        let LoadModel { name, config, files, .. } = request;
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

    /// Unloads a model. The receivers tell when it is gone; those of the models that go with it are sent to `further`.
    fn unload_by_name(self: &Arc<Self>, name: &str, further: Option<&Further>) -> Vec<oneshot::Receiver<()>> {
        let serving = self.table.serving(name);
        let ensembles = serving.values().filter_map(|serving| serving.ensemble());
        let below: BTreeSet<String> = ensembles.flat_map(Ensemble::models).map(str::to_owned).collect();
        drop(serving);
        let leave = !self.is_in_repository(name);
        let displaced = self.table.unload(name, leave);
        let gone = self.retire(displaced, Some(self.settings.unload_timeout));
        self.tell_ensembles(name);
        let Some(further) = further else { return gone };
        for model in below {
            let (lifecycle, further) = (Arc::clone(self), further.clone());
            // Where it is not taken, the engine is closing.
            let _ = self.loaders.submit(&model.as_str().into(), move || {
                if lifecycle.table.is_wanted(&model) {
                    return;
                }
                for gone in lifecycle.unload_by_name(&model, Some(&further)) {
                    let _ = further.send(gone);
                }
            });
        }
        gone
    }

    fn is_in_repository(&self, name: &str) -> bool {
        self.settings.repositories.has(name)
    }
}

/// Who may name some models only has no others loaded by way of an ensemble, nor may they make one that asks others.
fn check_steps(identity: Option<&Identity>, ensemble: &str, steps: &[String]) -> Result<(), ControlError> {
    let Some(identity) = identity else { return Ok(()) };
    match steps.iter().find(|step| !identity.models.matches(step)) {
        None => Ok(()),
        Some(step) => Err(ControlError::Step {
            model: ensemble.into(),
            step: step.as_str().into(),
            who: identity.into(),
        }),
    }
}

fn not_taken(name: &Name, reason: NotTaken) -> ControlError {
    match reason {
        NotTaken::Full => ControlError::Busy { model: name.clone(), limit: MAX_WAITING },
        NotTaken::Closed => ControlError::Closing,
        NotTaken::NoThread(reason) => ControlError::Failed { model: name.clone(), reason: reason.into() },
    }
}
