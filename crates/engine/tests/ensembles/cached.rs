//! Ensembles with a response cache of their own.

use std::fs;
use std::time::Instant;

use adulis_repository::{Caching, SequenceBatching};
use adulis_types::{CacheDirective, CacheStatus, ErrorKind, ParameterValue};

use super::*;

const HIT: Option<CacheStatus> = Some(CacheStatus::Hit);
const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);

fn cached(mut ensemble: ModelEntry) -> ModelEntry {
    ensemble.config.response_cache = true;
    ensemble
}

/// Adds three, in two steps.
fn chain() -> Vec<ModelEntry> {
    let steps = ["one: IN=IN -> OUT=x", "two: IN=x -> OUT=OUT"];
    vec![
        adder("one", "1"),
        adder("two", "2"),
        cached(ensemble("e", 8, &["IN"], &["OUT"], &steps)),
    ]
}

impl Server {
    /// The bytes of the first output, and how the request came to it.
    async fn look(&self, request: InferRequest) -> (Vec<u8>, Option<CacheStatus>) {
        let response = self.infer(request).await.unwrap();
        let status = response.cache.map(|outcome| outcome.status);
        (response.outputs[0].tensor.data().to_vec(), status)
    }

    fn begun(&self, model: &str) -> usize {
        self.backend.runs(model).begun
    }

    /// Rows that a model was run for.
    fn rows(&self, model: &str) -> f64 {
        let labels = format!("model=\"{model}\",version=\"1\"");
        self.metric(&format!("adulis_inference_rows_total{{{labels}}}")).unwrap_or(0.0)
    }
}

#[tokio::test]
async fn what_an_ensemble_answered_once_its_models_are_not_asked_again() {
    let server = Server::start(&chain());
    let before = server.begun("one");
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], MISS));
    let response = server.infer(byte("e", 4)).await.unwrap();
    assert_eq!(
        (&response.outputs[0].tensor.data()[..], response.cache.unwrap().status),
        (&[7][..], CacheStatus::Hit)
    );
    assert_eq!(response.parameters.get("cache"), Some(&ParameterValue::String("hit".into())));
    assert_eq!(server.begun("one") - before, 1);
    let all = server.engine.statistics(Some(&ModelRef::latest("e"))).unwrap();
    let inference = all[0].inference;
    assert_eq!((all[0].inference_count, inference.success.count), (1, 2), "what is known is not inferred");
    assert_eq!((inference.cache_hit.count, inference.cache_miss.count), (1, 1));
    let config = server.engine.model_config(&ModelRef::latest("e")).unwrap();
    assert!(String::from_utf8_lossy(&config.json).contains(r#""response_cache":{"enable":true}"#));
    let report = server.engine.cache_control().unwrap().report();
    let told: Vec<_> = report.models.iter().map(|model| (&*model.name, model.hits, model.entries)).collect();
    assert_eq!(told, [("e", 1, 1)], "its models have none of their own");
    assert!(server.infer(byte("one", 4)).await.unwrap().cache.is_none());
}

#[tokio::test]
async fn only_rows_that_are_not_known_go_through_the_steps() {
    let server = Server::start(&chain());
    let rows = |rows: &[u8]| request("e", &[("IN", &[rows.len(), 1], rows)]);
    assert_eq!(server.look(rows(&[0, 10, 20])).await, (vec![3, 13, 23], MISS));
    assert_eq!(server.look(rows(&[20, 30, 0])).await, (vec![23, 33, 3], MISS));
    assert_eq!(server.look(rows(&[30])).await, (vec![33], HIT));
    assert_eq!((server.rows("one"), server.rows("two"), server.rows("e")), (4.0, 4.0, 4.0));
}

#[tokio::test]
async fn an_ensemble_with_a_step_that_does_not_batch_is_looked_up_whole() {
    let steps = ["whole: IN=IN -> OUT=OUT"];
    let entries = [
        model("whole", 0, &["IN:-1,1"], &["OUT:-1,1"], &[("add", "1")]),
        cached(ensemble("e", 8, &["IN"], &["OUT"], &steps)),
    ];
    let server = Server::start(&entries);
    let rows = |rows: &[u8]| request("e", &[("IN", &[rows.len(), 1], rows)]);
    assert_eq!(server.look(rows(&[1, 2])).await, (vec![2, 3], MISS));
    assert_eq!(server.look(rows(&[1])).await, (vec![2], MISS), "it may answer by all rows at once");
    assert_eq!(server.look(rows(&[1, 2])).await, (vec![2, 3], HIT));
}

#[tokio::test]
async fn a_step_that_is_loaded_again_makes_old_answers_unreachable_at_once() {
    let server = Server::start(&chain());
    for expected in [MISS, HIT] {
        assert_eq!(server.look(byte("e", 4)).await, (vec![7], expected));
    }
    for (step, add, sum) in [("two", "20", 25), ("one", "10", 34)] {
        server.engine.load(&[adder(step, add)]);
        for expected in [MISS, HIT] {
            assert_eq!(server.look(byte("e", 4)).await, (vec![sum], expected), "{step}");
        }
    }
    server.engine.load(&[adder("two", "2"), adder("one", "1")]);
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], HIT), "the models of the first are back");
    let mut second = adder("two", "30");
    second.config.version_policy = adulis_repository::VersionPolicy::All;
    second.versions = [1, 2].map(|version| ModelVersion { version, path: "none".into() }).into();
    server.engine.load(&[second]);
    assert_eq!(server.look(byte("e", 4)).await, (vec![35], MISS), "another version of the same");
}

