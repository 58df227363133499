use adulis_protocol::grpc::{self, ModelStatisticsRequest, ModelStatisticsResponse};
use adulis_protocol::model_ref;
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

/// Of one model version, of all versions of a model, or of all models where no name is given.
pub(crate) async fn statistics(
    shared: &Shared,
    request: Request<ModelStatisticsRequest>,
) -> Result<Response<ModelStatisticsResponse>, Status> {
    let call = Call::begin("ModelStatistics", request.metadata());
    answer(call, async {
        let message = request.get_ref();
        let model = model_ref(message.name.as_str(), Some(&message.version))?;
        let model = Some(&model).filter(|model| !model.name.is_empty());
        Ok(grpc::statistics(&shared.services.inference.statistics(model)?))
    })
    .await
}
