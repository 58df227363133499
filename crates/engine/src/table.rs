mod entry;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use adulis_types::{IndexEntry, IndexQuery, ModelMetadata, ModelRef, ModelState, TensorMetadata};
use parking_lot::RwLock;

use crate::EngineError;
use crate::admission::Interface;
use crate::serving::ServingModel;
pub(crate) use entry::{Entry, Finished, Outcome, Version};

type Model = Entry<ServingModel>;

/// Every model the server knows, and the state of each of its versions.
#[derive(Default)]
pub(crate) struct ModelTable(RwLock<HashMap<Arc<str>, Model>>);

/// What the index says of a version that was unloaded; Triton's word.
const UNLOADED: &str = "unloaded";

impl ModelTable {
    /// The model version that answers a request.
    pub(crate) fn resolve(&self, model: &ModelRef) -> Result<Arc<ServingModel>, EngineError> {
        let table = self.0.read();
        let entry = find(&table, model)?;
        match model.version {
            None => entry.latest().map(Arc::clone).ok_or_else(|| no_version(model, entry)),
            Some(number) => match version(entry, model, number)? {
                Version::Ready(serving) => Ok(Arc::clone(serving)),
                state => Err(not_ready(model, state)),
            },
        }
    }

    /// Whether the model, or the version of it that is named, answers.
    pub(crate) fn is_ready(&self, model: &ModelRef) -> Result<bool, EngineError> {
        let table = self.0.read();
        let entry = find(&table, model)?;
        match model.version {
            None => Ok(entry.answers()),
            Some(number) => Ok(matches!(version(entry, model, number)?, Version::Ready(_))),
        }
    }

    /// Inputs and outputs of a model, and the versions that answer.
    pub(crate) fn metadata(&self, model: &ModelRef) -> Result<ModelMetadata, EngineError> {
        let serving = self.resolve(model)?;
        let table = self.0.read();
        let entry = find(&table, model)?;
        Ok(ModelMetadata {
            name: serving.served.interface.model.clone(),
            versions: entry.ready().map(|(number, _)| number).collect(),
            platform: serving.served.platform.clone(),
            inputs: tensors(&serving.served.interface, |interface| &interface.inputs),
            outputs: tensors(&serving.served.interface, |interface| &interface.outputs),
        })
    }

    /// The versions of a model that answer.
    pub(crate) fn serving(&self, model: &str) -> BTreeMap<u64, Arc<ServingModel>> {
        let table = self.0.read();
        let ready = table.get(model).into_iter().flat_map(Entry::ready);
        ready.map(|(number, serving)| (number, Arc::clone(serving))).collect()
    }

    /// Everything that answers, by name and version.
    pub(crate) fn all_serving(&self) -> Vec<Arc<ServingModel>> {
        let mut serving: Vec<Arc<ServingModel>> = {
            let table = self.0.read();
            table
                .values()
                .flat_map(|entry| entry.ready().map(|(_, serving)| Arc::clone(serving)))
                .collect()
        };
        serving.sort_by(|a, b| {
            (&a.served.interface.model, a.served.version).cmp(&(&b.served.interface.model, b.served.version))
        });
        serving
    }

    /// See [`Entry::begin`].
    pub(crate) fn begin(&self, model: &Arc<str>, repository: &Arc<str>, versions: &[u64]) {
        self.0.write().entry(Arc::clone(model)).or_default().begin(repository, versions);
    }

    /// See [`Entry::finish`].
    pub(crate) fn finish(
        &self,
        model: &Arc<str>,
        outcomes: Vec<Outcome<ServingModel>>,
    ) -> Finished<ServingModel> {
        self.0.write().entry(Arc::clone(model)).or_default().finish(outcomes)
    }

    /// See [`Entry::fail`].
    pub(crate) fn fail(&self, model: &str, reason: &str) {
        self.0.write().entry(model.into()).or_default().fail(reason.into());
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
        let mut table = self.0.write();
        let entry = table.get_mut(model)?;
        let result = change(entry);
        if entry.is_empty() {
            table.remove(model);
        }
        Some(result)
    }

    /// Does something while it is certain that this version does not answer, and does not begin to. `false` if it
    /// does answer: then nothing was done.
    pub(crate) fn while_not_ready(&self, model: &str, version: u64, act: impl FnOnce()) -> bool {
        let table = self.0.read();
        let ready = table.get(model).and_then(|entry| entry.versions().get(&version));
        let is_ready = matches!(ready, Some(Version::Ready(_)));
        if !is_ready {
            act();
        }
        !is_ready
    }

    /// The index, by name and version.
    pub(crate) fn index(&self, query: &IndexQuery) -> Vec<IndexEntry> {
        let table = self.0.read();
        let wanted = table.iter().filter(|(_, entry)| {
            query.repository.is_empty() || entry.repository() == query.repository.as_str()
        });
        let mut index: Vec<IndexEntry> = wanted.flat_map(|(name, entry)| lines(name, entry)).collect();
        drop(table);
        index.retain(|line| !query.ready || line.state == Some(ModelState::Ready));
        index.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        index
    }

    /// Looks at every version of every model.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<str>, u64, &Version<ServingModel>)) {
        for (name, entry) in self.0.read().iter() {
            entry.versions().iter().for_each(|(number, version)| look(name, *number, version));
        }
    }

    /// Whether any version of a model answers.
    pub(crate) fn answers(&self, model: &str) -> bool {
        self.0.read().get(model).is_some_and(Entry::answers)
    }

    /// Whether nothing that should be there is missing.
    pub(crate) fn is_whole(&self) -> bool {
        !self.0.read().values().any(Entry::is_broken)
    }

    /// Takes every model out.
    pub(crate) fn drain(&self) -> Vec<Arc<ServingModel>> {
        let entries = std::mem::take(&mut *self.0.write());
        entries.into_values().flat_map(|mut entry| entry.unload()).collect()
    }
}

/// A model's lines in the index.
fn lines(name: &Arc<str>, entry: &Model) -> Vec<IndexEntry> {
    let line = |version: Option<u64>, state, reason: Option<&Arc<str>>| IndexEntry {
        name: Arc::clone(name),
        version,
        state: Some(state),
        reason: reason.map_or_else(|| "".into(), Arc::clone),
    };
    let unloaded: Arc<str> = UNLOADED.into();
    let versions = entry.versions().iter().map(|(number, version)| {
        let reason = match version {
            Version::Ready(_) => entry.problem(),
            Version::Failed(reason) => Some(reason),
            Version::Unloaded => Some(&unloaded),
            Version::Loading | Version::Unloading(_) => None,
        };
        line(Some(*number), version.state(), reason)
    });
    let whole = entry.problem().filter(|_| !entry.answers());
    let whole = whole.map(|problem| line(None, ModelState::Unavailable, Some(problem)));
    whole.into_iter().chain(versions).collect()
}

fn find<'a>(table: &'a HashMap<Arc<str>, Model>, model: &ModelRef) -> Result<&'a Model, EngineError> {
    table
        .get(model.name.as_str())
        .ok_or_else(|| EngineError::ModelNotFound { model: model.name.clone() })
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
        Version::Loading | Version::Ready(_) => {
            EngineError::NotReady { model: model.name.clone(), reason: "it is still loading".into() }
        }
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
