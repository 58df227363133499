//! What was measured, kept as JSON and shown as a table.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::goal::Verdict;
use super::machine::Machine;
use super::series::Series;
use super::table;

/// The report of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// In the order of the list of measurements.
    pub(super) entries: Vec<Entry>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The measurement's name on the command line.
    pub(super) name: String,
    pub(super) commit: String,
    /// When it was taken, RFC 3339.
    pub(super) measured_at: String,
    /// Share of the cores that others used in the second before it, 0 to 1.
    pub(super) busy_before: f64,
    /// Rough figures only.
    pub(super) quick: bool,
    pub(super) figures: Vec<Figure>,
    /// Tables beside the figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) series: Vec<Series>,
    /// Why there are none.
    pub(super) failure: Option<String>,
}

impl Report {
    /// Reads an earlier report of the same machine; none if there is no file.
    ///
    /// # Errors
    /// The file can't be read, or is of another machine.
    pub(super) fn read(path: &Path, machine: &Machine) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let earlier: Self = serde_json::from_str(&text)
            .with_context(|| format!("cannot understand {}: remove it", path.display()))?;
        if earlier.machine != *machine {
            bail!("{} is of another machine: {}", path.display(), earlier.machine);
        }
        Ok(Some(earlier))
    }

    /// Puts an entry in the place that `names` gives it, instead of an earlier one.
    pub(super) fn put(&mut self, entry: Entry, names: &[String]) {
        self.entries.retain(|known| known.name != entry.name);
        self.entries.push(entry);
        let place = |entry: &Entry| names.iter().position(|name| *name == entry.name);
        self.entries.sort_by_key(|entry| place(entry).unwrap_or(names.len()));
    }

    /// Writes `perf.json` and `perf.md`.
    ///
    /// # Errors
    /// They can't be written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (name, text) in [(JSON, json), (MARKDOWN, table::markdown(self))] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// The report's file for programs.
pub(super) const JSON: &str = "perf.json";

/// The report's file for documents.
pub(super) const MARKDOWN: &str = "perf.md";

impl Entry {
    /// True if it was not measured, or a goal is missed by more than noise; the rough figures of a quick run don't count.
    pub(super) fn is_failure(&self) -> bool {
        let missed = |figure: &Figure| figure.verdict == Some(Verdict::Missed);
        self.failure.is_some() || (!self.quick && self.figures.iter().any(missed))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::goal::Goal;
    use super::*;

    /// An entry with one figure, a ratio of these samples that should be at least 1.
    pub(in super::super) fn entry(name: &str, samples: &[f64]) -> Entry {
        let figure = Figure::new(format!("{name}: requests/s"), "×", samples).unwrap();
        Entry {
            name: name.to_owned(),
            commit: "abc1234".to_owned(),
            measured_at: "2026-11-24T12:00:00Z".to_owned(),
            busy_before: 0.25,
            quick: false,
            figures: vec![figure.goal(Goal::AtLeast(1.0)).remark("10/s against 10/s")],
            series: Vec::new(),
            failure: None,
        }
    }

    pub(in super::super) fn report(entries: Vec<Entry>) -> Report {
        Report { machine: Machine::this(), entries }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let written = report(vec![entry("a", &[1.5, 2.0])]);
        written.write(folder.path()).unwrap();
        let path = folder.path().join(JSON);
        assert_eq!(Report::read(&path, &written.machine).unwrap(), Some(written.clone()));
        assert_eq!(Report::read(&folder.path().join("none"), &written.machine).unwrap(), None);
        let text = fs::read_to_string(&path).unwrap().replace("\"cores\": ", "\"cores\": 9");
        fs::write(&path, text).unwrap();
        let error = Report::read(&path, &written.machine).unwrap_err().to_string();
        assert!(error.contains("another machine"), "{error}");
    }

    #[test]
    fn an_entry_takes_its_place_and_that_of_an_earlier_one() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let mut report = report(vec![entry("a", &[1.0]), entry("c", &[1.0])]);
        report.put(entry("b", &[2.0]), &names);
        report.put(entry("a", &[3.0]), &names);
        let found: Vec<_> = report
            .entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.figures[0].spread.median))
            .collect();
        assert_eq!(found, [("a", 3.0), ("b", 2.0), ("c", 1.0)]);
    }

    #[test]
    fn misses_and_failures_fail_and_noise_does_not() {
        assert!(!entry("a", &[1.0, 1.1]).is_failure());
        assert!(!entry("a", &[0.9, 0.95, 1.1]).is_failure());
        let mut missed = entry("a", &[0.8, 0.9]);
        assert!(missed.is_failure());
        missed.quick = true;
        assert!(!missed.is_failure());
        let mut failed = entry("a", &[1.0]);
        failed.failure = Some("no server".to_owned());
        assert!(failed.is_failure());
    }
}
