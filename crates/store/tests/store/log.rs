use std::time::Duration;

use adulis_store::{Capture, LogOptions, LogPolicy, Retention, StoreUrl};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::support::{Served, all, direct, log, request};

async fn rows(url: &StoreUrl) -> Vec<AnyRow> {
    let select = "SELECT request_id, client_id, model, version, outcome, message, inputs, outputs, latency_us
                  FROM adulis_inference_log ORDER BY id";
    sqlx::query(select).fetch_all(&direct(url).await).await.unwrap()
}

fn text(row: &AnyRow, column: &str) -> String {
    row.try_get(column).unwrap()
}

pub(crate) async fn answers_are_written_as_they_were(url: &StoreUrl) {
    let served = Served::new(url, Some(log(all())));
    let ids: Vec<String> = (0..120).map(|number| format!("id-{number}")).collect();
    for id in &ids {
        served.echo(id, &[1, 2, 3]).await;
    }
    let refused = request("fail-overloaded", "no", &[9]);
    let request_id = refused.request_id.to_string();
    served.service.infer(refused).await.unwrap_err();
    served.close().await;
    assert_eq!(served.metric("adulis_inference_log_written_total"), 121.0);
    assert_eq!(served.metric("adulis_inference_log_queue_records"), 0.0);
    assert!(served.metric("adulis_inference_log_flush_seconds_count") >= 1.0);
    let rows = rows(url).await;
    let found: Vec<String> = rows.iter().map(|row| text(row, "client_id")).collect();
    assert_eq!(found[..120], ids[..]);
    assert_eq!((text(&rows[0], "model"), text(&rows[0], "outcome")), ("echo".to_owned(), "ok".to_owned()));
    assert_eq!(rows[0].get::<i64, _>("version"), 1);
    let tensor = r#"[{"name":"x","datatype":"UINT8","shape":[3],"base64":"AQID"}]"#;
    assert_eq!(
        (text(&rows[0], "inputs"), text(&rows[0], "outputs")),
        (tensor.to_owned(), tensor.to_owned())
    );
    let last = &rows[120];
    assert_eq!((text(last, "request_id"), text(last, "outcome")), (request_id, "overloaded".to_owned()));
    assert!(!text(last, "message").is_empty() && text(last, "outputs") == "[]");
}

pub(crate) async fn what_is_redacted_is_not_in_the_database(url: &StoreUrl) {
    let redact = LogPolicy { redact: vec!["x".to_owned()], ..all() };
    let digests = LogPolicy { capture: Capture::Digests, ..all() };
    let mut options = log(LogPolicy::default());
    options.policies.models.insert("echo".to_owned(), redact);
    options.policies.models.insert("late".to_owned(), digests);
    let served = Served::new(url, Some(options));
    served.echo("", b"a secret of four words").await;
    served.service.infer(request("late", "", b"abc")).await.unwrap();
    served.service.infer(request("fail-internal", "", b"not logged")).await.unwrap_err();
    served.close().await;
    let rows = rows(url).await;
    assert_eq!(rows.len(), 2);
    let redacted = r#"[{"name":"x","datatype":"UINT8","shape":[22],"redacted":true}]"#;
    assert_eq!([text(&rows[0], "inputs"), text(&rows[0], "outputs")], [redacted, redacted]);
    let digest = r#"[{"name":"x","datatype":"UINT8","shape":[3],"digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]"#;
    assert_eq!([text(&rows[1], "inputs"), text(&rows[1], "outputs")], [digest, digest]);
}

pub(crate) async fn what_a_database_cannot_hold_takes_nothing_with_it(url: &StoreUrl) {
    let served = Served::new(url, Some(log(all())));
    // A rule of the database's own, which refuses one record of a batch.
    served.metric_reaches("adulis_store_up", 1.0).await;
    served.store.database().ping().await.unwrap();
    let rule = "CREATE UNIQUE INDEX one_of_each ON adulis_inference_log (client_id)";
    sqlx::raw_sql(rule).execute(&direct(url).await).await.unwrap();
    for id in ["a", "b", "b", "nul \0 in the middle", &"é".repeat(5000)] {
        served.echo(id, &[1]).await;
    }
    served.close().await;
    let found: Vec<String> = rows(url).await.iter().map(|row| text(row, "client_id")).collect();
    assert_eq!(found, ["a", "b", "nul \u{fffd} in the middle", &"é".repeat(512)]);
    assert_eq!(served.metric("adulis_inference_log_written_total"), 4.0);
    assert_eq!(served.metric("adulis_inference_log_dropped_total{reason=\"refused\"}"), 1.0);
}

pub(crate) async fn retention_deletes_the_old_and_the_many(url: &StoreUrl) {
    let retention = |max_age, max_records| Retention { max_age, max_records };
    let options = |retention| Some(LogOptions { retention, ..log(all()) });
    let hour = Duration::from_secs(3600);
    let served = Served::new(url, options(retention(Some(hour), Some(1500))));
    for number in 0..30_u8 {
        served.echo(&number.to_string(), &[number]).await;
    }
    served.close().await;
    // Two hours old, in more steps than one.
    let pool = direct(url).await;
    let old = "INSERT INTO adulis_inference_log (at_us, request_id, client_id, answer, model, outcome, latency_us,
        compute_us, inputs, outputs)
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2345)
        SELECT (SELECT MIN(at_us) FROM adulis_inference_log) - 7200000000 + n, 'r', 'old', 0, 'm', 'ok', 0, 0, '[]', '[]'
        FROM numbers";
    sqlx::raw_sql(old).execute(&pool).await.unwrap();

    let served = Served::new(url, options(retention(Some(hour), Some(1500))));
    assert_eq!(served.store.shorten_log().await.unwrap(), 2345);
    assert_eq!(served.metric("adulis_inference_log_expired_total"), 2345.0);
    assert_eq!(served.store.shorten_log().await.unwrap(), 0);
    served.close().await;
    let served = Served::new(url, options(retention(None, Some(7))));
    assert_eq!(served.store.shorten_log().await.unwrap(), 23);
    served.close().await;
    let kept: Vec<String> = rows(url).await.iter().map(|row| text(row, "client_id")).collect();
    assert_eq!(kept, ["23", "24", "25", "26", "27", "28", "29"]);
}
