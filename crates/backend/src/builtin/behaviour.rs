use std::thread;
use std::time::Duration;

use adulis_tensor::{DataType, Tensor};

use crate::{BackendError, BatchInput, LoadRequest};

/// What the parameters of a model of a built-in backend ask for: delays and faults.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behaviour {
    delay: Duration,
    row_delay: Duration,
    steps: u64,
    row_steps: u64,
    fail_on: Option<u8>,
    panic_on: Option<u8>,
    hang_on: Option<u8>,
    abort_on: Option<u8>,
    allocate_on: Option<u8>,
    allocate_bytes: usize,
}

impl Behaviour {
    /// Takes as long as `load_delay_ms` says.
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
        thread::sleep(Duration::from_millis(parameter("load_delay_ms")?.unwrap_or(0)));
        Ok(Self {
            delay: Duration::from_micros(parameter("execute_delay_microseconds")?.unwrap_or(0))
                + Duration::from_millis(milliseconds),
            row_delay: Duration::from_micros(parameter("execute_delay_row_microseconds")?.unwrap_or(0)),
            steps: parameter("execute_steps")?.unwrap_or(0),
            row_steps: parameter("execute_steps_row")?.unwrap_or(0),
            fail_on: byte("fail_on")?,
            panic_on: byte("panic_on")?,
            hang_on: byte("hang_on")?,
            abort_on: byte("abort_on")?,
            allocate_on: byte("allocate_on")?,
            allocate_bytes: usize::try_from(parameter("allocate_bytes")?.unwrap_or(0)).unwrap_or(usize::MAX),
        })
    }

    /// Takes its time, and fails where it is to.
    pub(super) fn misbehave(&self, inputs: &[BatchInput]) -> Result<(), BackendError> {
        let hit = |trigger: Option<u8>| {
            trigger.is_some()
                && inputs
                    .iter()
                    .flat_map(|input| &input.parts)
                    .any(|part| first_bytes(part).any(|byte| Some(byte) == trigger))
        };
        let rows = inputs.first().and_then(|input| input.shape.rows()).unwrap_or(1);
        let delay = self.delay + self.row_delay * u32::try_from(rows).unwrap_or(u32::MAX);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        work(self.steps.saturating_add(self.row_steps.saturating_mul(rows as u64)));
        if hit(self.fail_on) {
            return Err(BackendError::Execution { reason: "asked to fail by parameter fail_on".to_owned() });
        }
        assert!(!hit(self.panic_on), "asked to panic by parameter panic_on");
        while hit(self.hang_on) {
            thread::sleep(Duration::from_secs(1));
        }
        if hit(self.abort_on) {
            std::process::abort();
        }
        if hit(self.allocate_on) {
            // Used, so that it is not left out.
            std::hint::black_box(vec![1_u8; self.allocate_bytes]);
        }
        Ok(())
    }
}

/// Keeps a core busy for so many steps, each of which needs the one before: about a nanosecond each.
fn work(steps: u64) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..steps {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    std::hint::black_box(state);
}

/// The first byte of each row; of texts, which have no fixed length, of the first row.
fn first_bytes(part: &Tensor) -> impl Iterator<Item = u8> {
    let (data, rows) = (part.data(), part.shape().rows().unwrap_or(1).max(1));
    let row = if part.datatype() == DataType::Bytes { data.len() } else { data.len() / rows };
    data.chunks(row.max(1)).filter_map(|row| row.first().copied())
}
