//! What the scripted service says about its models as a whole.

use std::time::Duration;

use adulis_types::{
    BatchStatistics, DurationStatistic, ErrorKind, Failure, Fault, IndexEntry, IndexQuery,
    InferenceStatistics, LoadModel, ModelConfigDocument, ModelRef, ModelState, ModelStatistics,
    ResponseStatistics,
};

use super::{ScriptedService, failure};

/// `{"name":"<model>","max_batch_size":8}`, in both forms.
pub(super) fn config(model: &ModelRef) -> ModelConfigDocument {
    let json = serde_json::json!({ "name": model.name.as_str(), "max_batch_size": 8 });
    // Field 1, text: the name. Field 4, a number: the largest batch.
    let mut protobuf = vec![
        0x0a,
        u8::try_from(model.name.len()).expect("invariant: scripted names are short"),
    ];
    protobuf.extend_from_slice(model.name.as_bytes());
    protobuf.extend_from_slice(&[0x20, 8]);
    ModelConfigDocument { json: json.to_string().into(), protobuf: protobuf.into() }
}

/// Statistics in which every kind of entry is there once.
pub(super) fn statistics(model: &str) -> ModelStatistics {
    let took = |count, nanoseconds| DurationStatistic { count, total: Duration::from_nanos(nanoseconds) };
    ModelStatistics {
        name: model.into(),
        version: 1,
        last_inference: Duration::from_millis(1_700_000_000_123),
        inference_count: 4,
        execution_count: 2,
        inference: InferenceStatistics {
            success: took(3, 300),
            cache_hit: took(1, 10),
            ..InferenceStatistics::default()
        },
        responses: [(0, ResponseStatistics { success: took(2, 20), ..ResponseStatistics::default() })].into(),
        batches: vec![BatchStatistics {
            batch_size: 2,
            compute_infer: took(2, 200),
            ..BatchStatistics::default()
        }],
    }
}

/// A model that is ready, one that was unloaded, one that is being loaded, and one that never was.
pub(super) fn index(query: &IndexQuery) -> Vec<IndexEntry> {
    let entry = |name: &str, version, state, reason: &str| IndexEntry {
        name: name.into(),
        version,
        state,
        reason: reason.into(),
    };
    let mut entries = vec![
        entry("echo", Some(1), Some(ModelState::Ready), ""),
        entry("gone", Some(1), Some(ModelState::Unavailable), "unloaded"),
        entry("loading", Some(1), Some(ModelState::Loading), ""),
        entry("new", None, None, ""),
    ];
    entries.retain(|entry| !query.ready || entry.state == Some(ModelState::Ready));
    entries
}

impl ScriptedService {
    pub(super) fn loaded(&self, request: LoadModel) -> Result<(), Fault> {
        may_change(&request.name)?;
        self.loads.lock().push(request);
        Ok(())
    }

    pub(super) fn unloaded(&self, request: adulis_types::UnloadModel) -> Result<(), Fault> {
        may_change(&request.name)?;
        self.unloads.lock().push(request);
        Ok(())
    }
}

fn may_change(model: &str) -> Result<(), Fault> {
    match model.strip_prefix("fail-") {
        Some(kind) => Err(failure(kind).into()),
        None if model == "nobody" => {
            let message = "failed to load 'nobody', failed to poll from model repository";
            Err(Failure::new(ErrorKind::InvalidArgument, message).into())
        }
        None => Ok(()),
    }
}
