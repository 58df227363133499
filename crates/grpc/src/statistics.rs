use adulis_protocol::grpc::{self, ModelStatisticsRequest, ModelStatisticsResponse};
use adulis_protocol::model_ref;
use adulis_types::{Asked, Operation};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

/// Of one model version, of all versions of a model, or of all models where no name is given.
pub(crate) async fn statistics(
    shared: &Shared,
    request: Request<ModelStatisticsRequest>,
) -> Result<Response<ModelStatisticsResponse>, Status> {
    let call = Call::begin("ModelStatistics", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let message = request.get_ref();
        let asked = Asked::new(Operation::Statistics, &id).of(&message.name);
        let entered = shared.enter(request.extensions(), &asked)?;
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        let model = Some(&model).filter(|model| !model.name.is_empty());
        let mut statistics = entered.services().inference.statistics(model)?;
        statistics.retain(|model| entered.shows(&model.name));
        Ok(grpc::statistics(&statistics))
    })
    .await
}
