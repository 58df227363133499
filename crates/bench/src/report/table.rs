use std::io::{self, Write};

use super::{Comparison, IdleReport, LatencyReport, LevelReport, Ratio, Report, as_f64};

/// Whether the table may use a terminal's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bold heads.
    Terminal,
    /// Text alone.
    Plain,
}

/// Writes the table for people: one line per level and server, then what deserves a remark.
pub(crate) fn write_table(report: &Report, style: Style, out: &mut impl Write) -> io::Result<()> {
    let mut rows = vec![head()];
    rows.extend(report.results.iter().map(line));
    let several = differ(&report.results, |result| (result.url.as_str(), result.protocol.as_str()))
        || differ(&report.results, |result| result.model.as_deref());
    if let (false, Some(first)) = (several, report.results.first()) {
        let model = report.model.as_deref().unwrap_or("-");
        writeln!(
            out,
            "{} at {} over {}, {} row(s) per request, {} thread(s)",
            model, first.url, first.protocol, report.rows_per_request, report.threads
        )?;
        for row in &mut rows {
            row.remove(0);
        }
    }
    write_rows(&rows, style, out)?;
    for result in &report.results {
        let load = match several {
            true => format!("{} {}", side(result), result.load()),
            false => result.load(),
        };
        write_remarks(result, &load, report.threads, out)?;
    }
    for comparison in &report.comparisons {
        write_comparison(comparison, out)?;
    }
    if let Some(IdleReport { connections, lost }) = report.idle {
        writeln!(out, "{connections} connections were idle beside it; {lost} were found closed")?;
    }
    Ok(())
}

/// Whether two results differ in something.
fn differ<'a, T: PartialEq>(results: &'a [LevelReport], what: impl Fn(&'a LevelReport) -> T) -> bool {
    results.iter().any(|result| what(result) != what(&results[0]))
}

/// Server and model.
fn side(result: &LevelReport) -> String {
    match &result.model {
        Some(model) => format!("{} {model}", result.url),
        None => result.url.clone(),
    }
}

fn head() -> Vec<String> {
    [
        "server",
        "load",
        "requests/s",
        "rows/s",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "max",
        "failed",
        "CPU/req",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn line(result: &LevelReport) -> Vec<String> {
    let latency = result.latency();
    vec![
        format!("{} {}", side(result), result.protocol),
        result.load(),
        format!("{:.0}", result.requests_per_second),
        format!("{:.0}", result.rows_per_second),
        time(latency.p50_microseconds),
        time(latency.p90_microseconds),
        time(latency.p95_microseconds),
        time(latency.p99_microseconds),
        time(latency.p99_9_microseconds),
        time(latency.max_microseconds),
        result.failed.to_string(),
        result.server_cpu_microseconds_per_request.map_or_else(|| "-".to_owned(), time),
    ]
}

/// A time with the unit that suits it, in about four characters.
fn time(microseconds: f64) -> String {
    match microseconds {
        few if few < 99.95 => format!("{few:.1} µs"),
        some if some < 9_999.5 => format!("{some:.0} µs"),
        many if many < 99_950.0 => format!("{:.1} ms", many / 1e3),
        more if more < 9_999_500.0 => format!("{:.0} ms", more / 1e3),
        long => format!("{:.1} s", long / 1e6),
    }
}

fn write_rows(rows: &[Vec<String>], style: Style, out: &mut impl Write) -> io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        let text = cells.join("  ");
        match (index, style) {
            (0, Style::Terminal) => writeln!(out, "\x1b[1m{text}\x1b[0m")?,
            _ => writeln!(out, "{text}")?,
        }
    }
    Ok(())
}

/// Share of its threads' time from which the generator itself may be what is measured.
const BUSY: f64 = 0.9;

#[expect(clippy::cast_precision_loss, reason = "a number of threads")]
fn write_remarks(result: &LevelReport, load: &str, threads: usize, out: &mut impl Write) -> io::Result<()> {
    if !result.stable && result.requests > 0 {
        writeln!(out, "load {load}: the windows do not agree with each other ({} measured)", result.windows)?;
    }
    if result.generator_cores > BUSY * threads as f64 {
        writeln!(
            out,
            "load {load}: the load generator used {:.2} cores with {threads} thread(s): it may be the limit itself; try --threads {}",
            result.generator_cores,
            threads + 1
        )?;
    }
    if let (Some(late), Some(behind)) = (&result.lateness, result.behind_seconds) {
        let LatencyReport { p50_microseconds: p50, p99_microseconds: p99, .. } = result.service_latency;
        writeln!(
            out,
            "load {load}: sent late by p50 {}, p99 {}, max {}; behind by {} at the end; service latency p50 {}, p99 {}",
            time(late.p50_microseconds),
            time(late.p99_microseconds),
            time(late.max_microseconds),
            time(behind * 1e6),
            time(p50),
            time(p99)
        )?;
    }
    if !result.server_stages.is_empty() {
        let stages: Vec<_> = result
            .server_stages
            .iter()
            .map(|stage| format!("{} {}", stage.stage, time(stage.mean_microseconds)))
            .collect();
        writeln!(out, "load {load}: server, mean: {}", stages.join(", "))?;
    }
    if let (Some(good), Some(deadline)) = (result.goodput_per_second, result.deadline_seconds) {
        let deadline = time(deadline * 1e6);
        writeln!(out, "load {load}: {good:.1} answers/s within the deadline of {deadline} (goodput)")?;
    }
    write_draws(result, load, out)?;
    for failure in &result.failures {
        writeln!(out, "load {load}: {} × {}: {}", failure.count, failure.kind, failure.example)?;
    }
    if result.requests == 0 {
        writeln!(
            out,
            "load {load}: no request was answered, {} were in flight at the end",
            result.in_flight_at_end
        )?;
    }
    Ok(())
}

/// What share of the requests were repeats, and what the server's response cache did with them: together, and by window.
fn write_draws(result: &LevelReport, load: &str, out: &mut impl Write) -> io::Result<()> {
    if let Some(share) = result.repeat_share {
        writeln!(out, "load {load}: {:.1} % of the requests had been sent before", share * 100.0)?;
    }
    let Some(cache) = &result.cache else {
        return Ok(());
    };
    let share = |count: u64| as_f64(count) * 100.0 / as_f64(cache.total().max(1));
    let told = cache.counts().into_iter().filter(|(_, count)| *count > 0);
    let told: Vec<String> = told
        .map(|(outcome, count)| format!("{outcome} {count} ({:.1} %)", share(count)))
        .collect();
    writeln!(out, "load {load}: response cache: {}", told.join(", "))?;
    for (window, cache) in (1..).zip(&result.cache_by_window) {
        let told = cache.counts().map(|(outcome, count)| format!("{outcome} {count}"));
        writeln!(out, "load {load}: response cache, window {window}: {}", told.join(", "))?;
    }
    Ok(())
}

fn write_comparison(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let ratio = |ratio: Ratio| format!("{:.3} ({:.3} to {:.3})", ratio.median, ratio.min, ratio.max);
    write!(
        out,
        "load {}: first over second, median and range: requests/s {}, p50 {}, p99 {}",
        comparison.load,
        ratio(comparison.throughput),
        ratio(comparison.p50),
        ratio(comparison.p99)
    )?;
    match comparison.server_cpu {
        Some(cpu) => writeln!(out, ", CPU per request {}", ratio(cpu)),
        None => writeln!(out),
    }
}
