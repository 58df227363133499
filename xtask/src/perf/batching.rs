//! Dynamic batching on against off: the same model twice in one server.

use std::time::Duration;

use anyhow::{Context, Result};

use super::echo::throughput;
use super::figure::Figure;
use super::goal::Goal;
use super::load::{Contest, Pair, Second, rest};
use super::workbench::{BATCHED, Rounds, UNBATCHED, Workbench};

const ROUNDS: Rounds = Rounds { repetitions: 2, windows: 7, interval: Duration::from_millis(500) };

/// Requests in flight.
const LEVELS: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// From here on batching must win; below it must not lose.
const WINS_FROM: u32 = 16;

/// Requests per second with batching over those without, at each level.
pub(super) fn run(bench: &Workbench) -> Result<Vec<Figure>> {
    let rounds = bench.rounds(ROUNDS);
    let models = bench.models()?;
    let concurrency = LEVELS.map(|level| level.to_string()).join(",");
    let mut pairs: Vec<Vec<Pair>> = vec![Vec::new(); LEVELS.len()];
    for _ in 0..rounds.repetitions {
        let adulis = bench.serve(&models)?;
        let contest = Contest {
            name: "batching, 9 levels",
            model: BATCHED,
            first: rest(adulis.http),
            second: Second::Model(UNBATCHED),
            load: &["--concurrency", &concurrency],
            pids: None,
        };
        for level in contest.run(bench, rounds)? {
            let place = LEVELS.iter().position(|known| known.to_string() == level.load);
            let place = place.with_context(|| format!("nobody asked for load {}", level.load))?;
            pairs[place].extend(level.pairs);
        }
    }
    LEVELS.iter().zip(&pairs).map(|(&level, pairs)| figure(level, pairs)).collect()
}

fn figure(level: u32, pairs: &[Pair]) -> Result<Figure> {
    let plural = if level == 1 { "" } else { "s" };
    let what = format!("MLP, batching on against off, {level} connection{plural}: requests/s");
    let goal = if level < WINS_FROM { Goal::AtLeast(1.0) } else { Goal::MoreThan(1.0) };
    Ok(throughput(&what, pairs)?.goal(goal))
}

#[cfg(test)]
mod tests {
    use super::super::load::Window;
    use super::*;

    #[test]
    fn as_much_is_enough_below_sixteen_only() {
        let same = Window { requests_per_second: 1000.0, ..Window::default() };
        let pairs = [Pair { first: same, second: same }];
        let verdict = |level| figure(level, &pairs).unwrap().verdict.unwrap();
        assert_eq!(verdict(8), super::super::goal::Verdict::Met);
        assert_eq!(verdict(16), super::super::goal::Verdict::Missed);
    }
}
