use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_tensor::{DataType, Shape, Tensor};
use adulis_testing::ScriptedService;
use adulis_types::{ErrorKind, Identity, IdentityKind, InputTensor, ModelRef, Name, Retry, Scopes};
use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::{Class, Limits, QuotaOptions, Rate};

struct Bench {
    service: Arc<dyn InferenceService>,
    inner: Arc<ScriptedService>,
    registry: MetricRegistry,
}

fn bench(class: Class) -> Bench {
    let registry = MetricRegistry::default();
    let classes = BTreeMap::from([(Name::from("gold"), class)]);
    let quotas = Quotas::new(&QuotaOptions { classes, ..QuotaOptions::default() }, None, &registry);
    let inner = Arc::new(ScriptedService::default());
    Bench { service: quotas.wrap(Arc::clone(&inner) as _), inner, registry }
}

impl Bench {
    fn metric(&self, sample: &str) -> u64 {
        let text = self.registry.render(MetricsFormat::Text);
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{sample} is not in {text}"))
    }

    async fn ask(&self, who: &str, model: &str, rows: usize) -> Result<InferResponse, Fault> {
        self.service.infer(request(who, model, rows)).await
    }
}

fn request(who: &str, model: &str, rows: usize) -> InferRequest {
    let mut identity = Identity::new(who, IdentityKind::ApiKey, Scopes::NONE);
    identity.quota = "gold".into();
    let tensor = Tensor::new(DataType::Uint8, Shape::new(&[rows]), vec![5; rows].into()).unwrap();
    let mut request = InferRequest::new(ModelRef::latest(model));
    request.identity = Some(Arc::new(identity));
    request.inputs.push(InputTensor { name: "x".into(), tensor });
    request
}

fn rates(requests: u64, rows: u64) -> Limits {
    let rate = |burst| Some(Rate { per_second: 0.01, burst });
    Limits { requests: rate(requests), rows: rate(rows), ..Limits::default() }
}

fn places(most: u32) -> Class {
    let limits = Limits { concurrent_requests: NonZeroU32::new(most), ..Limits::default() };
    Class { limits, ..Class::default() }
}

/// The values of the header fields: of the limits, and of how they stand.
fn fields(report: &QuotaReport) -> [String; 2] {
    report.fields().map(|(_, value)| String::from_utf8(value.into()).unwrap())
}

fn state(report: &QuotaReport) -> String {
    let [_, state] = fields(report);
    state
}

fn told(fault: &Fault) -> (ErrorKind, Retry, String) {
    (fault.kind(), fault.retry(), fault.client_message().into_owned())
}

