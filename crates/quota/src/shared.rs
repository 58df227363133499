use std::sync::Arc;
use std::time::Duration;

use adulis_pool::{BackendStatus, PoolError, RedisPool, RedisScript};

use crate::counts::worst;
use crate::key::KeyRef;
use crate::{Cost, Judgement, Limit, Limits, Rate, Reading, Refusal};

mod places;

pub(crate) use places::{Lease, SharedPlaces};

/// [`crate::Counts::judge`] and the places of requests, in one step of Redis, by its clock. It is written for the versions of Lua
/// that all of its versions have.
const SCRIPT: &str = concat!(include_str!("shared/places.lua"), include_str!("shared/judge.lua"));

/// What the script says instead of a time where the request never passes.
const NEVER: i64 = -2;

/// Numbers that it answers: three of each limit but that of places, which has two.
const ANSWERS: usize = 11;

/// Counts that replicas share in Redis.
#[derive(Debug, Clone)]
pub struct SharedCounts {
    pub(crate) pool: RedisPool,
    key_prefix: Arc<str>,
    script: Arc<RedisScript>,
}

/// What Redis has decided.
pub(crate) struct SharedJudgement {
    pub(crate) judgement: Judgement,
    /// Of the requests at a time, those that are left, where there is such a limit.
    pub(crate) free: Option<u32>,
}

/// Where the counts of a key are in Redis.
pub(crate) struct SharedKeys {
    counts: String,
    places: Arc<str>,
}

impl SharedCounts {
    /// Counts under keys of this prefix.
    #[must_use]
    pub fn new(pool: RedisPool, key_prefix: &str) -> Self {
        Self { pool, key_prefix: key_prefix.into(), script: Arc::new(RedisScript::new(SCRIPT)) }
    }

    /// Whether Redis answers, and since when.
    #[must_use]
    pub fn status(&self) -> BackendStatus {
        self.pool.status()
    }

    pub(crate) fn keys(&self, key: KeyRef<'_>) -> SharedKeys {
        let counts = key.shared(&self.key_prefix);
        let places = format!("{counts}:places").into();
        SharedKeys { counts, places }
    }

    /// Decides of a request, and counts it if it is let through: in one step, in whichever order replicas ask. `place` is the
    /// place that it asks for, where there is a limit of requests at a time.
    ///
    /// # Errors
    /// As [`PoolError`] says: nothing is known then. It may have been counted.
    pub(crate) async fn judge(
        &self,
        keys: &SharedKeys,
        (limits, cost): (&Limits, Cost),
        place: Option<&Lease>,
    ) -> Result<SharedJudgement, PoolError> {
        let ([q_interval, q_burst], [r_interval, r_burst]) =
            (rate(limits.requests.as_ref()), rate(limits.rows.as_ref()));
        let per_day = limits.rows_per_day.map_or(0, u64::from).to_string();
        let most = limits.concurrent_requests.map_or(0, u32::from).to_string();
        let (rows, lasts) = (cost.rows.to_string(), place.map_or_else(String::new, Lease::lasts));
        let numbers = [
            &q_interval,
            &q_burst,
            &r_interval,
            &r_burst,
            &per_day,
            &rows,
            &most,
        ];
        let numbers = numbers.into_iter().map(String::as_bytes);
        let place = place.into_iter().flat_map(|place| place.arguments(&lasts));
        let arguments: Vec<&[u8]> = numbers.chain(place).collect();
        let keys = [&*keys.counts, &*keys.places];
        let said = self.pool.run_script(&self.script, &keys, &arguments).await?;
        match <[i64; ANSWERS]>::try_from(said) {
            Ok(said) => Ok(read(&said, limits)),
            Err(said) => Err(PoolError::Answer {
                backend: self.pool.status().backend,
                reason: format!("{} numbers from the script of quotas, expected {ANSWERS}", said.len()),
            }),
        }
    }
}

impl SharedKeys {
    /// Where the places are.
    pub(crate) fn places(&self) -> &Arc<str> {
        &self.places
    }
}

/// Microseconds in which one comes back, and how many pass at once.
fn rate(rate: Option<&Rate>) -> [String; 2] {
    match rate {
        // Six digits behind the point: a millionth of what Redis' clock tells apart.
        Some(rate) => [format!("{:.6}", 1e6 / rate.per_second), rate.burst.to_string()],
        None => ["0".to_owned(), "0".to_owned()],
    }
}

/// Of each limit: until the request passes, what is left, until all of it is there again; of places only whether it has to wait,
/// and what is left.
fn read(said: &[i64; ANSWERS], limits: &Limits) -> SharedJudgement {
    let of = |index: usize| {
        (said[index], Reading { remaining: count(said[index + 1]), reset: time(said[index + 2]) })
    };
    let (requests, rows, day) = (of(0), of(3), of(6));
    let mut refusal = None;
    for (limit, wait) in [
        (Limit::Requests, requests.0),
        (Limit::Rows, rows.0),
        (Limit::RowsPerDay, day.0),
    ] {
        match wait {
            NEVER => worst(&mut refusal, Refusal { limit, retry: None }),
            wait if wait > 0 => worst(&mut refusal, Refusal { limit, retry: Some(time(wait)) }),
            _ => {}
        }
    }
    if said[9] > 0 {
        // Without a place nothing else matters: it is the first that a request needs.
        refusal = Some(Refusal { limit: Limit::ConcurrentRequests, retry: None });
    }
    let judgement = Judgement {
        refusal,
        requests: limits.requests.map(|_| requests.1),
        rows: limits.rows.map(|_| rows.1),
        rows_per_day: limits.rows_per_day.map(|_| day.1),
    };
    let free = limits.concurrent_requests.map(|_| u32::try_from(said[10]).unwrap_or(0));
    SharedJudgement { judgement, free }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Of microseconds.
fn time(number: i64) -> Duration {
    Duration::from_micros(count(number))
}
