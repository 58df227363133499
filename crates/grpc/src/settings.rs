//! RPCs of the logging and trace extensions.

use adulis_protocol::grpc::{
    self, LogSettingsRequest, LogSettingsResponse, TraceSettingRequest, TraceSettingResponse,
};
use adulis_protocol::{log_settings, trace_settings, update_log_settings, update_trace_settings};
use tonic::{Request, Response, Status};

use crate::boundary::{Call, answer};
use crate::frontend::Shared;

pub(crate) async fn log(
    shared: &Shared,
    request: Request<LogSettingsRequest>,
) -> Result<Response<LogSettingsResponse>, Status> {
    let call = Call::begin("LogSettings", request.metadata());
    answer(call, async {
        let log = match grpc::decode_log_update(request.into_inner())? {
            Some(update) => update_log_settings(&shared.services, &update)?,
            None => log_settings(&shared.services)?,
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
    answer(call, async {
        let message = request.into_inner();
        let model = message.model_name.clone();
        let trace = match grpc::decode_trace_update(message)? {
            Some(update) => update_trace_settings(&shared.services, &model, &update)?,
            None => trace_settings(&shared.services, &model)?,
        };
        Ok(grpc::trace_settings(&trace))
    })
    .await
}
