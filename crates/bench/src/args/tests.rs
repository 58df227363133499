use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn parse(arguments: &str) -> Result<BenchArgs, clap::Error> {
    let words = std::iter::once("bench").chain(arguments.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.bench)
}

#[test]
fn defaults_need_only_a_model() {
    let args = parse("-m digits").unwrap();
    assert_eq!(args.load.concurrency.values(), [1.0]);
    assert_eq!(args.measure.windows, 3);
    assert!(args.load.thread_count() >= 1);
}

#[test]
fn sweeps_rates_and_durations() {
    let args = parse("-m m --concurrency 1:8:x2 --warmup 500ms --measurement-interval 2").unwrap();
    assert_eq!(args.load.concurrency.values(), [1.0, 2.0, 4.0, 8.0]);
    assert_eq!(args.measure.warmup, Duration::from_millis(500));
    assert_eq!(args.measure.measurement_interval, Duration::from_secs(2));
    let args = parse("-m m --rate 100,500 --distribution fixed").unwrap();
    assert_eq!(args.load.distribution, Distribution::Constant);
}

#[test]
fn what_contradicts_itself_is_refused() {
    for arguments in [
        "",
        "--raw /echo",
        "-m m --rate 5 --concurrency 5",
        "-m m --measurement-interval 0",
        "-m m --max-error-rate 2",
        "-m m --percentile 101",
        "-m m --batch 0",
        "-m m --compare-server-pid 4",
        "-m m --compare-model n --raw /echo",
        "--raw /echo --input X:FP32:1 --compare-model n",
        "-m m --header broken",
        "-m m --header host:x",
        "-m m --input A:FP99:1",
        "-m m --zipf -1 --distinct 9",
        "-m m --zipf 1",
        "-m m --zipf 1 --distinct 9 --repeat-ratio 0.5",
        "-m m --repeat-ratio 1.5",
    ] {
        assert!(parse(arguments).is_err(), "{arguments}");
    }
    for arguments in [
        "--raw /echo --input X:FP32:1,16",
        "-m m --compare-model n --compare-server-pid 4",
        "-m m --compare http://a --compare-model n",
        "-m m --zipf 0.9 --distinct 9",
        "-m m --repeat-ratio 1",
    ] {
        assert!(parse(arguments).is_ok(), "{arguments}");
    }
}

#[test]
fn how_requests_are_drawn() {
    let data = |arguments: &str| parse(arguments).unwrap().data;
    assert_eq!((data("-m m").law(), data("-m m").count()), (Law::InTurn, Distinct::Exactly(1)));
    let zipf = data("-m m --zipf 1.5 --distinct 9");
    assert_eq!((zipf.law(), zipf.count()), (Law::Zipf(1.5), Distinct::Exactly(9)));
    let repeat = data("-m m --repeat-ratio 0.25");
    assert_eq!(repeat.law(), Law::Repeat(0.25));
    assert!(matches!(repeat.count(), Distinct::AsManyAs { .. }));
}
