use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adulis_store::{StoreUrl, UsageSums};
use adulis_types::{Identity, IdentityKind, InferRequest, Scopes};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::{Served, request};

type Sums = BTreeMap<(String, String), UsageSums>;

fn add(sums: &mut Sums, key: &str, model: &str, used: UsageSums) {
    let sum = sums.entry((key.to_owned(), model.to_owned())).or_default();
    sum.requests += used.requests;
    sum.failures += used.failures;
    sum.rows += used.rows;
    sum.compute += used.compute;
}

async fn told(served: &Served) -> Sums {
    let mut sums = Sums::new();
    for daily in served.store.usage().unwrap().since(0).await.unwrap() {
        add(&mut sums, &daily.key_id, &daily.model, daily.sums);
    }
    sums
}

/// Key, model, requests, rows and nanoseconds; `None` for a write.
type Step = Option<(u8, u8, u64, u64, u64)>;

/// What is counted by several keys for several models, with writes in between.
fn counted() -> impl Strategy<Value = Vec<Step>> {
    let used = (0..4_u8, 0..4_u8, 0..3_u64, 0..1000_u64, 0..1_000_000_000_u64);
    prop::collection::vec(prop::option::weighted(0.9, used), 1..60)
}

pub(crate) async fn sums_equal_what_was_counted(url: &StoreUrl) {
    let served = Served::new(url, None);
    let usage = served.store.usage().unwrap();
    let mut runner = TestRunner::default();
    let mut expected = Sums::new();
    for _ in 0..20 {
        for step in counted().new_tree(&mut runner).unwrap().current() {
            let Some((key, model, requests, rows, nanoseconds)) = step else {
                usage.flush().await.unwrap();
                continue;
            };
            let used = UsageSums { requests, failures: 0, rows, compute: Duration::from_nanos(nanoseconds) };
            let (key, model) = (format!("key'{key}"), format!("model-{model}"));
            usage.counter(&key, &model).unwrap().add(used);
            if used != UsageSums::default() {
                add(&mut expected, &key, &model, used);
            }
        }
        usage.flush().await.unwrap();
        assert_eq!(told(&served).await, expected);
    }
    assert_eq!(usage.flush().await.unwrap(), 0, "nothing is counted twice");
    served.close().await;
}

pub(crate) async fn replicas_add_to_the_same_sums(url: &StoreUrl) {
    let replicas: Vec<_> = (0..3).map(|_| Arc::new(Served::new(url, None))).collect();
    let tasks: Vec<_> = replicas
        .iter()
        .cloned()
        .map(|served| {
            tokio::spawn(async move {
                for number in 0..30_u8 {
                    served.echo("", &[number, number]).await;
                    let failed = served.service.infer(request("fail-internal", "", &[1])).await;
                    failed.unwrap_err();
                    served.service.infer(request("nobody-has-this", "", &[1])).await.unwrap_err();
                    if number % 7 == 0 {
                        served.store.usage().unwrap().flush().await.unwrap();
                    }
                }
                // What is left is written at the end.
                served.close().await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let reader = Served::new(url, None);
    let sums = told(&reader).await;
    let of = |model: &str| sums[&(String::new(), model.to_owned())];
    assert_eq!((of("echo").requests, of("echo").failures), (90, 0));
    assert_eq!((of("fail-internal").requests, of("fail-internal").failures), (90, 90));
    assert_eq!(sums.len(), 2, "{sums:?}");
    reader.close().await;
}

pub(crate) async fn what_identities_use_is_theirs(url: &StoreUrl) {
    let served = Served::new(url, None);
    let named = |name: &str, kind| Some(Arc::new(Identity::new(name, kind, Scopes::NONE)));
    for (identity, times) in [
        (named("key_1", IdentityKind::ApiKey), 2),
        (named("https://issuer|ann", IdentityKind::Token), 1),
        // Who sends no credentials is called something, and is nobody.
        (named("anonymous", IdentityKind::Anonymous), 3),
        (None, 1),
    ] {
        for _ in 0..times {
            let asked = InferRequest { identity: identity.clone(), ..request("echo", "", &[1]) };
            served.service.infer(asked).await.unwrap();
        }
    }
    served.store.usage().unwrap().flush().await.unwrap();
    let sums = told(&served).await;
    let requests: Vec<_> = sums.iter().map(|((key, _), sums)| (key.as_str(), sums.requests)).collect();
    assert_eq!(requests, [("", 4), ("https://issuer|ann", 1), ("key_1", 2)]);
    served.close().await;
}
