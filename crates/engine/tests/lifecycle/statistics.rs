use adulis_types::{DurationStatistic, ModelStatistics};

use super::*;

fn times(count: u64, milliseconds: u64) -> DurationStatistic {
    DurationStatistic {
        count,
        total: Duration::from_millis(milliseconds) * u32::try_from(count).unwrap(),
    }
}

fn statistics(server: &Server, model: &str) -> ModelStatistics {
    let mut all = server.engine.statistics(Some(&ModelRef::latest(model))).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn requests_rows_and_executions_add_up() {
    let repository = Repository::new();
    repository.put("m", 1, "add=1");
    let server = Server::start(&repository, explicit());
    server.load("m").await.unwrap();
    assert_eq!(statistics(&server, "m").inference_count, 0, "warm-up does not count");

    let before = Instant::now();
    for rows in [1, 3, 3] {
        server.engine.infer(request("m", None, &vec![0; rows])).await.unwrap();
    }
    let took = before.elapsed();
    server.infer("m", None, 255).await.unwrap_err();
    let mut wrong = request("m", None, &[0]);
    wrong.inputs.clear();
    server.engine.infer(wrong).await.unwrap_err();

    let read = statistics(&server, "m");
    assert_eq!((&*read.name, read.version), ("m", 1));
    assert_eq!((read.inference_count, read.execution_count), (7, 3));
    assert_eq!(read.inference.success.count, 3);
    assert!(read.inference.success.total <= took, "{read:?}");
    assert!(read.inference.queue.total <= read.inference.success.total);
    assert_eq!(read.inference.fail.count, 2);
    // What the backend says of each run.
    assert_eq!(read.inference.queue.count, 3);
    assert_eq!(read.inference.compute_input, times(3, 1));
    assert_eq!(read.inference.compute_infer, times(3, 10));
    assert_eq!(read.inference.compute_output, times(3, 2));
    assert_eq!(read.inference.cache_hit, DurationStatistic::default());
    let batches: Vec<(u64, DurationStatistic)> =
        read.batches.iter().map(|batch| (batch.batch_size, batch.compute_infer)).collect();
    assert_eq!(batches, [(1, times(1, 10)), (3, times(2, 10))]);
    assert!(!read.last_inference.is_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_an_execution_are_counted_one_by_one() {
    let repository = Repository::new();
    repository.configure("m", "max_batch_size = 8\ndynamic_batching = { max_queue_delay = \"10s\" }");
    repository.put("m", 1, "add=1");
    let server = Arc::new(Server::start(&repository, explicit()));
    server.load("m").await.unwrap();
    let requests: Vec<_> = [3, 4, 1]
        .into_iter()
        .map(|rows| {
            let server = Arc::clone(&server);
            tokio::spawn(
                async move { server.engine.infer(request("m", None, &vec![0; rows])).await.unwrap() },
            )
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    let read = statistics(&server, "m");
    assert_eq!((read.inference_count, read.execution_count, read.inference.success.count), (8, 1, 3));
    assert_eq!(read.inference.compute_infer, times(3, 10), "each was in the run for its whole length");
    assert_eq!((read.batches.len(), read.batches[0].batch_size), (1, 8));
    assert_eq!(read.batches[0].compute_infer, times(1, 10));
}

#[tokio::test]
async fn a_reload_begins_anew_and_what_stays_goes_on() {
    let repository = Repository::new();
    repository.configure("m", "version_policy = \"all\"");
    repository.put("m", 1, "add=1");
    repository.put("m", 2, "add=2");
    repository.put("other", 1, "add=3");
    let server = Server::start(&repository, explicit());
    for model in ["m", "other"] {
        server.load(model).await.unwrap();
        server.adds(model, None).await.unwrap();
    }
    let counts = || {
        let all = server.engine.statistics(None).unwrap();
        all.into_iter()
            .map(|read| (read.name.to_string(), read.version, read.inference_count))
            .collect::<Vec<_>>()
    };
    let line = |name: &str, version, count| (name.to_owned(), version, count);
    assert_eq!(counts(), [line("m", 1, 0), line("m", 2, 1), line("other", 1, 1)]);
    server.load("m").await.unwrap();
    assert_eq!(counts(), [line("m", 1, 0), line("m", 2, 0), line("other", 1, 1)]);
    server.unload("m").await.unwrap();
    assert_eq!(counts(), [line("other", 1, 1)]);
}

#[tokio::test]
async fn one_version_or_all_of_a_model_can_be_asked_for() {
    let repository = Repository::new();
    repository.configure("m", "version_policy = \"all\"");
    repository.put("m", 1, "add=1");
    repository.put("m", 2, "add=2");
    let server = Server::start(&repository, explicit());
    let ask = |version| {
        let read = server.engine.statistics(Some(&ModelRef { name: "m".into(), version }));
        read.map(|all| all.iter().map(|read| read.version).collect::<Vec<_>>())
            .map_err(|fault| fault.client_message().into_owned())
    };
    assert_eq!(ask(None).unwrap_err(), "Request for unknown model: 'm' is not found");
    server.load("m").await.unwrap();
    assert_eq!(ask(None).unwrap(), [1, 2]);
    assert_eq!(ask(Some(2)).unwrap(), [2]);
    assert!(ask(Some(3)).unwrap_err().contains("version 3 is not found"));
    server.unload("m").await.unwrap();
    assert!(ask(None).unwrap_err().contains("has no available versions"));
}
