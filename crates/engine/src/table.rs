mod entry;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use adulis_types::{
    ErrorKind, IndexEntry, IndexQuery, ModelMetadata, ModelRef, ModelState, ServiceError, TensorMetadata,
};
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::EngineError;
use crate::admission::Interface;
use crate::ensemble::{Cause, Unready};
use crate::serving::ServingModel;
pub(crate) use entry::{Entry, Finished, Outcome, Version};

type Model = Entry<ServingModel>;

/// Every model the server knows, and the state of each of its versions.
#[derive(Default)]
pub(crate) struct ModelTable(RwLock<Models>);

/// The table's content of one moment.
#[derive(Default)]
pub(crate) struct Models {
    entries: HashMap<Arc<str>, Model>,
    /// Counts the changes.
    epoch: u64,
}

impl Models {
    /// The number of the state that this is: as long as it is the same, nothing has changed.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The model version that is there for a request. Whether it answers, if it is an ensemble, is another question.
    pub(crate) fn serving(&self, model: &ModelRef) -> Result<&Arc<ServingModel>, EngineError> {
        let entry = self.find(model)?;
        match model.version {
            None => entry.latest().ok_or_else(|| no_version(model, entry)),
            Some(number) => match version(entry, model, number)? {
                Version::Ready(serving) => Ok(serving),
                state => Err(not_ready(model, state)),
            },
        }
    }

    /// Everything that is there to answer.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ServingModel>> {
        self.entries.values().flat_map(|entry| entry.ready().map(|(_, serving)| serving))
    }

    /// The versions of a model that are there to answer.
    pub(crate) fn versions(&self, model: &str) -> impl Iterator<Item = &Arc<ServingModel>> {
        self.entries
            .get(model)
            .into_iter()
            .flat_map(|entry| entry.ready().map(|(_, serving)| serving))
    }

    fn find(&self, model: &ModelRef) -> Result<&Model, EngineError> {
        let entry = self.entries.get(model.name.as_str());
        entry.ok_or_else(|| EngineError::ModelNotFound { model: model.name.clone() })
    }

    /// Whether the server lacks something of a model that it should have. What it lacks because it was told to is not meant.
    fn is_broken(&self, entry: &Model) -> bool {
        let broken = |(_, serving): (u64, &Arc<ServingModel>)| {
            serving.ready(self).is_err_and(|unready| unready.cause == Cause::Broken)
        };
        entry.is_broken() || entry.ready().any(broken)
    }
}

/// What the index says of a version that was unloaded; Triton's word.
const UNLOADED: &str = "unloaded";

