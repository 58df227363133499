use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Microseconds since 1970; the end of time for what is beyond it.
pub(crate) fn since_epoch_us(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => whole_us(since),
        Err(before) => -whole_us(before.duration()),
    }
}

/// Now, in microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    since_epoch_us(SystemTime::now())
}

/// The moment that so many microseconds since 1970 are.
pub(crate) fn from_epoch_us(us: i64) -> SystemTime {
    let distance = Duration::from_micros(us.unsigned_abs());
    let moment = if us < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(UNIX_EPOCH)
}

/// The day, counted from 1970, that a moment is in.
pub(crate) fn day_of(us: i64) -> i64 {
    us.div_euclid(DAY_SECONDS * 1_000_000)
}

/// A duration in whole microseconds, as databases hold them.
pub(crate) fn whole_us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_go_there_and_back() {
        for us in [0, 1, -1, 1_764_170_000_123_456, -86_400_000_001] {
            assert_eq!(since_epoch_us(from_epoch_us(us)), us);
        }
        assert_eq!((day_of(0), day_of(86_399_999_999), day_of(86_400_000_000), day_of(-1)), (0, 0, 1, -1));
    }
}
