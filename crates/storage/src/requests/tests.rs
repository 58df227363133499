use std::collections::BTreeSet;
use std::time::Instant;

use adulis_repository::{Mirrored, Problem, RemoteRepository};
use adulis_retry::BreakerOptions;
use adulis_telemetry::{MetricRegistry, MetricsFormat};
use adulis_testing::{S3Server, Trouble};

use super::*;
use crate::connect::s3;
use crate::testing::tree;
use crate::{ObjectRepository, Storage};

const ALL: Mirrored<'static> = Mirrored::All { but: &|_| false };
const KEY: &str = "models/a/1/model.onnx";
const CONTENT: &str = "0123456789";
const ALWAYS: usize = usize::MAX;

/// A bucket that is asked over HTTP, as Amazon's would be.
struct Bench {
    server: S3Server,
    cache: tempfile::TempDir,
    options: StorageOptions,
    registry: MetricRegistry,
}

impl Bench {
    /// With one object.
    fn new() -> Self {
        let breaker = BreakerOptions {
            min_delay: Duration::from_millis(200),
            max_delay: Duration::from_millis(200),
            ..BreakerOptions::default()
        };
        Self {
            server: S3Server::start(&[(KEY, CONTENT)]),
            cache: tempfile::tempdir().unwrap(),
            options: StorageOptions {
                timeout: Duration::from_millis(300),
                max_retries: 2,
                breaker,
                allow_http: true,
                ..StorageOptions::default()
            },
            registry: MetricRegistry::default(),
        }
    }

    fn open(&self) -> ObjectRepository {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = format!("http://{}", self.server.address);
        let builder = s3(Some(&endpoint), "bucket", &self.options).unwrap();
        let client = builder.with_skip_signature(true).build().unwrap();
        let options =
            StorageOptions { cache_folder: Some(self.cache.path().to_owned()), ..self.options.clone() };
        let storage = Storage::new(options).metrics(StorageMetrics::register(&self.registry));
        storage.open_store("s3://bucket/models".parse().unwrap(), Arc::new(client)).unwrap()
    }

    /// The value of a sample of the repository's.
    fn metric(&self, name: &str) -> u64 {
        let text = self.registry.render(MetricsFormat::Text);
        let start = format!("adulis_storage_{name}{{repository=\"s3://bucket/models\"");
        let samples = text.lines().filter(|line| line.starts_with(&start));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }
}

fn held(repository: &ObjectRepository) -> BTreeSet<String> {
    tree(repository.folder())
}

fn whole() -> BTreeSet<String> {
    BTreeSet::from([format!("a/1/model.onnx = {CONTENT}")])
}

fn told(outcome: Result<Vec<Problem>, Problem>) -> String {
    outcome.unwrap_err().to_string()
}

#[test]
fn what_passes_is_asked_again() {
    for trouble in [
        Trouble::Status(500),
        Trouble::Status(503),
        Trouble::Status(429),
        Trouble::Status(408),
        Trouble::Closes,
        Trouble::Hangs,
    ] {
        let bench = Bench::new();
        bench.server.trouble("LIST", 2, trouble);
        bench.server.trouble("GET", 2, trouble);
        let repository = bench.open();
        repository.mirror(ALL).unwrap();
        assert_eq!(held(&repository), whole(), "{trouble:?}");
        let get = format!("GET {KEY}");
        let asked = ["LIST", "LIST", "LIST", &get, &get, &get];
        assert_eq!(bench.server.take_asked(), asked, "{trouble:?}");
        assert_eq!((bench.metric("retries_total"), bench.metric("errors_total")), (4, 0));
        assert_eq!(bench.metric("operation_seconds_count"), 2);
    }
}

#[test]
fn what_would_fail_again_is_asked_once() {
    for (status, message) in [
        (403, "access is refused"),
        (401, "access is refused"),
        (404, "there is no such bucket"),
        (400, "cannot be read"),
    ] {
        let bench = Bench::new();
        bench.server.trouble("LIST", ALWAYS, Trouble::Status(status));
        let repository = bench.open();
        for _ in 0..10 {
            let told = told(repository.mirror(ALL));
            assert!(told.contains(message), "{status}: {told}");
        }
        assert_eq!(bench.server.take_asked().len(), 10, "{status}: it is well, and so it is asked");
        assert_eq!((bench.metric("retries_total"), bench.metric("refused_total")), (0, 0));
        bench.server.end_trouble();
        bench.server.trouble("GET", 1, Trouble::Status(403));
        assert!(told(repository.mirror(ALL)).contains("access is refused"));
        assert_eq!(bench.server.take_asked().len(), 2);
    }
}

#[test]
fn a_body_that_breaks_off_is_gone_on_with() {
    let bench = Bench::new();
    bench.server.trouble("onnx bytes=4-", 1, Trouble::CutAfter(3));
    bench.server.trouble("GET", 1, Trouble::CutAfter(4));
    let repository = bench.open();
    repository.mirror(ALL).unwrap();
    assert_eq!(held(&repository), whole());
    let get = format!("GET {KEY}");
    let asked = [
        "LIST",
        &get,
        &format!("{get} bytes=4-"),
        &format!("{get} bytes=7-"),
    ];
    assert_eq!(bench.server.take_asked(), asked);
}