impl ModelTable {
    /// Looks at the content of one moment. Nothing may be asked of the table meanwhile.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Models) -> T) -> T {
        look(&self.0.read())
    }

    /// See [`Models::epoch`].
    pub(crate) fn epoch(&self) -> u64 {
        self.with(Models::epoch)
    }

    /// Something has become known of a model that is in it.
    pub(crate) fn touch(&self) {
        drop(self.write());
    }

    fn write(&self) -> RwLockWriteGuard<'_, Models> {
        let mut models = self.0.write();
        models.epoch += 1;
        models
    }

    /// The model version that answers a request.
    pub(crate) fn resolve(&self, model: &ModelRef) -> Result<Arc<ServingModel>, EngineError> {
        let models = self.0.read();
        let serving = models.serving(model)?;
        serving.usable(&models).map_err(|Unready { reason, .. }| {
            let model = model.name.clone();
            EngineError::NotReady { model, reason }
        })?;
        Ok(Arc::clone(serving))
    }

    /// See [`ServingModel::is_decoupled`]. Only for an ensemble is the table looked at.
    pub(crate) fn is_decoupled(&self, serving: &ServingModel) -> bool {
        match serving.ensemble() {
            None => serving.served.decoupled,
            Some(_) => self.with(|models| serving.is_decoupled(models)),
        }
    }

    /// Whether the model, or the version of it that is named, answers.
    pub(crate) fn is_ready(&self, model: &ModelRef) -> Result<bool, EngineError> {
        let models = self.0.read();
        match models.serving(model) {
            Ok(serving) => Ok(serving.ready(&models).is_ok()),
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Why a model that is loaded does not answer.
    pub(crate) fn unready(&self, model: &str) -> Option<Unready> {
        let models = self.0.read();
        let serving = models.entries.get(model)?.latest()?;
        serving.ready(&models).err()
    }

    /// The ensembles that do not answer, of those that are a model or have it as a step, and why.
    pub(crate) fn unready_with(&self, model: &str) -> Vec<(Arc<str>, Unready)> {
        let models = self.0.read();
        let concerned = models.entries.iter().filter_map(|(name, entry)| {
            let serving = entry.latest()?;
            let mut steps = serving.ensemble()?.models();
            if **name != *model && steps.all(|step| step != model) {
                return None;
            }
            Some((Arc::clone(name), serving.ready(&models).err()?))
        });
        concerned.collect()
    }

    /// Whether somebody wants a model: for itself, or as a step of an ensemble that is loaded.
    pub(crate) fn is_wanted(&self, model: &str) -> bool {
        let models = self.0.read();
        let is_step = |serving: &ServingModel| {
            serving.ensemble().is_some_and(|ensemble| ensemble.models().any(|step| step == model))
        };
        let mut entries = models.entries.values();
        models.entries.get(model).is_some_and(Entry::asked)
            || entries.any(|entry| entry.ready().any(|(_, serving)| is_step(serving)))
    }

    /// Inputs and outputs of a model, and the versions that answer.
    pub(crate) fn metadata(&self, model: &ModelRef) -> Result<ModelMetadata, EngineError> {
        let serving = self.resolve(model)?;
        let models = self.0.read();
        let ready = models.find(model)?.ready();
        let ready = ready.filter(|(_, serving)| serving.ready(&models).is_ok());
        Ok(ModelMetadata {
            name: serving.served.interface.model.clone(),
            versions: ready.map(|(number, _)| number).collect(),
            platform: serving.served.platform.clone(),
            inputs: tensors(&serving.served.interface, |interface| &interface.inputs),
            outputs: tensors(&serving.served.interface, |interface| &interface.outputs),
        })
    }

    /// The versions of a model that answer.
    pub(crate) fn serving(&self, model: &str) -> BTreeMap<u64, Arc<ServingModel>> {
        let models = self.0.read();
        let ready = models.entries.get(model).into_iter().flat_map(Entry::ready);
        ready.map(|(number, serving)| (number, Arc::clone(serving))).collect()
    }

    /// Everything that answers, by name and version.
    pub(crate) fn all_serving(&self) -> Vec<Arc<ServingModel>> {
        let mut serving: Vec<Arc<ServingModel>> = {
            let models = self.0.read();
            models.all().map(Arc::clone).collect()
        };
        serving.sort_by(|a, b| {
            (&a.served.interface.model, a.served.version).cmp(&(&b.served.interface.model, b.served.version))
        });
        serving
    }

    /// See [`Entry::begin`].
    pub(crate) fn begin(&self, model: &Arc<str>, repository: &Arc<str>, versions: &[u64], asked: bool) {
        self.write()
            .entries
            .entry(Arc::clone(model))
            .or_default()
            .begin(repository, versions, asked);
    }

    /// See [`Entry::finish`].
    pub(crate) fn finish(
        &self,
        model: &Arc<str>,
        outcomes: Vec<Outcome<ServingModel>>,
    ) -> Finished<ServingModel> {
        self.write().entries.entry(Arc::clone(model)).or_default().finish(outcomes)
    }

    /// See [`Entry::fail`].
    pub(crate) fn fail(&self, model: &str, reason: &str) {
        self.write().entries.entry(model.into()).or_default().fail(reason.into());
    }

    /// See [`Entry::unload`], and where nothing is to be left of the model [`Entry::leave`].
    pub(crate) fn unload(&self, model: &str, leave: bool) -> Vec<Arc<ServingModel>> {
        self.change(model, |entry| if leave { entry.leave() } else { entry.unload() })
            .unwrap_or_default()
    }

    /// See [`Entry::released`].
    pub(crate) fn released(&self, model: &str, version: u64, served: &Weak<ServingModel>) {
        self.change(model, |entry| entry.released(version, served));
    }

    /// Changes an entry, and takes it out if nothing is left of it.
    fn change<T>(&self, model: &str, change: impl FnOnce(&mut Model) -> T) -> Option<T> {
        let mut models = self.write();
        let entry = models.entries.get_mut(model)?;
        let result = change(entry);
        if entry.is_empty() {
            models.entries.remove(model);
        }
        Some(result)
    }

    /// Does something while it is certain that this version does not answer, and does not begin to. `false` if it
    /// does answer: then nothing was done.
    pub(crate) fn while_not_ready(&self, model: &str, version: u64, act: impl FnOnce()) -> bool {
        let models = self.0.read();
        let ready = models.entries.get(model).and_then(|entry| entry.versions().get(&version));
        let is_ready = matches!(ready, Some(Version::Ready(_)));
        if !is_ready {
            act();
        }
        !is_ready
    }

    /// The index, by name and version.
    pub(crate) fn index(&self, query: &IndexQuery) -> Vec<IndexEntry> {
        let models = self.0.read();
        let wanted = models.entries.iter().filter(|(_, entry)| {
            query.repository.is_empty() || entry.repository() == query.repository.as_str()
        });
        let mut index: Vec<IndexEntry> =
            wanted.flat_map(|(name, entry)| lines(name, entry, &models)).collect();
        drop(models);
        index.retain(|line| !query.ready || line.state == Some(ModelState::Ready));
        index.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        index
    }

    /// Looks at every version of every model.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<str>, u64, ModelState, Option<&ServingModel>)) {
        let models = self.0.read();
        for (name, entry) in &models.entries {
            for (number, version) in entry.versions() {
                let (state, _) = state(version, &models);
                let serving = if let Version::Ready(serving) = version { Some(&**serving) } else { None };
                look(name, *number, state, serving);
            }
        }
    }

    /// Whether any version of a model answers.
    pub(crate) fn answers(&self, model: &str) -> bool {
        self.is_ready(&ModelRef::latest(model)).unwrap_or(false)
    }

    /// Whether nothing that should be there is missing.
    pub(crate) fn is_whole(&self) -> bool {
        let models = self.0.read();
        !models.entries.values().any(|entry| models.is_broken(entry))
    }

    /// Takes every model out.
    pub(crate) fn drain(&self) -> Vec<Arc<ServingModel>> {
        let entries = std::mem::take(&mut self.write().entries);
        entries.into_values().flat_map(|mut entry| entry.unload()).collect()
    }
}

