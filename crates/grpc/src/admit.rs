//! Who sends a call, found out by its head before its message is read.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use adulis_types::{
    Admission, Asked, ClientCertificate, Fault, Guarded, Header, Operation, Presented, RequestHeaders,
    RequestId, Wire,
};
use futures_util::future::{Either, Ready, ready};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;

use crate::boundary::{Call, REQUEST_ID, refuse};

/// An answer of whichever service.
pub(crate) type Answer = Result<http::Response<Body>, Infallible>;

/// What each RPC of a service does; `None` for a name that is none of its RPCs, which the service itself refuses.
pub(crate) type OperationOf = fn(&str) -> Option<Operation>;

/// A call on its way to the service `F`, or its refusal.
pub(crate) type Admitted<F> = Either<F, Either<Ready<Answer>, BoxFuture<http::Response<Body>, Infallible>>>;

/// Has `server` answer a call if whoever sends it may make such calls. The pass goes with the call: see `Shared::enter`.
pub(crate) fn admit<S, B>(
    server: &mut S,
    guarded: &Arc<Guarded>,
    (operation_of, mut request): (OperationOf, http::Request<B>),
) -> Admitted<S::Future>
where
    B: Send + 'static,
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    if guarded.is_open() {
        return Either::Left(server.call(request));
    }
    let rpc = request.uri().path().rsplit('/').next().unwrap_or_default();
    let Some(operation) = operation_of(rpc) else {
        return Either::Left(server.call(request));
    };
    let id = request_id(request.headers());
    let asked = Asked::new(operation, &id);
    let certificate = request.extensions().get::<Arc<ClientCertificate>>();
    let presented = Presented {
        wire: Wire::Grpc,
        headers: &Head(request.headers()),
        certificate: certificate.map(|certificate| &**certificate),
    };
    let admission = guarded.admit(&presented, &asked);
    match admission {
        Admission::Decided(Ok(pass)) => {
            request.extensions_mut().insert(pass);
            Either::Left(server.call(request))
        }
        Admission::Decided(Err(fault)) => {
            Either::Right(Either::Left(ready(Ok(refused(operation, id, &fault)))))
        }
        Admission::Waiting(asking) => {
            // A service that is ready answers one call: the clone is for another one.
            let clone = server.clone();
            let mut server = std::mem::replace(server, clone);
            let guarded = Arc::clone(guarded);
            Either::Right(Either::Right(Box::pin(async move {
                match guarded.passed(asking.await, &Asked::new(operation, &id)) {
                    Ok(pass) => {
                        request.extensions_mut().insert(pass);
                        server.call(request).await
                    }
                    Err(fault) => Ok(refused(operation, id, &fault)),
                }
            })))
        }
    }
}

fn request_id(headers: &HeaderMap) -> RequestId {
    let given = headers.get(REQUEST_ID).and_then(|id| RequestId::given(id.as_bytes()));
    given.unwrap_or_else(RequestId::next)
}

fn refused(operation: Operation, id: RequestId, fault: &Fault) -> http::Response<Body> {
    refuse(&Call::with_id(operation.as_str(), id), fault).into_http()
}

/// The metadata of a call.
struct Head<'a>(&'a HeaderMap);

impl RequestHeaders for Head<'_> {
    fn header(&self, name: &str) -> Header<'_> {
        Header::of(self.0.get_all(name).iter().map(HeaderValue::as_bytes))
    }
}

/// A service whose calls all do the same thing, behind the check of who sends them.
#[derive(Clone)]
pub(crate) struct Checked<S> {
    pub(crate) server: S,
    pub(crate) guarded: Arc<Guarded>,
    pub(crate) operation_of: OperationOf,
}

impl<S> Service<http::Request<Body>> for Checked<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Admitted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.server.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        admit(&mut self.server, &self.guarded, (self.operation_of, request))
    }
}

impl<S: NamedService> NamedService for Checked<S> {
    const NAME: &'static str = S::NAME;
}