#[tokio::test]
async fn a_step_of_a_step_counts_as_well() {
    let mut entries = chain();
    entries[2].config.response_cache = false;
    let steps = ["e: IN=IN -> OUT=y", "one: IN=y -> OUT=OUT"];
    entries.push(cached(ensemble("outer", 8, &["IN"], &["OUT"], &steps)));
    let server = Server::start(&entries);
    for expected in [MISS, HIT] {
        assert_eq!(server.look(byte("outer", 4)).await, (vec![8], expected));
    }
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], None));
    server.engine.load(&[adder("two", "20")]);
    for expected in [MISS, HIT] {
        assert_eq!(server.look(byte("outer", 4)).await, (vec![26], expected));
    }
    // The ensemble between, with another flow of data through the same models.
    let steps = ["two: IN=IN -> OUT=x", "two: IN=x -> OUT=OUT"];
    server.engine.load(&[ensemble("e", 8, &["IN"], &["OUT"], &steps)]);
    assert_eq!(server.look(byte("outer", 4)).await, (vec![45], MISS));
}

/// `IN` goes through `a` to `X`, that and `IN` are added to `SUM`.
fn fork(name: &str) -> ModelEntry {
    let steps = ["a: IN=IN -> OUT=X", "sum: A=X B=IN -> OUT=SUM"];
    ensemble(name, 8, &["IN"], &["SUM", "X"], &steps)
}

#[tokio::test]
async fn near_twins_get_each_their_own_answer() {
    let entries = [
        adder("a", "1"),
        model("sum", 8, &["A", "B"], &["OUT"], &[]),
        cached(fork("e")),
        cached(fork("f")),
        fork("plain"),
    ];
    let server = Server::start(&entries);
    let mut seen = Vec::new();
    for rows in [&[1, 2][..], &[2, 1], &[1], &[2, 1, 1]] {
        for outputs in [&[][..], &["X"], &["SUM"], &["X", "SUM"], &["SUM", "X"]] {
            for classes in [0, 1] {
                let ask = |name: &str| {
                    let mut request = wanting(request(name, &[("IN", &[rows.len(), 1], rows)]), outputs);
                    request.outputs.iter_mut().for_each(|output| output.classification = classes);
                    server.infer(request)
                };
                let plain = ask("plain").await.unwrap();
                assert!(plain.cache.is_none());
                for name in ["e", "f", "e"] {
                    let response = ask(name).await.unwrap();
                    let told = |response: &InferResponse| {
                        let outputs = response.outputs.iter();
                        outputs.map(|output| (output.name.clone(), output.tensor.clone())).collect::<Vec<_>>()
                    };
                    assert_eq!(told(&response), told(&plain), "{name} {rows:?} {outputs:?} {classes}");
                    seen.push(response.cache.unwrap().status);
                }
            }
        }
    }
    let hits = seen.iter().filter(|status| **status == CacheStatus::Hit).count();
    assert!(hits >= seen.len() / 3 && hits < seen.len(), "{hits} of {}", seen.len());
}

