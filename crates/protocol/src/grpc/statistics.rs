use adulis_types as types;

use crate::grpc::{
    InferBatchStatistics, InferResponseStatistics, InferStatistics, ModelStatistics, ModelStatisticsResponse,
    StatisticDuration,
};
use crate::statistics::{milliseconds, nanoseconds};

/// Statistics as a message. Every field is set, those of the response cache too: clients read them without asking.
#[must_use]
pub fn statistics(models: &[types::ModelStatistics]) -> ModelStatisticsResponse {
    ModelStatisticsResponse { model_stats: models.iter().map(model).collect() }
}

fn model(model: &types::ModelStatistics) -> ModelStatistics {
    let responses = model
        .responses
        .iter()
        .map(|(index, statistics)| (index.to_string(), response(statistics)));
    ModelStatistics {
        name: model.name.as_ref().to_owned(),
        version: model.version.to_string(),
        last_inference: milliseconds(model.last_inference),
        inference_count: model.inference_count,
        execution_count: model.execution_count,
        inference_stats: Some(inference(&model.inference)),
        batch_stats: model.batches.iter().map(batch).collect(),
        memory_usage: Vec::new(),
        response_stats: responses.collect(),
    }
}

fn inference(statistics: &types::InferenceStatistics) -> InferStatistics {
    InferStatistics {
        success: duration(statistics.success),
        fail: duration(statistics.fail),
        queue: duration(statistics.queue),
        compute_input: duration(statistics.compute_input),
        compute_infer: duration(statistics.compute_infer),
        compute_output: duration(statistics.compute_output),
        cache_hit: duration(statistics.cache_hit),
        cache_miss: duration(statistics.cache_miss),
    }
}

fn response(statistics: &types::ResponseStatistics) -> InferResponseStatistics {
    InferResponseStatistics {
        compute_infer: duration(statistics.compute_infer),
        compute_output: duration(statistics.compute_output),
        success: duration(statistics.success),
        fail: duration(statistics.fail),
        empty_response: duration(statistics.empty_response),
        cancel: duration(statistics.cancel),
    }
}

fn batch(statistics: &types::BatchStatistics) -> InferBatchStatistics {
    InferBatchStatistics {
        batch_size: statistics.batch_size,
        compute_input: duration(statistics.compute_input),
        compute_infer: duration(statistics.compute_infer),
        compute_output: duration(statistics.compute_output),
    }
}

fn duration(statistic: types::DurationStatistic) -> Option<StatisticDuration> {
    Some(StatisticDuration { count: statistic.count, ns: nanoseconds(statistic.total) })
}
