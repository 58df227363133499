use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::ModelDigest;

/// How deep folders may lie in one another, at most. A link that leads in circles ends here.
const MAX_DEPTH: usize = 16;
/// Files of one model version, at most.
const MAX_FILES: usize = 1 << 16;
const CHUNK_BYTES: usize = 1 << 20;

/// Operators of ONNX whose outputs are not a function of their inputs, each as a node of a graph names it: field 4 of
/// `NodeProto`, length-delimited.
///
/// Source: `onnx.proto`.
const RANDOM: [(&str, &[u8]); 6] = [
    ("RandomNormal", b"\x22\x0cRandomNormal"),
    ("RandomUniform", b"\x22\x0dRandomUniform"),
    ("RandomNormalLike", b"\x22\x10RandomNormalLike"),
    ("RandomUniformLike", b"\x22\x11RandomUniformLike"),
    ("Multinomial", b"\x22\x0bMultinomial"),
    ("Bernoulli", b"\x22\x09Bernoulli"),
];
/// How an entry of a tensor's `external_data` names its file: the key of `StringStringEntryProto`.
const EXTERNAL: &[u8] = b"\x0a\x08location";
/// Of all of these.
const LONGEST_NAME_BYTES: usize = 19;

/// What was seen in a model's files beside what was digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilesSeen {
    /// An operator that makes the model's answers random.
    pub random: Option<&'static str>,
    /// Whether a graph says that some of its data lies in other files.
    pub external: bool,
}

impl ModelDigest {
    /// Adds a file, or a folder with all that is in it: names relative to it and contents. Hidden files are left out.
    ///
    /// Blocking; one pass over the contents.
    ///
    /// # Errors
    /// A file that cannot be read, and more files than a model has.
    pub fn files(&mut self, path: &Path) -> io::Result<FilesSeen> {
        let mut walk = Walk { digest: self, files: 0, seen: FilesSeen::default() };
        walk.entry(path, "", 0)?;
        Ok(walk.seen)
    }
}

struct Walk<'a> {
    digest: &'a mut ModelDigest,
    files: usize,
    seen: FilesSeen,
}

impl Walk<'_> {
    fn entry(&mut self, path: &Path, name: &str, depth: usize) -> io::Result<()> {
        if !fs::metadata(path)?.is_dir() {
            return self.file(path, name);
        }
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("folders lie more than {MAX_DEPTH} deep in one another")));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        for file_name in names {
            let text = file_name.to_string_lossy();
            if !text.starts_with('.') {
                let inner = if name.is_empty() { text.into_owned() } else { format!("{name}/{text}") };
                self.entry(&path.join(&file_name), &inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> io::Result<()> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(io::Error::other(format!("there are more than {MAX_FILES} files")));
        }
        let (mut file, mut hasher) = (File::open(path)?, blake3::Hasher::new());
        let is_graph = path.extension().is_some_and(|extension| extension == "onnx");
        // The end of what was read before stays in front, so that no name is cut in two.
        let (mut buffer, mut kept) = (vec![0; LONGEST_NAME_BYTES + CHUNK_BYTES], 0);
        loop {
            let read = match file.read(&mut buffer[kept..]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let filled = kept + read;
            hasher.update(&buffer[kept..filled]);
            if is_graph {
                let seen = &buffer[..filled];
                self.seen.random = self.seen.random.or_else(|| random_in(seen));
                self.seen.external |= memchr::memmem::find(seen, EXTERNAL).is_some();
            }
            let keep = filled.min(LONGEST_NAME_BYTES);
            buffer.copy_within(filled - keep..filled, 0);
            kept = keep;
        }
        self.digest.part("file", name.as_bytes());
        self.digest.part("content", hasher.finalize().as_bytes());
        Ok(())
    }
}

fn random_in(bytes: &[u8]) -> Option<&'static str> {
    let is_there = |name: &[u8]| memchr::memmem::find(bytes, name).is_some();
    RANDOM.iter().find(|(_, name)| is_there(name)).map(|(operator, _)| *operator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Question;
    use crate::key::Key;

    fn digest(path: &Path) -> (Key, FilesSeen) {
        let mut digest = ModelDigest::new("m", 1);
        let seen = digest.files(path).unwrap();
        let nothing = Question { inputs: &[], rows: None, outputs: None, told: None };
        (digest.finish().of(&nothing).unwrap()[0], seen)
    }

    #[test]
    fn names_and_contents_count_and_places_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for copy in ["a", "b"] {
            write(&format!("{copy}/model.onnx"), b"graph");
            write(&format!("{copy}/data/weights"), b"1234");
        }
        let of = |name: &str| digest(&folder.path().join(name)).0;
        assert_eq!(of("a"), of("b"));
        write("b/.hidden", b"x");
        assert_eq!(of("a"), of("b"));
        write("b/data/weights", b"1235");
        let other_content = of("b");
        assert_ne!(of("a"), other_content);
        write("b/data/weights", b"1234");
        fs::rename(folder.path().join("b/data/weights"), folder.path().join("b/data/weight")).unwrap();
        assert_ne!(of("a"), of("b"));
        assert_ne!(of("a/model.onnx"), of("a"));
        assert!(ModelDigest::new("m", 1).files(&folder.path().join("gone")).is_err());
    }

    #[test]
    fn random_operators_are_seen_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        for at in [
            0,
            100,
            CHUNK_BYTES - 5,
            CHUNK_BYTES,
            CHUNK_BYTES + LONGEST_NAME_BYTES - 3,
        ] {
            let mut content = vec![0; at];
            content.extend_from_slice(b"\x22\x11RandomUniformLike");
            fs::write(&path, &content).unwrap();
            assert_eq!(digest(&path).1.random, Some("RandomUniformLike"), "at {at}");
        }
        fs::write(&path, b"\x0a\x08location\x12\x04data").unwrap();
        assert_eq!(digest(&path).1, FilesSeen { random: None, external: true });
        // A tensor of that name is no operator.
        fs::write(&path, b"\x0a\x0cRandomNormal").unwrap();
        assert_eq!(digest(&path).1.random, None);
    }
}
