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
        let operation = match message.settings.is_empty() {
            true => Operation::LogSettings,
            false => Operation::LogUpdate,
        };
        let entered = shared.enter(&extensions, &Asked::new(operation, &id))?;
        let log = match grpc::decode_log_update(message)? {
            Some(update) => {
                let log = update_log_settings(entered.services(), &update)?;
                entered.done(|| Some(format!("{update:?}")));
                log
            }
            None => log_settings(entered.services())?,
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
        let operation = match message.settings.is_empty() {
            true => Operation::TraceSettings,
            false => Operation::TraceUpdate,
        };
        let entered = shared.enter(&extensions, &Asked::new(operation, &id).of(&model))?;
        let trace = match grpc::decode_trace_update(message)? {
            Some(update) => {
                if model.is_empty() {
                    entered.all_models()?;
                }
                let trace = update_trace_settings(entered.services(), &model, &update)?;
                entered.done(|| Some(format!("{update:?}")));
                trace
            }
            None => trace_settings(entered.services(), &model)?,
        };
        Ok(grpc::trace_settings(&trace))
    })
    .await
}