#[test]
fn a_body_that_cannot_be_gone_on_with_is_begun_anew() {
    let get = format!("GET {KEY}");
    let rest = format!("{get} bytes=4-");
    // What is around tags with objects and in listings, and what is asked.
    for (quotes, ignores_range, asked) in [
        (("\"", "\""), true, vec![&get, &rest, &get]),
        (("'", "\""), false, vec![&get, &rest, &get]),
        (("", "\""), false, vec![&get, &rest, &get]),
        (("", ""), false, vec![&get, &get]),
    ] {
        let bench = Bench::new();
        bench.server.quote(quotes.0, quotes.1);
        bench.server.trouble("GET", 1, Trouble::CutAfter(4));
        if ignores_range {
            bench.server.trouble("bytes=", 1, Trouble::IgnoresRange);
        }
        let repository = bench.open();
        repository.mirror(ALL).unwrap();
        assert_eq!(held(&repository), whole(), "{quotes:?}");
        assert_eq!(bench.server.take_asked()[1..].iter().collect::<Vec<_>>(), asked, "{quotes:?}");
    }
}

#[test]
fn a_body_that_always_breaks_off_is_given_up_and_gone_on_with_at_the_next_look() {
    let bench = Bench::new();
    bench.server.trouble("GET", 3, Trouble::CutAfter(1));
    let repository = bench.open();
    assert!(told(repository.mirror(ALL)).contains("cannot be read"));
    assert_eq!(bench.server.take_asked().len(), 1 + 3);
    assert!(held(&repository).is_empty());
    repository.mirror(ALL).unwrap();
    assert_eq!(held(&repository), whole());
    assert_eq!(bench.server.take_asked(), ["LIST".to_owned(), format!("GET {KEY} bytes=3-")]);
}

#[test]
fn an_object_that_is_replaced_before_its_rest_has_come_is_not_mixed() {
    let mut bench = Bench::new();
    bench.options.max_retries = 0;
    bench.server.trouble("GET", 1, Trouble::CutAfter(4));
    let repository = bench.open();
    repository.mirror(ALL).unwrap_err();
    bench.server.put(KEY, "9876543210");
    repository.mirror(ALL).unwrap();
    assert_eq!(held(&repository), BTreeSet::from(["a/1/model.onnx = 9876543210".to_owned()]));
}

#[test]
fn of_a_listing_only_the_page_that_fails_is_asked_again() {
    let bench = Bench::new();
    bench.server.put("models/b/1/model.onnx", CONTENT);
    bench.server.put("models/c/1/model.onnx", CONTENT);
    bench.server.page(1);
    bench.server.trouble("LIST after models/a", 1, Trouble::Status(503));
    bench.server.trouble("LIST after models/b", 1, Trouble::CutAfter(20));
    let repository = bench.open();
    assert_eq!(repository.list().unwrap().into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    let (second, third) = (format!("LIST after {KEY}"), "LIST after models/b/1/model.onnx");
    assert_eq!(bench.server.take_asked(), ["LIST", &second, &second, third, third]);
}

#[test]
fn a_storage_that_is_down_is_asked_no_more_than_the_budget_allows() {
    const OBJECTS: usize = 64;
    let mut bench = Bench::new();
    (bench.options.max_downloads, bench.options.max_retries) = (OBJECTS, 1000);
    for index in 1..OBJECTS {
        bench.server.put(&format!("models/m{index}/1/model.onnx"), CONTENT);
    }
    bench.server.trouble("GET", ALWAYS, Trouble::Status(503));
    let repository = bench.open();
    let begun = Instant::now();
    assert!(told(repository.mirror(ALL)).contains("503"));
    let first = OBJECTS + 1;
    // 10 for each of 10 seconds, and a fifth of what is asked for the first time.
    let least = 10 * usize::try_from(begun.elapsed().as_secs()).unwrap();
    let allowed = 100 + first / 5 + least;
    let asked = bench.server.take_asked().len();
    assert!(asked > first + 50 && asked <= first + allowed, "{asked} of {first} and {allowed}");

    // With nothing left of the budget, each failure is one request, until nothing is asked any more.
    bench.server.end_trouble();
    bench.server.trouble("LIST", ALWAYS, Trouble::Status(503));
    let told: Vec<String> = (0..200).map(|_| repository.list().unwrap_err().to_string()).collect();
    let asked = bench.server.take_asked().len();
    assert!(asked < 50, "{asked} requests for 200 who ask");
    assert!(
        told[199].contains("is not asked for a while") && told[199].contains("503"),
        "{}",
        told[199]
    );
    assert!(bench.metric("refused_total") > 150);
    assert_eq!(bench.metric("breaker_state"), 2);
    assert!(bench.metric("breaker_openings_total") >= 1);

    bench.server.end_trouble();
    std::thread::sleep(bench.options.breaker.max_delay);
    assert_eq!(repository.list().unwrap().len(), OBJECTS);
    assert_eq!(bench.metric("breaker_state"), 0);
}

#[test]
fn what_nobody_understands_is_not_asked_again_at_once() {
    let bench = Bench::new();
    bench.server.trouble("LIST", ALWAYS, Trouble::Nonsense);
    let repository = bench.open();
    for _ in 0..20 {
        repository.list().unwrap_err();
    }
    let asked = bench.server.take_asked().len();
    assert!((5..20).contains(&asked), "{asked}");
    assert_eq!(bench.metric("retries_total"), 0);
}
