use std::sync::Arc;

use adulis_protocol::grpc::GrpcInferenceServiceServer;
use adulis_types::{Asked, Entered, Fault, Guarded, Pass, Services};
use tonic::Extensions;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::{GrpcOptions, InferenceServer, standard};

/// The tonic service over [`Services`].
pub struct Frontend(pub(crate) Arc<Shared>);

/// What the handlers and streams share. The services are behind [`Shared::enter`], and nowhere else.
pub(crate) struct Shared {
    guarded: Arc<Guarded>,
    pub(crate) options: GrpcOptions,
}

impl Shared {
    /// Lets a call in that was admitted by its head.
    ///
    /// # Errors
    /// Who asks is not known, or may not.
    pub(crate) fn enter(&self, extensions: &Extensions, asked: &Asked<'_>) -> Result<Entered<'_>, Fault> {
        self.guarded.enter(extensions.get::<Pass>(), asked)
    }

    /// Lets a request of a stream in, by the stream's pass as it is now.
    ///
    /// # Errors
    /// Who asks is not known any more, or may not.
    pub(crate) fn enter_again(
        &self,
        pass: &mut Option<Pass>,
        asked: &Asked<'_>,
    ) -> Result<Entered<'_>, Fault> {
        if let Some(pass) = pass {
            self.guarded.renew(pass)?;
        }
        self.guarded.enter(pass.as_ref(), asked)
    }
}

/// The gRPC service over `services`: an `Arc` of an [`InferenceService`](adulis_types::InferenceService) alone, or
/// [`Services`] with more parts. To be added to a tonic server or to [`Routes`] of its own.
pub fn service(services: impl Into<Services>, options: GrpcOptions) -> InferenceServer {
    let (most_in, most_out) = (options.max_request_bytes, options.max_response_bytes);
    let compress = options.compress_responses;
    let (pace, bodies) = (options.message_pace, options.bodies.clone());
    // No layer but `InferenceServer` stands around the service: what every call needs is in `boundary`.
    let services = services.into();
    let tracing = services.trace.clone();
    let guarded = Arc::new(Guarded::new(services));
    let shared = Arc::new(Shared { guarded: Arc::clone(&guarded), options });
    let mut server = GrpcInferenceServiceServer::new(Frontend(shared))
        .max_decoding_message_size(most_in)
        .max_encoding_message_size(most_out);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        server = server.accept_compressed(encoding);
        if compress {
            server = server.send_compressed(encoding);
        }
    }
    InferenceServer { server, guarded, tracing, pace, bodies }
}

/// The same as routes, with gRPC's own services beside it: `grpc.health.v1.Health`, which tells whether the service is ready, and
/// server reflection. `into_axum_router` makes them a router for a listener; before that router is merged with another one
/// that has a fallback, as REST's on a shared port, its own is taken off with `reset_fallback`.
pub fn routes(services: impl Into<Services>, options: GrpcOptions) -> Routes {
    let services = services.into();
    standard::add(Routes::new(service(services.clone(), options)), services)
}
