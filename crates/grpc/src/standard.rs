//! gRPC's own services: health checking, and reflection of what there is to call.
//!
//! Source: `grpc.health.v1` and `grpc.reflection.v1` of gRPC's documentation.

use std::sync::Arc;
use std::time::Duration;

use adulis_protocol::grpc::FILE_DESCRIPTOR_SET;
use adulis_types::{ErrorKind, Failure, Fault, Guarded, InferenceService, Operation, Services};
use futures_util::stream;
use tokio::time::Instant;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::server::Builder;

use crate::admit::{Checked, OperationOf};
use crate::boundary::{Call, answer};

/// What clients may ask about: the server as a whole, and the one service that does something.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];
/// Longest message that is taken: the name of a service, or of something in a schema.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// How often a watched server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a watch goes on once the server that was ready is not any more: a server that stops waits for its streams.
const LINGER: Duration = Duration::from_secs(2);

/// Adds the services to routes.
pub(crate) fn add(routes: Routes, services: Services) -> Routes {
    let watched = Watched(Arc::clone(&services.inference));
    let health = HealthServer::new(watched).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let guarded = Arc::new(Guarded::new(services));
    // Each of these services does one thing by whatever name.
    let (ready, reflect): (OperationOf, OperationOf) =
        (|_| Some(Operation::ServerReady), |_| Some(Operation::Reflection));
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let invariant = "invariant: the descriptors are those that the code was generated from";
    routes
        .add_service(Checked { server: health, guarded: Arc::clone(&guarded), operation_of: ready })
        .add_service(Checked {
            server: reflection().build_v1().expect(invariant).max_decoding_message_size(MAX_MESSAGE_BYTES),
            guarded: Arc::clone(&guarded),
            operation_of: reflect,
        })
        .add_service(Checked {
            server: reflection()
                .build_v1alpha()
                .expect(invariant)
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
            guarded,
            operation_of: reflect,
        })
}

/// Tells of a service whether it is ready.
struct Watched(Arc<dyn InferenceService>);

fn status_of(is_ready: bool) -> ServingStatus {
    if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Watched {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let call = Call::begin("Health/Check", request.metadata());
        answer(call, async {
            let name = &request.get_ref().service;
            if SERVICES.contains(&name.as_str()) {
                return Ok(message(status_of(self.0.ready())));
            }
            let known = SERVICES[1];
            let text = format!("unknown service '{name}': expected '{known}', or none for the whole server");
            Err(Fault::from(Failure::new(ErrorKind::NotFound, text)))
        })
        .await
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let call = Call::begin("Health/Watch", request.metadata());
        answer(call, async {
            let is_known = SERVICES.contains(&request.get_ref().service.as_str());
            let watch = Watch {
                service: Arc::clone(&self.0),
                is_known,
                told: None,
                since: None,
                was_ready: false,
            };
            Ok(Box::pin(stream::unfold(watch, Watch::next)) as Self::WatchStream)
        })
        .await
    }
}

/// One client that watches.
struct Watch {
    service: Arc<dyn InferenceService>,
    is_known: bool,
    told: Option<ServingStatus>,
    was_ready: bool,
    /// Since when the server that was ready is not.
    since: Option<Instant>,
}

impl Watch {
    /// The next change of the status. Ends where the server has been ready and stays not to be: who goes on watching asks
    /// again, and is told so at once if the server is there.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let is_ready = self.service.ready();
            self.was_ready |= is_ready;
            self.since = if is_ready || !self.was_ready {
                None
            } else {
                Some(self.since.unwrap_or_else(Instant::now))
            };
            let status = if self.is_known { status_of(is_ready) } else { ServingStatus::ServiceUnknown };
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(message(status)), self));
            }
            if self.since.is_some_and(|since| since.elapsed() >= LINGER) {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
