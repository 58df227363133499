use adulis_types::{ParameterValue, Parameters};

use crate::error::Parsed;
use crate::rest::scanner::Scanner;
use crate::{MAX_PARAMETERS, Problem};

/// Reads a `parameters` object.
pub(super) fn read_all(scanner: &mut Scanner<'_>) -> Parsed<Parameters> {
    let mut parameters = Parameters::default();
    let mut count = 0;
    scanner.object(|scanner, key| {
        count += 1;
        if count > MAX_PARAMETERS {
            return Err(Box::new(Problem::TooMany { what: "parameters", limit: MAX_PARAMETERS }));
        }
        let value = read(scanner, key)?;
        if parameters.get(key).is_some() {
            return Err(duplicate(key));
        }
        parameters.set(key, value);
        Ok(())
    })?;
    Ok(parameters)
}

/// Reads the value of one parameter. Numbers that fit `i64` are that, whole ones beyond are `u64`, others `f64`.
pub(super) fn read(scanner: &mut Scanner<'_>, name: &str) -> Parsed<ParameterValue> {
    match scanner.peek() {
        Some(b'"') => Ok(ParameterValue::String(scanner.string()?.as_ref().into())),
        Some(b'-' | b'0'..=b'9') => {
            let start = scanner.offset();
            let number = scanner.number()?;
            let integer = number.integer();
            if let Some(value) = integer.and_then(|value| i64::try_from(value).ok()) {
                return Ok(ParameterValue::Int64(value));
            }
            if let Some(value) = integer.and_then(|value| u64::try_from(value).ok()) {
                return Ok(ParameterValue::Uint64(value));
            }
            match number.to_f64() {
                value if value.is_finite() => Ok(ParameterValue::Double(value)),
                _ => Err(wrong(scanner, name, start, "a number within FP64's range")),
            }
        }
        _ => {
            let start = scanner.offset();
            match scanner.flag() {
                Some(value) => Ok(ParameterValue::Bool(value)),
                None => Err(wrong(scanner, name, start, "a string, a number, true or false")),
            }
        }
    }
}

/// That the value at `start` is none that the parameter takes.
#[cold]
pub(super) fn wrong(scanner: &Scanner<'_>, name: &str, start: usize, expected: &'static str) -> Box<Problem> {
    Box::new(Problem::Parameter {
        name: crate::error::excerpt(name.as_bytes()),
        expected,
        found: scanner.excerpt_at(start),
    })
}

/// That a key stands twice.
#[cold]
pub(super) fn duplicate(key: &str) -> Box<Problem> {
    Box::new(Problem::DuplicateKey { key: crate::error::excerpt(key.as_bytes()) })
}

/// Puts a value in its place, which must be empty still.
pub(super) fn once<T>(place: &mut Option<T>, key: &str, value: T) -> Parsed<()> {
    if place.is_some() {
        return Err(duplicate(key));
    }
    *place = Some(value);
    Ok(())
}
