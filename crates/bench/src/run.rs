use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use adulis_types::{InferRequest, ModelRef};
use anyhow::{Context, ensure};
use http::{HeaderName, HeaderValue};

use crate::args::BenchArgs;
use crate::codec::{MODEL_INFER, get_request, metadata_headers, serialise};
use crate::connect::Connector;
use crate::data::DataPlan;
use crate::deck::{Deck, Law};
use crate::fleet::{Mission, Tactics, Wire};
use crate::idle::Idle;
use crate::load::Load;
use crate::measure::{Protocol as Windows, Site, compare, measure};
use crate::metadata::{Asking, model_inputs};
use crate::progress::Progress;
use crate::report::{LevelReport, Report, Style, Subject, as_f64, write_csv, write_table};
use crate::server_metrics::MetricsProbe;
use crate::target::{Protocol, Target};
use crate::verify::Verify;

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// Why the run counts as failed, if it does: requests that all failed, or more than were allowed.
    pub failure: Option<String>,
}

/// Runs the load that `args` describe, and writes the results where they say.
///
/// The table goes to standard output, unless JSON or CSV goes there.
///
/// # Errors
/// Where the load cannot be made: no metadata, data that does not fit, files that cannot be written. Requests that fail
/// are no error but part of the [`Outcome`].
pub async fn run(args: BenchArgs) -> anyhow::Result<Outcome> {
    let windows = windows(&args);
    let loads = loads(&args)?;
    let progress = Progress::new(loads.len());
    let mut sites = sites(&args).await?;
    let mut report = Report {
        model: args.target.model.clone(),
        rows_per_request: args.data.batch,
        seed: args.load.seed,
        threads: args.load.thread_count(),
        results: Vec::new(),
        comparisons: Vec::new(),
        idle: None,
    };
    let idle = idle(&args).await?;
    for load in loads {
        let tactics = tactics(&args, load);
        match &mut sites {
            Sites::One(site) => report.results.push(measure(site, tactics, windows, &progress).await?),
            Sites::Two(sites) => {
                let (results, comparison) = compare(sites, tactics, windows, &progress).await?;
                report.results.extend(results);
                report.comparisons.extend(comparison);
            }
        }
        progress.level_done();
    }
    if let Some(idle) = idle {
        report.idle = Some(idle.close().await?);
    }
    progress.finish();
    write_results(&args, &report)?;
    let failure = failure(&report.results, args.output.max_error_rate);
    Ok(Outcome { report, failure })
}

enum Sites {
    One(Box<Site>),
    Two(Box<[Site; 2]>),
}

fn windows(args: &BenchArgs) -> Windows {
    let measure = &args.measure;
    Windows {
        warmup: measure.warmup,
        interval: measure.measurement_interval,
        windows: measure.windows as usize,
        max_windows: measure.max_windows.max(measure.windows) as usize,
        tolerance: measure.stability_percentage / 100.0,
        percentile: measure.percentile,
    }
}

fn tactics(args: &BenchArgs, load: Load) -> Tactics {
    Tactics {
        load,
        distribution: args.load.distribution,
        seed: args.load.seed,
        threads: args.load.thread_count(),
        connections: args.load.connections as usize,
    }
}

/// Most requests in flight that can be asked for.
const CONCURRENCY_LIMIT: f64 = 65_536.0;

fn loads(args: &BenchArgs) -> anyhow::Result<Vec<Load>> {
    if let Some(rate) = &args.load.rate {
        return Ok(rate.values().iter().map(|&rate| Load::Rate(rate)).collect());
    }
    let counts = args.load.concurrency.values().iter();
    counts
        .map(|&count| {
            ensure!(
                count.fract() == 0.0 && count <= CONCURRENCY_LIMIT,
                "a concurrency of {count}: expected a whole number up to {CONCURRENCY_LIMIT}"
            );
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and bounded, as checked above"
            )]
            Ok(Load::Concurrency(count as usize))
        })
        .collect()
}

