//! What pools of other sizes do: throughput, and how long operations wait for a connection.

mod distance;
mod sql;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use adulis_testing::BackingServer;
use anyhow::{Context, Result};

use super::figure::Figure;
use super::histogram::Histogram;
use super::load::{Running, Side, lenient, one_window, rest, until_known};
use super::probe;
use super::series::{Measured, Series};
use super::spread::Spread;
use super::workbench::{Adulis, Workbench};
use distance::Distance;

pub(super) use sql::run as sql;

/// How far away a store is: a round trip of a millisecond, as between two buildings of one region.
const ONE_WAY: Duration = Duration::from_micros(500);

/// Length of a window, in milliseconds.
const WINDOW: usize = 1500;
const QUICK_WINDOW: usize = 400;

/// An echo with a cache, and no memory of the server's own: each request is a look-up in the store.
const MODEL: &str = "echo";

/// One pool over several sizes and levels of load.
struct Sweep<'a> {
    /// As figures name it.
    shown: &'a str,
    /// Its label in metrics begins so; of a cache's, its section in the configuration and its URL's scheme, too.
    pool: &'a str,
    sizes: &'a [usize],
    /// The size that it has if nobody says otherwise.
    default: usize,
    levels: &'a [usize],
    /// What a level counts.
    level: &'a str,
}

/// One window.
#[derive(Debug, Clone, Copy)]
struct Sample {
    size: usize,
    level: usize,
    requests_per_second: f64,
    /// Of those that got a connection.
    p99_wait_ms: f64,
    /// In per cent of all operations.
    gave_up: f64,
    p99_ms: f64,
    /// In per cent of all requests.
    failed: f64,
    /// In per cent of the answers, where there is a cache.
    found: Option<f64>,
}

impl Sample {
    /// Requests that the store had a part in. Where its cache is not asked in time the model runs, which costs an echo nothing.
    fn served_per_second(&self) -> f64 {
        self.requests_per_second * self.found.map_or(1.0, |per_cent| per_cent / 100.0)
    }
}

/// Redis: a few connections that are shared, with small answers and with large ones.
pub(super) fn redis(bench: &Workbench) -> Result<Measured> {
    let redis = BackingServer::redis(&[]);
    let far = Distance::to(redis.address(), ONE_WAY)?;
    let mut measured = Measured { figures: Vec::new(), series: Vec::new() };
    for (shown, values) in [
        ("Redis, answers of 64 bytes", 16),
        ("Redis, answers of 64 KiB", 16_384),
    ] {
        let sweep = Sweep {
            shown,
            pool: "redis",
            sizes: &[1, 2, 4, 8],
            default: 4,
            levels: &[8, 64],
            level: "requests at a time",
        };
        measured.add(tier(bench, &sweep, (redis.address(), far.address), values)?);
    }
    Ok(measured)
}

/// Memcached: connections that serve one operation at a time.
pub(super) fn memcached(bench: &Workbench) -> Result<Measured> {
    let memcached = BackingServer::memcached(&[]);
    let far = Distance::to(memcached.address(), ONE_WAY)?;
    let sweep = Sweep {
        shown: "Memcached, answers of 64 bytes",
        pool: "memcached",
        sizes: &[1, 2, 4, 8, 16],
        default: 16,
        levels: &[8, 32],
        level: "requests at a time",
    };
    tier(bench, &sweep, (memcached.address(), far.address), 16)
}

/// A shared tier, asked for answers of so many FP32 values, all of which it has: they are written at its own address, and
/// asked for from afar.
fn tier(
    bench: &Workbench,
    sweep: &Sweep<'_>,
    (near, far): (SocketAddr, SocketAddr),
    values: usize,
) -> Result<Measured> {
    let repository = repository(bench, values)?;
    let (kind, pool) = (sweep.pool, format!("cache.{}.pool", sweep.pool));
    let start = |address: SocketAddr, size: usize| {
        let settings = [
            "cache.memory_bytes=off".to_owned(),
            format!("cache.{kind}.url={kind}://{address}"),
            format!("{pool}.min_connections={size}"),
            format!("{pool}.max_connections={size}"),
        ];
        serve(bench, &repository, &settings)
    };
    // Drawn all alike from so many that two of the same seldom meet.
    let distinct = if values > 1000 { "300" } else { "3000" };
    let ask = |adulis: &Adulis, level: usize, law: &str| -> Result<Running> {
        let mut command = lenient(bench, MODEL, &rest(adulis.http));
        command.args([
            "--concurrency",
            &level.to_string(),
            "--distinct",
            distinct,
            law,
            "0",
        ]);
        one_window(&mut command, bench.count(WINDOW, QUICK_WINDOW));
        Running::start(&mut command)
    };
    let first = start(near, sweep.default)?;
    until_known(|| ask(&first, 4, "--repeat-ratio")?.finish())
        .with_context(|| format!("{} does not take what is computed", sweep.shown))?;
    drop(first);
    let load = |adulis: &Adulis, level: usize| Ok(vec![ask(adulis, level, "--zipf")?]);
    sweep.run(bench, |size| start(far, size), load)
}

