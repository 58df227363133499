//! The index of models, loading and unloading.

use adulis_types::{IndexEntry, IndexQuery, LoadModel, Name, UnloadModel};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::control::{self, ControlProblem, LoadParameter, UNLOAD_DEPENDENTS};
use crate::error::{Parsed, excerpt};
use crate::rest::parameter::{duplicate, once, wrong};
use crate::rest::scanner::Scanner;
use crate::rest::writer;
use crate::{DecodeError, Problem};

/// A model as the path of a request to load or unload it names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryModel {
    /// The repository, where the path names one; refused if it is not empty.
    pub repository: Name,
    /// The model.
    pub model: Name,
}

/// Decodes the body of `POST /v2/repository/index`, which may be empty.
///
/// # Errors
/// [`DecodeError`] for what is not JSON, or not of the type that belongs there.
pub fn decode_index_query(repository: Name, body: &[u8]) -> Result<IndexQuery, DecodeError> {
    let mut ready = None;
    fields(body, |scanner, key| match key {
        "ready" => once(&mut ready, key, flag(scanner, key)?),
        _ => scanner.skip_value(),
    })
    .map_err(|problem| DecodeError::new("", problem))?;
    Ok(IndexQuery { repository, ready: ready.unwrap_or(false), fresh: true })
}

/// The answer to `POST /v2/repository/index`. A model that was never loaded has its name alone.
#[must_use]
pub fn repository_index(entries: &[IndexEntry]) -> Bytes {
    let mut out = Vec::new();
    writer::list(&mut out, entries, |out, entry| {
        writer::key(out, "{", "name");
        writer::string(out, &entry.name);
        if let Some(version) = entry.version {
            writer::key(out, ",", "version");
            writer::string(out, itoa::Buffer::new().format(version));
        }
        if let Some(state) = entry.state {
            writer::key(out, ",", "state");
            writer::string(out, &state.to_string());
        }
        if !entry.reason.is_empty() {
            writer::key(out, ",", "reason");
            writer::string(out, &entry.reason);
        }
        out.push(b'}');
    });
    out.into()
}

/// Decodes the body of `POST /v2/repository/models/{model}/load`, which may be empty.
///
/// Memory: the files, once each, beside the body.
///
/// # Errors
/// [`DecodeError`] for what is not JSON, for unknown parameters, and for files that are not base64 or come without a
/// configuration.
pub fn decode_load(target: RepositoryModel, body: &[u8]) -> Result<LoadModel, DecodeError> {
    load(&target, body).map_err(|problem| DecodeError::new(target.model, problem))
}

fn load(target: &RepositoryModel, body: &[u8]) -> Parsed<LoadModel> {
    control::check_repository(&target.repository)?;
    let mut load = LoadModel { name: target.model.clone(), ..LoadModel::default() };
    let mut count = 0;
    parameters(body, |scanner, name| {
        count += 1;
        load_parameter(&mut load, scanner, (name, count))
    })?;
    control::checked(load)
}

fn load_parameter(
    load: &mut LoadModel,
    scanner: &mut Scanner<'_>,
    (name, count): (&str, usize),
) -> Parsed<()> {
    match LoadParameter::of(name, count)? {
        LoadParameter::Config => {
            let text = scanner.string()?.into_owned();
            once(&mut load.config, name, Bytes::from(text))
        }
        LoadParameter::File(path) => {
            if load.files.iter().any(|(earlier, _)| earlier == path) {
                return Err(duplicate(name));
            }
            let contents = decode_base64(name, &scanner.string()?)?;
            load.files.push((path.into(), contents));
            Ok(())
        }
    }
}

fn decode_base64(name: &str, text: &str) -> Parsed<Bytes> {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    STANDARD.decode(text).map(Bytes::from).map_err(|error| {
        let at = match error {
            InvalidByte(at, _) | InvalidLastSymbol(at, _) => at,
            InvalidLength(_) | InvalidPadding => text.len(),
        };
        Box::new(ControlProblem::Base64 { name: excerpt(name.as_bytes()), at }.into())
    })
}

/// Decodes the body of `POST /v2/repository/models/{model}/unload`, which may be empty.
///
/// # Errors
/// [`DecodeError`] for what is not JSON, and for unknown parameters.
pub fn decode_unload(target: RepositoryModel, body: &[u8]) -> Result<UnloadModel, DecodeError> {
    match unload_dependents(&target, body) {
        Ok(unload_dependents) => Ok(UnloadModel { name: target.model, unload_dependents }),
        Err(problem) => Err(DecodeError::new(target.model, problem)),
    }
}

fn unload_dependents(target: &RepositoryModel, body: &[u8]) -> Parsed<bool> {
    control::check_repository(&target.repository)?;
    let mut dependents = None;
    parameters(body, |scanner, name| match name {
        UNLOAD_DEPENDENTS => once(&mut dependents, name, flag(scanner, name)?),
        _ => Err(control::unknown(name, "'unload_dependents'")),
    })?;
    Ok(dependents.unwrap_or(false))
}

/// Reads the `parameters` of a body that may be empty.
fn parameters(body: &[u8], mut parameter: impl FnMut(&mut Scanner<'_>, &str) -> Parsed<()>) -> Parsed<()> {
    let mut seen = None;
    fields(body, |scanner, key| match key {
        "parameters" => {
            once(&mut seen, key, ())?;
            scanner.object(&mut parameter)
        }
        _ => scanner.skip_value(),
    })
}

/// Reads the object that a body is, if it is not empty.
pub(super) fn fields(body: &[u8], field: impl FnMut(&mut Scanner<'_>, &str) -> Parsed<()>) -> Parsed<()> {
    let mut scanner = Scanner::new(body);
    if scanner.peek().is_none() {
        return Ok(());
    }
    scanner.object(field)?;
    scanner.finish()
}

/// Reads the flag that `name` takes.
pub(super) fn flag(scanner: &mut Scanner<'_>, name: &str) -> Parsed<bool> {
    scanner.peek();
    let start = scanner.offset();
    let read = scanner.flag();
    read.ok_or_else(|| -> Box<Problem> { wrong(scanner, name, start, "true or false") })
}

#[cfg(test)]
mod tests;
