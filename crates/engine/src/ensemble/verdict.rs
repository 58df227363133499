//! Whether the models that an ensemble is made of are there and fit together.

use std::sync::Arc;

use adulis_backend::TensorSpec;
use adulis_tensor::ShapePattern;
use smallvec::SmallVec;

use super::Ensemble;
use super::composition::{Composition, Part, Steps};
use super::graph::Step;
use super::origins::{Clash, Origin, Origins};
use crate::EngineError;
use crate::serving::{Scheduler, Served, ServingModel};
use crate::table::Models;

/// Ensembles within ensembles: no deeper than this.
const MAX_DEPTH: usize = 16;
/// Most steps of an ensemble, those of the ensembles that it is made of counted in.
const MAX_STEPS: usize = 4096;

/// Why an ensemble cannot answer.
#[derive(Debug, Clone)]
pub(crate) struct Unready {
    pub(crate) reason: Arc<str>,
    pub(crate) cause: Cause,
}

/// What is the matter with an ensemble that cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A model is being loaded.
    Loading,
    /// A model was unloaded by request.
    Unloaded,
    /// A model is not there or could not be loaded, or does not fit.
    Broken,
}

/// How large an ensemble is that can answer.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    depth: usize,
    steps: usize,
    /// Whether one of its steps answers any number of times, and so it does.
    decoupled: bool,
    composition: Arc<Composition>,
}

/// What of an extent is known of a step.
struct Inner {
    depth: usize,
    steps: usize,
    decoupled: bool,
    part: Part,
}

/// A verdict, and the state of the model table that it is about.
#[derive(Debug)]
pub(super) struct Remembered {
    epoch: u64,
    verdict: Result<Extent, Unready>,
}

/// A verdict that is being found.
struct Found {
    verdict: Result<Extent, Unready>,
    /// Whether it holds whatever ensemble is looked at from outside.
    is_final: bool,
}

/// What a request runs with to its end.
#[derive(Clone)]
pub(super) struct Resolved {
    /// The model of each step, of one moment.
    pub(super) models: SmallVec<[Arc<ServingModel>; 8]>,
    /// Where some of them are decoupled.
    pub(super) origins: Option<Origins>,
    /// What answers depend on with these models.
    pub(super) composition: Arc<Composition>,
}

impl Ensemble {
    /// Whether it can answer with the models that there are.
    pub(crate) fn ready(&self, served: &Served, models: &Models) -> Result<(), Unready> {
        self.find(served, models, &mut Vec::new()).verdict.map(|_| ())
    }

    /// Whether it may answer a request any number of times: where one of its steps may. It is what Triton goes by, too,
    /// whatever the ensemble's own transaction policy says.
    pub(crate) fn is_decoupled(&self, served: &Served, models: &Models) -> bool {
        let verdict = self.find(served, models, &mut Vec::new()).verdict;
        verdict.is_ok_and(|extent| extent.decoupled)
    }

    /// The model of each step, of one moment.
    pub(super) fn resolve(&self, served: &Served, models: &Models) -> Result<Resolved, EngineError> {
        let not_ready = |reason: Arc<str>| EngineError::NotReady {
            model: served.interface.model.as_ref().into(),
            reason,
        };
        let verdict = self.find(served, models, &mut Vec::new()).verdict;
        let extent = verdict.map_err(|unready| not_ready(unready.reason))?;
        let steps = self.graph.steps.iter().map(|step| models.serving(&step.model).map(Arc::clone));
        let found: SmallVec<[_; 8]> = steps.collect::<Result<_, _>>()?;
        let origins = if extent.decoupled {
            let decoupled = found.iter().map(|model| model.is_decoupled(models));
            let decoupled: SmallVec<[bool; 8]> = decoupled.collect();
            Some(self.origins(&decoupled).map_err(|reason| not_ready(reason.into()))?)
        } else {
            None
        };
        Ok(Resolved { models: found, origins, composition: extent.composition })
    }

    fn find(&self, served: &Served, models: &Models, path: &mut Vec<Arc<str>>) -> Found {
        let epoch = models.epoch();
        if let Some(known) = self.remembered.lock().as_ref().filter(|known| known.epoch == epoch) {
            return Found { verdict: known.verdict.clone(), is_final: true };
        }
        path.push(Arc::clone(&served.interface.model));
        let found = self.judge(served, models, path);
        path.pop();
        if found.is_final {
            *self.remembered.lock() = Some(Remembered { epoch, verdict: found.verdict.clone() });
        }
        found
    }

