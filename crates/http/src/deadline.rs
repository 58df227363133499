use std::future::Future;
use std::time::{Duration, Instant};

use adulis_types::{InferRequest, Name};

use crate::error::HttpError;
use crate::timeouts::within;

/// How much longer than the request's timeout the frontend waits: the service knows where the time went, so it has the
/// first word.
const GRACE: Duration = Duration::from_millis(2);

/// Until when a request is waited for, whoever answers it.
pub(crate) struct Deadline {
    model: Name,
    timeout: Duration,
    arrived: Instant,
}

impl Deadline {
    /// `None` for a request that may take any time.
    pub(crate) fn of(request: &InferRequest) -> Option<Self> {
        let model = || request.model.name.clone();
        request.timeout.map(|timeout| Self { model: model(), timeout, arrived: request.arrived })
    }

    /// Waits for `work` as long as there is time left.
    ///
    /// # Errors
    /// [`HttpError::Deadline`] where there is none left.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, HttpError> {
        let left = self.timeout.saturating_sub(self.arrived.elapsed()) + GRACE;
        within(left, work)
            .await
            .ok_or_else(|| HttpError::Deadline { model: self.model.clone(), waited: self.timeout })
    }
}
