//! The bound of the cache's memory, under requests none of which comes twice.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::figure::{Figure, digits};
use super::super::goal::Goal;
use super::super::load::{Running, generator, one_window, rest};
use super::super::memory::{self, growth};
use super::super::probe::{self, Footprint};
use super::super::series::{Measured, Series};
use super::super::workbench::{Adulis, Workbench};

/// FP32 values of an answer: another number in each part of the load, so that entries of all sizes make room for each other.
const VALUES: [usize; 5] = [64, 1024, 16, 256, 600];

/// Rows of the table that is shown.
const SHOWN: usize = 20;

const WIDE: &str = "wide";

/// How much is asked.
struct Load {
    bound_mib: usize,
    /// Each is a run of `adulis bench` with requests of its own.
    parts: usize,
    part_milliseconds: usize,
    requests_per_second: usize,
}

/// Ten minutes.
const FULL: Load = Load { bound_mib: 64, parts: 40, part_milliseconds: 15_000, requests_per_second: 4000 };
const QUICK: Load = Load { bound_mib: 8, parts: 5, part_milliseconds: 2000, requests_per_second: 2000 };

/// Bytes that answers take, and what the process takes, at the bound.
pub(in super::super) fn run(bench: &Workbench) -> Result<Measured> {
    let load = if bench.quick { QUICK } else { FULL };
    let bound = (load.bound_mib << 20).to_string();
    let adulis = bench.serve_with(&repository(bench)?, &["--cache-memory-bytes", &bound])?;
    let empty_mib = Footprint::of(adulis.process.pid())?.resident_mib;
    let mut course = Course { began: Instant::now(), looks: Vec::new() };
    for part in 0..load.parts {
        if part % 4 == 0 {
            eprintln!("unique requests: part {} of {} …", part + 1, load.parts);
        }
        let mut running = Running::start(&mut load.part(bench, &adulis, part))?;
        while running.is_busy()? {
            course.look(&adulis)?;
            thread::sleep(Duration::from_millis(if bench.quick { 100 } else { 1000 }));
        }
        running.finish()?;
    }
    course.look(&adulis)?;
    let (_, text) = probe::get(adulis.metrics, "/metrics")?;
    let outcome = |outcome: &str| probe::metric_sum(&text, "adulis_cache_requests_total", &[outcome]);
    let known = outcome("outcome=\"hit\"") + outcome("outcome=\"coalesced\"");
    ensure!(known == 0.0, "{known} requests came twice");
    course.measured(&load, empty_mib)
}

impl Load {
    fn part(&self, bench: &Workbench, adulis: &Adulis, part: usize) -> std::process::Command {
        let mut command = generator(bench, WIDE, &rest(adulis.http));
        // More than are sent, by chance too: they come at exponential gaps.
        let distinct = self.requests_per_second * self.part_milliseconds / 1000 * 6 / 5 + 1000;
        command.args([
            "--rate",
            &self.requests_per_second.to_string(),
            "--connections",
            "64",
        ]);
        command.args(["--distinct", &distinct.to_string(), "--repeat-ratio", "0"]);
        command.args(["--shape", &format!("INPUT0:{}", VALUES[part % VALUES.len()])]);
        command.args(["--seed", &(part + 1).to_string()]);
        one_window(&mut command, self.part_milliseconds);
        command
    }
}

fn repository(bench: &Workbench) -> Result<PathBuf> {
    let repository = bench.folder.join("unique");
    let config = format!(
        "backend: \"identity\"\nmax_batch_size: 64\n\
         input {{ name: \"INPUT0\" data_type: TYPE_FP32 dims: -1 }}\n\
         output {{ name: \"OUTPUT0\" data_type: TYPE_FP32 dims: -1 }}\n{}",
        super::ENABLED
    );
    super::write(&repository.join(WIDE), &config)?;
    Ok(repository)
}

/// What was seen, look by look.
struct Course {
    began: Instant,
    looks: Vec<Look>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    seconds: f64,
    requests: f64,
    resident_mib: f64,
    answers_mib: f64,
    entries: f64,
    evicted: f64,
}

