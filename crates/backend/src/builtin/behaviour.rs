use std::thread;
use std::time::Duration;

use crate::{BackendError, BatchInput, LoadRequest};

/// What the parameters of a model of a built-in backend ask for: delays and faults.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behaviour {
    delay: Duration,
    row_delay: Duration,
    fail_on: Option<u8>,
    panic_on: Option<u8>,
}

impl Behaviour {
    pub(super) fn from_options(request: &LoadRequest) -> Result<Self, BackendError> {
        let parameter = |name: &str| {
            let Some(text) = request.options.parameters.get(name) else {
                return Ok(None);
            };
            text.parse::<u64>().map(Some).map_err(|_| BackendError::Option {
                option: format!("parameters.{name}"),
                reason: format!("expected a whole number, got {text:?}"),
            })
        };
        let milliseconds = parameter("execute_delay_ms")?.unwrap_or(0);
        let byte =
            |name: &str| Ok::<_, BackendError>(parameter(name)?.and_then(|value| u8::try_from(value).ok()));
        Ok(Self {
            delay: Duration::from_micros(parameter("execute_delay_microseconds")?.unwrap_or(0))
                + Duration::from_millis(milliseconds),
            row_delay: Duration::from_micros(parameter("execute_delay_row_microseconds")?.unwrap_or(0)),
            fail_on: byte("fail_on")?,
            panic_on: byte("panic_on")?,
        })
    }

    /// Takes its time, and fails where it is to.
    pub(super) fn misbehave(&self, inputs: &[BatchInput]) -> Result<(), BackendError> {
        let hit = |trigger: Option<u8>| {
            trigger.is_some()
                && inputs
                    .iter()
                    .flat_map(|input| &input.parts)
                    .any(|part| part.data().first().copied() == trigger)
        };
        let rows = inputs.first().and_then(|input| input.shape.rows()).unwrap_or(1);
        let delay = self.delay + self.row_delay * u32::try_from(rows).unwrap_or(u32::MAX);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        if hit(self.fail_on) {
            return Err(BackendError::Execution { reason: "asked to fail by parameter fail_on".to_owned() });
        }
        assert!(!hit(self.panic_on), "asked to panic by parameter panic_on");
        Ok(())
    }
}
