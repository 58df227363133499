//! What REST says of the response cache: headers, parameters, and what clients ask of it.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod support;

use std::sync::{Arc, Mutex};

use adulis_http::{HttpOptions, ListenerOptions, router};
use adulis_testing::ScriptedService;
use adulis_types::{
    CacheControl, CacheDirective, CacheReport, CachedModel, ErrorKind, Failure, Fault, Services,
    SharedTierReport,
};
use serde_json::{Value, json};
use support::{Server, assert_error, json_body};

#[tokio::test]
async fn answers_say_what_the_response_cache_had_to_do_with_them() {
    let server = Server::default().await;
    let body = json_body(4);
    let cached = server.infer("cached", &[], &body).await;
    assert_eq!((cached.status, cached.header("adulis-cache")), (200, Some("hit; age=12")));
    let plain = server.infer("echo", &[], &body).await;
    assert_eq!((plain.status, plain.header("adulis-cache")), (200, None));
}

#[tokio::test]
async fn cache_control_is_told_to_the_service() {
    let server = Server::default().await;
    let asked = |parameters: &str| {
        let body = String::from_utf8(json_body(1)).unwrap();
        format!("{{\"parameters\":{{{parameters}}},{}", &body[1..]).into_bytes()
    };
    for (headers, parameters, expected) in [
        (&[][..], "", CacheDirective::Use),
        (&["cache-control: no-cache"], "", CacheDirective::NoCache),
        (&["cache-control: max-age=0"], "", CacheDirective::NoCache),
        (&["cache-control: max-age=5, no-transform"], "", CacheDirective::Use),
        (&["cache-control: no-cache", "cache-control: no-store"], "", CacheDirective::NoStore),
        (&["cache-control: ,;=\"\u{fffd}"], "", CacheDirective::Use),
        (&[], "\"cache_control\":\"no-store\"", CacheDirective::NoStore),
        (&["cache-control: no-cache"], "\"cache_control\":\"use\"", CacheDirective::NoCache),
    ] {
        let answer = server.infer("echo", headers, &asked(parameters)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let last = server.service.last.lock().take().unwrap();
        assert_eq!(last.cache, expected, "{headers:?} {parameters}");
        assert!(last.parameters.is_empty());
    }
    for wrong in [
        "\"cache_control\":\"No-Cache\"",
        "\"cache_control\":true",
        "\"cache_control\":\"max-age=0\"",
    ] {
        let answer = server.infer("echo", &[], &asked(wrong)).await;
        assert_error(&answer, 400, "parameter 'cache_control': expected 'use', 'no-cache' or 'no-store'");
    }
}

/// A cache of one model, which counts its purges.
#[derive(Default)]
struct ScriptedCache(Mutex<Vec<Option<String>>>);

impl CacheControl for ScriptedCache {
    fn report(&self) -> CacheReport {
        let model = CachedModel { name: "m".into(), version: 3, hits: 7, ..CachedModel::default() };
        let tier = SharedTierReport { name: "redis".into(), failures: 2, ..SharedTierReport::default() };
        CacheReport {
            capacity_bytes: 1000,
            bytes: 500,
            entries: 2,
            shared: Some(tier),
            models: vec![model],
        }
    }

    fn purge(&self, model: Option<&str>) -> Result<u64, Fault> {
        if model == Some("nobody") {
            return Err(Failure::new(ErrorKind::NotFound, "model 'nobody' is not there").into());
        }
        self.0.lock().unwrap().push(model.map(str::to_owned));
        Ok(2)
    }
}

#[tokio::test]
async fn the_cache_is_looked_at_and_purged() {
    let (service, cache) = (Arc::new(ScriptedService::default()), Arc::new(ScriptedCache::default()));
    let control = Arc::clone(&cache) as Arc<dyn CacheControl>;
    let services = Services { cache: Some(control), ..Services::from(Arc::clone(&service)) };
    let app = router(services, HttpOptions::default());
    let server = Server::with_router(app, service, ListenerOptions::default());
    let report = server.get("/v2/cache").await;
    let report: Value = serde_json::from_slice(&report.body).unwrap();
    assert_eq!(report["memory"], json!({"capacity_bytes": 1000, "bytes": 500, "entries": 2}));
    assert_eq!((&report["shared"]["tier"], &report["shared"]["failures"]), (&json!("redis"), &json!(2)));
    assert_eq!(report["shared"]["purges_pending"], json!(0));
    let model = &report["models"][0];
    assert_eq!((&model["name"], &model["version"], &model["hits"]), (&json!("m"), &json!("3"), &json!(7)));
    let post =
        async |path: &str| server.connect().await.request(&format!("POST {path}"), &[], b"").await.unwrap();
    for path in ["/v2/cache/purge", "/v2/cache/models/a%20name%2Fb/purge"] {
        let purged = post(path).await;
        assert_eq!((purged.status, purged.text().as_str()), (200, r#"{"purged":2}"#));
    }
    assert_eq!(*cache.0.lock().unwrap(), [None, Some("a name/b".to_owned())]);
    assert_error(&post("/v2/cache/models/nobody/purge").await, 404, "model 'nobody' is not there");
    let metadata: Value = serde_json::from_slice(&server.get("/v2").await.body).unwrap();
    assert!(metadata["extensions"].as_array().unwrap().contains(&json!("response_cache")));
}

#[tokio::test]
async fn a_server_without_a_cache_says_so() {
    let server = Server::default().await;
    let answer = server.get("/v2/cache").await;
    assert!(
        answer.status >= 400 && answer.text().contains("the response cache is off"),
        "{}",
        answer.text()
    );
}