    fn judge(&self, served: &Served, models: &Models, path: &mut Vec<Arc<str>>) -> Found {
        let (mut depth, mut steps) = (1, 0_usize);
        let mut found = SmallVec::<[&Served; 8]>::new();
        let mut decoupled = SmallVec::<[bool; 8]>::new();
        let mut parts = Steps::new();
        for (index, step) in self.graph.steps.iter().enumerate() {
            let model = match models.serving(&step.model) {
                Ok(model) => model,
                Err(error) => return Found::unready(index, missing(&error)),
            };
            let inner = match &model.scheduler {
                Scheduler::Instances(instances) => Inner {
                    depth: 0,
                    steps: 1,
                    decoupled: model.served.decoupled,
                    part: Part::of_instances(&model.served, instances),
                },
                Scheduler::Ensemble(inner) => match inner.nested(&model.served, models, path) {
                    Found { verdict: Ok(Extent { depth, steps, decoupled, composition }), .. } => {
                        Inner { depth, steps, decoupled, part: composition.part().clone() }
                    }
                    Found { verdict: Err(Unready { reason, cause }), is_final } => {
                        let reason = format!("model '{}' is not ready: {reason}", step.model.name);
                        return Found { is_final, ..Found::unready(index, (reason, cause)) };
                    }
                },
            };
            depth = depth.max(inner.depth + 1);
            steps = steps.saturating_add(inner.steps);
            found.push(&model.served);
            decoupled.push(inner.decoupled);
            parts.push((model.served.version, inner.part));
        }
        let fits = check_extent(depth, steps).and_then(|()| self.check(served, &found));
        let fits = fits.and_then(|()| self.origins(&decoupled));
        let composed = fits.and_then(|_| Composition::new(self, served, &parts));
        let verdict = composed.map(|composition| Extent {
            depth,
            steps,
            decoupled: decoupled.contains(&true),
            composition: Arc::new(composition),
        });
        let broken = |reason: String| Unready { reason: reason.into(), cause: Cause::Broken };
        Found { verdict: verdict.map_err(broken), is_final: true }
    }

    /// The verdict about an ensemble within others.
    fn nested(&self, served: &Served, models: &Models, path: &mut Vec<Arc<str>>) -> Found {
        let name = &served.interface.model;
        let broken = |reason: String, is_final| {
            let unready = Unready { reason: reason.into(), cause: Cause::Broken };
            Found { verdict: Err(unready), is_final }
        };
        if let Some(first) = path.iter().position(|above| above == name) {
            let circle: Vec<&str> = path[first..].iter().chain([name]).map(|name| &**name).collect();
            return broken(format!("ensembles wait for each other: {}", circle.join(" -> ")), true);
        }
        if path.len() >= MAX_DEPTH {
            return broken(too_deep(), false);
        }
        self.find(served, models, path)
    }

    /// Compares what the steps' models take and give with what they are given and asked for.
    fn check(&self, served: &Served, models: &[&Served]) -> Result<(), String> {
        let steps = self.graph.steps.iter().zip(models).enumerate();
        for (index, (step, model)) in steps.clone() {
            let told = |reason| format!("step[{index}] (model '{}'): {reason}", step.model.name);
            check_names(step, model).map_err(told)?;
            check_rows(served, model).map_err(told)?;
        }
        let sources: Vec<Port<'_>> = self.sources(served, models);
        for (index, (step, model)) in steps {
            for (input, tensor) in &step.inputs {
                let Some(taken) = Port::input(model, input) else {
                    continue;
                };
                if !taken.fits(&sources[*tensor]) {
                    let tensor = self.described(*tensor, &sources);
                    return Err(format!(
                        "step[{index}] (model '{}'): input '{input}' is {taken}, but {tensor}",
                        step.model.name
                    ));
                }
            }
        }
        for (spec, tensor) in served.interface.outputs.iter().zip(&self.graph.outputs) {
            let wanted = Port { spec, batches: served.interface.max_rows.is_some() };
            if !wanted.fits(&sources[*tensor]) {
                let tensor = self.described(*tensor, &sources);
                return Err(format!("output '{}' of the ensemble is {wanted}, but {tensor}", spec.name));
            }
        }
        Ok(())
    }

    /// What comes with which decoupled step's answers.
    fn origins(&self, decoupled: &[bool]) -> Result<Origins, String> {
        Origins::new(&self.graph, decoupled).map_err(|Clash { step, tensors }| {
            let told = |(tensor, origin): (usize, Origin)| {
                let name = &self.graph.tensors[tensor].name;
                match origin {
                    None => format!("'{name}' comes with the request"),
                    Some(step) => {
                        let model = &self.graph.steps[step].model.name;
                        format!("'{name}' comes with each answer of step[{step}] (model '{model}')")
                    }
                }
            };
            let [first, other] = tensors.map(told);
            match step {
                Some(step) => format!(
                    "step[{step}] (model '{}'): it receives inputs originated from different decoupled models: {first}, \
                     {other}",
                    self.graph.steps[step].model.name
                ),
                None => format!(
                    "the outputs of the ensemble originate from different decoupled models: {first}, {other}"
                ),
            }
        })
    }