/// A server with these settings, once its connections are there.
fn serve(bench: &Workbench, repository: &Path, settings: &[String]) -> Result<Adulis> {
    let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let adulis = bench.serve_with(repository, &flags)?;
    thread::sleep(Duration::from_millis(200));
    Ok(adulis)
}

fn repository(bench: &Workbench, values: usize) -> Result<PathBuf> {
    let repository = bench.folder.join(format!("pool-{values}"));
    let config = format!(
        "backend: \"identity\"\nmax_batch_size: 8\nresponse_cache {{ enable: true }}\n\
         input {{ name: \"INPUT0\" data_type: TYPE_FP32 dims: {values} }}\n\
         output {{ name: \"OUTPUT0\" data_type: TYPE_FP32 dims: {values} }}\n"
    );
    super::cache::write(&repository.join(MODEL), &config)?;
    Ok(repository)
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.figures.extend(other.figures);
        self.series.extend(other.series);
    }
}

impl Sweep<'_> {
    /// Each size in turn, several times over.
    fn run(
        &self,
        bench: &Workbench,
        start: impl Fn(usize) -> Result<Adulis>,
        load: impl Fn(&Adulis, usize) -> Result<Vec<Running>>,
    ) -> Result<Measured> {
        let mut samples = Vec::new();
        let rounds = bench.count(3, 1);
        for round in 1..=rounds {
            eprintln!("{}: round {round} of {rounds}, sizes {:?} …", self.shown, self.sizes);
            for &size in self.sizes {
                let adulis = start(size)?;
                for &level in self.levels {
                    // The first window finds connections, threads and caches cold.
                    load(&adulis, level)?.into_iter().try_for_each(|running| running.finish().map(drop))?;
                    samples.push(self.sample(&adulis, (size, level), || load(&adulis, level))?);
                }
            }
        }
        Ok(Measured { figures: self.figures(&samples)?, series: vec![self.series(&samples)?] })
    }

    fn sample(
        &self,
        adulis: &Adulis,
        (size, level): (usize, usize),
        load: impl Fn() -> Result<Vec<Running>>,
    ) -> Result<Sample> {
        let before = Counts::of(adulis, self.pool)?;
        let sides = load()?.into_iter().map(Running::finish).collect::<Result<Vec<Side>>>()?;
        let after = Counts::of(adulis, self.pool)?;
        let waits = after.waits.since(&before.waits);
        let gave_up = after.gave_up - before.gave_up;
        let operations = after.operations - before.operations + gave_up;
        let sum = |part: &dyn Fn(&Side) -> f64| sides.iter().map(part).sum::<f64>();
        let (answered, failed) = (sum(&|side| side.requests as f64), sum(&|side| side.failed as f64));
        let found: Vec<f64> = sides.iter().filter_map(|side| Some(side.cache?.found())).collect();
        let p99 = |side: &Side| side.latency().p99_microseconds / 1e3;
        Ok(Sample {
            size,
            level,
            requests_per_second: sum(&|side| side.requests_per_second),
            p99_wait_ms: waits.quantile(0.99).context("nobody waited for a connection")? * 1e3,
            gave_up: 100.0 * gave_up / operations.max(1.0),
            p99_ms: sides.iter().map(p99).fold(0.0, f64::max),
            failed: 100.0 * failed / (answered + failed).max(1.0),
            found: (!found.is_empty()).then(|| 100.0 * found.iter().sum::<f64>() / found.len() as f64),
        })
    }

    /// At the highest level of load each size against the default, round by round: what got its answer or its features from
    /// the store.
    fn figures(&self, samples: &[Sample]) -> Result<Vec<Figure>> {
        let level = self.levels.iter().copied().max().unwrap_or_default();
        let of = |size: usize| {
            let those = samples.iter().filter(move |sample| (sample.size, sample.level) == (size, level));
            those.map(Sample::served_per_second).collect::<Vec<f64>>()
        };
        let defaults = of(self.default);
        let others = self.sizes.iter().filter(|size| **size != self.default);
        others
            .map(|&size| {
                let ratios: Vec<f64> =
                    of(size).iter().zip(&defaults).map(|(one, other)| one / other).collect();
                let plural = if size == 1 { "" } else { "s" };
                let what = format!(
                    "{}, {level} {}: served by the store/s with {size} connection{plural} against {}",
                    self.shown, self.level, self.default
                );
                Figure::new(what, "×", &ratios)
            })
            .collect()
    }

    /// Medians of the rounds.
    fn series(&self, samples: &[Sample]) -> Result<Series> {
        let has_cache = samples.iter().any(|sample| sample.found.is_some());
        let mut columns = vec![
            "connections",
            self.level,
            "requests/s",
            "p99 wait, ms",
            "gave up waiting, %",
        ];
        columns.extend(["p99 request, ms", "failed, %"]);
        columns.extend(has_cache.then_some("from the store, %"));
        let mut rows = Vec::new();
        for (size, level) in
            self.sizes.iter().flat_map(|size| self.levels.iter().map(move |level| (*size, *level)))
        {
            let those = || samples.iter().filter(|sample| (sample.size, sample.level) == (size, level));
            let median = |part: &dyn Fn(&Sample) -> f64| {
                Spread::of(those().map(part)).map(|spread| spread.median).context("no samples")
            };
            let mut row = vec![
                size as f64,
                level as f64,
                median(&|sample| sample.requests_per_second)?,
                median(&|sample| sample.p99_wait_ms)?,
                median(&|sample| sample.gave_up)?,
                median(&|sample| sample.p99_ms)?,
                median(&|sample| sample.failed)?,
            ];
            if has_cache {
                row.push(median(&|sample| sample.found.unwrap_or_default())?);
            }
            rows.push(row);
        }
        let columns = columns.into_iter().map(str::to_owned).collect();
        Ok(Series { what: format!("{}, by size of the pool", self.shown), columns, rows })
    }
}