/// The state of a version, and the reason where it is one that the models of an ensemble give.
fn state(version: &Version<ServingModel>, models: &Models) -> (ModelState, Option<Arc<str>>) {
    let Version::Ready(serving) = version else {
        return (version.state(), None);
    };
    match serving.ready(models) {
        Ok(()) => (ModelState::Ready, None),
        Err(Unready { reason, cause: Cause::Loading }) => (ModelState::Loading, Some(reason)),
        Err(Unready { reason, .. }) => (ModelState::Unavailable, Some(reason)),
    }
}

/// A model's lines in the index.
fn lines(name: &Arc<str>, entry: &Model, models: &Models) -> Vec<IndexEntry> {
    let line = |version: Option<u64>, state, reason: Option<Arc<str>>| IndexEntry {
        name: Arc::clone(name),
        version,
        state: Some(state),
        reason: reason.unwrap_or_else(|| "".into()),
    };
    let versions = entry.versions().iter().map(|(number, version)| {
        let (state, reason) = state(version, models);
        let reason = reason.or_else(|| match version {
            Version::Ready(_) => entry.problem().cloned(),
            Version::Failed(reason) => Some(Arc::clone(reason)),
            Version::Unloaded => Some(UNLOADED.into()),
            Version::Loading | Version::Unloading(_) => None,
        });
        line(Some(*number), state, reason)
    });
    let whole = entry.problem().filter(|_| !entry.answers());
    let whole = whole.map(|problem| line(None, ModelState::Unavailable, Some(Arc::clone(problem))));
    whole.into_iter().chain(versions).collect()
}

fn version<'a>(
    entry: &'a Model,
    model: &ModelRef,
    number: u64,
) -> Result<&'a Version<ServingModel>, EngineError> {
    entry.versions().get(&number).ok_or_else(|| {
        let available: Vec<String> = entry.versions().keys().map(u64::to_string).collect();
        let available = if available.is_empty() { "none".to_owned() } else { available.join(", ") };
        EngineError::VersionNotFound { model: model.name.clone(), version: number, available }
    })
}

/// Why no version of a model answers.
fn no_version(model: &ModelRef, entry: &Model) -> EngineError {
    if let Some(problem) = entry.problem() {
        return failed(model, problem);
    }
    let versions = || entry.versions().values().rev();
    let telling = versions().find(|version| !matches!(version, Version::Unloading(_) | Version::Unloaded));
    match telling {
        Some(version) => not_ready(model, version),
        None => EngineError::Unloaded { model: model.name.clone() },
    }
}

fn not_ready<S>(model: &ModelRef, version: &Version<S>) -> EngineError {
    match version {
        Version::Failed(reason) => failed(model, reason),
        Version::Unloading(_) | Version::Unloaded => EngineError::Unloaded { model: model.name.clone() },
        Version::Loading | Version::Ready(_) => EngineError::Loading { model: model.name.clone() },
    }
}

fn failed(model: &ModelRef, reason: &str) -> EngineError {
    let reason = format!("failed to load: {reason}").into();
    EngineError::NotReady { model: model.name.clone(), reason }
}

fn tensors(
    interface: &Interface,
    side: impl Fn(&Interface) -> &Vec<adulis_backend::TensorSpec>,
) -> Vec<TensorMetadata> {
    side(interface)
        .iter()
        .map(|spec| TensorMetadata {
            name: spec.name.clone(),
            datatype: spec.datatype,
            shape: spec.shape.clone(),
            optional: spec.optional,
        })
        .collect()
}