async fn sites(args: &BenchArgs) -> anyhow::Result<Sites> {
    let asked = &args.target;
    let first = first_target(args)?;
    let second = match (&asked.compare, &asked.compare_model) {
        (None, None) => None,
        (Some(url), _) => Some(Target::parse(url, Some(first.protocol))?),
        (None, Some(_)) => Some(first.clone()),
    };
    let targets: Vec<&Target> = std::iter::once(&first).chain(&second).collect();
    args.tls.fit(&targets)?;
    let requests = requests(args, &first).await?;
    let Some(second) = second else {
        let raw = asked.raw.as_deref();
        return Ok(Sites::One(Box::new(site(args, first, &requests, raw).await?)));
    };
    let second = second_site(args, second, &requests).await?;
    let first = site(args, first, &requests, None).await?;
    Ok(Sites::Two(Box::new([first, second])))
}

/// The server, or the first of two.
fn first_target(args: &BenchArgs) -> anyhow::Result<Target> {
    let asked = &args.target;
    let default_url = match asked.protocol {
        Some(Protocol::Grpc) => "grpc://127.0.0.1:8001",
        _ => "http://127.0.0.1:8000",
    };
    Target::parse(asked.url.as_deref().unwrap_or(default_url), asked.protocol)
}

/// The connections to the first server that do nothing.
async fn idle(args: &BenchArgs) -> anyhow::Result<Option<Idle>> {
    if args.load.idle == 0 {
        return Ok(None);
    }
    let target = first_target(args)?;
    ensure!(
        target.protocol != Protocol::Grpc,
        "--idle holds connections of REST: `{}` is gRPC",
        target.url
    );
    let request = get_request(&target, "/v2/health/live", &args.target.all_headers()?);
    let connector = Connector::new(&target, &args.tls)?;
    Ok(Some(
        Idle::open(args.load.idle as usize, (connector, args.target.timeout), request).await?,
    ))
}

/// The side that the first one is compared with: the same inputs, to another server or another model.
async fn second_site(args: &BenchArgs, target: Target, requests: &[InferRequest]) -> anyhow::Result<Site> {
    let asked = &args.target;
    let mut requests = requests.to_vec();
    if let Some(model) = &asked.compare_model {
        for request in &mut requests {
            request.model = ModelRef { name: model.as_str().into(), version: None };
        }
    }
    let mut site = site(args, target, &requests, asked.raw.as_deref()).await?;
    // The metrics that were named, or found, are the first server's; so is the process, unless there is one server.
    site.metrics = None;
    let shared_pid = if asked.compare.is_none() { args.measure.server_pid } else { None };
    site.pid = args.measure.compare_server_pid.or(shared_pid);
    if let Some(model) = &asked.compare_model {
        site.subject.model = Some(model.clone());
    }
    Ok(site)
}

async fn requests(args: &BenchArgs, target: &Target) -> anyhow::Result<Vec<InferRequest>> {
    let model = ModelRef {
        name: args.target.model.as_deref().unwrap_or("raw").into(),
        version: args.target.model_version,
    };
    let inputs = if args.data.inputs.is_empty() {
        let headers = args.target.all_headers()?;
        let asking = Asking {
            connector: Connector::new(target, &args.tls)?,
            headers: &headers,
            timeout: args.target.timeout,
        };
        model_inputs(target, &model, asking).await?
    } else {
        args.data.inputs.clone()
    };
    let plan = DataPlan {
        model,
        inputs,
        shapes: args.data.shapes.clone(),
        sources: args.data.sources.clone(),
        batch: args.data.batch as usize,
        seed: args.load.seed,
        string_length: args.data.string_length,
        distinct: args.data.count(),
        all_differ: args.data.law() != Law::InTurn,
    };
    plan.requests()
}

