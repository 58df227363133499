//! What people name, as repositories: paths as they are, URLs opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adulis_repository::{Problem, RemoteRepository, Repositories};

/// What opens URLs.
#[cfg(feature = "object-storage")]
pub(crate) type Opener = adulis_storage::Storage;

/// There is nothing to open URLs with.
#[cfg(not(feature = "object-storage"))]
#[derive(Debug, Default)]
pub(crate) struct Opener;

/// Opens each URL among these paths. Nothing is asked of it yet.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn open(paths: &[PathBuf], opener: &Opener) -> Result<Repositories, Vec<Problem>> {
    let (mut repositories, mut problems) = (Repositories::default(), Vec::new());
    let mut seen = Vec::new();
    for path in paths {
        let Some(url) = url_of(path) else {
            repositories.add(path.clone());
            continue;
        };
        if seen.contains(&url) {
            tracing::warn!("{url}: is named twice");
            continue;
        }
        seen.push(url);
        match open_url(url, opener) {
            Ok(repository) => repositories.add_remote(repository),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(repositories) } else { Err(problems) }
}

/// The URL that was named as a path, without a slash at its end; `None` for a path.
pub(crate) fn url_of(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then(|| text.strip_suffix('/').unwrap_or(text))
}

/// Takes apart a list with `:` between paths and URLs, which have colons of their own.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for part in text.split(':') {
        let goes_on = items.last().is_some_and(|last| {
            let is_scheme =
                |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let after_scheme =
                part.starts_with("//") && is_scheme(last.rsplit('/').next().unwrap_or_default());
            // `s3://host`, and then a port.
            let after_host = last.contains("://") && part.starts_with(|first: char| first.is_ascii_digit());
            after_scheme || after_host
        });
        match items.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.push(':');
                last.push_str(part);
            }
            None => items.push(part.to_owned()),
        }
    }
    items
}

#[cfg(feature = "object-storage")]
fn open_url(url: &str, opener: &Opener) -> Result<Arc<dyn RemoteRepository>, Problem> {
    Ok(Arc::new(opener.open(url)?))
}

#[cfg(not(feature = "object-storage"))]
fn open_url(url: &str, _: &Opener) -> Result<Arc<dyn RemoteRepository>, Problem> {
    // Without what may be a secret.
    let end = if url.contains(['@', '?', '#']) {
        url.find("://").unwrap_or(0)
    } else {
        url.len()
    };
    Err(Problem {
        path: PathBuf::from(&url[..end]),
        model: None,
        key: None,
        message: "cannot be read: this adulis was built without object storage".to_owned(),
        remedy: Some(
            "build it with the feature object-storage, or copy the models to this machine".to_owned(),
        ),
    })
}

/// What is wrong with the URLs among these paths, without asking anybody.
pub(crate) fn faulty_urls(paths: &[PathBuf]) -> Vec<Problem> {
    let urls = paths.iter().filter_map(|path| url_of(path));
    urls.filter_map(|url| check_url(url).err()).collect()
}

#[cfg(feature = "object-storage")]
fn check_url(url: &str) -> Result<(), Problem> {
    adulis_storage::Storage::check(url)
}

#[cfg(not(feature = "object-storage"))]
fn check_url(url: &str) -> Result<(), Problem> {
    open_url(url, &Opener).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_urls() {
        for path in [
            "models", "/a/b", "C:/x", "s3:/x", "./s3://x", "a b://x", "://x", "",
        ] {
            assert_eq!(url_of(Path::new(path)), None, "{path}");
        }
        assert_eq!(url_of(Path::new("s3://bucket/x/")), Some("s3://bucket/x"));
        assert!(url_of(Path::new("git+ssh://x")).is_some());
    }

    #[test]
    fn lists_of_paths_and_urls() {
        for (text, items) in [
            ("/a", &["/a"][..]),
            ("/a:/b c:d", &["/a", "/b c", "d"]),
            ("s3://bucket/x:/a", &["s3://bucket/x", "/a"]),
            ("/a:s3://host:9000/bucket/x:gs://b", &["/a", "s3://host:9000/bucket/x", "gs://b"]),
            ("s3://https://host:9000/b:as://account/c", &["s3://https://host:9000/b", "as://account/c"]),
            ("a:9/b", &["a", "9/b"]),
            ("", &[""]),
        ] {
            assert_eq!(split_list(text), items, "{text}");
        }
    }

    #[test]
    fn urls_of_other_kinds_are_refused_all_at_once() {
        let paths = ["models", "http://host/x", "s3://key:secret@bucket/x"].map(PathBuf::from);
        let problems = open(&paths, &Opener::default()).unwrap_err();
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(problems.len(), 2, "{told}");
        assert!(!told.contains("secret"), "{told}");
        assert_eq!(faulty_urls(&paths).len(), 2);
    }
}
