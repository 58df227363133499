use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use ort::sys;

/// Longest engine message that is passed on, in characters.
const MESSAGE_CHARACTERS: usize = 400;

/// A failed call: the engine's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct OrtError(pub(crate) String);

/// The function table of the loaded library. Only called once [`crate::environment`] has loaded it.
pub(crate) fn api() -> &'static sys::OrtApi {
    ort::api()
}

/// Turns a status into a result and frees it.
pub(crate) fn check(status: sys::OrtStatusPtr) -> Result<(), OrtError> {
    let Some(status) = NonNull::new(status.0) else {
        return Ok(());
    };
    // SAFETY: the status is not null, came from the engine and is released exactly once, after its message was copied.
    let message = unsafe {
        let message = owned_text((api().GetErrorMessage)(status.as_ptr()));
        (api().ReleaseStatus)(status.as_ptr());
        message
    };
    Err(OrtError(bounded(&message)))
}

/// Calls one function of the table and checks its status. The unsafety, and its reason, stays with the caller.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        $crate::api::check(($crate::api::api().$function)($($argument),*))
    };
}
pub(crate) use call;

/// Checks that a call that succeeded gave a pointer.
pub(crate) fn filled<T>(pointer: *mut T, what: &str) -> Result<NonNull<T>, OrtError> {
    NonNull::new(pointer).ok_or_else(|| OrtError(format!("the engine gave no {what}")))
}

/// A copy of a C string; empty for null.
///
/// # Safety
/// `text` is null or points at a string that ends with NUL.
pub(crate) unsafe fn owned_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The first line that says something, without the engine's source locations in front, cut to a length a client can
/// be told.
fn bounded(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    let mut text: String = line.chars().take(MESSAGE_CHARACTERS).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_bounded_line() {
        assert_eq!(bounded("\n  first \nsecond"), "first");
        assert_eq!(bounded(""), "no reason given");
        assert_eq!(bounded(&"ä".repeat(5_000)).chars().count(), MESSAGE_CHARACTERS + 1);
    }
}
