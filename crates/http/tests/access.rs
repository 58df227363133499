//! Every route with nobody's, wrong, narrower and sufficient credentials.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;

use adulis_http::{
    HttpOptions, ListenerOptions, RoutePath, Router, SageMakerOptions, VertexOptions, health_router,
    metrics_router, not_found, route_table, router, sagemaker_router, v1_router, vertex_router,
};
use adulis_testing::{GuardedServices, RawResponse, ScriptedAccess, bearer};
use adulis_types::{Operation, Scope};
use support::{Server, assert_error, json_body};

/// Everything that is served, with access control.
fn everything(anonymous: &[Scope]) -> (Server, Arc<ScriptedAccess>) {
    let GuardedServices { services, inference, access } = GuardedServices::new(anonymous);
    let options = HttpOptions::default;
    let rest = router(services.clone(), options());
    let vertex = VertexOptions {
        health_route: RoutePath::try_from(VertexOptions::HEALTH_ROUTE).unwrap(),
        predict_route: RoutePath::try_from(VertexOptions::PREDICT_ROUTE).unwrap(),
        model: Some("echo".into()),
    };
    let sagemaker = SageMakerOptions { model: Some("echo".into()) };
    let app: Router = rest
        .clone()
        .merge(v1_router(services.clone(), options()))
        .merge(sagemaker_router(services.clone(), options(), sagemaker))
        .merge(vertex_router(rest, services.clone(), options(), vertex))
        .merge(metrics_router(services.clone(), Arc::new(|_| "metrics".to_owned())))
        // It has paths that REST has, too.
        .fallback_service(health_router(services, options()).fallback(not_found));
    (Server::with_router(app, inference, ListenerOptions::default()), access)
}

/// The routes, with names in them.
fn routes() -> Vec<(String, Operation)> {
    let named = route_table().into_iter().map(|route| {
        let path = route.path.replace("{model}", "echo").replace("{version}", "1");
        let path = path.replace("{repository}", "models").replace("{region}", "region");
        (format!("{} {path}", route.method), route.operation)
    });
    named.collect()
}

async fn ask(server: &Server, line: &str, credentials: Option<&str>) -> RawResponse {
    let header = credentials.map(|value| format!("authorization: {value}"));
    let headers: Vec<&str> = header.iter().map(String::as_str).collect();
    let body = match line {
        line if line.ends_with("/infer") => json_body(16),
        line if line.starts_with("POST") => b"{}".to_vec(),
        _ => Vec::new(),
    };
    server.connect().await.request(line, &headers, &body).await.unwrap()
}

