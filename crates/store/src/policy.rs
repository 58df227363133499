use std::collections::HashMap;

use adulis_types::{Name, RequestId};
use xxhash_rust::xxh3::xxh3_64;

/// What is kept of a model's requests in the inference log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogPolicy {
    /// The share of requests that are logged, from 0 to 1.
    pub sample_rate: f64,
    /// What is kept of their tensors.
    pub capture: Capture,
    /// Most bytes of tensors that are kept of one request and one answer together. What is beyond is told by its size alone.
    pub max_payload_bytes: usize,
    /// Inputs and outputs whose data is not kept; `*` stands for all.
    pub redact: Vec<String>,
}

/// What is kept of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capture {
    /// Its data.
    #[default]
    Tensors,
    /// The SHA-256 of its data.
    Digests,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self {
            sample_rate: 0.0,
            capture: Capture::Tensors,
            max_payload_bytes: 64 << 10,
            redact: Vec::new(),
        }
    }
}

impl LogPolicy {
    /// Whether a request is logged. The same id is always decided in the same way, on every replica and for every model of the
    /// same rate, and what a lower rate chooses a higher one does too.
    #[must_use]
    pub fn samples(&self, request: &RequestId) -> bool {
        if self.sample_rate >= 1.0 {
            return true;
        }
        if self.sample_rate.is_nan() || self.sample_rate <= 0.0 {
            return false;
        }
        // 24 bytes hold the ids that we give, without an allocation.
        let mut text = Name::default();
        if std::fmt::write(&mut text, format_args!("{request}")).is_err() {
            return false;
        }
        // The upper 53 bits are as many as a float holds.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are held exactly")]
        let drawn = (xxh3_64(text.as_bytes()) >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < self.sample_rate
    }

    /// Whether the data of this input or output is not kept.
    #[must_use]
    pub fn redacts(&self, tensor: &str) -> bool {
        self.redact.iter().any(|name| name == "*" || name == tensor)
    }
}

/// The policies of all models.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogPolicies {
    /// Of models that have none of their own.
    pub default: LogPolicy,
    /// Of these models.
    pub models: HashMap<String, LogPolicy>,
}

impl LogPolicies {
    /// The policy of a model: one look-up.
    #[must_use]
    pub fn of(&self, model: &str) -> &LogPolicy {
        self.models.get(model).unwrap_or(&self.default)
    }

    /// Whether anything is logged at all.
    #[must_use]
    pub fn log_anything(&self) -> bool {
        std::iter::once(&self.default)
            .chain(self.models.values())
            .any(|policy| policy.sample_rate > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(sample_rate: f64) -> LogPolicy {
        LogPolicy { sample_rate, ..LogPolicy::default() }
    }

    #[test]
    fn about_as_many_as_the_rate_says_are_chosen() {
        for (share, expected) in [
            (0.0, 0..=0),
            (0.1, 800..=1200),
            (0.5, 4700..=5300),
            (1.0, 10_000..=10_000),
        ] {
            let chosen = (0..10_000).filter(|number| {
                rate(share).samples(&RequestId::given(format!("request-{number}").as_bytes()).unwrap())
            });
            let count = chosen.count();
            assert!(expected.contains(&count), "{count} of 10,000 at {share}");
        }
        assert!(!rate(f64::NAN).samples(&RequestId::next()));
    }

    proptest! {
        #[test]
        fn a_higher_rate_chooses_what_a_lower_one_does(id in "[a-z0-9-]{1,40}", low in 0.0..1.0_f64, more in 0.0..1.0_f64) {
            let id = RequestId::given(id.as_bytes()).unwrap();
            let high = low + (1.0 - low) * more;
            prop_assert!(!rate(low).samples(&id) || rate(high).samples(&id));
            prop_assert_eq!(rate(low).samples(&id), rate(low).samples(&id));
        }
    }

    #[test]
    fn policies_of_models_and_names_that_are_redacted() {
        let own = LogPolicy { sample_rate: 1.0, redact: vec!["a".to_owned()], ..LogPolicy::default() };
        let mut policies = LogPolicies::default();
        assert!(!policies.log_anything());
        policies.models.insert("m".to_owned(), own);
        assert!(policies.log_anything());
        assert!(policies.of("m").redacts("a") && !policies.of("m").redacts("b"));
        assert!(!policies.of("other").redacts("a"));
        let all = LogPolicy { redact: vec!["*".to_owned()], ..LogPolicy::default() };
        assert!(all.redacts("anything"));
    }
}
