//! What there is to ask for over REST, in the words of OpenAPI 3.1.

use std::sync::{Arc, LazyLock};

use adulis_types::{Asked, Operation, Scope};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::boundary::{Call, answer};
use crate::rest::Rest;
use crate::router::json;
use crate::routes::{Route, route_table};

/// What routes take and answer. All that follows from the table of routes is put in by [`complete`].
const DESCRIBED: &str = include_str!("../../../proto/openapi.json");

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| complete(&route_table()).to_string().into());

/// Segments that a path may have or not, with the same answer but for what it is about: what stands in their place in the path
/// that is described, and what they add to the name of the operation.
const OPTIONAL: [(&str, &str, &str); 6] = [
    ("/versions/{version}", "", "OfVersion"),
    ("/repository/{repository}/", "/repository/", "OfRepository"),
    ("/v2/models/{model}/trace/", "/v2/trace/", "OfModel"),
    ("/v2/cache/models/{model}/", "/v2/cache/", "OfModel"),
    ("/region/{region}/status", "/status", "OfRegion"),
    ("/region/{region}/unregister", "/unregister", "OfRegion"),
];

/// `GET /v2/openapi.json`
pub(crate) async fn document(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let call = Call::begin(&request);
    let id = call.id().clone();
    answer(call, async move {
        let parts = request.into_parts().0;
        rest.enter(&parts, Asked::new(Operation::Reflection, &id)).await?;
        Ok(json(DOCUMENT.clone()))
    })
    .await
}

/// The document of these routes: each as it is described, with its parameters, who may ask it, and how it may be refused.
/// What is not described is left out, which a test does not let pass.
fn complete(table: &[Route]) -> Value {
    let mut document: Value = serde_json::from_str(DESCRIBED).expect("invariant: proto/openapi.json is JSON");
    let described = document["paths"].take();
    let mut paths = Map::new();
    for route in table {
        let (path, suffix) = described_as(&route.path);
        let method = route.method.to_ascii_lowercase();
        if let Some(operation) = described.get(path).and_then(|item| item.get(&method)) {
            let item = paths.entry(route.path.as_str()).or_insert_with(|| json!({}));
            item[method] = of_route(route, (operation.clone(), &suffix));
        }
    }
    document["paths"] = paths.into();
    document
}

/// The path under which a path is described, and what is to be added to the name of its operation.
fn described_as(path: &str) -> (String, String) {
    let (mut path, mut suffix) = (path.to_owned(), String::new());
    for (segments, instead, added) in OPTIONAL {
        if path.contains(segments) {
            path = path.replace(segments, instead);
            suffix.push_str(added);
        }
    }
    if path.len() > 1 && path.ends_with('/') {
        path.pop();
        suffix.push_str("WithSlash");
    }
    (path, suffix)
}

fn of_route(route: &Route, (mut operation, suffix): (Value, &str)) -> Value {
    let id = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = format!("{id}{suffix}").into();
    operation["x-adulis-operation"] = route.operation.as_str().into();
    operation["security"] = security(route.operation.scope());
    let named = route.path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    let mut parameters: Vec<Value> = named
        .map(|(name, _)| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    if let Some(more) = operation["parameters"].as_array_mut() {
        parameters.append(more);
    }
    operation["parameters"] = parameters.into();
    for status in refusals(route, operation.get("requestBody").is_some()) {
        let answer = &mut operation["responses"][status];
        if answer.is_null() {
            *answer = json!({ "$ref": format!("#/components/responses/{status}") });
        }
    }
    operation
}

/// Where access is controlled, any of the ways to say who one is, with the scope that it needs. What probes and scrapers ask is
/// open to everybody, unless that was switched off.
fn security(scope: Scope) -> Value {
    let mut ways = ["bearer", "apiKey", "certificate"].map(|way| json!({ way: [scope.as_str()] })).to_vec();
    if matches!(scope, Scope::Health | Scope::Metrics) {
        ways.insert(0, json!({}));
    }
    ways.into()
}

/// The statuses of what can be refused of a route, beside what is described of it alone.
fn refusals(route: &Route, has_body: bool) -> impl Iterator<Item = &'static str> {
    let of: [(bool, &[&str]); 4] = [
        (true, &["400", "401", "403", "429", "431", "500", "503"]),
        (route.path.contains('{'), &["404"]),
        (has_body, &["408", "413", "415"]),
        (route.operation == Operation::Infer, &["404", "499", "501", "504"]),
    ];
    of.into_iter()
        .filter(|(applies, _)| *applies)
        .flat_map(|(_, statuses)| statuses.iter().copied())
}

#[cfg(test)]
mod tests;