#[tokio::test]
async fn a_step_that_reads_requests_makes_them_part_of_the_key() {
    let echo = entry(ModelConfig {
        backend: Some("identity".to_owned()),
        ..model("echo", 8, &["IN"], &["OUT"], &[("echo_parameters", "true")]).config
    });
    let server = Server::start(&[
        echo,
        cached(ensemble("e", 8, &["IN"], &["OUT"], &["echo: IN=IN -> OUT=OUT"])),
    ]);
    let mut seen = Vec::new();
    for (id, color) in [("a", "red"), ("a", "red"), ("a", "blue"), ("b", "red")] {
        let mut request = InferRequest { id: id.into(), ..byte("e", 1) };
        request.parameters.set("color", ParameterValue::String(color.into()));
        seen.push(server.look(request).await.1);
    }
    assert_eq!(seen, [MISS, HIT, MISS, MISS]);
}

#[tokio::test]
async fn who_wants_no_cache_gets_none_and_failures_are_not_remembered() {
    let server = Server::start(&chain());
    let with = |directive| InferRequest { cache: directive, ..byte("e", 4) };
    let bypass = Some(CacheStatus::Bypass);
    assert_eq!(server.look(with(CacheDirective::NoStore)).await, (vec![7], bypass));
    assert_eq!(server.look(with(CacheDirective::NoCache)).await, (vec![7], bypass));
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], HIT), "it was remembered");
    let before = server.begun("one");
    for _ in 0..2 {
        let failed = server.ask(byte("e", 255)).await.unwrap_err();
        assert_eq!(failed, "in ensemble 'e', model 'one': execution failed: asked to fail");
    }
    assert!(server.begun("one") - before >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_at_once_are_one_run() {
    let mut entries = chain();
    entries[0] = model("one", 8, &["IN"], &["OUT"], &[("add", "1"), ("run", "100")]);
    let server = Server::start(&entries);
    let before = server.begun("one");
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let engine = Arc::clone(&server.engine);
        requests.spawn(async move { engine.infer(byte("e", 4)).await.unwrap().outputs[0].tensor.data()[0] });
    }
    assert!(requests.join_all().await.iter().all(|answer| *answer == 7));
    assert_eq!(server.begun("one") - before, 1);
    let mut late = byte("e", 5);
    late.timeout = Some(Duration::from_millis(20));
    let (led, followed) = tokio::join!(server.infer(byte("e", 5)), server.infer(late));
    assert!(led.is_ok());
    assert_eq!(
        followed.unwrap_err().kind(),
        ErrorKind::DeadlineExceeded,
        "it waits no longer than its own time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_date_is_given_and_computed_anew_behind() {
    let mut entries = chain();
    entries[2].config.caching = Caching {
        ttl: Some(Duration::from_millis(1)),
        stale_while_revalidate: Duration::from_secs(3600),
        ..Caching::default()
    };
    let server = Server::start(&entries);
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], MISS));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], Some(CacheStatus::Stale)));
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.rows("two") < 2.0 {
        assert!(Instant::now() < deadline, "it is not computed anew");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_purge_of_a_step_s_model_purges_the_ensemble() {
    let server = Server::start(&chain());
    server.look(byte("e", 4)).await;
    let control = server.engine.cache_control().unwrap();
    assert_eq!(control.purge(Some("two")).unwrap(), 1);
    assert_eq!(server.look(byte("e", 4)).await.1, MISS);
    assert_eq!(control.purge(Some("e")).unwrap(), 1);
    let unknown = control.purge(Some("nobody")).unwrap_err();
    assert_eq!(unknown.client_message(), "model 'nobody' is not there, or has no response cache");
}

#[tokio::test]
async fn an_ensemble_whose_answers_are_no_function_of_its_inputs_is_refused() {
    let mut sequence = adder("sequence", "1");
    sequence.config.scheduling = Scheduling::Sequence(SequenceBatching::default());
    let inner = ensemble("inner", 0, &["IN"], &["OUT"], &["count: IN=IN -> OUT=OUT"]);
    let server = Server::start(&[
        decoupled::counter("count", &["OUT"], &[]),
        sequence,
        inner,
        cached(ensemble("counting", 0, &["IN"], &["OUT"], &["inner: IN=IN -> OUT=OUT"])),
        cached(ensemble("ordered", 8, &["IN"], &["OUT"], &["sequence: IN=IN -> OUT=OUT"])),
    ]);
    let why = "response_cache.enable: step[0] (model 'inner'): step[0] (model 'count'): it answers a request any number of \
               times";
    assert_eq!(server.reason("counting"), format!("UNAVAILABLE {why}"));
    let why = "response_cache.enable: step[0] (model 'sequence'): its answers depend on the requests before in their sequence";
    assert_eq!(server.reason("ordered"), format!("UNAVAILABLE {why}"));
    assert_eq!(server.ask(byte("ordered", 1)).await, Err(format!("model 'ordered' is not ready: {why}")));
    // One that has become so takes no place of one that is not.
    let mut plain = ensemble("ordered", 8, &["IN"], &["OUT"], &["sequence: IN=IN -> OUT=OUT"]);
    server.engine.load(std::slice::from_ref(&plain));
    assert_eq!(server.reason("ordered"), "READY ");
    plain.config.response_cache = true;
    server.engine.load(&[plain]);
    assert_eq!(server.reason("ordered"), format!("READY version 1: {why}"));
}

#[tokio::test]
async fn a_random_step_is_refused_unless_somebody_insists() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1")).unwrap();
    let path = folder.path().join("1/model.onnx");
    fs::write(&path, b"\x22\x0cRandomNormal").unwrap();
    let random = |insist: bool| {
        let mut random = adder("random", "1");
        random.directory = Some(folder.path().to_owned());
        random.versions = vec![ModelVersion { version: 1, path: path.clone() }];
        random.config.caching.insist = insist;
        random
    };
    let steps = ["random: IN=IN -> OUT=OUT"];
    let e = || cached(ensemble("e", 8, &["IN"], &["OUT"], &steps));
    let mut insisting = cached(ensemble("insisting", 8, &["IN"], &["OUT"], &steps));
    insisting.config.caching.insist = true;
    let server = Server::start(&[random(false), e(), insisting]);
    let reason = server.reason("e");
    assert!(
        reason.contains("step[0] (model 'random'): the model has operator RandomNormal"),
        "{reason}"
    );
    assert_eq!(server.look(byte("insisting", 1)).await, (vec![2], MISS));
    server.engine.load(&[random(true)]);
    assert_eq!(server.reason("e"), "READY ");
    assert_eq!(server.look(byte("e", 1)).await, (vec![2], MISS));
    assert_eq!(server.look(byte("e", 1)).await, (vec![2], HIT));
}

#[tokio::test]
async fn without_a_cache_of_the_server_an_ensemble_has_none() {
    let cache = adulis_engine::CacheSettings { memory_bytes: 0, ..adulis_engine::CacheSettings::default() };
    let server = Server::start_with(Settings { cache, ..Settings::default() }, &chain());
    assert_eq!(server.look(byte("e", 4)).await, (vec![7], None));
}
