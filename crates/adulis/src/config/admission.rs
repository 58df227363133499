//! How requests are admitted: one [`Admission`], and a bound in time.

use std::time::Duration;

use adulis_engine::Admission;

use super::check::{Check, MAX_TIMEOUT};
use super::raw::RawEngine;
use super::units::{OFF, format_duration};

const COST: &str = "cost";
const NONE: &str = "none";
const MODES: [(&str, Admission); 2] = [(COST, Admission::Cost), (NONE, Admission::None)];

const MAX_QUEUE_TIME: &str = "engine.max_queue_time";

impl Check<'_> {
    pub(super) fn admission(&mut self, raw: &RawEngine) -> Option<Admission> {
        self.word("engine.admission", raw.admission.as_deref()?, &MODES)
    }

    pub(super) fn max_queue_time(&mut self, raw: &RawEngine) -> Option<Duration> {
        let text = raw.max_queue_time.as_deref().filter(|text| *text != OFF)?;
        let limit = self.duration(MAX_QUEUE_TIME, Some(text), &(Duration::from_millis(1)..=MAX_TIMEOUT));
        if raw.admission.as_deref() == Some(NONE) {
            let message = "takes effect only where requests are admitted by what they will cost";
            let remedy = "set engine.admission = \"cost\", or leave it out";
            self.faults.push_with_remedy(MAX_QUEUE_TIME, message, remedy);
        }
        limit
    }
}

/// The two keys' values.
pub(super) fn print(admission: Admission, max_queue_time: Option<Duration>, raw: &mut RawEngine) {
    let word = match admission {
        Admission::Cost => COST,
        Admission::None => NONE,
    };
    raw.admission = Some(word.to_owned());
    raw.max_queue_time = Some(max_queue_time.map_or_else(|| OFF.to_owned(), format_duration));
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(text: &str) -> Result<(Option<Admission>, Option<Duration>), Vec<String>> {
        let raw: RawEngine = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let mut check = Check { faults: &mut faults };
        let both = (check.admission(&raw), check.max_queue_time(&raw));
        let told = faults.into_vec().into_iter();
        let told: Vec<String> = told.map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
        if told.is_empty() { Ok(both) } else { Err(told) }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for (admission, limit) in [
            (Admission::Cost, None),
            (Admission::Cost, Some(Duration::from_millis(250))),
            (Admission::None, None),
        ] {
            let mut raw = RawEngine::default();
            print(admission, limit, &mut raw);
            assert_eq!(checked(&toml::to_string(&raw).unwrap()), Ok((Some(admission), limit)));
        }
        assert_eq!(checked(""), Ok((None, None)));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let told = checked("admission = 'fifo'").unwrap_err();
        assert_eq!(told, ["engine.admission: expected one of cost, none, got \"fifo\""]);
        let told = checked("admission = 'none'\nmax_queue_time = '1s'").unwrap_err();
        let expected =
            "engine.max_queue_time: takes effect only where requests are admitted by what they will cost";
        assert_eq!(told, [expected]);
        assert_eq!(checked("max_queue_time = '0s'").unwrap_err().len(), 1);
    }
}
