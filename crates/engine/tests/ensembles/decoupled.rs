//! Ensembles with steps that answer any number of times.

use std::sync::atomic::Ordering;

use adulis_types::{ErrorKind, ResponseStream};
use futures_util::StreamExt;

use super::*;

/// A model that answers a byte `n` with `n - 1` down to 0.
pub(super) fn counter(name: &str, outputs: &[&str], parameters: &[(&str, &str)]) -> ModelEntry {
    let mut entry = model(name, 0, &["IN"], outputs, parameters);
    entry.config.backend = Some("counting".to_owned());
    entry.config.decoupled = true;
    entry
}

/// A model without a batch dimension that adds a number.
pub(super) fn plus(name: &str, add: &str) -> ModelEntry {
    model(name, 0, &["IN"], &["OUT"], &[("add", add)])
}

pub(super) fn count_to(model: &str, byte: u8) -> InferRequest {
    let mut request = request(model, &[("IN", &[1], &[byte])]);
    request.id = "me".into();
    request
}

/// What a stream gave: the first byte of every output of each answer, how it ended, and whether the last answer was known to
/// be the last.
struct Told {
    answers: Vec<Vec<u8>>,
    end: Result<(), String>,
    is_last: bool,
}

async fn rest(mut stream: ResponseStream<'_>) -> Told {
    let mut told = Told { answers: Vec::new(), end: Ok(()), is_last: false };
    while let Some(answer) = stream.next().await {
        match answer {
            Ok(answer) => {
                assert_eq!(&*answer.id, "me");
                let byte = |output: &adulis_types::OutputTensor| output.tensor.data()[0];
                told.answers.push(answer.outputs.iter().map(byte).collect());
                told.is_last = stream.size_hint() == (0, Some(0));
            }
            Err(fault) => told.end = Err(fault.client_message().into_owned()),
        }
    }
    told
}

impl Server {
    async fn all(&self, request: InferRequest) -> Told {
        rest(self.engine.infer_stream(request)).await
    }

    /// The first output of each answer of a request that goes well.
    async fn answers(&self, model: &str, byte: u8) -> Vec<u8> {
        let told = self.all(count_to(model, byte)).await;
        assert_eq!(told.end, Ok(()));
        told.answers.iter().map(|outputs| outputs[0]).collect()
    }
}

fn simple(name: &str, parameters: &[(&str, &str)]) -> Vec<ModelEntry> {
    vec![
        counter("count", &["OUT"], parameters),
        plus("plus", "10"),
        ensemble(name, 0, &["IN"], &["OUT"], &["plus: IN=a -> OUT=OUT", "count: IN=IN -> OUT=a"]),
    ]
}

#[tokio::test]
async fn each_answer_flows_through_the_rest_in_order() {
    let server = Server::start(&simple("e", &[]));
    let told = server.all(count_to("e", 3)).await;
    assert_eq!((told.answers, told.end), (vec![vec![12], vec![11], vec![10]], Ok(())));
    let told = server.all(count_to("e", 0)).await;
    assert_eq!((told.answers.len(), told.end, told.is_last), (0, Ok(()), false));
    let statistics = server.engine.statistics(Some(&ModelRef::latest("e"))).unwrap();
    assert_eq!((statistics[0].inference.success.count, statistics[0].execution_count), (2, 2));
    let responses = &statistics[0].responses;
    assert_eq!((responses[&0].success.count, responses[&0].empty_response.count), (1, 1));
    assert_eq!((responses[&2].success.count, responses[&2].empty_response.count), (1, 0));
    assert_eq!(server.outcomes("plus", "ok"), 3.0);
}

#[tokio::test]
async fn the_last_answer_is_told_as_such_where_the_model_tells_it() {
    let server = Server::start(&simple("e", &[("tells", "yes")]));
    let told = server.all(count_to("e", 3)).await;
    assert_eq!(told.answers, [[12], [11], [10]]);
    assert!(told.is_last);
    let statistics = server.engine.statistics(Some(&ModelRef::latest("e"))).unwrap();
    assert!(statistics[0].responses.values().all(|response| response.empty_response.count == 0));
}

