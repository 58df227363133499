use std::sync::Arc;

use adulis_types::Operation;
use axum::Router;
use axum::handler::Handler;
use axum::routing::{get, post};

use crate::VertexOptions;
use crate::rest::Rest;

/// One of the server's routes, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Its path, with names in braces where it is variable.
    pub path: String,
    /// What it does, which decides who may.
    pub operation: Operation,
}

/// Routes, and the table of them: there is no way to add the one without the other.
pub(crate) struct Routes<S = Arc<Rest>> {
    router: Router<S>,
    table: Vec<Route>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        Self { router: Router::new(), table: Vec::new() }
    }

    pub(crate) fn get<H, T>(mut self, path: &str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.table.push(Route { method: "GET", path: path.to_owned(), operation });
        Self { router: self.router.route(path, get(handler)), ..self }
    }

    pub(crate) fn post<H, T>(mut self, path: &str, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.table.push(Route { method: "POST", path: path.to_owned(), operation });
        Self { router: self.router.route(path, post(handler)), ..self }
    }

    /// A route whose last segment ends with a verb. The router knows no such paths: the handler sees to it.
    pub(crate) fn verb<H, T>(mut self, (path, verb): (&str, &str), operation: Operation, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.table.push(Route { method: "POST", path: format!("{path}{verb}"), operation });
        Self { router: self.router.route(path, post(handler)), ..self }
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.table.extend(other.table);
        Self { router: self.router.merge(other.router), ..self }
    }

    pub(crate) fn into_router(self) -> Router<S> {
        self.router
    }

    pub(crate) fn into_table(self) -> Vec<Route> {
        self.table
    }
}

/// All routes: those of the Open Inference Protocol with its extensions, of the V1 protocol, of Amazon SageMaker, of Google
/// Vertex AI under the paths that it has unless it is told otherwise, and of the metrics port.
#[must_use]
pub fn route_table() -> Vec<Route> {
    let mut table = crate::router::routes().into_table();
    table.extend(crate::v1::routes().into_table());
    table.extend(crate::sagemaker::routes().into_table());
    let vertex = crate::vertex::routes(VertexOptions::HEALTH_ROUTE, VertexOptions::PREDICT_ROUTE);
    table.extend(vertex.into_table());
    table.extend(crate::metrics::routes().into_table());
    table.extend(crate::router::livez_routes().into_table());
    table
}
