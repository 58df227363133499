use adulis_types::{
    BatchStatistics, DurationStatistic, InferenceStatistics, ModelStatistics, ResponseStatistics,
};
use bytes::Bytes;

use crate::rest::writer;
use crate::statistics::{milliseconds, nanoseconds};

/// The answer to `GET /v2/models/stats` and `GET /v2/models/{model}/stats`. Every field is there, those of the response
/// cache too: clients read them without asking.
#[must_use]
pub fn statistics(models: &[ModelStatistics]) -> Bytes {
    let mut out = Vec::new();
    writer::key(&mut out, "{", "model_stats");
    writer::list(&mut out, models, model);
    out.push(b'}');
    out.into()
}

fn model(out: &mut Vec<u8>, model: &ModelStatistics) {
    writer::key(out, "{", "name");
    writer::string(out, &model.name);
    writer::key(out, ",", "version");
    writer::string(out, itoa::Buffer::new().format(model.version));
    for (name, value) in [
        ("last_inference", milliseconds(model.last_inference)),
        ("inference_count", model.inference_count),
        ("execution_count", model.execution_count),
    ] {
        writer::key(out, ",", name);
        writer::integer(out, value);
    }
    writer::key(out, ",", "inference_stats");
    inference(out, &model.inference);
    writer::key(out, ",", "response_stats");
    out.push(b'{');
    for (index, (response, statistics)) in model.responses.iter().enumerate() {
        writer::key(out, if index == 0 { "" } else { "," }, itoa::Buffer::new().format(*response));
        self::response(out, statistics);
    }
    out.push(b'}');
    writer::key(out, ",", "batch_stats");
    writer::list(out, &model.batches, batch);
    writer::key(out, ",", "memory_usage");
    out.extend_from_slice(b"[]}");
}

fn inference(out: &mut Vec<u8>, statistics: &InferenceStatistics) {
    let durations = [
        ("success", statistics.success),
        ("fail", statistics.fail),
        ("queue", statistics.queue),
        ("compute_input", statistics.compute_input),
        ("compute_infer", statistics.compute_infer),
        ("compute_output", statistics.compute_output),
        ("cache_hit", statistics.cache_hit),
        ("cache_miss", statistics.cache_miss),
    ];
    self::durations(out, "{", &durations);
}

fn response(out: &mut Vec<u8>, statistics: &ResponseStatistics) {
    let durations = [
        ("compute_infer", statistics.compute_infer),
        ("compute_output", statistics.compute_output),
        ("success", statistics.success),
        ("fail", statistics.fail),
        ("empty_response", statistics.empty_response),
        ("cancel", statistics.cancel),
    ];
    self::durations(out, "{", &durations);
}

fn batch(out: &mut Vec<u8>, statistics: &BatchStatistics) {
    writer::key(out, "{", "batch_size");
    writer::integer(out, statistics.batch_size);
    let durations = [
        ("compute_input", statistics.compute_input),
        ("compute_infer", statistics.compute_infer),
        ("compute_output", statistics.compute_output),
    ];
    self::durations(out, ",", &durations);
}

/// Appends the durations, `separator` before the first, and closes the object that they are in.
fn durations(out: &mut Vec<u8>, separator: &str, durations: &[(&str, DurationStatistic)]) {
    for (index, (name, duration)) in durations.iter().enumerate() {
        writer::key(out, if index == 0 { separator } else { "," }, name);
        writer::key(out, "{", "count");
        writer::integer(out, duration.count);
        writer::key(out, ",", "ns");
        writer::integer(out, nanoseconds(duration.total));
        out.push(b'}');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
