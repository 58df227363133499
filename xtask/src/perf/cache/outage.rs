//! The shared tier well, frozen, gone and back: what requests notice of it.

use std::thread;
use std::time::{Duration, Instant};

use adulis_testing::BackingServer;
use anyhow::{Context, Result, bail};

use super::super::echo::sides;
use super::super::figure::{Figure, digits};
use super::super::goal::Goal;
use super::super::load::{Contest, Pair, Running, Second, Side, lenient, one_window, rest, until_known};
use super::super::probe;
use super::super::workbench::{Adulis, BATCHED, Rounds, Workbench};

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 6, interval: Duration::from_secs(1) };

/// An open loop far below what the machine can do: what a request takes is not what others make it wait for. Each is drawn
/// from a thousand, all alike.
const LOAD: [&str; 8] = [
    "--rate",
    "500",
    "--connections",
    "64",
    "--distinct",
    "1000",
    "--zipf",
    "0",
];

/// The same requests, each once: what is drawn by chance is drawn alike by each run.
const FILL: [&str; 8] = [
    "--rate",
    "500",
    "--connections",
    "64",
    "--distinct",
    "1000",
    "--repeat-ratio",
    "0",
];

/// How long that takes, in milliseconds.
const FILL_WINDOW: usize = 2500;

/// How long a window is in which Redis stops, in milliseconds, and when in it.
const MOMENT: usize = 6000;
const QUICK_MOMENT: usize = 2000;
const MOMENT_AFTER: Duration = Duration::from_millis(1000);

/// Length of the windows in which is looked whether answers come from Redis again, in milliseconds.
const LOOK: usize = 200;

/// Longer than the longest pause between two probes.
const FOUND_LIMIT: Duration = Duration::from_secs(60);

/// What Redis is like.
const STATES: [&str; 5] = [
    "Redis well",
    "Redis frozen",
    "Redis thawed, and found again",
    "Redis gone",
    "Redis back, empty, and found again",
];

/// p99 with a tier in Redis and no memory of the server's own, over that of the same model without a cache; the longest
/// request when Redis stops; and what failed in all that.
pub(in super::super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let rounds = bench.rounds(ROUNDS);
    let models = super::models(bench)?;
    let mut seen = Seen::default();
    for _ in 0..rounds.repetitions {
        let mut redis = BackingServer::redis(&[]);
        let url = format!("cache.redis.url=redis://{}", redis.address());
        let adulis = bench.serve_with(&models, &["--set", "cache.memory_bytes=off", "--set", &url])?;
        let mut watch = Watch { bench, adulis: &adulis, rounds, seen: &mut seen };
        watch.until_up()?;
        watch.fill()?;
        watch.steady(0)?;
        watch.moment(0, || redis.freeze())?;
        watch.steady(1)?;
        redis.thaw();
        watch.found_again(0)?;
        watch.steady(2)?;
        watch.moment(1, || redis.kill())?;
        watch.steady(3)?;
        redis.restart();
        watch.found_again(1)?;
        watch.fill()?;
        watch.steady(4)?;
    }
    seen.figures()
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    /// Pairs of windows in each state, with the cache and without, and how much was found.
    states: [Vec<Pair>; STATES.len()],
    found: [Vec<f64>; STATES.len()],
    /// The windows in which it froze, and in which it was killed.
    moments: [Vec<Side>; 2],
    /// Seconds until answers came from it again, after either.
    found_after: [Vec<f64>; 2],
    answered: u64,
    failed: u64,
}

struct Watch<'a> {
    bench: &'a Workbench,
    adulis: &'a Adulis,
    rounds: Rounds,
    seen: &'a mut Seen,
}

impl Watch<'_> {
    /// Asks until Redis has nearly everything.
    fn fill(&mut self) -> Result<()> {
        until_known(|| {
            let side = self.start(&FILL, FILL_WINDOW)?.finish()?;
            self.count(&side);
            Ok(side)
        })
    }

    /// The model with the cache and the one without, in turns.
    fn steady(&mut self, state: usize) -> Result<()> {
        let contest = Contest {
            name: STATES[state],
            model: super::MLP,
            first: rest(self.adulis.http),
            second: Second::Model(BATCHED),
            load: &LOAD,
            pids: None,
        };
        let compared = contest.count(self.bench, self.rounds)?;
        compared.results.iter().for_each(|side| self.count(side));
        let cached = compared.results.first().and_then(|side| side.cache).unwrap_or_default();
        self.seen.found[state].push(cached.found());
        self.seen.states[state].extend(compared.comparisons.into_iter().flat_map(|level| level.pairs));
        Ok(())
    }

    /// A window in which something happens to Redis.
    fn moment(&mut self, which: usize, happens: impl FnOnce()) -> Result<()> {
        let running = self.start(&LOAD, self.bench.count(MOMENT, QUICK_MOMENT))?;
        thread::sleep(MOMENT_AFTER);
        happens();
        let side = running.finish()?;
        self.count(&side);
        self.seen.moments[which].push(side);
        Ok(())
    }

    fn start(&self, load: &[&str], milliseconds: usize) -> Result<Running> {
        let mut command = lenient(self.bench, super::MLP, &rest(self.adulis.http));
        command.args(load);
        one_window(&mut command, milliseconds);
        Running::start(&mut command)
    }

    fn count(&mut self, side: &Side) {
        self.seen.answered += side.requests;
        self.seen.failed += side.failed;
    }

    /// Asks until there are answers from Redis again.
    fn found_again(&mut self, which: usize) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < FOUND_LIMIT {
            let side = self.start(&LOAD, LOOK)?.finish()?;
            self.count(&side);
            if side.cache.unwrap_or_default().hit > 0 {
                self.seen.found_after[which].push(began.elapsed().as_secs_f64());
                return Ok(());
            }
        }
        bail!("nothing comes from Redis within {FOUND_LIMIT:?}")
    }

    /// Waits until readiness tells that Redis is up.
    fn until_up(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < FOUND_LIMIT {
            let (_, text) = probe::get(self.adulis.http, "/v2/health/ready")?;
            if is_up(&text)? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("Redis is not found within {FOUND_LIMIT:?}")
    }
}

