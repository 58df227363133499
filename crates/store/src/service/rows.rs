use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use adulis_types::{InferenceService, ModelRef, Name};
use parking_lot::RwLock;
use serde::Deserialize;

/// Models at a time. Names that no model has are not kept.
const MAX_MODELS: usize = 10_000;
/// Requests after which it is asked again whether models batch: they may have been loaded anew.
const RENEW_AFTER: u64 = 10_000;

/// How many rows requests have. Whether a model batches is asked of its configuration, and kept for a while.
#[derive(Default)]
pub(super) struct Rows {
    batches: RwLock<HashMap<Name, bool>>,
    asked: AtomicU64,
}

/// The one thing that is read of a configuration.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    max_batch_size: i64,
}

impl Rows {
    /// Rows of a request: the leading extent of its first input where the model batches, else one.
    pub(super) fn of(&self, model: &ModelRef, leading: Option<usize>, service: &dyn InferenceService) -> u64 {
        match leading {
            Some(rows) if self.batches(model, service) => rows as u64,
            _ => 1,
        }
    }

    fn batches(&self, model: &ModelRef, service: &dyn InferenceService) -> bool {
        if self.asked.fetch_add(1, Ordering::Relaxed) % RENEW_AFTER == RENEW_AFTER - 1 {
            self.batches.write().clear();
        }
        if let Some(batches) = self.batches.read().get(&model.name) {
            return *batches;
        }
        let Ok(document) = service.model_config(model) else {
            return false;
        };
        let document: Option<Document> = serde_json::from_slice(&document.json).ok();
        let batches = document.is_some_and(|document| document.max_batch_size > 0);
        let mut known = self.batches.write();
        if known.len() < MAX_MODELS {
            known.insert(model.name.clone(), batches);
        }
        batches
    }
}