#[tokio::test(start_paused = true)]
async fn within_its_limits_an_identity_is_answered_and_told_what_is_left() {
    let bench = bench(Class { limits: rates(3, 10), ..Class::default() });
    let response = bench.ask("a", "echo", 4).await.unwrap();
    let report = response.quota.unwrap();
    let policy = r#""requests";q=3;w=300, "rows";q=10;w=1000;qu="rows""#;
    assert_eq!(fields(&report), [policy, r#""requests";r=2;t=100, "rows";r=6;t=100"#]);
    let refused = bench.ask("a", "echo", 7).await.unwrap_err();
    assert_eq!(
        told(&refused),
        (
            ErrorKind::RateLimited,
            Retry::After(Duration::from_secs(100)),
            "quota 'gold' allows 0.01 rows per second and 10 at once: try again in 100 s".to_owned()
        )
    );
    assert_eq!(state(refused.quota().unwrap()), r#""requests";r=2;t=100, "rows";r=6;t=100"#);
    let never = bench.ask("a", "echo", 11).await.unwrap_err();
    assert_eq!(never.retry(), Retry::Never);
    assert!(never.client_message().contains("send fewer"), "{never}");
    assert!(bench.ask("b", "echo", 7).await.is_ok(), "another has limits of its own");
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(bench.ask("a", "echo", 7).await.is_ok(), "when it was told to come back");
    assert_eq!(bench.inner.calls.started.load(Ordering::SeqCst), 3, "what is refused is not asked within");
    assert_eq!(bench.metric(r#"adulis_quota_requests_total{class="gold",outcome="allowed"}"#), 3);
    assert_eq!(bench.metric(r#"adulis_quota_requests_total{class="gold",outcome="rows"}"#), 2);
    assert_eq!(bench.metric("adulis_quota_identities"), 2);
}

#[tokio::test(start_paused = true)]
async fn rows_are_those_of_models_that_batch() {
    let bench = bench(Class { limits: rates(100, 10), ..Class::default() });
    // Of this one the first dimension says nothing.
    for left in [9, 8] {
        let response = bench.ask("a", "cached", 50).await.unwrap();
        assert!(state(&response.quota.unwrap()).contains(&format!(r#""rows";r={left};"#)));
    }
    let response = bench.ask("a", "echo", 0).await.unwrap();
    assert!(state(&response.quota.unwrap()).contains(r#""rows";r=7;"#), "one at least");
}

#[tokio::test(start_paused = true)]
async fn models_have_limits_of_their_own() {
    let models = BTreeMap::from([(Name::from("*"), rates(1, 100))]);
    let bench = bench(Class { limits: rates(100, 100), models, ..Class::default() });
    assert!(bench.ask("a", "echo", 1).await.is_ok());
    let refused = bench.ask("a", "echo", 1).await.unwrap_err();
    assert!(refused.client_message().contains("of model 'echo': try again in 100 s"), "{refused}");
    assert!(bench.ask("a", "cached", 1).await.is_ok());
    for number in 0..50 {
        let unknown = bench.ask("a", &format!("unknown-{number}"), 1).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
    }
    assert_eq!(bench.metric("adulis_quota_identities"), 2, "none of a model that is not there");
}

#[tokio::test(start_paused = true)]
async fn who_has_no_limits_passes() {
    let bench = bench(Class { limits: rates(1, 1), ..Class::default() });
    for _ in 0..10 {
        let mut request = request("a", "echo", 5);
        request.identity = None;
        let response = bench.service.infer(request).await.unwrap();
        assert_eq!(response.quota, None);
    }
    assert_eq!(bench.metric("adulis_quota_identities"), 0);
}

#[tokio::test]
async fn the_priority_of_a_class_is_bounded_whether_it_has_limits_or_not() {
    let capped = Class { max_priority: NonZeroU32::new(3), ..Class::default() };
    for class in [capped.clone(), Class { limits: rates(100, 100), ..capped }] {
        let bench = bench(class);
        for (model, who, expected) in [
            ("echo", Some("gold"), 3),
            ("each", Some("gold"), 3),
            ("echo", None, 0),
        ] {
            let mut request = request("a", model, 1);
            request.priority = 1;
            if who.is_none() {
                request.identity = None;
            }
            let answers = bench.service.infer_stream(request);
            assert!(answers.collect::<Vec<_>>().await.into_iter().all(|answer| answer.is_ok()));
            let passed = bench.inner.last.lock().take().unwrap();
            assert_eq!((passed.priority, passed.highest_priority), (1, expected), "{model}");
        }
        assert!(bench.ask("a", "echo", 1).await.is_ok());
        assert_eq!(bench.inner.last.lock().take().unwrap().highest_priority, 3);
    }
}

#[tokio::test]
async fn a_place_is_given_back_by_an_answer_and_by_going_away() {
    let bench = bench(places(2));
    let mut waiting: Vec<_> = (0..2).map(|_| bench.service.infer(request("a", "held", 1))).collect();
    for future in &mut waiting {
        assert!(future.now_or_never().is_none());
    }
    let refused = bench.ask("a", "echo", 1).await.unwrap_err();
    let message = "quota 'gold' allows 2 requests at a time: try again when one of them is answered";
    let retry = Retry::After(Duration::from_secs(1));
    assert_eq!(told(&refused), (ErrorKind::RateLimited, retry, message.to_owned()));
    assert_eq!(state(refused.quota().unwrap()), r#""concurrent-requests";r=0"#);
    assert!(bench.ask("b", "echo", 1).await.is_ok());
    drop(waiting.pop());
    let response = bench.ask("a", "echo", 1).await.unwrap();
    assert_eq!(state(&response.quota.unwrap()), r#""concurrent-requests";r=0"#);
    bench.inner.release.add_permits(1);
    assert!(waiting.pop().unwrap().await.is_ok());
    assert!(bench.ask("a", "fail-internal", 1).await.is_err());
    let response = bench.ask("a", "echo", 1).await.unwrap();
    assert_eq!(state(&response.quota.unwrap()), r#""concurrent-requests";r=1"#, "both are back");
}

#[tokio::test]
async fn a_stream_has_its_place_until_its_end() {
    let bench = bench(places(1));
    let mut answers = bench.service.infer_stream(request("a", "each", 3));
    let first = answers.next().await.unwrap().unwrap();
    assert_eq!(state(&first.quota.unwrap()), r#""concurrent-requests";r=0"#);
    let mut refused = bench.service.infer_stream(request("a", "each", 3));
    assert_eq!(refused.next().await.unwrap().unwrap_err().kind(), ErrorKind::RateLimited);
    assert!(refused.next().await.is_none() && refused.size_hint() == (0, Some(0)));
    let rest: Vec<_> = answers.by_ref().collect().await;
    assert_eq!(rest.len(), 2);
    assert!(
        rest.into_iter().all(|answer| answer.unwrap().quota.is_none()),
        "it was told with the first"
    );
    drop(answers);
    let mut ordinary = bench.service.infer_stream(request("a", "echo", 1));
    assert!(ordinary.next().await.unwrap().is_ok());
    assert_eq!(ordinary.size_hint(), (0, Some(0)), "clients learn that it was the last");
    drop(ordinary);
    assert!(bench.ask("a", "echo", 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn of_many_at_once_as_many_pass_as_may() {
    let bench = bench(Class { limits: rates(20, 50), ..Class::default() });
    let asked = (0..100).map(|_| bench.ask("a", "echo", 2));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
}
