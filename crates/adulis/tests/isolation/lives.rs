//! What depends on the life of a worker: sequences, decoupled models, a run that is to be ended by force.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adulis::backend::{BatchInput, BuiltIn, EngineOptions, LoadRequest, ModelInstance};
use adulis::tensor::{DataType, Shape, Tensor};
use adulis::{Isolation, WorkerCommand, WorkerOptions};
use adulis_telemetry::MetricRegistry;
use adulis_testing::{ProcessSignal, RawConnection, TestRepository, TestServer, send_signal};
use adulis_worker::Workers;

use crate::support::{BINARY, byte_json, byte_model, serve};
use crate::{deaths, workers};

fn write_model(repository: &TestRepository, name: &str, config: &str) {
    let folder = repository.path().join(name);
    std::fs::create_dir_all(folder.join("1")).unwrap();
    std::fs::write(folder.join("config.pbtxt"), format!("name: \"{name}\"\n{config}")).unwrap();
}

fn next(value: u8, flags: &str) -> String {
    format!(
        r#"{{"parameters":{{"sequence_id":7{flags}}},"inputs":[{{"name":"INPUT","datatype":"INT32","shape":[1,1],"data":[{value}]}}]}}"#
    )
}

/// What a sequence has come to goes with its worker: it is given up, never run from the wrong state.
#[tokio::test]
async fn a_sequence_whose_worker_died_is_given_up() {
    let repository = TestRepository::new().unwrap();
    let control = |name: &str, kind: &str| {
        format!("{{ name: \"{name}\" control [ {{ kind: {kind} int32_false_true: [ 0, 1 ] }} ] }}")
    };
    let config = format!(
        "backend: \"sequence\"\nmax_batch_size: 4\n\
         input [ {{ name: \"INPUT\" data_type: TYPE_INT32 dims: [ 1 ] }} ]\n\
         output [ {{ name: \"OUTPUT\" data_type: TYPE_INT32 dims: [ 1 ] }} ]\n\
         sequence_batching {{ control_input [ {}, {} ] }}\n",
        control("START", "CONTROL_SEQUENCE_START"),
        control("READY", "CONTROL_SEQUENCE_READY"),
    );
    write_model(&repository, "sum", &config);
    let server = serve(&repository, &["--workers", "1"]);
    server.ready().await;
    for (body, says) in [
        (next(5, r#","sequence_start":true"#), "[5]"),
        (next(6, ""), "[11]"),
    ] {
        let answer = server.infer("sum", &[], &body).await.unwrap();
        assert!(answer.status == 200 && answer.text().contains(says), "{}", answer.text());
    }
    let worker = workers(&server, 1).await[0];
    send_signal(worker, ProcessSignal::Kill).unwrap();
    server.metric_reaches("adulis_worker_deaths_total", &[], 1.0).await;
    let answer = server.infer("sum", &[], &next(7, "")).await.unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("kept the state of its sequences"), "{}", answer.text());
    let answer = server.infer("sum", &[], &next(8, "")).await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = server.infer("sum", &[], &next(9, r#","sequence_start":true"#)).await.unwrap();
    assert!(answer.status == 200 && answer.text().contains("[9]"), "{}", answer.text());
}

#[tokio::test]
async fn decoupled_models_stay_in_the_server() {
    let repository = TestRepository::new().unwrap();
    let config = "backend: \"repeat\"\nmodel_transaction_policy { decoupled: true }\n";
    write_model(&repository, "repeat", config);
    write_model(
        &repository,
        "insists",
        &format!("{config}parameters {{ key: \"isolation\" value: {{ string_value: \"process\" }} }}\n"),
    );
    let server = serve(
        &repository,
        &[
            "--set",
            "workers.isolation=process",
            "--set",
            "strict_readiness=false",
        ],
    );
    server.ready().await;
    server.logged(&["WARN", "repeat", "without isolation"]).await;
    server
        .logged(&[
            "ERROR",
            "insists",
            "parameter isolation = process for models that answer",
        ])
        .await;
    assert_eq!(server.get("/v2/models/repeat/ready").await.unwrap().status, 200);
    workers(&server, 0).await;
}

/// An instance of an identity model in a worker of its own.
fn instance(parameters: &[(&str, &str)]) -> (Arc<dyn adulis::backend::Model>, Box<dyn ModelInstance>) {
    let command = WorkerCommand { program: BINARY.into(), arguments: vec!["worker".into()] };
    let options = WorkerOptions { isolation: Isolation::Process, ..WorkerOptions::default() };
    let workers = Workers::new(command, options, &MetricRegistry::default());
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let request = LoadRequest {
        name: "byte".into(),
        version: 1,
        path: PathBuf::new(),
        declared: None,
        options: EngineOptions { parameters: parameters.collect(), ..EngineOptions::default() },
    };
    let model = workers.isolate(Arc::new(BuiltIn)).load(&request).unwrap();
    let instance = model.instance().unwrap();
    (model, instance)
}

fn batch(value: f32) -> Vec<BatchInput> {
    let bytes: Vec<u8> = (0..16).flat_map(|_| value.to_le_bytes()).collect();
    let tensor = Tensor::new(DataType::Fp32, Shape::from([1, 16]), bytes.into()).unwrap();
    let (datatype, shape) = (tensor.datatype(), tensor.shape().clone());
    vec![BatchInput { index: 0, name: "INPUT0".into(), datatype, shape, parts: vec![tensor] }]
}

/// What a watchdog does with a run that takes too long: it is ended by force, and not run again.
#[test]
fn a_run_is_ended_by_force() {
    let (model, mut instance) = instance(&[("execute_delay_row_microseconds", "60000000")]);
    let interrupt = instance.interrupt().unwrap();
    assert!(!interrupt.force(), "there is no run");
    let begun = Instant::now();
    let run = std::thread::spawn(move || instance.execute(&batch(1.0)).unwrap_err().to_string());
    while !interrupt.force() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let told = run.join().unwrap();
    assert!(told.contains("interrupted"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(model);
}

/// A batch is back as it was sent, and times add up to no more than it took.
#[test]
fn an_instance_in_a_worker_is_as_one_here() {
    let (model, mut there) = instance(&[]);
    assert!(model.runs_elsewhere() && !model.keeps_state() && model.unready().is_none());
    for value in [1.0, 2.0] {
        let begun = Instant::now();
        let ran = there.execute(&batch(value)).unwrap();
        let took = begun.elapsed();
        assert_eq!(ran.outputs, [batch(value)[0].parts[0].clone()]);
        assert!(ran.input + ran.infer + ran.output <= took);
    }
}

async fn ask(connection: &mut RawConnection, byte: u8) -> u16 {
    let body = byte_json(byte);
    let answer = connection.request("POST /v2/models/byte/infer", &[], body.as_bytes()).await;
    answer.unwrap().status
}

/// The number that the next file of a server would have.
fn next_file(server: &TestServer) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let open: BTreeSet<u64> =
        open.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..).find(|number| !open.contains(number)).unwrap()
}

/// What the server lacks is no fault of its workers.
#[tokio::test]
async fn a_server_without_file_descriptors_kills_no_worker() {
    let repository = TestRepository::new().unwrap();
    // What it fails on is what it would be tried with, so that it is not.
    repository.identity("byte", &byte_model(&[("panic_on", "0")])).unwrap();
    let server = serve(&repository, &["--workers", "1"]);
    server.ready().await;
    let mut connection = server.connect().await.unwrap();
    // Takes the instance along, so that the next run needs another connection to the worker.
    assert_eq!(ask(&mut connection, 0).await, 500);
    // They take the lowest numbers, which are free again when they are closed.
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut other = server.connect().await.unwrap();
        assert_eq!(other.request("GET /v2/health/live", &[], b"").await.unwrap().status, 200);
        idle.push(other);
    }
    server.limit_open_files(next_file(&server)).unwrap();
    assert_eq!(ask(&mut connection, 1).await, 500);
    drop(idle);
    let begun = Instant::now();
    while ask(&mut connection, 1).await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(deaths(&server, "").await, 0.0, "{}", server.log());
}
