//! Copies of tensor bytes: no clock shows them, tests do.

use anyhow::{Context, Result, ensure};

use super::figure::Figure;
use super::goal::Goal;
use crate::{process, workspace};

/// Tests that compare addresses along the way of one REST binary request: crate, target, names.
const TESTS: [(&str, &str, &[&str]); 3] = [
    (
        "adulis-http",
        "--lib",
        &[
            "body::tests::a_body_in_one_frame_is_not_copied",
            "body::tests::the_binary_section_is_aligned",
        ],
    ),
    ("adulis-http", "--test=rest", &["large_binary_inputs_arrive_aligned"]),
    ("adulis-protocol", "--test=round_trip", &["binary_tensors_are_not_copied"]),
];

/// Builds the tests.
///
/// # Errors
/// They don't build.
pub(super) fn build() -> Result<()> {
    TESTS.iter().try_for_each(|(package, target, _)| {
        process::run(workspace::cargo().args(["test", "--package", package, target, "--no-run"]))
    })
}

/// Runs the tests: as long as they pass, a request's tensor bytes are copied once.
pub(super) fn run() -> Result<Vec<Figure>> {
    for (package, target, names) in TESTS {
        let mut test = workspace::cargo();
        test.args(["test", "--package", package, target, "--", "--exact"]).args(names);
        let told = process::capture_with_progress(&mut test, &format!("copies: tests of {package}"))?;
        let passed = passed(&told).with_context(|| format!("the tests of {package} have no result"))?;
        ensure!(
            passed == names.len(),
            "{passed} of {} tests of {package} ran: {}",
            names.len(),
            names.join(", ")
        );
    }
    let names = TESTS.iter().flat_map(|(_, _, names)| *names).map(|name| format!("`{}`", base(name)));
    let remark = format!("held by tests: {}", names.collect::<Vec<_>>().join(", "));
    let what = "copies of tensor bytes between socket and engine, one REST binary request";
    Ok(vec![Figure::new(what, "", &[1.0])?.goal(Goal::AtMost(1.0)).remark(remark)])
}

fn base(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

/// How many tests passed, as the test harness says it.
fn passed(told: &str) -> Option<usize> {
    let line = told.lines().find_map(|line| line.strip_prefix("test result: ok. "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_passed_tests_is_read() {
        let told = "running 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored; 7 filtered out\n";
        assert_eq!(passed(told), Some(2));
        assert_eq!(passed("test result: FAILED. 1 passed; 1 failed"), None);
    }
}