/// What a server has counted of a pool.
struct Counts {
    waits: Histogram,
    /// Operations that got a connection.
    operations: f64,
    gave_up: f64,
}

impl Counts {
    fn of(adulis: &Adulis, pool: &str) -> Result<Self> {
        let (_, text) = probe::get(adulis.metrics, "/metrics")?;
        let pool = format!("pool=\"{pool}");
        let gave_up = [pool.as_str(), "waited_for=\"connection\""];
        Ok(Self {
            waits: Histogram::read(&text, "adulis_pool_wait_seconds", &pool),
            operations: probe::metric_sum(&text, "adulis_pool_wait_seconds_count", &[&pool]),
            gave_up: probe::metric_sum(&text, "adulis_pool_timeouts_total", &gave_up),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWEEP: Sweep<'_> = Sweep {
        shown: "Store",
        pool: "store",
        sizes: &[1, 4],
        default: 4,
        levels: &[2, 8],
        level: "at a time",
    };

    fn samples() -> Vec<Sample> {
        let sample = |(size, level): (usize, usize), speed: f64| Sample {
            size,
            level,
            requests_per_second: size as f64 * speed,
            p99_wait_ms: 8.0 / size as f64,
            gave_up: 0.0,
            p99_ms: 9.0,
            failed: 0.0,
            found: None,
        };
        let places = [(1, 2), (1, 8), (4, 2), (4, 8)];
        // The machine is half as fast in the second round.
        [100.0, 50.0, 75.0]
            .iter()
            .flat_map(|speed| places.map(|place| sample(place, *speed)))
            .collect()
    }

    #[test]
    fn sizes_are_compared_within_a_round() {
        let figures = SWEEP.figures(&samples()).unwrap();
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[0].what, "Store, 8 at a time: served by the store/s with 1 connection against 4");
        assert_eq!((figures[0].spread.min, figures[0].spread.max), (0.25, 0.25));
        let mut cached = samples();
        for sample in &mut cached {
            sample.found = Some(if sample.size == 1 { 50.0 } else { 100.0 });
        }
        assert_eq!(SWEEP.figures(&cached).unwrap()[0].spread.max, 0.125, "what was not found does not count");
    }

    #[test]
    fn the_table_has_a_row_for_each_size_and_level() {
        let series = SWEEP.series(&samples()).unwrap();
        assert_eq!(series.columns.len(), 7, "no column of a cache");
        let rows: Vec<_> = series.rows.iter().map(|row| (row[0], row[1], row[2], row[3])).collect();
        assert_eq!(
            rows,
            [
                (1.0, 2.0, 75.0, 8.0),
                (1.0, 8.0, 75.0, 8.0),
                (4.0, 2.0, 300.0, 2.0),
                (4.0, 8.0, 300.0, 2.0)
            ]
        );
    }
}
