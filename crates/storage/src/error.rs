use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adulis_repository::Problem;
use adulis_retry::Fault;
use object_store::client::HttpError;

use crate::UrlFault;

/// Why a repository in object storage cannot be opened, read or mirrored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is what the message calls it")]
pub enum StorageError {
    /// The URL is at fault.
    #[error("{0}")]
    Url(#[from] UrlFault),
    /// A setting is at fault.
    #[error("{key} {message}")]
    Setting { key: &'static str, message: String },
    /// What the environment says of it is at fault.
    #[error("cannot be opened: {reason}")]
    Open { reason: String },
    /// Bucket, container or object are not there.
    #[error("there is no such bucket, container or object: {reason}")]
    NotFound { reason: String },
    /// The credentials are not enough, or there are none.
    #[error("access is refused: {reason}")]
    Refused { reason: String },
    /// Nobody answers, or not as expected.
    #[error("cannot be read: {reason}")]
    Unreachable { reason: String },
    /// It is known to be down and was not asked.
    #[error("is not asked for a while: {reason}")]
    Down { reason: String },
    /// A key that is no path at all.
    #[error("holds an object whose key is no path: {reason}")]
    Key { reason: String },
    /// More than a mirror takes.
    #[error("holds more than {limit} objects")]
    Objects { limit: usize },
    /// More than a mirror takes.
    #[error("its models take {bytes} bytes, and {limit} are allowed")]
    Bytes { bytes: u64, limit: u64 },
    /// It took too long.
    #[error("was not mirrored within {limit:?}")]
    Timeout { limit: Duration },
    /// An object is not what was listed.
    #[error("{key} has {actual} bytes, and {listed} were listed")]
    Size { key: String, listed: u64, actual: u64 },
    /// The mirror's own folder is at fault.
    #[error("the folder for its mirror, {}, cannot be used: {source}", path.display())]
    Cache { path: PathBuf, source: io::Error },
    /// No thread.
    #[error("no thread to read it with: {0}")]
    Thread(io::Error),
    /// The server is stopping.
    #[error("is no longer read: the server is stopping")]
    Closed,
}

impl StorageError {
    pub(crate) fn cache(path: &Path, source: io::Error) -> Self {
        Self::Cache { path: path.to_owned(), source }
    }

    /// As a problem of the repository of this URL.
    pub(crate) fn problem(&self, url: &str) -> Problem {
        Problem {
            path: PathBuf::from(url),
            model: None,
            key: None,
            message: self.to_string(),
            remedy: self.remedy().map(str::to_owned),
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => Some("check its name, the region and the endpoint"),
            Self::Refused { .. } => Some(CREDENTIALS),
            Self::Unreachable { .. } | Self::Down { .. } => Some(
                "check that it can be reached from here, the endpoint that is set, and that there are credentials, or \
                 AWS_SKIP_SIGNATURE=true for a public bucket",
            ),
            Self::Key { .. } => Some("remove it, or name a path beside it"),
            Self::Objects { .. } => Some("name a path in it that holds nothing but models"),
            Self::Bytes { .. } => Some("raise storage.max_bytes, or name a path that holds less"),
            Self::Timeout { .. } => Some("raise storage.mirror_timeout"),
            Self::Cache { .. } => Some("choose another with storage.cache_folder"),
            _ => None,
        }
    }
}

const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or \
                           AZURE_STORAGE_KEY, or give this machine a role that may list and read it";

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Store;

        let reason = reason(&error);
        match error {
            Store::NotFound { .. } => Self::NotFound { reason },
            Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Self::Refused { reason },
            Store::InvalidPath { .. } => Self::Key { reason },
            _ => match status(&reason) {
                Some("404") => Self::NotFound { reason },
                Some("401" | "403") => Self::Refused { reason },
                _ if reason.contains(METADATA_ADDRESS) => Self::Refused {
                    reason: "there are no credentials, and no role of the machine".to_owned(),
                },
                _ => Self::Unreachable { reason },
            },
        }
    }
}

/// Why an attempt failed, and what that says of the storage.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: StorageError,
    pub(crate) fault: Fault,
}

impl From<StorageError> for Failure {
    /// The storage has no part in it.
    fn from(error: StorageError) -> Self {
        Self { error, fault: Fault::None }
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        Self { fault: fault(&error), error: error.into() }
    }
}

