use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use adulis_types::{ModelMetadata, ModelRef, TensorMetadata};
use parking_lot::RwLock;

use crate::EngineError;
use crate::admission::Interface;
use crate::serving::ServingModel;

/// Every model the server knows, and the state of each of its versions.
#[derive(Default)]
pub(crate) struct ModelTable(RwLock<HashMap<Arc<str>, Entry>>);

#[derive(Default)]
struct Entry {
    versions: BTreeMap<u64, Version>,
    /// Why the model as a whole has no versions.
    problem: Option<Arc<str>>,
}

/// One version.
#[derive(Clone)]
pub(crate) enum Version {
    Loading,
    Ready(Arc<ServingModel>),
    Failed(Arc<str>),
}

/// State of a model version, as the index and the logs tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// It is being loaded.
    Loading,
    /// It answers.
    Ready,
    /// It could not be loaded; why.
    Failed(Arc<str>),
}

/// One line of the index of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model's name.
    pub name: Arc<str>,
    /// The version; `None` where the model as a whole could not be read.
    pub version: Option<u64>,
    /// Its state.
    pub state: ModelState,
}

impl Version {
    fn state(&self) -> ModelState {
        match self {
            Version::Loading => ModelState::Loading,
            Version::Ready(_) => ModelState::Ready,
            Version::Failed(reason) => ModelState::Failed(reason.clone()),
        }
    }
}

impl ModelTable {
    /// The model version that answers a request.
    pub(crate) fn resolve(&self, model: &ModelRef) -> Result<Arc<ServingModel>, EngineError> {
        let table = self.0.read();
        let entry = find(&table, model)?;
        match model.version {
            None => match entry.latest() {
                Some(serving) => Ok(Arc::clone(serving)),
                None => Err(EngineError::NotReady { model: model.name.clone(), reason: entry.reason() }),
            },
            Some(version) => match entry.version(model, version)? {
                Version::Ready(serving) => Ok(Arc::clone(serving)),
                Version::Loading => Err(not_ready(model, "it is still loading")),
                Version::Failed(reason) => {
                    Err(EngineError::NotReady { model: model.name.clone(), reason: reason.clone() })
                }
            },
        }
    }

    /// Whether the model, or the version of it that is named, answers.
    pub(crate) fn is_ready(&self, model: &ModelRef) -> Result<bool, EngineError> {
        let table = self.0.read();
        let entry = find(&table, model)?;
        match model.version {
            None => Ok(entry.latest().is_some()),
            Some(version) => Ok(matches!(entry.version(model, version)?, Version::Ready(_))),
        }
    }

    /// Inputs and outputs of a model, and the versions that answer.
    pub(crate) fn metadata(&self, model: &ModelRef) -> Result<ModelMetadata, EngineError> {
        let serving = self.resolve(model)?;
        let table = self.0.read();
        let entry = find(&table, model)?;
        let ready = entry.versions.iter().filter(|(_, version)| matches!(version, Version::Ready(_)));
        Ok(ModelMetadata {
            name: serving.interface.model.clone(),
            versions: ready.map(|(number, _)| *number).collect(),
            platform: serving.platform.clone(),
            inputs: tensors(&serving.interface, |interface| &interface.inputs),
            outputs: tensors(&serving.interface, |interface| &interface.outputs),
        })
    }

    pub(crate) fn set(&self, model: &Arc<str>, number: u64, version: Version) {
        self.0.write().entry(Arc::clone(model)).or_default().versions.insert(number, version);
    }

    pub(crate) fn set_problem(&self, model: &str, problem: &str) {
        self.0.write().entry(model.into()).or_default().problem = Some(problem.into());
    }

    /// Every model version and its state, by name and version.
    pub(crate) fn statuses(&self) -> Vec<ModelStatus> {
        let table = self.0.read();
        let mut statuses: Vec<ModelStatus> = Vec::new();
        for (name, entry) in table.iter() {
            if let Some(problem) = &entry.problem {
                let state = ModelState::Failed(problem.clone());
                statuses.push(ModelStatus { name: name.clone(), version: None, state });
            }
            statuses.extend(entry.versions.iter().map(|(number, version)| ModelStatus {
                name: name.clone(),
                version: Some(*number),
                state: version.state(),
            }));
        }
        statuses.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        statuses
    }

    /// Whether nothing is loading, and (if `strict`) nothing has failed.
    pub(crate) fn all_ready(&self, strict: bool) -> bool {
        self.0.read().values().all(|entry| {
            let version_ready = |version: &Version| match version {
                Version::Loading => false,
                Version::Ready(_) => true,
                Version::Failed(_) => !strict,
            };
            (entry.problem.is_none() || !strict) && entry.versions.values().all(version_ready)
        })
    }

    /// Takes every model out.
    pub(crate) fn drain(&self) -> Vec<Arc<ServingModel>> {
        let entries = std::mem::take(&mut *self.0.write());
        let versions = entries.into_values().flat_map(|entry| entry.versions.into_values());
        versions
            .filter_map(|version| match version {
                Version::Ready(serving) => Some(serving),
                _ => None,
            })
            .collect()
    }
}

impl Entry {
    fn latest(&self) -> Option<&Arc<ServingModel>> {
        self.versions.values().rev().find_map(|version| match version {
            Version::Ready(serving) => Some(serving),
            _ => None,
        })
    }

    fn version(&self, model: &ModelRef, number: u64) -> Result<&Version, EngineError> {
        self.versions.get(&number).ok_or_else(|| {
            let available: Vec<String> = self.versions.keys().map(u64::to_string).collect();
            let available = if available.is_empty() { "none".to_owned() } else { available.join(", ") };
            EngineError::VersionNotFound { model: model.name.clone(), version: number, available }
        })
    }

    /// Why no version answers.
    fn reason(&self) -> Arc<str> {
        let failed = self.versions.values().rev().find_map(|version| match version {
            Version::Failed(reason) => Some(reason.clone()),
            _ => None,
        });
        self.problem.clone().or(failed).unwrap_or_else(|| "it is still loading".into())
    }
}

fn find<'a>(table: &'a HashMap<Arc<str>, Entry>, model: &ModelRef) -> Result<&'a Entry, EngineError> {
    table
        .get(model.name.as_str())
        .ok_or_else(|| EngineError::ModelNotFound { model: model.name.clone() })
}

fn not_ready(model: &ModelRef, reason: &str) -> EngineError {
    EngineError::NotReady { model: model.name.clone(), reason: reason.into() }
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
