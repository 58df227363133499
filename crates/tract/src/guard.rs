use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::TractError;

/// Longest engine message that is passed on, in characters.
const MESSAGE_CHARACTERS: usize = 400;

/// How a call into the engine failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It said so.
    Error(String),
    /// It panicked. Whatever it was working on may be half done and must be dropped.
    Panic(String),
}

impl Fault {
    pub(crate) fn into_reason(self) -> String {
        match self {
            Fault::Error(reason) => reason,
            Fault::Panic(reason) => format!("the engine panicked: {reason}"),
        }
    }
}

/// Calls into the engine and turns both kinds of failure into a value.
///
/// Unwind safety is asserted because every caller drops what the call worked on when it panicked.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, TractError>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault::Error(explain(&error))),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no reason given");
            Err(Fault::Panic(bounded(text)))
        }
    }
}

/// The chain of causes, outermost first, in one bounded line.
fn explain(error: &TractError) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    bounded(&causes.join(": "))
}

fn bounded(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(MESSAGE_CHARACTERS).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_told_from_errors() {
        let panicked: Result<(), _> = guarded(|| panic!("lost\nmy way"));
        assert!(matches!(&panicked, Err(Fault::Panic(reason)) if reason == "lost my way"), "{panicked:?}");
        let failed: Result<(), _> = guarded(|| Err(TractError::msg("inner").context("outer")));
        assert!(matches!(&failed, Err(Fault::Error(reason)) if reason == "outer: inner"), "{failed:?}");
        assert_eq!(bounded(&"x".repeat(1000)).chars().count(), MESSAGE_CHARACTERS + 1);
    }
}
