use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::error::HttpError;

/// Headers by which a client, or a proxy on its behalf, says how many milliseconds it will wait.
const TIMEOUT_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-request-timeout-ms"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
];

/// The least timeout that the headers name; 0 means none.
///
/// # Errors
/// [`HttpError::Header`] for what is not a whole number of milliseconds.
pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Duration>, HttpError> {
    let mut least: Option<Duration> = None;
    for name in &TIMEOUT_HEADERS {
        let Some(value) = headers.get(name) else {
            continue;
        };
        let millis: u64 = value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            HttpError::Header {
                name: if *name == TIMEOUT_HEADERS[0] {
                    "x-request-timeout-ms"
                } else {
                    "x-envoy-expected-rq-timeout-ms"
                },
                given: String::from_utf8_lossy(value.as_bytes()).into_owned(),
                expected: "a whole number of milliseconds",
            }
        })?;
        if millis > 0 {
            let timeout = Duration::from_millis(millis);
            least = Some(least.map_or(timeout, |earlier| earlier.min(timeout)));
        }
    }
    Ok(least)
}

/// Waits for `future`, but no longer than `limit`; `None` where it took longer. A future that is ready at once costs no
/// timer.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Some(output);
    }
    tokio::time::timeout(limit, future).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_least_header_counts() {
        assert_eq!(from_headers(&headers(&[])).unwrap(), None);
        let both = headers(&[
            ("x-request-timeout-ms", "20"),
            ("x-envoy-expected-rq-timeout-ms", "15"),
        ]);
        assert_eq!(from_headers(&both).unwrap(), Some(Duration::from_millis(15)));
        assert_eq!(from_headers(&headers(&[("x-request-timeout-ms", "0")])).unwrap(), None);
    }

    #[test]
    fn refuses_what_is_no_number() {
        for bad in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            let error = from_headers(&headers(&[("x-request-timeout-ms", bad)])).unwrap_err();
            assert!(matches!(error, HttpError::Header { name: "x-request-timeout-ms", .. }), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn within_gives_up_at_the_limit() {
        let limit = Duration::from_millis(5);
        assert_eq!(within(limit, async { 1 }).await, Some(1));
        assert_eq!(within(limit, tokio::time::sleep(Duration::from_millis(4))).await, Some(()));
        assert_eq!(within(limit, std::future::pending::<()>()).await, None);
    }
}
