//! The rate limiter's two keys: one [`RateLimit`].

use adulis_engine::{RateLimit, ResourceLimit};

use super::check::Check;
use super::raw::RawEngine;

const OFF: &str = "off";
const EXECUTION_COUNT: &str = "execution_count";
const MODES: [(&str, bool); 2] = [(OFF, false), (EXECUTION_COUNT, true)];

const RESOURCES: &str = "engine.rate_limit_resource";

impl Check<'_> {
    pub(super) fn rate_limit(&mut self, raw: &RawEngine) -> RateLimit {
        let word = raw.rate_limit.as_deref();
        let on = word.is_some_and(|word| self.word("engine.rate_limit", word, &MODES).unwrap_or(true));
        let told = raw.rate_limit_resource.as_deref().unwrap_or_default();
        let limits: Vec<ResourceLimit> = told
            .iter()
            .enumerate()
            .filter_map(|(index, text)| self.resource_limit(&format!("{RESOURCES}[{index}]"), text))
            .collect();
        self.resources_once(&limits);
        if !on && !told.is_empty() {
            let message = "takes effect only where runs wait for resources";
            let remedy = "set engine.rate_limit = \"execution_count\", or leave it out";
            self.faults.push_with_remedy(RESOURCES, message, remedy);
        }
        if on { RateLimit::ExecutionCount(limits) } else { RateLimit::Off }
    }

    fn resource_limit(&mut self, key: &str, text: &str) -> Option<ResourceLimit> {
        let limit = parse(text);
        if limit.is_none() {
            let message = format!("expected NAME:COUNT or NAME:COUNT:DEVICE, got {text:?}");
            self.faults.push_with_remedy(key, message, "for example \"memory:4\" or \"memory:4:0\"");
        }
        limit
    }

    fn resources_once(&mut self, limits: &[ResourceLimit]) {
        for (index, limit) in limits.iter().enumerate() {
            let same = |other: &ResourceLimit| other.name == limit.name && other.device == limit.device;
            if limits[..index].iter().any(same) {
                self.faults.push(RESOURCES, format!("{:?} is there twice", write(limit)));
            }
        }
    }
}

fn parse(text: &str) -> Option<ResourceLimit> {
    let (name, rest) = text.split_once(':').filter(|(name, _)| !name.is_empty())?;
    let (count, device) = match rest.split_once(':') {
        None => (rest, None),
        Some((count, device)) => (count, Some(device.parse().ok()?)),
    };
    Some(ResourceLimit { name: name.into(), count: count.parse().ok()?, device })
}

fn write(limit: &ResourceLimit) -> String {
    let ResourceLimit { name, count, device } = limit;
    let device = device.map_or_else(String::new, |device| format!(":{device}"));
    format!("{name}:{count}{device}")
}

/// The two keys' values.
pub(super) fn print(limit: &RateLimit, raw: &mut RawEngine) {
    let (word, limits) = match limit {
        RateLimit::Off => (OFF, &[][..]),
        RateLimit::ExecutionCount(limits) => (EXECUTION_COUNT, &limits[..]),
    };
    raw.rate_limit = Some(word.to_owned());
    raw.rate_limit_resource = Some(limits.iter().map(write).collect());
}

#[cfg(test)]
mod tests {
    use adulis_repository::strict::Faults;

    use super::*;

    fn checked(text: &str) -> Result<RateLimit, Vec<String>> {
        let raw: RawEngine = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        let limit = Check { faults: &mut faults }.rate_limit(&raw);
        let told = faults.into_vec().into_iter();
        let told: Vec<String> = told.map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
        if told.is_empty() { Ok(limit) } else { Err(told) }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let limit = |name: &str, count, device| ResourceLimit { name: name.into(), count, device };
        let some = vec![
            limit("R1", 10, None),
            limit("R2", 5, Some(0)),
            limit("R2", 8, Some(1)),
        ];
        for (text, expected) in [
            ("", RateLimit::Off),
            ("rate_limit = 'off'\nrate_limit_resource = []", RateLimit::Off),
            ("rate_limit = 'execution_count'", RateLimit::ExecutionCount(Vec::new())),
            (
                "rate_limit = 'execution_count'\nrate_limit_resource = ['R1:10', 'R2:5:0', 'R2:8:1']",
                RateLimit::ExecutionCount(some),
            ),
        ] {
            assert_eq!(checked(text).as_ref(), Ok(&expected), "{text}");
            let mut raw = RawEngine::default();
            print(&expected, &mut raw);
            assert_eq!(checked(&toml::to_string(&raw).unwrap()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        let told = checked("rate_limit = 'on'").unwrap_err();
        assert_eq!(told, ["engine.rate_limit: expected one of off, execution_count, got \"on\""]);
        let told = checked("rate_limit_resource = ['R:1']").unwrap_err();
        assert_eq!(told, ["engine.rate_limit_resource: takes effect only where runs wait for resources"]);
        for text in [
            "",
            "R",
            ":1",
            "R:",
            "R:-1",
            "R:4294967296",
            "R:1:",
            "R:1:gpu",
            "R:1:0:0",
        ] {
            let told = checked(&format!("rate_limit = 'execution_count'\nrate_limit_resource = ['{text}']"));
            let expected = format!(
                "engine.rate_limit_resource[0]: expected NAME:COUNT or NAME:COUNT:DEVICE, got {text:?}"
            );
            assert_eq!(told, Err(vec![expected]));
        }
        let told = checked("rate_limit = 'execution_count'\nrate_limit_resource = ['R:1', 'R:2']");
        assert_eq!(told, Err(vec!["engine.rate_limit_resource: \"R:2\" is there twice".to_owned()]));
    }
}
