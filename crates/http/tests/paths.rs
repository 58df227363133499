//! Every route below `/v2`: names with odd characters, stray queries, wrong methods, paths that are no routes.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::Arc;

use adulis_http::{HttpOptions, ListenerOptions, router};
use adulis_telemetry::{MetricRegistry, TraceOptions, Tracer};
use adulis_testing::{RawResponse, ScriptedLog, ScriptedService};
use adulis_types::Services;
use support::{Server, assert_error, json_body};

/// `a name/with é`, as clients write it in a path.
const ODD: &str = "a%20name%2Fwith%20%C3%A9";

/// The methods and paths of all routes; `{m}` stands for a model, `{r}` for a repository or region.
const ROUTES: [(&str, &str); 36] = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"),
    ("GET", "/v2/models/{m}"),
    ("GET", "/v2/models/{m}/ready"),
    ("GET", "/v2/models/{m}/config"),
    ("GET", "/v2/models/{m}/stats"),
    ("GET", "/v2/models/{m}/trace/setting"),
    ("POST", "/v2/models/{m}/trace/setting"),
    ("POST", "/v2/models/{m}/infer"),
    ("POST", "/v2/models/{m}/generate"),
    ("POST", "/v2/models/{m}/generate_stream"),
    ("GET", "/v2/models/{m}/versions/1"),
    ("GET", "/v2/models/{m}/versions/1/ready"),
    ("GET", "/v2/models/{m}/versions/1/config"),
    ("GET", "/v2/models/{m}/versions/1/stats"),
    ("GET", "/v2/models/{m}/versions/1/trace/setting"),
    ("POST", "/v2/models/{m}/versions/1/trace/setting"),
    ("POST", "/v2/models/{m}/versions/1/infer"),
    ("POST", "/v2/models/{m}/versions/1/generate"),
    ("POST", "/v2/models/{m}/versions/1/generate_stream"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/{r}/index"),
    ("POST", "/v2/repository/models/{m}/load"),
    ("POST", "/v2/repository/models/{m}/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("POST", "/v2/systemsharedmemory/region/{r}/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("POST", "/v2/cudasharedmemory/unregister"),
    ("POST", "/v2/cudasharedmemory/region/{r}/unregister"),
];

fn everything() -> Server {
    let service = Arc::new(ScriptedService::default());
    let tracer = Tracer::new(TraceOptions::default(), &MetricRegistry::default());
    let services = Services {
        log: Some(Arc::new(ScriptedLog::default())),
        trace: Some(Arc::new(tracer)),
        ..Services::from(Arc::clone(&service))
    };
    Server::with_router(router(services, HttpOptions::default()), service, ListenerOptions::default())
}

fn path(route: &str, name: &str) -> String {
    route.replace("{m}", name).replace("{r}", name)
}

async fn ask(server: &Server, method: &str, path: &str) -> RawResponse {
    let body = match path {
        _ if path.contains("/infer") => json_body(1),
        _ if path.contains("/generate") => format!(r#"{{"INPUT0":{:?}}}"#, [0; 16]).into_bytes(),
        _ => Vec::new(),
    };
    server.connect().await.request(&format!("{method} {path}"), &[], &body).await.unwrap()
}

#[tokio::test]
async fn odd_names_and_stray_queries_are_taken_everywhere() {
    let server = everything();
    for (method, route) in ROUTES {
        for query in ["", "?", "?stray=%2F&x"] {
            let path = format!("{}{query}", path(route, ODD));
            let answer = ask(&server, method, &path).await;
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        }
    }
    let answer = ask(&server, "GET", &format!("/v2/models/{ODD}")).await;
    assert!(answer.text().contains(r#""name":"a name/with é""#), "{}", answer.text());
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    let server = everything();
    for (method, route) in ROUTES {
        let path = path(route, "echo");
        let answer = ask(&server, "PUT", &path).await;
        assert_error(&answer, 405, "method PUT is not allowed here");
        let allowed = answer.header("allow").unwrap_or_default();
        assert!(allowed.split(',').any(|one| one == method), "{path}: {allowed}");
    }
}

#[tokio::test]
async fn a_slash_too_many_is_another_path_as_in_triton() {
    let server = everything();
    for (method, route) in ROUTES {
        // The root is the one that both take with a slash.
        if route == "/v2" {
            continue;
        }
        let path = path(route, "echo");
        assert_error(&ask(&server, method, &format!("{path}/")).await, 404, "no such route");
    }
}

#[tokio::test]
async fn what_no_name_can_be_is_refused() {
    let server = everything();
    for (path, status, part) in [
        ("/v2/models/%FF/ready", 400, "not valid UTF-8 when percent-decoded"),
        ("/v2/models/%FF/trace/setting", 400, "not valid UTF-8 when percent-decoded"),
        ("/v2/models/nobody%00", 404, "unknown model"),
        ("/v2/models/echo/versions/one", 400, "expected a version number"),
        ("/v2/models/echo/versions/%31", 200, ""),
        ("/v2/models/echo/versions/99999999999999999999", 400, "expected a version number"),
        ("/v2/models/..%2Fecho", 404, "unknown model"),
        ("/v2/nothing", 404, "no such route: /v2/nothing"),
        ("/v2/models", 404, "no such route"),
    ] {
        let answer = ask(&server, "GET", path).await;
        if status == 200 {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        } else {
            assert_error(&answer, status, part);
        }
    }
}