    /// Where each tensor comes from.
    fn sources<'m>(&self, served: &'m Served, models: &[&'m Served]) -> Vec<Port<'m>> {
        let inputs = served.interface.inputs.iter();
        let batches = served.interface.max_rows.is_some();
        let mut sources: Vec<Port<'m>> = inputs.map(|spec| Port { spec, batches }).collect();
        for (step, model) in self.graph.steps.iter().zip(models) {
            // In the order in which the tensors got their numbers.
            sources.extend(step.outputs.iter().filter_map(|(output, _)| Port::output(model, output)));
        }
        sources
    }

    /// A tensor and where it comes from, for messages.
    fn described(&self, tensor: usize, sources: &[Port<'_>]) -> String {
        let (link, source) = (&self.graph.tensors[tensor], &sources[tensor]);
        let from = match link.maker {
            None => "an input of the ensemble".to_owned(),
            Some(step) => {
                let model = &self.graph.steps[step].model.name;
                format!("output '{}' of step[{step}], model '{model}'", source.spec.name)
            }
        };
        format!("tensor '{}' is {source} ({from})", link.name)
    }
}

impl Found {
    fn unready(step: usize, (reason, cause): (String, Cause)) -> Self {
        let reason = format!("step[{step}]: {reason}").into();
        Self { verdict: Err(Unready { reason, cause }), is_final: true }
    }
}

/// An input or output of a model or of the ensemble.
struct Port<'m> {
    spec: &'m TensorSpec,
    /// Whether its leading dimension is a batch dimension.
    batches: bool,
}

impl<'m> Port<'m> {
    fn input(model: &'m Served, name: &str) -> Option<Self> {
        Self::of(&model.interface.inputs, name, model)
    }

    fn output(model: &'m Served, name: &str) -> Option<Self> {
        Self::of(&model.interface.outputs, name, model)
    }

    fn of(specs: &'m [TensorSpec], name: &str, model: &Served) -> Option<Self> {
        let spec = specs.iter().find(|spec| *spec.name == *name)?;
        Some(Self { spec, batches: model.interface.max_rows.is_some() })
    }

    fn row(&self) -> &'m [i64] {
        let skipped = usize::from(self.batches).min(self.spec.shape.len());
        &self.spec.shape[skipped..]
    }

    /// Whether the one can be given to the other: the same datatype, and shapes that agree in full or, where only one of
    /// them has a batch dimension, without it. Open dimensions agree with all; each request shows.
    fn fits(&self, other: &Self) -> bool {
        let agree = |a: &[i64], b: &[i64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || *a < 0 || *b < 0)
        };
        self.spec.datatype == other.spec.datatype
            && (agree(self.row(), other.row()) || agree(&self.spec.shape, &other.spec.shape))
    }
}

impl std::fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape: &ShapePattern = &self.spec.shape;
        let rows = if self.batches { " with a batch dimension" } else { "" };
        write!(f, "{} {shape}{rows}", self.spec.datatype)
    }
}

/// Every name in the maps is one of the model's, and every input that the model needs is in them.
fn check_names(step: &Step, model: &Served) -> Result<(), String> {
    let interface = &model.interface;
    let sides = [
        ("input", &step.inputs, &interface.inputs),
        ("output", &step.outputs, &interface.outputs),
    ];
    for (side, mapped, specs) in sides {
        if let Some((name, _)) = mapped.iter().find(|(name, _)| specs.iter().all(|spec| *spec.name != **name))
        {
            let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
            return Err(format!("it has no {side} '{name}'; it has {}", names.join(", ")));
        }
    }
    let mut required = interface.inputs.iter().filter(|spec| !spec.optional);
    match required.find(|spec| step.inputs.iter().all(|(name, _)| **name != *spec.name)) {
        None => Ok(()),
        Some(spec) => Err(format!("its input '{}' is given no tensor by input_map", spec.name)),
    }
}

fn check_rows(served: &Served, model: &Served) -> Result<(), String> {
    match (served.interface.max_rows, model.interface.max_rows) {
        (Some(ensemble), Some(step)) if step < ensemble => Err(format!(
            "it takes {step} rows at most, fewer than the ensemble's max_batch_size of {ensemble}"
        )),
        _ => Ok(()),
    }
}

fn check_extent(depth: usize, steps: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    if steps > MAX_STEPS {
        return Err(format!(
            "it has {steps} steps, those of its steps counted in; at most {MAX_STEPS} are allowed"
        ));
    }
    Ok(())
}

fn too_deep() -> String {
    format!("ensembles are made of ensembles more than {MAX_DEPTH} deep")
}

/// Why a step's model does not answer.
fn missing(error: &EngineError) -> (String, Cause) {
    match error {
        EngineError::ModelNotFound { model } => (format!("model '{model}' is not there"), Cause::Broken),
        EngineError::VersionNotFound { model, version, available } => {
            (format!("model '{model}' has no version {version} (there: {available})"), Cause::Broken)
        }
        EngineError::Unloaded { model } => (format!("model '{model}' is unloaded"), Cause::Unloaded),
        EngineError::Loading { model } => (format!("model '{model}' is still loading"), Cause::Loading),
        EngineError::NotReady { model, reason } => {
            (format!("model '{model}' is not ready: {reason}"), Cause::Broken)
        }
        other => (other.to_string(), Cause::Broken),
    }
}
