use std::fmt;
use std::str::FromStr;

use object_store::path::Path as Prefix;

/// Longest URL of a repository in bytes: S3's longest key, and room for the host.
const MAX_URL_BYTES: usize = 2048;

/// Schemes of `s3://bucket/path`, `s3://host:port/bucket/path` and `s3://https://host:port/bucket/path`.
const S3: [&str; 1] = ["s3"];
/// Schemes of `gs://bucket/path`.
const GCS: [&str; 2] = ["gs", "gcs"];
/// Schemes of `as://account/container/path`.
const AZURE: [&str; 2] = ["as", "az"];

/// The URL of a model repository in object storage, in Triton's forms.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageUrl {
    text: String,
    location: Location,
    prefix: Prefix,
}

/// Where a repository lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A bucket of Amazon S3, or of what speaks its protocol.
    S3 {
        /// Where the URL itself says so: scheme, host and port.
        endpoint: Option<String>,
        /// The bucket.
        bucket: String,
    },
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
    },
    /// A container of Azure Blob Storage.
    Azure {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
    },
}

/// What is wrong with a URL. Says nothing of what may be a secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not one of ours.
    #[error("is a URL of a kind that holds no models: expected s3://, gs:// or as://")]
    Scheme,
    /// Longer than any object's key.
    #[error("is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Something is missing.
    #[error("names no {0}: expected {1}")]
    Missing(&'static str, &'static str),
    /// Characters that no bucket, account or host has.
    #[error("{0} must be letters, digits, '-', '.' and '_'")]
    Name(&'static str),
    /// A port that is none.
    #[error("the port must be 1 to 65535")]
    Port,
    /// A secret has no place there.
    #[error("must not hold credentials: they come from the environment")]
    Credentials,
    /// A signature or the like.
    #[error("must not hold '?' or '#'")]
    Query,
    /// A path that leads nowhere, or elsewhere.
    #[error("the path must not have empty parts, '.', '..' or control characters")]
    Path,
}

impl FromStr for StorageUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlFault::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_one_of = |known: &[&str]| known.contains(&scheme.as_str());
        let read = match () {
            () if is_one_of(&S3) => s3,
            () if is_one_of(&GCS) => gcs,
            () if is_one_of(&AZURE) => azure,
            () => return Err(UrlFault::Scheme),
        };
        if rest.contains('@') {
            return Err(UrlFault::Credentials);
        }
        if rest.contains(['?', '#']) {
            return Err(UrlFault::Query);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (location, path) = read(rest)?;
        let prefix = Prefix::parse(path).map_err(|_| UrlFault::Path)?;
        // The library takes a slash at either end away, and would hide a doubled one.
        if prefix.as_ref() != path || path.contains('\\') {
            return Err(UrlFault::Path);
        }
        let text = text.strip_suffix('/').unwrap_or(text).to_owned();
        Ok(Self { text, location, prefix })
    }
}

fn s3(rest: &str) -> Result<(Location, &str), UrlFault> {
    const FORM: &str = "s3://BUCKET/PATH or s3://HOST:PORT/BUCKET/PATH";
    let explicit = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| Some((scheme, rest.strip_prefix(scheme)?)));
    let (scheme, rest) = explicit.unwrap_or(("http://", rest));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    // A bucket's name has no colon. Plain HTTP where nothing else is said is Triton's habit.
    if explicit.is_none() && !host.contains(':') {
        return Ok((Location::S3 { endpoint: None, bucket: named("bucket", host, FORM)? }, path));
    }
    check_host(host, FORM)?;
    let (bucket, path) = path.split_once('/').unwrap_or((path, ""));
    let bucket = named("bucket", bucket, FORM)?;
    Ok((Location::S3 { endpoint: Some(format!("{scheme}{host}")), bucket }, path))
}

fn gcs(rest: &str) -> Result<(Location, &str), UrlFault> {
    let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((Location::Gcs { bucket: named("bucket", bucket, "gs://BUCKET/PATH")? }, path))
}

fn azure(rest: &str) -> Result<(Location, &str), UrlFault> {
    const FORM: &str = "as://ACCOUNT/CONTAINER/PATH";
    let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let account = account.strip_suffix(".blob.core.windows.net").unwrap_or(account);
    let (container, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (account, container) = (named("account", account, FORM)?, named("container", container, FORM)?);
    Ok((Location::Azure { account, container }, path))
}

fn named(what: &'static str, name: &str, form: &'static str) -> Result<String, UrlFault> {
    if name.is_empty() {
        return Err(UrlFault::Missing(what, form));
    }
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    // No cloud has such a bucket, and its mirror would be a folder of that name.
    if is_name && !name.starts_with('.') {
        Ok(name.to_owned())
    } else {
        Err(UrlFault::Name(what))
    }
}

fn check_host(authority: &str, form: &'static str) -> Result<(), UrlFault> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UrlFault::Name("the host"))?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| UrlFault::Name("the host"))?;
            ("v6", port.strip_prefix(':').or(port.is_empty().then_some("443")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("443")),
        },
    };
    named("host", host, form)?;
    let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(1..) => Ok(()),
        _ => Err(UrlFault::Port),
    }
}

impl StorageUrl {
    /// As it was written, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it leads.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What the keys of the repository's objects begin with.
    pub(crate) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The repository's own name: the last part of its path, or the bucket's.
    pub(crate) fn name(&self) -> &str {
        self.prefix.filename().unwrap_or(match &self.location {
            Location::S3 { bucket, .. } | Location::Gcs { bucket } => bucket,
            Location::Azure { container, .. } => container,
        })
    }
}

impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
