//! What the answers of an ensemble depend on, all models that it is made of counted in; and so whether they can be remembered.

use std::collections::HashSet;
use std::sync::Arc;

use adulis_cache::{ModelCache, ModelDigest, ModelKeys, ResponseCache, Scope};
use adulis_repository::Caching;
use smallvec::SmallVec;

use super::Ensemble;
use crate::caching;
use crate::instances::Instances;
use crate::lane::Lane;
use crate::serving::{Served, ServingModel};
use crate::table::Models;

/// Where an ensemble's answers are remembered, and how, if they can be.
pub(crate) struct Remembering {
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) caching: Caching,
    /// What was counted, whatever models it was made of meanwhile.
    pub(crate) scope: Arc<Scope>,
}

/// What a model has to say of answers that it has a part in.
#[derive(Clone)]
pub(super) struct Part {
    /// All that its answers depend on beside requests; `None` as long as nobody has read its files.
    digest: Option<[u8; 32]>,
    refusal: Option<Refusal>,
    /// Whether requests to it have rows that are independent of each other.
    batches: bool,
    /// Whether it is told of requests' ids and parameters.
    reads_requests: bool,
}

/// Why answers are no function of the inputs.
#[derive(Clone)]
pub(super) struct Refusal {
    reason: String,
    /// Whether that is only what it looks like, so that somebody may insist.
    may_insist: bool,
}

/// An ensemble as it is with the models of one moment.
pub(super) struct Composition {
    /// What it is to ensembles around it.
    part: Part,
    cache: Option<ModelCache>,
}

impl Part {
    pub(super) fn of_instances(served: &Served, instances: &Instances) -> Self {
        let refuse = |reason: &str, may_insist| Some(Refusal { reason: reason.to_owned(), may_insist });
        let (mut digest, mut refusal) = (None, None);
        match served.identity.as_deref().and_then(caching::Identity::known) {
            None => {}
            Some(Err(reason)) => refusal = refuse(reason, false),
            Some(Ok(identified)) => {
                digest = Some(*identified.keys.digest());
                refusal = identified
                    .random
                    .filter(|_| !served.config.caching.insist)
                    .and_then(|operator| refuse(&caching::random_reason(operator), true));
            }
        }
        if matches!(instances.lane, Lane::Sequences(_)) {
            refusal = refuse("its answers depend on the requests before in their sequence", false);
        } else if served.decoupled {
            refusal = refuse("it answers a request any number of times", false);
        }
        let reads_requests = instances.model.reads_requests();
        Self { digest, refusal, batches: served.interface.max_rows.is_some(), reads_requests }
    }
}

impl Composition {
    /// An ensemble whose steps are these, each with its model's version.
    ///
    /// # Errors
    /// Why it cannot have the response cache that it asks for.
    pub(super) fn new(ensemble: &Ensemble, served: &Served, steps: &[(u64, Part)]) -> Result<Self, String> {
        let mut digest = ModelDigest::new(&served.interface.model, served.version);
        digest.part("ensemble", ensemble.digest.digest());
        let (mut refusal, mut is_known) = (None, true);
        for (index, (step, (version, part))) in ensemble.graph.steps.iter().zip(steps).enumerate() {
            let name = &step.model.name;
            digest.part("model", name.as_bytes());
            digest.part("version", &version.to_le_bytes());
            digest.part("answers", part.digest.as_ref().map_or(&[][..], |digest| &digest[..]));
            is_known &= part.digest.is_some();
            let told = |inner: &Refusal| Refusal {
                reason: format!("step[{index}] (model '{name}'): {}", inner.reason),
                may_insist: inner.may_insist,
            };
            // One that cannot be insisted on weighs more.
            if refusal.as_ref().is_none_or(|known: &Refusal| known.may_insist) {
                refusal = part.refusal.as_ref().map(told).or(refusal);
            }
        }
        if served.config.caching.insist {
            refusal = refusal.filter(|refusal| !refusal.may_insist);
        }
        if let Some(Refusal { reason, .. }) = refusal.as_ref().filter(|_| ensemble.remembering.is_some()) {
            return Err(format!("{}: {reason}", caching::KEY));
        }
        let keys = digest.finish();
        let part = Part {
            digest: is_known.then_some(*keys.digest()),
            refusal,
            batches: served.interface.max_rows.is_some() && steps.iter().all(|(_, part)| part.batches),
            reads_requests: steps.iter().any(|(_, part)| part.reads_requests),
        };
        let cache = ensemble.remembering.as_ref().filter(|_| is_known);
        let cache = cache.map(|remembering| remembering.open(served, &part, keys));
        Ok(Self { part, cache })
    }

    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    /// What its requests are looked up with, if they are.
    pub(super) fn cache(&self) -> Option<&ModelCache> {
        self.cache.as_ref()
    }