#[tokio::test]
async fn decoupled_steps_in_a_row_multiply() {
    let server = Server::start(&[
        counter("count", &["OUT"], &[]),
        counter("again", &["OUT"], &[]),
        plus("plus", "1"),
        plus("more", "40"),
        ensemble(
            "e",
            0,
            &["IN"],
            &["OUT"],
            &[
                "count: IN=IN -> OUT=a",
                "plus: IN=a -> OUT=b",
                "again: IN=b -> OUT=c",
                "more: IN=c -> OUT=OUT",
            ],
        ),
        ensemble("twice", 0, &["IN"], &["OUT"], &["e: IN=IN -> OUT=a", "plus: IN=a -> OUT=OUT"]),
    ]);
    // 3 is answered with 2, 1, 0; one more of each are 3, 2, 1; and those are answered in turn.
    assert_eq!(server.answers("e", 3).await, [42, 41, 40, 41, 40, 40]);
    assert_eq!(server.answers("e", 0).await, [0; 0]);
    assert_eq!(server.answers("twice", 2).await, [42, 41, 41], "an ensemble of it is decoupled, too");
    assert!(server.engine.decoupled(&ModelRef::latest("twice")));
}

#[tokio::test]
async fn answers_of_one_step_meet_again() {
    let server = Server::start(&[
        counter("count", &["OUT", "INDEX"], &[]),
        plus("plus", "100"),
        model("sum", 0, &["A", "B"], &["OUT"], &[]),
        ensemble(
            "e",
            0,
            &["IN"],
            &["OUT", "INDEX"],
            &[
                "count: IN=IN -> OUT=a INDEX=INDEX",
                "plus: IN=a -> OUT=b",
                "sum: A=a B=b -> OUT=OUT",
            ],
        ),
    ]);
    let told = server.all(count_to("e", 3)).await;
    assert_eq!(told.answers, [[104, 2], [102, 1], [100, 0]]);
    let told = server.all(wanting(count_to("e", 2), &["INDEX"])).await;
    assert_eq!(told.answers, [[1], [0]]);
    assert_eq!(server.outcomes("sum", "ok"), 3.0, "what nobody asked for does not run");
}

#[tokio::test]
async fn answers_keep_their_order_though_later_ones_take_less_time() {
    let mut entries = simple("e", &[]);
    entries[1] = instances(model("plus", 0, &["IN"], &["OUT"], &[("nap", "8")]), 4);
    let server = Server::start(&entries);
    assert_eq!(server.answers("e", 12).await, (0..12).rev().collect::<Vec<u8>>());
    assert!(server.backend.runs("plus").most_at_once > 1, "several answers are under way at once");
}

#[tokio::test]
async fn a_step_whose_answers_lead_nowhere_is_asked_to_its_end() {
    let server = Server::start(&[
        counter("count", &["OUT"], &[]),
        plus("plus", "1"),
        plus("log", "0"),
        ensemble(
            "e",
            0,
            &["IN"],
            &["OUT"],
            &[
                "plus: IN=IN -> OUT=OUT",
                "count: IN=IN -> OUT=a",
                "log: IN=a -> OUT=b",
            ],
        ),
    ]);
    let told = server.all(count_to("e", 30)).await;
    assert_eq!((told.answers, told.is_last), (vec![vec![31]], true));
    assert_eq!(server.outcomes("log", "ok"), 30.0);
}

#[tokio::test]
async fn what_does_not_come_together_is_refused_with_its_origins() {
    let server = Server::start(&[
        counter("count", &["OUT"], &[]),
        model("sum", 0, &["A", "B"], &["OUT"], &[]),
        plus("plus", "1"),
        ensemble("input", 0, &["IN"], &["OUT"], &["count: IN=IN -> OUT=a", "sum: A=a B=IN -> OUT=OUT"]),
        ensemble("outputs", 0, &["IN"], &["a", "b"], &["count: IN=IN -> OUT=a", "plus: IN=IN -> OUT=b"]),
    ]);
    assert_eq!(
        server.reason("input"),
        "UNAVAILABLE step[1] (model 'sum'): it receives inputs originated from different decoupled models: 'a' comes with \
         each answer of step[0] (model 'count'), 'IN' comes with the request"
    );
    assert_eq!(
        server.reason("outputs"),
        "UNAVAILABLE the outputs of the ensemble originate from different decoupled models: 'a' comes with each answer of \
         step[0] (model 'count'), 'b' comes with the request"
    );
    let told = server.all(count_to("input", 1)).await;
    assert!(told.end.unwrap_err().contains("originated from different decoupled models"));
}

