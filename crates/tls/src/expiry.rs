//! When certificates run out.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

use crate::identity::parse;

/// How long before its end a certificate is warned about.
const NEAR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// When the first of these certificates runs out, in seconds since the epoch; `None` where none can be read.
pub(crate) fn first(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = certificates.iter().filter_map(|der| Some(parse(der)?.validity().not_after.timestamp()));
    ends.min()
}

/// Says so in the log where a certificate has run out, or will soon.
pub(crate) fn warn(path: &Path, expiry: i64) {
    let file = path.display();
    match left(expiry, SystemTime::now()) {
        None => tracing::warn!(%file, "the certificate has expired: clients will refuse it"),
        Some(left) if left < NEAR => {
            tracing::warn!(%file, days = left.as_secs() / 86_400, "the certificate expires soon");
        }
        Some(_) => {}
    }
}

/// How long it is until then, if that is to come.
pub(crate) fn left(expiry: i64, now: SystemTime) -> Option<Duration> {
    moment(expiry).duration_since(now).ok()
}

/// The moment that is so many seconds after the epoch. What is before it was long ago.
pub(crate) fn moment(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(left(1010, now), Some(Duration::from_secs(10)));
        assert_eq!(left(999, now), None);
        assert_eq!(left(-5, now), None);
    }
}
