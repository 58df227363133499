use super::*;
use crate::cached::CacheOutcome;
use crate::failure::{Failure, FailureKind};
use crate::server_metrics::ServerDelta;
use crate::tally::{Answered, Timing};

fn window(requests: u32, late: Option<Duration>) -> Window {
    let mut window = Window {
        elapsed: Duration::from_secs(2),
        server_cpu: Some(Duration::from_millis(10)),
        own_cpu: Duration::from_secs(1),
        server: Some(ServerDelta {
            stages: [
                ("total".to_owned(), (0.004, 4.0)),
                ("queue".to_owned(), (0.0004, 4.0)),
            ]
            .into(),
            cpu_seconds: None,
        }),
        ..Window::default()
    };
    for index in 1..=requests {
        let service = Duration::from_micros(100) * index;
        let cache = if index % 2 == 0 { CacheOutcome::Hit } else { CacheOutcome::Miss };
        window.tally.succeeded(Answered {
            timing: Timing { service, late },
            sent_bytes: 10,
            received_bytes: 20,
            is_repeat: index % 4 == 0,
            cache: Some(cache),
            in_time: index <= 5,
        });
    }
    window.tally.failed(Failure::new(FailureKind::Http(503), "queue is full"));
    window
}

fn report(load: Load, late: Option<Duration>) -> Report {
    let subject = Subject {
        url: "http://a".to_owned(),
        model: Some("m".to_owned()),
        protocol: "rest-binary".to_owned(),
        rows_per_request: 4,
        is_drawn: true,
        deadline: Some(Duration::from_micros(500)),
    };
    let windows = [window(10, late), window(30, late)];
    Report {
        model: Some("m".to_owned()),
        rows_per_request: 4,
        seed: 1,
        threads: 1,
        results: vec![LevelReport::new(&subject, load, 5, &windows)],
        comparisons: Vec::new(),
        idle: None,
    }
}

#[test]
fn windows_are_summed_up() {
    let report = report(Load::Concurrency(8), None);
    let result = &report.results[0];
    assert_eq!((result.requests, result.failed, result.windows_used), (40, 2, 2));
    assert!((result.requests_per_second - 10.0).abs() < 1e-9);
    assert!((result.rows_per_second - 40.0).abs() < 1e-9);
    assert!((result.error_rate() - 2.0 / 42.0).abs() < 1e-9);
    assert!((result.generator_cores - 0.5).abs() < 1e-9);
    let cpu = result.server_cpu_microseconds_per_request.unwrap();
    assert!((cpu - 500.0).abs() < 1e-9, "{cpu}");
    let stages: Vec<_> = result.server_stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(stages, ["queue", "total"]);
    assert!((result.server_stages[1].mean_microseconds - 1000.0).abs() < 1e-6);
}

#[test]
fn an_open_loop_reports_from_the_intended_time() {
    let report = report(Load::Rate(20.0), Some(Duration::from_millis(50)));
    let result = &report.results[0];
    assert!(result.latency().p50_microseconds > 50_000.0);
    assert!(result.service_latency.p50_microseconds < 2_000.0);
    assert!(result.lateness.unwrap().p50_microseconds > 49_000.0);
}

#[test]
fn the_table_tells_what_matters() {
    let mut text = Vec::new();
    write_table(&report(Load::Concurrency(8), None), Style::Plain, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for part in [
        "m at http://a over rest-binary, 4 row(s)",
        "requests/s",
        "2 × HTTP 503: queue is full",
        "do not agree",
        "queue 100 µs, total 1000 µs",
        "load 8: 2.5 answers/s within the deadline of 500 µs (goodput)",
        "load 8: 22.5 % of the requests had been sent before",
        "load 8: response cache: hit 20 (50.0 %), miss 20 (50.0 %)\n",
        "load 8: response cache, window 2: hit 15, stale 0, coalesced 0, miss 15, bypass 0",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn two_models_of_one_server_are_told_apart() {
    let mut both = report(Load::Concurrency(8), None);
    let mut other = both.results[0].clone();
    other.model = Some("n".to_owned());
    both.results.push(other);
    let mut text = Vec::new();
    write_table(&both, Style::Plain, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for side in ["http://a m rest-binary", "http://a n rest-binary"] {
        assert!(text.contains(side), "{side} is missing in\n{text}");
    }
}

#[test]
fn csv_has_a_value_or_nothing_in_each_column() {
    let mut text = Vec::new();
    write_csv(&report(Load::Concurrency(8), None), &mut text).unwrap();
    let mut reader = ::csv::Reader::from_reader(&text[..]);
    let heads = reader.headers().unwrap().clone();
    let line = reader.records().next().unwrap().unwrap();
    let cell = |name: &str| {
        let column = heads.iter().position(|head| head == name).unwrap();
        line[column].to_owned()
    };
    assert_eq!(cell("concurrency"), "8");
    assert_eq!(cell("rate"), "");
    assert_eq!(cell("requests"), "40");
    assert_eq!(cell("requests_per_second"), "10.000");
    assert_eq!(cell("goodput_per_second"), "2.500");
    assert_eq!([cell("repeat_share"), cell("cache_hit"), cell("cache_bypass")], ["0.225", "20", "0"]);
}

#[test]
fn ratios_are_medians_of_pairs() {
    let ratio = Ratio::of([(1.0, 2.0), (3.0, 2.0), (2.0, 2.0)]).unwrap();
    assert_eq!((ratio.median, ratio.min, ratio.max), (1.0, 0.5, 1.5));
    let even = Ratio::of([(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (1.0, 0.0)]).unwrap();
    assert!((even.median - 1.5).abs() < 1e-9);
    assert_eq!(Ratio::of([(1.0, 0.0)]), None);
}
