use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use adulis_repository::Mirrored;

use crate::listing::{Listing, Object};
use crate::manifest::Manifest;

/// What makes one model's part of a mirror equal to what was listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelPlan {
    /// What is new or has changed, by its path in the mirror.
    pub(crate) fetch: Vec<(PathBuf, Object)>,
    /// What is gone.
    pub(crate) remove: Vec<PathBuf>,
}

/// What is to be done, by model. Models that are up to date, or not asked for, are not in it.
pub(crate) fn plan(
    listing: &Listing,
    manifest: &Manifest,
    tree: &Path,
    models: Mirrored<'_>,
) -> BTreeMap<String, ModelPlan> {
    let mut plans: BTreeMap<String, ModelPlan> = BTreeMap::new();
    for (path, object) in &listing.objects {
        let Some(model) = owner(listing, path).filter(|model| models.wants(model)) else {
            continue;
        };
        let known = manifest.entries.get(path);
        if !known.is_some_and(|entry| entry.is_of(object) && entry.is_at(&tree.join(path))) {
            plans.entry(model).or_default().fetch.push((path.clone(), object.clone()));
        }
    }
    for path in manifest.entries.keys().filter(|path| !listing.objects.contains_key(*path)) {
        if let Some(model) = owner(listing, path).filter(|model| models.wants(model)) {
            plans.entry(model).or_default().remove.push(path.clone());
        }
    }
    plans
}

/// The model that a path is of, or was of.
fn owner(listing: &Listing, path: &Path) -> Option<String> {
    // A path of no model's is left from a time when it was one's, or is a folder in its own right.
    listing.model_of(path).or_else(|| path.to_str()).map(str::to_owned)
}

/// Bytes of the mirror once all is done.
pub(crate) fn total_bytes(listing: &Listing, manifest: &Manifest, models: Mirrored<'_>) -> u64 {
    let listed = listing.objects.values().map(|object| object.size);
    let listed = listed.fold(0, u64::saturating_add);
    if matches!(models, Mirrored::All { .. }) {
        return listed;
    }
    // What was mirrored of other models earlier is still there.
    let others = manifest.entries.iter().filter(|(path, _)| {
        !listing.objects.contains_key(*path)
            && !owner(listing, path).is_some_and(|model| models.wants(&model))
    });
    others.map(|(_, entry)| entry.size).fold(listed, u64::saturating_add)
}

#[cfg(test)]
mod tests;
