use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Check;
use crate::VersionPolicy;

const POLICY_FORMS: &str = "expected \"all\", { latest = N } or { specific = [N, …] }";

impl Check<'_> {
    pub(super) fn version_policy(&mut self, raw: Option<&Value>) -> VersionPolicy {
        let key = "version_policy";
        match raw {
            None => VersionPolicy::default(),
            Some(Value::String(word)) if word == "all" => VersionPolicy::All,
            Some(Value::String(word)) if word == "latest" => VersionPolicy::default(),
            Some(Value::Table(table)) if table.is_empty() => VersionPolicy::default(),
            Some(Value::Table(table)) if table.len() == 1 => self.version_policy_table(table),
            Some(_) => {
                self.faults.push(key, POLICY_FORMS);
                VersionPolicy::default()
            }
        }
    }

    fn version_policy_table(&mut self, table: &Table) -> VersionPolicy {
        let inner = |value: &Value, field: &str| match value {
            Value::Table(table) if table.len() == 1 => table.get(field).cloned(),
            Value::Table(_) => None,
            other => Some(other.clone()),
        };
        if table.contains_key("all") {
            return VersionPolicy::All;
        }
        if let Some(latest) = table.get("latest") {
            return match inner(latest, "num_versions") {
                Some(Value::Integer(count)) => self
                    .whole("version_policy.latest", count, 1..=i64::from(u32::MAX))
                    .map_or_else(VersionPolicy::default, VersionPolicy::Latest),
                // `latest {}` in the text format: Triton serves one.
                None => VersionPolicy::default(),
                Some(_) => {
                    self.faults.push("version_policy.latest", "expected a whole number");
                    VersionPolicy::default()
                }
            };
        }
        match table.get("specific").map(|specific| inner(specific, "versions")) {
            Some(Some(Value::Array(versions))) if !versions.is_empty() => self.specific_versions(&versions),
            Some(_) => {
                self.faults.push("version_policy.specific", "names no version");
                VersionPolicy::default()
            }
            None => {
                self.faults.push("version_policy", POLICY_FORMS);
                VersionPolicy::default()
            }
        }
    }

    fn specific_versions(&mut self, versions: &[Value]) -> VersionPolicy {
        let mut set = BTreeSet::new();
        for (index, version) in versions.iter().enumerate() {
            let key = format!("version_policy.specific[{index}]");
            match version.as_integer() {
                Some(version) => set.extend(self.whole::<u64>(key, version, 1..=i64::MAX)),
                None => self.faults.push(key, "expected a whole number"),
            }
        }
        VersionPolicy::Specific(set.into_iter().collect())
    }
}
