use adulis_store::{Database, JsonLines, LogFilter, LogSink, Parquet, StoreUrl, Tables, export_log};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::{Value, json};

use crate::support::{Served, all, log, open, request};

/// More than a page.
const RECORDS: usize = 450;

async fn fill(url: &StoreUrl) {
    let served = Served::new(url, Some(log(all())));
    for number in 0..RECORDS {
        served.echo(&format!("id-{number}"), &number.to_le_bytes()[..2]).await;
    }
    served.service.infer(request("fail-internal", "bad", &[1])).await.unwrap_err();
    served.close().await;
}

async fn export(database: &Database, filter: &LogFilter, sink: &mut dyn LogSink) -> Vec<u64> {
    let mut told = Vec::new();
    let total = export_log(database, filter, sink, |count| told.push(count)).await.unwrap();
    assert_eq!(told.last().copied().unwrap_or(0), total);
    told
}

async fn lines(url: &StoreUrl, filter: &LogFilter) -> Vec<Value> {
    let mut out = Vec::new();
    export(&open(url, Tables::Expected), filter, &mut JsonLines::new(&mut out)).await;
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) async fn json_lines_read_back(url: &StoreUrl) {
    fill(url).await;
    let mut out = Vec::new();
    let database = open(url, Tables::Expected);
    let told = export(&database, &LogFilter::default(), &mut JsonLines::new(&mut out)).await;
    assert_eq!(told, [200, 400, RECORDS as u64 + 1], "page by page");
    let lines = lines(url, &LogFilter::default()).await;
    assert_eq!(lines.len(), RECORDS + 1);
    for (number, line) in lines[..RECORDS].iter().enumerate() {
        let data = number.to_le_bytes();
        let tensor = json!([{"name": "x", "datatype": "UINT8", "shape": [2], "data": [data[0], data[1]]}]);
        assert_eq!(line["client_id"], format!("id-{number}"));
        assert_eq!((&line["inputs"], &line["outputs"]), (&tensor, &tensor));
        assert_eq!(
            (&line["model"], &line["version"], &line["outcome"]),
            (&json!("echo"), &json!(1), &json!("ok"))
        );
        assert!(line.get("message").is_none() && line["latency_us"].is_u64());
    }
    let last = &lines[RECORDS];
    assert_eq!((&last["outcome"], &last["version"]), (&json!("internal"), &Value::Null));
    assert!(last["message"].is_string());
    assert!(lines.is_sorted_by_key(|line| line["at_us"].as_i64()));
}

pub(crate) async fn parquet_reads_back(url: &StoreUrl) {
    fill(url).await;
    let file = tempfile::tempfile().unwrap();
    let mut sink = Parquet::new(file.try_clone().unwrap()).unwrap();
    export(&open(url, Tables::Expected), &LogFilter::default(), &mut sink).await;
    let reader = SerializedFileReader::new(file).unwrap();
    let lines = lines(url, &LogFilter::default()).await;
    let mut count = 0;
    for (row, line) in reader.get_row_iter(None).unwrap().zip(&lines) {
        let row = row.unwrap();
        assert_eq!(row.get_timestamp_micros(0).unwrap(), line["at_us"].as_i64().unwrap());
        for (column, name) in [(1, "request_id"), (2, "client_id"), (4, "model"), (6, "outcome")] {
            assert_eq!(row.get_string(column).unwrap(), line[name].as_str().unwrap());
        }
        assert_eq!(row.get_long(5).ok(), line["version"].as_i64());
        assert_eq!(row.get_string(7).ok().map(String::as_str), line["message"].as_str());
        assert_eq!(row.get_long(8).unwrap(), line["latency_us"].as_i64().unwrap());
        for (column, name) in [(10, "inputs"), (11, "outputs")] {
            let tensors: Value = serde_json::from_str(row.get_string(column).unwrap()).unwrap();
            assert_eq!(tensors, line[name]);
        }
        count += 1;
    }
    assert_eq!((count, lines.len()), (RECORDS + 1, RECORDS + 1));
}

pub(crate) async fn model_and_time_choose(url: &StoreUrl) {
    fill(url).await;
    let everything = lines(url, &LogFilter::default()).await;
    let at = |index: usize| everything[index]["at_us"].as_i64();
    let model = |model: &str| LogFilter { model: Some(model.to_owned()), ..LogFilter::default() };
    assert_eq!(lines(url, &model("fail-internal")).await.len(), 1);
    assert_eq!(lines(url, &model("x' OR 'x' = 'x")).await.len(), 0);
    let (since_us, until_us) = (at(100), at(300));
    let expected = everything
        .iter()
        .filter(|line| line["at_us"].as_i64() >= since_us && line["at_us"].as_i64() < until_us);
    let expected: Vec<&Value> = expected.collect();
    let some = lines(url, &LogFilter { since_us, until_us, ..model("echo") }).await;
    assert_eq!(some.iter().collect::<Vec<_>>(), expected);
    assert!(some.len() > 100);
}
