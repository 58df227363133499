use super::*;

#[tokio::test]
async fn only_rows_that_are_not_known_run() {
    let server = Server::start(&[entry("m", None, &[])]);
    assert_eq!(server.status(request("m", &[1, 2, 3])).await, CacheStatus::Miss);
    assert_eq!(server.status(request("m", &[4, 3, 4, 1])).await, CacheStatus::Miss);
    assert_eq!(server.status(request("m", &[1, 4])).await, CacheStatus::Hit);
    assert_eq!(server.status(request("m", &[2])).await, CacheStatus::Hit);
    assert_eq!(server.metric("adulis_inference_rows_total{model=\"m\",version=\"1\"}"), 3.0 + 1.0);
    let rows = |outcome: &str| {
        let name = "adulis_cache_rows_total";
        server.metric(&format!("{name}{{model=\"m\",version=\"1\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!([rows("found"), rows("run")], [2.0 + 2.0 + 1.0, 3.0 + 2.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_out_of_date_are_computed_anew_beside_those_that_are_missing() {
    let mut model = entry("m", None, &[]);
    model.config.caching = Caching {
        ttl: Some(Duration::from_millis(1)),
        stale_while_revalidate: Duration::from_secs(3600),
        ..Caching::default()
    };
    let server = Server::start(&[model]);
    assert_eq!(server.status(request("m", &[1, 2])).await, CacheStatus::Miss);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let response = server.ask(request("m", &[1, 3, 2])).await.unwrap();
    assert_eq!(response.cache.unwrap().status, CacheStatus::Miss);
    let rows = || server.metric("adulis_inference_rows_total{model=\"m\",version=\"1\"}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while rows() < 5.0 {
        assert!(Instant::now() < deadline, "{} rows: the two that are known are not computed anew", rows());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_model_can_be_looked_up_whole() {
    let mut model = entry("m", None, &[]);
    model.config.caching.row_wise = Some(false);
    let server = Server::start(&[model]);
    for status in [CacheStatus::Miss, CacheStatus::Hit] {
        assert_eq!(server.status(request("m", &[1, 2])).await, status);
    }
    assert_eq!(server.status(request("m", &[1])).await, CacheStatus::Miss);
    assert_eq!(server.statistics("m").0, 3, "rows of both runs");
}

#[tokio::test]
async fn memory_stays_within_its_bound() {
    let memory_bytes = 64 << 10;
    let server =
        Server::with(CacheSettings { memory_bytes, ..CacheSettings::default() }, &[entry("m", None, &[])]);
    for first in 0..=u8::MAX {
        for second in 0..8_u8 {
            let rows = [first, first.wrapping_add(second)];
            server.ask(request("m", &rows)).await.unwrap();
            let bytes = server.metric("adulis_cache_bytes{model=\"m\",version=\"1\",tier=\"memory\"}");
            assert!(bytes <= 65536.0, "{bytes}");
        }
    }
    assert!(server.metric("adulis_cache_evictions_total{model=\"m\",version=\"1\",tier=\"memory\"}") > 0.0);
}
