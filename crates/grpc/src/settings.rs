//! RPCs of the logging and trace extensions.

use adulis_protocol::grpc::{
    self, LogSettingsRequest, LogSettingsResponse, TraceSettingRequest, TraceSettingResponse,
};
use adulis_protocol::{log_settings, trace_settings, update_log_settings, update_trace_settings};
use adulis_types::{Asked, Operation};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn log(
    shared: &Shared,
    request: Request<LogSettingsRequest>,
) -> Result<Response<LogSettingsResponse>, Status> {
    let call = Call::begin("LogSettings", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let (_, extensions, message) = request.into_parts();
        let looking = shared.enter(&extensions, &Asked::new(Operation::LogSettings, &id))?;
        let log = match grpc::decode_log_update(message)? {
            Some(update) => {
                let entered = shared.enter(&extensions, &Asked::new(Operation::LogUpdate, &id))?;
                let log = update_log_settings(entered.services(), &update)?;
                entered.done(|| Some(format!("{update:?}")));
                log
            }
            None => log_settings(looking.services())?,
        };
        Ok(grpc::log_settings(&log))
    })
    .await
}

pub(crate) async fn trace(
    shared: &Shared,
    request: Request<TraceSettingRequest>,
) -> Result<Response<TraceSettingResponse>, Status> {
    let call = Call::begin("TraceSetting", request.metadata());
    let id = call.id().clone();
    answer(call, async {
        let (_, extensions, message) = request.into_parts();
        let model = message.model_name.clone();
        let asked = |operation| Asked::new(operation, &id).of(&model);
        let looking = shared.enter(&extensions, &asked(Operation::TraceSettings))?;
        let trace = match grpc::decode_trace_update(message)? {
            Some(update) => {
                let entered = shared.enter(&extensions, &asked(Operation::TraceUpdate))?;
                if model.is_empty() {
                    entered.all_models()?;
                }
                let trace = update_trace_settings(entered.services(), &model, &update)?;
                entered.done(|| Some(format!("{update:?}")));
                trace
            }
            None => trace_settings(looking.services(), &model)?,
        };
        Ok(grpc::trace_settings(&trace))
    })
    .await
}
