use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use adulis_types::ClientCertificate;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use tower::Service;

use super::activity::{Activity, InFlight};
use super::answer::Answer;
use super::connections::Order;
use super::version::Version;

/// The router as a service of one connection, counting the requests in progress.
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) activity: Arc<Activity>,
    pub(super) version: Version,
    /// Who the client is, where it showed a certificate: its requests carry that.
    pub(super) client: Option<Arc<ClientCertificate>>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = InProgress;

    fn call(&self, mut request: Request<Incoming>) -> InProgress {
        let in_flight = self.activity.began();
        if let Some(client) = &self.client {
            request.extensions_mut().insert(Arc::clone(client));
        }
        InProgress {
            // Cloning a router counts a reference up; it is always ready.
            answer: self.router.clone().call(request.map(Body::new)),
            in_flight: Some(in_flight),
            version: self.version,
        }
    }
}

/// A request in progress.
pub(super) struct InProgress {
    answer: RouteFuture<Infallible>,
    /// Until it is the answer's.
    in_flight: Option<InFlight>,
    version: Version,
}

impl Future for InProgress {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.answer).poll(cx));
        let in_flight = self.in_flight.take().expect("invariant: it is not polled once it is ready");
        if self.version == Version::Http1 && in_flight.activity().ordered() != Order::GoOn {
            // The client is told with this answer, and the connection ends with it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| Answer { body, in_flight })))
    }
}