    pub(super) fn reads_requests(&self) -> bool {
        self.part.reads_requests
    }
}

impl std::fmt::Debug for Composition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_cached = self.cache.is_some();
        f.debug_struct("Composition").field("is_cached", &is_cached).finish_non_exhaustive()
    }
}

impl Remembering {
    fn open(&self, served: &Served, part: &Part, keys: ModelKeys) -> ModelCache {
        // A model that does not batch may answer by all rows at once.
        let by_rows = part.batches && !part.reads_requests;
        let policy = caching::policy(&self.caching, by_rows, &self.cache);
        let outputs = caching::outputs(&served.interface);
        ModelCache::new(Arc::clone(&self.cache), (keys, Arc::clone(&self.scope)), policy, outputs)
    }
}

impl Ensemble {
    /// What the response cache has counted of it, if it is to have one.
    pub(crate) fn cached(&self) -> Option<&Arc<Scope>> {
        self.remembering.as_ref().map(|remembering| &remembering.scope)
    }

    /// The models that it is made of, those of its steps counted in, whose files nobody has read.
    pub(crate) fn unidentified(&self, models: &Models) -> Vec<Arc<ServingModel>> {
        match self.remembering {
            Some(_) => unknown(&parts(vec![self], models), models),
            None => Vec::new(),
        }
    }
}

/// The models that ensembles with a response cache are made of, whose files nobody has read.
pub(crate) fn unidentified(models: &Models) -> Vec<Arc<ServingModel>> {
    unknown(&parts(cached(models).map(|(_, ensemble)| ensemble).collect(), models), models)
}

/// Whether an ensemble with a response cache is made of a model.
pub(crate) fn is_part(model: &str, models: &Models) -> bool {
    parts(cached(models).map(|(_, ensemble)| ensemble).collect(), models).contains(model)
}

/// The ensembles with a response cache that are made of a model.
pub(crate) fn cached_with(model: &str, models: &Models) -> Vec<Arc<str>> {
    let with = cached(models).filter(|(_, ensemble)| parts(vec![ensemble], models).contains(model));
    with.map(|(served, _)| Arc::clone(&served.interface.model)).collect()
}

/// The ensembles that are to have a response cache.
fn cached(models: &Models) -> impl Iterator<Item = (&Served, &Ensemble)> {
    let ensembles = models.all().filter_map(|serving| Some((&*serving.served, serving.ensemble()?)));
    ensembles.filter(|(_, ensemble)| ensemble.remembering.is_some())
}

/// The models that some ensembles are made of, by name, those of their steps counted in.
fn parts<'m>(mut ensembles: Vec<&'m Ensemble>, models: &'m Models) -> HashSet<&'m str> {
    let mut parts = HashSet::new();
    while let Some(ensemble) = ensembles.pop() {
        for model in ensemble.models() {
            // A circle ends here.
            if parts.insert(model) {
                ensembles.extend(models.versions(model).filter_map(|serving| serving.ensemble()));
            }
        }
    }
    parts
}

fn unknown(parts: &HashSet<&str>, models: &Models) -> Vec<Arc<ServingModel>> {
    let versions = parts.iter().flat_map(|model| models.versions(model));
    let is_unknown = |serving: &&Arc<ServingModel>| {
        serving.served.identity.as_deref().is_some_and(|identity| identity.known().is_none())
    };
    versions.filter(is_unknown).map(Arc::clone).collect()
}

/// What the steps of an ensemble have to say.
pub(super) type Steps = SmallVec<[(u64, Part); 8]>;