/// What the detail of readiness says of Redis.
fn is_up(readiness: &str) -> Result<bool> {
    let told: serde_json::Value = serde_json::from_str(readiness).context("readiness is no JSON")?;
    Ok(told["dependencies"]["redis"]["up"].as_bool().unwrap_or(false))
}

impl Seen {
    fn figures(&self) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for ((state, pairs), found) in STATES.iter().zip(&self.states).zip(&self.found) {
            let what = format!("{state}: p99 over that of the same model without cache");
            let p99 = |pair: &Pair| pair.first.p99_microseconds / pair.second.p99_microseconds;
            let ratios: Vec<f64> = pairs.iter().map(p99).collect();
            let found = 100.0 * found.iter().sum::<f64>() / found.len().max(1) as f64;
            let told = sides(pairs, |window| window.p99_microseconds, "µs")?;
            let remark = format!("{told}; {} % of the answers from Redis", digits(found));
            figures.push(Figure::new(what, "×", &ratios)?.remark(remark));
        }
        for (what, sides) in ["freezes", "is killed"].into_iter().zip(&self.moments) {
            let of = |part: &dyn Fn(&Side) -> f64| sides.iter().map(part).collect::<Vec<f64>>();
            let longest = of(&|side| side.latency().max_microseconds / 1e3);
            let p99 = Figure::new("", "", &of(&|side| side.latency().p99_microseconds / 1e3))?.spread.median;
            let requests = of(&|side| side.requests as f64).iter().sum::<f64>();
            let remark = format!("p99 {} ms, of {} requests", digits(p99), digits(requests));
            let what = format!("a window in which Redis {what}: the longest request");
            figures.push(Figure::new(what, "ms", &longest)?.remark(remark));
        }
        for (what, seconds) in ["thawed", "started"].into_iter().zip(&self.found_after) {
            figures.push(Figure::new(format!("answers from Redis again after it was {what}"), "s", seconds)?);
        }
        let what = "requests that failed in all that";
        let remark = format!("of {}", digits((self.answered + self.failed) as f64));
        figures.push(Figure::new(what, "", &[self.failed as f64])?.goal(Goal::AtMost(0.0)).remark(remark));
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::load::Window;
    use super::*;

    #[test]
    fn readiness_tells_whether_redis_is_up() {
        assert!(is_up(r#"{"ready":true,"dependencies":{"redis":{"up":true}}}"#).unwrap());
        assert!(!is_up(r#"{"ready":true,"dependencies":{"redis":{"up":false,"reason":"x"}}}"#).unwrap());
        assert!(!is_up(r#"{"ready":true}"#).unwrap());
        assert!(is_up("ready").is_err());
    }

    #[test]
    fn one_request_that_failed_is_a_goal_missed() {
        let side = |p99: f64| Window { p99_microseconds: p99, ..Window::default() };
        let mut seen = Seen::default();
        for (pairs, found) in seen.states.iter_mut().zip(&mut seen.found) {
            pairs.push(Pair { first: side(3000.0), second: side(1500.0) });
            found.push(1.0);
        }
        let text = r#"{"requests":9,"failed":0,"requests_per_second":1.0,"service_latency":
                       {"p50_microseconds":1.0,"p99_microseconds":2000.0,"max_microseconds":60000.0}}"#;
        for sides in &mut seen.moments {
            sides.push(serde_json::from_str(text).unwrap());
        }
        seen.found_after = [vec![2.0], vec![3.0]];
        (seen.answered, seen.failed) = (99, 1);
        let figures = seen.figures().unwrap();
        assert_eq!(figures[0].spread.median, 2.0);
        assert_eq!(figures[0].remark, "3,000 µs against 1,500 µs; 100 % of the answers from Redis");
        assert_eq!(
            (figures[5].spread.median, figures[5].remark.as_str()),
            (60.0, "p99 2.00 ms, of 9.00 requests")
        );
        let failed = figures.last().unwrap();
        assert_eq!(
            (failed.verdict, failed.remark.as_str()),
            (Some(super::super::super::goal::Verdict::Missed), "of 100")
        );
    }
}