impl Course {
    fn look(&mut self, adulis: &Adulis) -> Result<()> {
        let (_, text) = probe::get(adulis.metrics, "/metrics")?;
        let of = |name: &str| probe::metric_sum(&text, name, &[]);
        self.looks.push(Look {
            seconds: self.began.elapsed().as_secs_f64(),
            requests: of("adulis_cache_requests_total"),
            resident_mib: Footprint::of(adulis.process.pid())?.resident_mib,
            answers_mib: of("adulis_cache_bytes") / f64::from(1 << 20),
            entries: of("adulis_cache_entries"),
            evicted: of("adulis_cache_evictions_total"),
        });
        Ok(())
    }

    fn measured(&self, load: &Load, empty_mib: f64) -> Result<Measured> {
        let last = self.looks.last().context("nothing was seen")?;
        let bound = load.bound_mib as f64;
        let most = self.looks.iter().map(|look| look.answers_mib).fold(0.0, f64::max);
        let begin = format!("{} requests, none of which comes twice", digits(last.requests));
        let resident: Vec<memory::Look> = self
            .looks
            .iter()
            .map(|look| memory::Look { requests: look.requests, resident_mib: look.resident_mib })
            .collect();
        let held =
            Figure::new(format!("{begin}: the most that answers take over the bound"), "×", &[most / bound])?;
        let grown =
            Figure::new("resident memory over them: growth over the last half", "MiB", &growth(&resident))?;
        let beyond = (last.resident_mib - empty_mib) / bound;
        let beyond = Figure::new(
            "resident memory at the end beyond that before the first, over the bound",
            "×",
            &[beyond],
        )?;
        let evicted = format!("{} entries made room for others", digits(last.evicted));
        let course = format!(
            "{} MiB before the first, {} MiB at the end",
            digits(empty_mib),
            digits(last.resident_mib)
        );
        Ok(Measured {
            figures: vec![
                held.goal(Goal::AtMost(1.0)).remark(format!("bound {bound} MiB; {evicted}")),
                grown.goal(Goal::AtMost(bound / 20.0)).remark(course),
                beyond,
            ],
            series: vec![self.series(load)],
        })
    }

    fn series(&self, load: &Load) -> Series {
        let step = self.looks.len().div_ceil(SHOWN).max(1);
        let last = self.looks.len().saturating_sub(1);
        let shown = self.looks.iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last);
        let columns = [
            "s",
            "requests",
            "resident, MiB",
            "answers, MiB",
            "entries",
            "made room",
        ];
        Series {
            what: format!("the course of memory with a bound of {} MiB", load.bound_mib),
            columns: columns.map(str::to_owned).to_vec(),
            rows: shown
                .map(|(_, look)| {
                    vec![
                        look.seconds,
                        look.requests,
                        look.resident_mib,
                        look.answers_mib,
                        look.entries,
                        look.evicted,
                    ]
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::goal::Verdict;
    use super::*;

    fn course(answers_mib: impl Fn(f64) -> f64, resident_mib: impl Fn(f64) -> f64) -> Course {
        let look = |index: u32| {
            let share = f64::from(index) / 100.0;
            Look {
                seconds: share * 600.0,
                requests: share * 1e6,
                resident_mib: resident_mib(share),
                answers_mib: answers_mib(share),
                entries: 1000.0,
                evicted: 5.0,
            }
        };
        Course { began: Instant::now(), looks: (1..=100).map(look).collect() }
    }

    #[test]
    fn a_bound_that_is_passed_once_is_a_goal_missed() {
        let held = |most: f64| course(|share| if share == 0.5 { most } else { 60.0 }, |_| 120.0);
        let verdict = |course: &Course| course.measured(&FULL, 50.0).unwrap().figures[0].verdict;
        assert_eq!(verdict(&held(64.0)), Some(Verdict::Met));
        assert_eq!(verdict(&held(64.1)), Some(Verdict::Missed));
    }

    #[test]
    fn memory_that_goes_on_growing_is_a_goal_missed() {
        let leak = course(|_| 64.0, |share| 120.0 + 20.0 * share);
        let measured = leak.measured(&FULL, 50.0).unwrap();
        assert_eq!(measured.figures[1].verdict, Some(Verdict::Missed));
        let rows = &measured.series[0].rows;
        assert!(rows.len() <= SHOWN + 1 && rows.last().unwrap()[0] == 600.0, "{rows:?}");
    }
}