/// What an error says of the storage: what passes is a connection that cannot be made or breaks, too long a wait, and an answer
/// that says so (5xx, 408, 429). What the library does not understand would not be better the next time.
pub(crate) fn fault(error: &object_store::Error) -> Fault {
    use object_store::Error as Store;

    if !matches!(error, Store::Generic { .. } | Store::JoinError { .. }) {
        return Fault::None;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<HttpError>() {
            return Fault::Passing;
        }
        cause = inner.source();
    }
    match status(&reason(error)) {
        Some("408" | "429") => Fault::Passing,
        Some(status) if status.starts_with('5') => Fault::Passing,
        Some(_) => Fault::None,
        None => Fault::Down,
    }
}

/// Where a machine of a cloud is asked for its role, if there are no other credentials.
const METADATA_ADDRESS: &str = "169.254.169.254";

/// The HTTP status in the library's words; listings do not tell it in any other way.
fn status(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("status code: ")?;
    rest.get(..3)
}

/// What an answer in XML says, in place of all of it.
fn without_xml(text: &str) -> String {
    let Some(start) = text.find("<?xml").or_else(|| text.find("<Error>")) else {
        return text.to_owned();
    };
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
    };
    let told: Vec<&str> = ["Code", "Message"].into_iter().filter_map(element).collect();
    format!("{}{}", &text[..start], told.join(": "))
}

/// The whole chain in one line: each cause that its successor does not repeat. URLs lose what follows a question mark, which
/// may be a signature.
pub(crate) fn reason(error: &dyn Error) -> String {
    let mut text = without_xml(&one_line(&error.to_string()));
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = without_xml(&one_line(&inner.to_string()));
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

fn one_line(text: &str) -> String {
    const MAX_CHARACTERS: usize = 600;
    let words = text.split_whitespace().map(|word| {
        let url = word.contains("://").then(|| word.split_once('?')).flatten();
        url.map_or(word, |(url, _)| url)
    });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpErrorKind;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("asked")]
    struct Asked(#[source] HttpError);

    #[test]
    fn reasons_are_one_line_without_signatures() {
        let inner = io::Error::other("GET https://a.b/c?sig=secret\n in 1s");
        assert_eq!(reason(&Outer(inner)), "outer: GET https://a.b/c in 1s");
        assert_eq!(reason(&Outer(io::Error::other("outer"))), "outer");
        let xml = "404 Not Found: <?xml version='1.0'?> <Error><Code>NoSuchBucket</Code><Message>it is not \
                   there</Message><RequestId>x</RequestId></Error>";
        assert_eq!(
            reason(&Outer(io::Error::other(xml))),
            "outer: 404 Not Found: NoSuchBucket: it is not there"
        );
        assert_eq!(without_xml("500: <Error>"), "500: ");
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let of = |source: Box<dyn Error + Send + Sync>| {
            fault(&object_store::Error::Generic { store: "S3", source })
        };
        for code in ["500", "502", "503", "504", "429", "408"] {
            assert_eq!(of(format!("status code: {code} x").into()), Fault::Passing, "{code}");
        }
        for code in ["400", "401", "403", "404", "409", "416"] {
            assert_eq!(of(format!("status code: {code} x").into()), Fault::None, "{code}");
        }
        let broken = HttpError::new(HttpErrorKind::Interrupted, io::Error::other("reset"));
        assert_eq!(of(Box::new(Asked(broken))), Fault::Passing);
        assert_eq!(of("what is this?".into()), Fault::Down);
        let gone = object_store::Error::NotFound { path: "a".into(), source: "status code: 503".into() };
        assert_eq!(fault(&gone), Fault::None);
    }

    #[test]
    fn what_a_listing_was_answered_says_what_to_do() {
        let of = |text: &str| {
            StorageError::from(object_store::Error::Generic { store: "S3", source: text.into() })
        };
        assert!(matches!(of("status code: 404 Not Found: x"), StorageError::NotFound { .. }));
        assert!(matches!(of("status code: 403 Forbidden"), StorageError::Refused { .. }));
        assert!(matches!(of("status code: 500"), StorageError::Unreachable { .. }));
        assert!(matches!(of("connection refused"), StorageError::Unreachable { .. }));
        let no_role = of("GET http://169.254.169.254/latest: timed out");
        assert!(no_role.to_string().contains("there are no credentials"));
        assert!(no_role.problem("s3://b").to_string().contains("AWS_ACCESS_KEY_ID"));
    }
}
