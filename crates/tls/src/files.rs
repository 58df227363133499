//! PEM files, read whole and bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::error::{FileFault, FileRole};

/// Largest file that is read: revocation lists can be long.
const MAX_BYTES: u64 = 16 << 20;

/// The certificates of a file; at least one.
pub(crate) fn certificates(role: FileRole, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let bytes = read(role, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    some(all, "certificate").map_err(|reason| fault(role, path, reason))
}

/// The revocation lists of a file; at least one.
pub(crate) fn revocation_lists(
    role: FileRole,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, FileFault> {
    let bytes = read(role, path)?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    some(all, "revocation list").map_err(|reason| fault(role, path, reason))
}

/// The first private key of a file: PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn key(role: FileRole, path: &Path) -> Result<PrivateKeyDer<'static>, FileFault> {
    let bytes = read(role, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound if is_encrypted(&bytes) => {
                "holds an encrypted key: decrypt it, as with `openssl pkey -in KEY -out PLAIN`".to_owned()
            }
            error => describe(&error, "private key"),
        };
        fault(role, path, reason)
    })
}

fn some<T>(all: Result<Vec<T>, pem::Error>, what: &str) -> Result<Vec<T>, String> {
    match all {
        Ok(all) if all.is_empty() => Err(describe(&pem::Error::NoItemsFound, what)),
        Ok(all) => Ok(all),
        Err(error) => Err(describe(&error, what)),
    }
}

/// Never with what is in the file: it may be a key.
fn describe(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("holds no {what} in PEM"),
        pem::Error::MissingSectionEnd { .. } => "is cut short: a PEM section has no end".to_owned(),
        _ => "is not valid PEM".to_owned(),
    }
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let begin = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    bytes.windows(begin.len()).any(|window| window == begin)
}

pub(crate) fn fault(role: FileRole, path: &Path, reason: impl Into<String>) -> FileFault {
    FileFault { role, path: path.to_owned(), reason: reason.into() }
}

fn read(role: FileRole, path: &Path) -> Result<Vec<u8>, FileFault> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Whoever takes a file for a folder is told so; a pipe would be waited for without end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than 16 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| fault(role, path, format!("cannot be read: {error}")))
}

/// What a file looks like from outside: it changes whenever the file is written to or replaced, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// `None` where the file is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: FileRole = FileRole::Key(0);

    fn told(content: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, content).unwrap();
        key(ROLE, &path).unwrap_err().reason
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_content() {
        assert_eq!(told(""), "holds no private key in PEM");
        assert_eq!(told("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"), "is cut short: a PEM section has no end");
        let broken = "-----BEGIN PRIVATE KEY-----\nse?cret\n-----END PRIVATE KEY-----\n";
        assert_eq!(told(broken), "is not valid PEM");
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(told(encrypted).contains("encrypted"));
    }

    #[test]
    fn files_that_are_none_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let gone = key(ROLE, &folder.path().join("gone.pem")).unwrap_err();
        assert!(gone.to_string().contains("gone.pem: cannot be read: No such file"), "{gone}");
        let folder = certificates(FileRole::Certificate(0), folder.path()).unwrap_err();
        assert!(folder.reason.ends_with("it is not a file"), "{folder}");
    }

    #[test]
    fn a_stamp_changes_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "1").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path), Some(first));
        fs::write(folder.path().join("b"), "2").unwrap();
        fs::rename(folder.path().join("b"), &path).unwrap();
        assert_ne!(Stamp::of(&path), Some(first));
    }
}