#[tokio::test]
async fn every_route_does_what_the_table_says_and_for_nobody_else() {
    let (server, access) = everything(&[]);
    for (line, operation) in routes() {
        let scope = operation.scope();
        let others: Vec<Scope> =
            Scope::ALL.into_iter().filter(|other| ![scope, Scope::Admin].contains(other)).collect();
        for credentials in [None, Some("Bearer nobody"), Some("Basic YTpi"), Some("")] {
            let response = ask(&server, &line, credentials).await;
            assert_error(&response, 401, "");
            assert!(response.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer")), "{line}");
        }
        for late in ["", "late:"] {
            let with = |scopes: &[Scope]| bearer(scopes).replace("Bearer ", &format!("Bearer {late}"));
            let narrower = ask(&server, &line, Some(&with(&others))).await;
            assert_error(&narrower, 403, scope.as_str());
            let denied = access.denied.lock().pop();
            assert_eq!(denied, Some(operation), "{line}");
            for sufficient in [scope, Scope::Admin] {
                let response = ask(&server, &line, Some(&with(&[sufficient]))).await;
                assert!(![401, 403].contains(&response.status), "{line} {sufficient:?}: {}", response.text());
            }
        }
    }
}

#[tokio::test]
async fn every_route_that_names_a_model_refuses_one_that_is_not_the_identitys() {
    let (server, _) = everything(&[]);
    let mut named = 0;
    for (line, operation) in routes() {
        let scope = operation.scope().as_str();
        let own = ask(&server, &line, Some(&format!("Bearer {scope}@echo"))).await;
        let other = ask(&server, &line, Some(&format!("Bearer {scope}@others-*"))).await;
        if line.contains("echo") || line.ends_with("/invocations") || line.ends_with("/predict") {
            assert_error(&other, 403, "'echo'");
            named += 1;
        }
        assert!(
            own.status != 403 || line.ends_with("/trace/setting") || line.ends_with("/purge"),
            "{line}"
        );
    }
    assert_eq!(named, 29);
    // What concerns all models is not for who may use some.
    for (line, scope) in [
        ("POST /v2/cache/purge", "cache"),
        ("POST /v2/trace/setting", "trace"),
    ] {
        assert_error(&ask(&server, line, Some(&format!("Bearer {scope}@echo"))).await, 403, "all models");
    }
    let body = br#"{"parameters":{"unload_dependents":true}}"#;
    let line = "POST /v2/repository/models/echo/unload";
    let header = ["authorization: Bearer repository@echo"];
    let response = server.connect().await.request(line, &header, body).await.unwrap();
    assert_error(&response, 403, "all models");
    assert!(server.service.unloads.lock().iter().all(|unload| !unload.unload_dependents));
}

#[tokio::test]
async fn lists_show_the_models_that_the_identity_may_name() {
    let (server, _) = everything(&[]);
    let names = |text: &str| (text.contains("\"echo\""), text.contains("\"held\""));
    for (line, scope) in [
        ("GET /v2/models/stats", "statistics"),
        ("POST /v2/repository/index", "metadata"),
        ("GET /v1/models", "metadata"),
    ] {
        let all = ask(&server, line, Some(&format!("Bearer {scope}"))).await;
        assert!(names(&all.text()).0, "{line}: {}", all.text());
        let none = ask(&server, line, Some(&format!("Bearer {scope}@x"))).await;
        assert_eq!((none.status, names(&none.text())), (200, (false, false)), "{line}");
    }
}

#[tokio::test]
async fn what_is_open_to_everybody_asks_nobody_who_they_are() {
    let (server, _) = everything(&[Scope::Health, Scope::Metrics]);
    for (line, operation) in routes() {
        let is_open = [Scope::Health, Scope::Metrics].contains(&operation.scope());
        for credentials in [None, Some("Bearer nobody"), Some("Bearer infer@x")] {
            let status = ask(&server, &line, credentials).await.status;
            assert!(!is_open || ![401, 403].contains(&status), "{line} {credentials:?}: {status}");
        }
        if !is_open {
            assert_eq!(ask(&server, &line, None).await.status, 401, "{line}");
        }
    }
}

#[tokio::test]
async fn a_body_is_not_read_for_who_may_not_send_it() {
    let (server, _) = everything(&[]);
    let mut connection = server.connect().await;
    let head = "POST /v2/models/echo/infer HTTP/1.1\r\nhost: test\r\ncontent-length: 50000000\r\n\r\n";
    connection.send(head.as_bytes()).await.unwrap();
    assert_error(&connection.receive().await.unwrap(), 401, "");
}

#[tokio::test]
async fn a_request_goes_to_the_service_in_the_name_of_who_sends_it() {
    let (server, _) = everything(&[]);
    let line = "POST /v2/models/echo/infer";
    assert_eq!(ask(&server, line, Some("Bearer infer")).await.status, 200);
    let last = server.service.last.lock().take().unwrap();
    assert_eq!(last.identity.unwrap().name, "scripted");
    // The header that says who it is twice says nothing.
    let twice = ["authorization: Bearer infer", "authorization: Bearer admin"];
    let response = server.connect().await.request(line, &twice, &json_body(16)).await.unwrap();
    assert_error(&response, 401, "");
}

#[tokio::test]
async fn a_redirect_of_vertex_ai_is_answered_to_who_may_go_there() {
    let (server, _) = everything(&[]);
    for (path, scope) in [
        ("v2/models/echo/infer", Scope::Infer),
        ("v2", Scope::Metadata),
        ("v2/cache", Scope::Cache),
    ] {
        let other = Scope::ALL.into_iter().find(|other| *other != scope).unwrap();
        let redirect = format!("x-vertex-ai-triton-redirect: {path}");
        for (scopes, refused) in [(scope, false), (other, true)] {
            let credentials = format!("authorization: {}", bearer(&[scopes]));
            let headers = [redirect.as_str(), credentials.as_str()];
            let mut connection = server.connect().await;
            let response = connection.request("POST /predict", &headers, &json_body(16)).await.unwrap();
            assert_eq!(response.status == 403, refused, "{path} {scopes:?}: {}", response.text());
        }
    }
}
