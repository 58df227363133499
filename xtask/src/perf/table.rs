//! The report as a table that is Markdown and can be read in a terminal.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::iter;

use super::figure::{Figure, digits};
use super::report::{Entry, Report};

const HEAD: [&str; 6] = [
    "what",
    "goal",
    "measured, median",
    "95 % of the median",
    "range",
    "verdict",
];

/// The whole document.
pub(super) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(text, "Machine: {}.", report.machine);
    let _ = writeln!(text, "{}\n", origin(&report.entries));
    text.push_str(&aligned(&rows(&report.entries)));
    let remarks: Vec<String> = remarks(&report.entries).collect();
    if !remarks.is_empty() {
        let _ = writeln!(text, "\n{}", remarks.join("\n"));
    }
    for series in report.entries.iter().flat_map(|entry| &entry.series) {
        let head = series.columns.clone();
        let rows = series.rows.iter().map(|row| row.iter().copied().map(number).collect());
        let rows: Vec<Vec<String>> = iter::once(head).chain(rows).collect();
        let _ = write!(text, "\n{}:\n\n{}", series.what, aligned(&rows));
    }
    text
}

/// Commits, days and how busy the machine was.
fn origin(entries: &[Entry]) -> String {
    let each = |part: &dyn Fn(&Entry) -> String| {
        let parts: BTreeSet<String> = entries.iter().map(part).collect();
        parts.into_iter().collect::<Vec<_>>().join(", ")
    };
    let commits = each(&|entry| entry.commit.clone());
    let days = each(&|entry| entry.measured_at.chars().take("2026-11-24".len()).collect());
    let busy = entries.iter().map(|entry| entry.busy_before).fold(0.0, f64::max) * 100.0;
    let rough = if entries.iter().any(|entry| entry.quick) {
        " **Rough figures of a quick run.**"
    } else {
        ""
    };
    format!(
        "Commit {commits}, {days}. Other work took up to {busy:.0} % of the cores before a measurement.{rough}"
    )
}

fn rows(entries: &[Entry]) -> Vec<[String; HEAD.len()]> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for entry in entries {
        rows.extend(entry.figures.iter().map(row));
        if entry.failure.is_some() {
            let mut row = [const { String::new() }; HEAD.len()];
            row[0] = entry.name.clone();
            row[HEAD.len() - 1] = "**not measured**".to_owned();
            rows.push(row);
        }
    }
    rows
}

fn row(figure: &Figure) -> [String; HEAD.len()] {
    let Figure { what, unit, goal, spread, verdict, .. } = figure;
    // What has no unit is a count.
    let digits = |value: f64| if unit.is_empty() { format!("{value:.0}") } else { digits(value) };
    let with_unit = |text: String| if unit.is_empty() { text } else { format!("{text} {unit}") };
    let between = |low: f64, high: f64| match spread.samples {
        1 => "–".to_owned(),
        _ => format!("{} to {}", digits(low), digits(high)),
    };
    [
        what.clone(),
        goal.map_or_else(|| "–".to_owned(), |goal| with_unit(goal.to_string())),
        with_unit(digits(spread.median)),
        between(spread.low, spread.high),
        between(spread.min, spread.max),
        verdict.map_or_else(|| "–".to_owned(), |verdict| verdict.to_string()),
    ]
}

/// What figures are made of, and why there are none.
fn remarks(entries: &[Entry]) -> impl Iterator<Item = String> {
    entries.iter().flat_map(|entry| {
        let told = entry.figures.iter().filter(|figure| !figure.remark.is_empty());
        let told = told.map(|figure| format!("- {}: {}", figure.what, figure.remark));
        let first_line = |why: &String| why.lines().next().unwrap_or_default().to_owned();
        let failure = entry.failure.iter().map(first_line);
        let failure = failure.map(|why| format!("- {}: not measured: {why}", entry.name));
        told.chain(failure)
    })
}

/// What is whole is counted, and shown as it is.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 100.0 {
        format!("{value:.0}")
    } else {
        digits(value)
    }
}

/// Columns padded to one width each.
fn aligned<R: AsRef<[String]>>(rows: &[R]) -> String {
    let cell_width = |row: &R, column: usize| row.as_ref()[column].chars().count();
    let width = |column: usize| rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().map(AsRef::as_ref).enumerate() {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let padding = width(column) - cell.chars().count();
            format!("{cell}{}", " ".repeat(padding))
        });
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        if index == 0 {
            let rules = (0..row.len()).map(|column| "-".repeat(width(column)));
            let _ = writeln!(text, "| {} |", rules.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{entry, report};
    use super::super::series::Series;
    use super::*;

    #[test]
    fn each_figure_has_goal_median_range_and_verdict() {
        let mut failed = entry("b", &[1.0]);
        (failed.figures, failed.failure) = (Vec::new(), Some("no server\nits log".to_owned()));
        let text = markdown(&report(vec![entry("a", &[0.5, 0.75, 0.9]), failed]));
        let expected = "\
| what          | goal  | measured, median | 95 % of the median | range          | verdict          |
| ------------- | ----- | ---------------- | ------------------ | -------------- | ---------------- |
| a: requests/s | ≥ 1 × | 0.750 ×          | 0.500 to 0.900     | 0.500 to 0.900 | **missed**       |
| b             |       |                  |                    |                | **not measured** |

- a: requests/s: 10/s against 10/s
- b: not measured: no server
";
        assert!(text.ends_with(expected), "{text}");
        assert!(
            text.contains(
                "Commit abc1234, 2026-11-24. Other work took up to 25 % of the cores before a measurement."
            ),
            "{text}"
        );
        assert!(!text.contains("Rough"), "{text}");
    }

    #[test]
    fn tables_stand_below_the_figures() {
        let mut entry = entry("a", &[1.0]);
        entry.series = vec![Series {
            what: "a: over time".to_owned(),
            columns: vec!["s".to_owned(), "MiB".to_owned()],
            rows: vec![vec![0.0, 61.25], vec![600.0, 62.0]],
        }];
        let text = markdown(&report(vec![entry]));
        let expected = "\na: over time:\n\n\
                        | s   | MiB  |\n| --- | ---- |\n| 0   | 61.2 |\n| 600 | 62   |\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn quick_runs_say_so() {
        let mut rough = entry("a", &[1.0]);
        rough.quick = true;
        let text = markdown(&report(vec![rough]));
        assert!(text.contains("Rough figures"), "{text}");
        // One sample has no range.
        assert!(text.contains("| –                  | –     |"), "{text}");
    }
}