async fn site(
    args: &BenchArgs,
    target: Target,
    requests: &[InferRequest],
    raw: Option<&str>,
) -> anyhow::Result<Site> {
    let headers = &headers(args, target.protocol)?;
    let wire = match target.protocol {
        Protocol::Grpc => Wire::Grpc {
            path: raw.unwrap_or(MODEL_INFER).to_owned(),
            streams: args.load.streams as usize,
            headers: metadata_headers(headers),
        },
        Protocol::RestJson | Protocol::RestBinary => Wire::Http1,
    };
    let verify = match (args.data.verify, raw, target.protocol) {
        (false, ..) | (_, Some(_), _) => Verify::Nothing,
        (true, None, Protocol::Grpc) => Verify::Grpc,
        (true, None, Protocol::RestJson | Protocol::RestBinary) => Verify::Rest,
    };
    let protocol = match raw {
        Some(path) => format!("{} to {path}", target.protocol.as_str()),
        None => target.protocol.as_str().to_owned(),
    };
    Ok(Site {
        mission: Mission {
            connector: Connector::new(&target, &args.tls)?,
            wire,
            deck: Deck::new(serialise(&target, requests, headers, raw)?, args.data.law()).into(),
            timeout: args.target.timeout,
            deadline: args.load.deadline,
            verify,
        },
        metrics: metrics(args, &target).await?,
        pid: args.measure.server_pid,
        subject: Subject {
            url: target.url,
            // A fixed path has no model.
            model: args.target.model.clone().filter(|_| raw.is_none()),
            protocol,
            rows_per_request: args.data.batch,
            is_drawn: args.data.law() != Law::InTurn,
            deadline: args.load.deadline,
        },
    })
}

/// What was given, and the deadline as the protocol tells it.
fn headers(args: &BenchArgs, protocol: Protocol) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = args.target.all_headers()?;
    if let Some(deadline) = args.load.deadline {
        let (name, unit) = match protocol {
            Protocol::Grpc => ("grpc-timeout", "m"),
            Protocol::RestJson | Protocol::RestBinary => ("x-request-timeout-ms", ""),
        };
        // The flag takes no less than a millisecond.
        let value = format!("{}{unit}", deadline.as_millis());
        headers.push((HeaderName::from_static(name), value.parse()?));
    }
    Ok(headers)
}

/// The server's metrics, where it tells any. A URL that was given must answer.
async fn metrics(args: &BenchArgs, target: &Target) -> anyhow::Result<Option<MetricsProbe>> {
    let model = args.target.model.as_deref();
    if let Some(url) = &args.measure.metrics_url {
        let mut probe = MetricsProbe::new(url, &args.tls, model)?;
        probe.snapshot().await?;
        return Ok(Some(probe));
    }
    let scheme = if target.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}:8002/metrics", target.host);
    let mut probe = MetricsProbe::new(&url, &args.tls, model)?;
    Ok(probe.snapshot().await.is_ok().then_some(probe))
}

fn write_results(args: &BenchArgs, report: &Report) -> anyhow::Result<()> {
    let is_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if let Some(path) = &args.output.json {
        let mut out = open(path)?;
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
        out.flush()?;
    }
    if let Some(path) = &args.output.csv {
        write_csv(report, open(path)?)?;
    }
    if args.output.quiet || is_stdout(&args.output.json) || is_stdout(&args.output.csv) {
        return Ok(());
    }
    let mut out = io::stdout();
    let style = if out.is_terminal() { Style::Terminal } else { Style::Plain };
    write_table(report, style, &mut out)?;
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(io::BufWriter::new(file)))
}

fn failure(results: &[LevelReport], max_error_rate: Option<f64>) -> Option<String> {
    // With a deadline, none in time is a result as any other.
    let is_dead = |result: &&LevelReport| result.requests == 0 && result.goodput_per_second.is_none();
    if let Some(dead) = results.iter().find(is_dead) {
        let first = dead.failures.first();
        let why = first.map_or_else(String::new, |first| format!(": {}: {}", first.kind, first.example));
        return Some(format!("{}: no request was answered at load {}{why}", dead.url, dead.load()));
    }
    let limit = max_error_rate?;
    let over = results.iter().find(|result| result.error_rate() > limit)?;
    Some(format!(
        "{}: {:.3} of the requests failed at load {}, allowed were {limit}",
        over.url,
        as_f64(over.failed) / as_f64(over.failed + over.requests),
        over.load()
    ))
}
