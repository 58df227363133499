use std::sync::Arc;
use std::time::Duration;

use adulis_pool::{BackendStatus, PoolError, RedisPool, RedisScript};

use crate::counts::worst;
use crate::key::KeyRef;
use crate::{Cost, Judgement, Limit, Limits, Rate, Reading, Refusal};

/// [`crate::Counts::judge`], in one step of Redis, by its clock. It is written for the versions of Lua that all of its versions have.
const SCRIPT: &str = include_str!("shared/judge.lua");

/// What the script says instead of a time where the request never passes.
const NEVER: i64 = -2;

/// Numbers that it answers: three of each limit.
const ANSWERS: usize = 9;

/// Counts that replicas share in Redis.
#[derive(Debug, Clone)]
pub struct SharedCounts {
    pool: RedisPool,
    key_prefix: Arc<str>,
    script: Arc<RedisScript>,
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

    /// Decides of a request, and counts it if it is let through: in one step, in whichever order replicas ask.
    ///
    /// # Errors
    /// As [`PoolError`] says: nothing is known then. It may have been counted.
    pub(crate) async fn judge(
        &self,
        key: KeyRef<'_>,
        limits: &Limits,
        cost: Cost,
    ) -> Result<Judgement, PoolError> {
        let key = key.shared(&self.key_prefix);
        let (requests, rows) = (arguments(limits.requests.as_ref()), arguments(limits.rows.as_ref()));
        let per_day = limits.rows_per_day.map_or_else(|| "0".to_owned(), |most| most.to_string());
        let ([q_interval, q_burst], [r_interval, r_burst]) = (&requests, &rows);
        let cost = cost.rows.to_string();
        let arguments = [q_interval, q_burst, r_interval, r_burst, &per_day, &cost];
        let said = self.pool.run_script(&self.script, &key, &arguments.map(String::as_bytes)).await?;
        match <[i64; ANSWERS]>::try_from(said) {
            Ok(said) => Ok(read(&said, limits)),
            Err(said) => Err(PoolError::Answer {
                backend: self.pool.status().backend,
                reason: format!("{} numbers from the script of quotas, expected {ANSWERS}", said.len()),
            }),
        }
    }
}

/// Microseconds in which one comes back, and how many pass at once.
fn arguments(rate: Option<&Rate>) -> [String; 2] {
    match rate {
        // Six digits behind the point: a millionth of what Redis' clock tells apart.
        Some(rate) => [format!("{:.6}", 1e6 / rate.per_second), rate.burst.to_string()],
        None => ["0".to_owned(), "0".to_owned()],
    }
}

/// Of each limit: until the request passes, what is left, until all of it is there again.
fn read(said: &[i64; ANSWERS], limits: &Limits) -> Judgement {
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
    Judgement {
        refusal,
        requests: limits.requests.map(|_| requests.1),
        rows: limits.rows.map(|_| rows.1),
        rows_per_day: limits.rows_per_day.map(|_| day.1),
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Of microseconds.
fn time(number: i64) -> Duration {
    Duration::from_micros(count(number))
}
