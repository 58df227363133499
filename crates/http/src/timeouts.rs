use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use adulis_protocol::{Late, Pace};
use tokio::time::Instant;

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

/// Waits until a body is read, as long as it arrives fast enough; `received` says how much of it has. One that is there at once
/// costs no timer, and any other one timer at a time, which is set anew only when it goes off.
///
/// # Errors
/// [`HttpError::BodyTimeout`] and [`HttpError::BodySlow`].
pub(crate) async fn paced<F: Future>(
    pace: Pace,
    received: &AtomicUsize,
    future: F,
) -> Result<F::Output, HttpError> {
    let mut future = pin!(future);
    if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Ok(output);
    }
    let began = Instant::now();
    loop {
        let due = began + pace.deadline(received.load(Ordering::Relaxed));
        if let Ok(output) = tokio::time::timeout_at(due, future.as_mut()).await {
            return Ok(output);
        }
        match pace.late(began.elapsed(), received.load(Ordering::Relaxed)) {
            None => {}
            Some(Late::Whole) => return Err(HttpError::BodyTimeout { waited: pace.whole }),
            Some(Late::Slow) => return Err(HttpError::BodySlow { least: pace.bytes_per_second }),
        }
    }
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
    async fn a_body_must_keep_its_pace() {
        let second = Duration::from_secs(1);
        let pace = Pace { whole: second * 60, grace: second, bytes_per_second: 100 };
        for (bytes_each_second, outcome) in [(1000, "whole"), (150, "whole"), (50, "slow"), (0, "slow")] {
            let received = AtomicUsize::new(0);
            let body = async {
                loop {
                    tokio::time::sleep(second).await;
                    received.fetch_add(bytes_each_second, Ordering::Relaxed);
                }
            };
            let began = Instant::now();
            let error = paced::<_>(pace, &received, body).await.map(|(): ()| ()).unwrap_err();
            match error {
                HttpError::BodyTimeout { .. } => {
                    assert_eq!((outcome, began.elapsed()), ("whole", second * 60));
                }
                HttpError::BodySlow { least: 100 } => {
                    assert!(outcome == "slow" && began.elapsed() <= second * 2, "{:?}", began.elapsed());
                }
                other => panic!("{other}"),
            }
        }
        let at_once = paced(pace, &AtomicUsize::new(0), async { 7 }).await;
        assert_eq!(at_once.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn within_gives_up_at_the_limit() {
        let limit = Duration::from_millis(5);
        assert_eq!(within(limit, async { 1 }).await, Some(1));
        assert_eq!(within(limit, tokio::time::sleep(Duration::from_millis(4))).await, Some(()));
        assert_eq!(within(limit, std::future::pending::<()>()).await, None);
    }
}