#[tokio::test]
async fn one_answer_cannot_be_asked_of_it() {
    let server = Server::start(&simple("e", &[]));
    let fault = server.infer(count_to("e", 1)).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Unsupported);
    assert!(
        fault.client_message().starts_with("model 'e': this endpoint doesn't support"),
        "{fault:?}"
    );
    let document = server.engine.model_config(&ModelRef::latest("e")).unwrap();
    let json = String::from_utf8_lossy(&document.json).replace(' ', "");
    assert!(
        json.contains("\"model_transaction_policy\":{\"decoupled\":true}"),
        "as its steps are: {json}"
    );
    assert!(server.engine.decoupled(&ModelRef::latest("e")));
    // With a model that answers once in its place, it answers once.
    let mut once = plus("count", "1");
    once.config.name = "count".to_owned();
    server.engine.load(&[once]);
    assert!(!server.engine.decoupled(&ModelRef::latest("e")));
    assert_eq!(server.ask(count_to("e", 1)).await, Ok(vec![vec![12]]));
    assert_eq!(server.answers("e", 1).await, [12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_everything_back() {
    let server = Server::start(&simple("e", &[]));
    let mut stream = server.engine.infer_stream(count_to("e", 199));
    assert!(stream.next().await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sent = server.counting.sent.load(Ordering::SeqCst);
    assert!(sent < 40, "{sent} answers were made for a client that took one");
    let told = rest(stream).await;
    assert_eq!(told.answers.len(), 198);
    assert_eq!(told.answers.last().unwrap(), &[10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_everything_along() {
    let mut entries = simple("e", &[]);
    let Scheduling::Ensemble(ensemble) = &mut entries[2].config.scheduling else {
        panic!("an ensemble")
    };
    ensemble.max_inflight_requests = 1;
    let server = Server::start(&entries);
    let mut stream = server.engine.infer_stream(count_to("e", 199));
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    let mut left = 400;
    while server.counting.gone.load(Ordering::SeqCst) == 0 && left > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        left -= 1;
    }
    assert_eq!(server.counting.gone.load(Ordering::SeqCst), 1);
    assert_eq!(server.outcomes("e", "cancelled"), 1.0);
    assert_eq!(server.outcomes("count", "cancelled"), 1.0);
    assert_eq!(server.metric("adulis_requests_in_flight"), Some(0.0));
    assert_eq!(server.answers("e", 20).await.len(), 20, "its places are free again");
}

#[tokio::test]
async fn a_step_that_fails_ends_the_stream_behind_the_answers_before() {
    let steps = [
        "count: IN=IN -> OUT=a",
        "plus: IN=a -> OUT=b",
        "bad: IN=b -> OUT=OUT",
    ];
    let server = Server::start(&[
        counter("count", &["OUT"], &[("up", "yes")]),
        plus("plus", "250"),
        plus("bad", "0"),
        ensemble("e", 0, &["IN"], &["OUT"], &steps),
        ensemble("short", 0, &["IN"], &["OUT"], &["count: IN=IN -> OUT=OUT"]),
    ]);
    // The sixth answer becomes 255.
    let told = server.all(count_to("e", 199)).await;
    assert_eq!(told.answers, [[250], [251], [252], [253], [254]]);
    assert_eq!(told.end, Err("in ensemble 'e', model 'bad': execution failed: asked to fail".to_owned()));
    assert_eq!(server.outcomes("e", "internal"), 1.0);
    assert_eq!(server.outcomes("count", "cancelled"), 1.0);
    // 200 fails behind its first answer.
    let told = server.all(count_to("short", 200)).await;
    assert_eq!(told.answers, [[200]]);
    assert_eq!(
        told.end,
        Err("in ensemble 'short', model 'count': execution failed: asked to fail".to_owned())
    );
}

#[tokio::test]
async fn a_deadline_holds_until_the_last_answer() {
    let mut entries = simple("e", &[]);
    entries[1] = model("plus", 0, &["IN"], &["OUT"], &[("run", "40")]);
    let server = Server::start(&entries);
    let mut request = count_to("e", 100);
    request.limit_timeout(Duration::from_millis(150));
    let mut stream = server.engine.infer_stream(request);
    let (mut answers, mut end) = (0, None);
    while let Some(answer) = stream.next().await {
        match answer {
            Ok(_) => answers += 1,
            Err(fault) => end = Some(fault),
        }
    }
    assert!((1..100).contains(&answers), "{answers}");
    let fault = end.unwrap();
    assert_eq!(fault.kind(), ErrorKind::DeadlineExceeded);
    assert!(fault.client_message().starts_with("in ensemble 'e', model '"), "{fault:?}");
}
