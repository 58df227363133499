//! Every route and every RPC of the server, with real keys: one that has expired, one that was revoked, one that may do all else.

use std::collections::HashMap;
use std::time::Duration;

use adulis_http::route_table;
use adulis_testing::{RPCS, RawConnection};
use adulis_types::Scope;

use crate::support::{byte_json, call_raw, frame, status_of};
use crate::{DENIED, Guarded, OK, UNAUTHENTICATED};

/// How long a call that nobody refuses is waited for: a watch of health goes on.
const SOON: Duration = Duration::from_millis(500);
/// How long a refusal is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const ARGUMENTS: [&str; 12] = [
    "--set",
    "sagemaker.enabled=true",
    "--set",
    "sagemaker.port=0",
    "--set",
    "sagemaker.model=digits",
    "--set",
    "vertex_ai.enabled=true",
    "--set",
    "vertex_ai.port=0",
    "--set",
    "vertex_ai.model=digits",
];

/// Keys that are good for nothing, and, of each scope, one that has no other and one that has all others.
struct Keys {
    ended: [(&'static str, String); 2],
    own: HashMap<Scope, String>,
    others: HashMap<Scope, String>,
}

/// What is answered to everybody, whatever they show.
fn is_open(scope: Scope) -> bool {
    matches!(scope, Scope::Health | Scope::Metrics)
}

impl Keys {
    async fn make(guarded: &Guarded) -> Self {
        let (_, expired) = guarded.key(&["--scope", "admin", "--expires", "1s"]);
        let (id, revoked) = guarded.key(&["--scope", "admin"]);
        assert_eq!(guarded.infer("digits", &[("x-api-key", &revoked)]).await, OK);
        assert!(guarded.keys(&["revoke", &id]).status.success());
        let (mut own, mut others) = (HashMap::new(), HashMap::new());
        for scope in Scope::ALL.into_iter().filter(|scope| !is_open(*scope) && *scope != Scope::Admin) {
            let rest = Scope::ALL.into_iter().filter(|other| ![scope, Scope::Admin].contains(other));
            let rest: Vec<&str> = rest.map(Scope::as_str).collect();
            own.insert(scope, guarded.key(&["--scope", scope.as_str()]).1);
            others.insert(scope, guarded.key(&["--scope", &rest.join(",")]).1);
        }
        // Until the one has ended, and the other is not taken for what it was.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        Self { ended: [("expired", expired), ("revoked", revoked)], own, others }
    }
}

/// The listener that has a route.
fn listener(path: &str) -> &'static str {
    match path {
        "/ping" | "/invocations" => "sagemaker",
        "/health" | "/predict" => "vertex_ai",
        "/metrics" | "/livez" => "metrics",
        _ => "http",
    }
}

async fn ask(guarded: &Guarded, line: &str, key: &str) -> u16 {
    let path = line.split_once(' ').unwrap().1;
    let mut connection = RawConnection::open(guarded.server.address(listener(path)).await).await.unwrap();
    let body = match line {
        line if line.ends_with("/infer") => byte_json(1),
        line if line.starts_with("POST") => "{}".to_owned(),
        _ => String::new(),
    };
    let header = format!("x-api-key: {key}");
    connection.request(line, &[&header], body.as_bytes()).await.unwrap().status
}

/// The status of a call; `None` where it goes on.
async fn call(guarded: &Guarded, rpc: &str, key: &str, patience: Duration) -> Option<i32> {
    let (path, headers) = (format!("/{rpc}"), [("content-type", "application/grpc"), ("x-api-key", key)]);
    let called = tokio::time::timeout(patience, call_raw(&guarded.server, &path, &headers, frame(&[]))).await;
    called.ok().map(|(_, found)| status_of(&found).0)
}

#[tokio::test]
async fn keys_that_have_ended_and_narrower_ones_are_refused_by_every_route_and_rpc() {
    let guarded = Guarded::start("", &ARGUMENTS).await;
    let Keys { ended, own, others } = Keys::make(&guarded).await;
    let mut routes = 0;
    for route in route_table() {
        let path = route.path.replace("{model}", "digits").replace("{version}", "1");
        let path = path.replace("{repository}", "models").replace("{region}", "region");
        let (line, scope) = (format!("{} {path}", route.method), route.operation.scope());
        for (what, key) in &ended {
            let status = ask(&guarded, &line, key).await;
            if is_open(scope) {
                assert!(![UNAUTHENTICATED.0, DENIED.0].contains(&status), "{line}, {what}: {status}");
            } else {
                assert_eq!(status, UNAUTHENTICATED.0, "{line}, {what}");
            }
        }
        if let (Some(own), Some(others)) = (own.get(&scope), others.get(&scope)) {
            assert_eq!(ask(&guarded, &line, others).await, DENIED.0, "{line}");
            let status = ask(&guarded, &line, own).await;
            assert!(![UNAUTHENTICATED.0, DENIED.0].contains(&status), "{line}: {status}");
            routes += 1;
        }
    }
    assert!(routes > 40, "{routes}");
    for (rpc, scope) in RPCS {
        for (what, key) in &ended {
            if is_open(scope) {
                let code = call(&guarded, rpc, key, SOON).await;
                assert!(
                    ![Some(UNAUTHENTICATED.1), Some(DENIED.1)].contains(&code),
                    "{rpc}, {what}: {code:?}"
                );
            } else {
                let code = call(&guarded, rpc, key, PATIENCE).await;
                assert_eq!(code, Some(UNAUTHENTICATED.1), "{rpc}, {what}");
            }
        }
        if let (Some(own), Some(others)) = (own.get(&scope), others.get(&scope)) {
            assert_eq!(call(&guarded, rpc, others, PATIENCE).await, Some(DENIED.1), "{rpc}");
            let code = call(&guarded, rpc, own, SOON).await;
            assert!(![Some(UNAUTHENTICATED.1), Some(DENIED.1)].contains(&code), "{rpc}: {code:?}");
        }
    }
}
