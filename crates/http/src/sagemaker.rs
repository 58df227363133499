//! Amazon SageMaker's contract for containers.

use adulis_types::{Asked, Name, Operation, RequestId, Services};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderName;

use crate::HttpOptions;
use crate::boundary::{Call, answer};
use crate::error::{HttpError, Refusal};
use crate::exchange::Exchange;
use crate::hosted::{Hosted, Platform};
use crate::rest::Rest;
use crate::router::method_not_allowed;
use crate::routes::Routes;
use crate::server;

/// Names the model that is meant.
const TARGET_MODEL: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-model");

const SAGEMAKER: Platform = Platform {
    binary: "application/vnd.sagemaker-triton.binary+json",
    setting: "sagemaker.model",
};

/// What SageMaker's routes are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SageMakerOptions {
    /// The model that is asked where a request names none; `None`: the only one that there is.
    pub model: Option<Name>,
}

/// The routes that Amazon SageMaker asks a container: `GET /ping`, which answers 200 once the server is ready, and `POST
/// /invocations`, an inference in any form that `/v2` takes, or in the V1 protocol's row format.
///
/// Binary tensors come and go as `application/vnd.sagemaker-triton.binary+json;json-header-size=N`, as Triton has it. It
/// sets no fallback.
pub fn sagemaker_router(
    services: impl Into<Services>,
    http: HttpOptions,
    options: SageMakerOptions,
) -> Router {
    let hosted = Hosted::new(Rest::new(services, http), options);
    routes().into_router().method_not_allowed_fallback(method_not_allowed).with_state(hosted)
}

pub(crate) fn routes() -> Routes<Hosted<SageMakerOptions>> {
    Routes::new().get("/ping", Operation::ServerReady, server::ready).post(
        "/invocations",
        Operation::Infer,
        invocations,
    )
}

/// `POST /invocations`
async fn invocations(State(hosted): State<Hosted<SageMakerOptions>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, Box::pin(run(&hosted, request, id))).await
}

async fn run(
    hosted: &Hosted<SageMakerOptions>,
    request: Request,
    id: RequestId,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let target = match parts.headers.get(TARGET_MODEL) {
        None => None,
        Some(value) => {
            Some(Name::from(std::str::from_utf8(value.as_bytes()).map_err(|_| HttpError::Header {
                name: "x-amzn-sagemaker-target-model",
                given: String::from_utf8_lossy(value.as_bytes()).into_owned(),
                expected: "the name of a model",
            })?))
        }
    };
    let entered = hosted.rest.enter(&parts, Asked::new(Operation::Infer, &id)).await?;
    let model = SAGEMAKER.model(&entered, target, hosted.platform.model.as_ref()).await?;
    let exchange = Exchange::begin(&hosted.rest, entered, &parts.headers, id)?;
    SAGEMAKER.infer(exchange, model, (&parts.headers, body)).await
}
