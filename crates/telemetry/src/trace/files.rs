//! Trace files, each a JSON list that is whole after every write.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where the traces of some settings go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    /// Unique for settings between two changes of them.
    pub(super) id: u64,
    /// How many traces a numbered file holds; `None` for the one file without a number.
    pub(super) per_file: Option<u32>,
}

/// The files of one server.
#[derive(Debug)]
pub(super) struct Files {
    base: PathBuf,
    main: Option<Open>,
    /// Numbered files that are not full, by their stream.
    numbered: HashMap<u64, (Open, u32)>,
    next_index: u64,
}

/// A file that ends with the bracket that closes its list.
#[derive(Debug)]
struct Open {
    file: File,
    /// Where that bracket stands.
    end: u64,
}

impl Files {
    pub(super) fn new(base: PathBuf) -> Self {
        Self { base, main: None, numbered: HashMap::new(), next_index: 0 }
    }

    /// Adds the objects of one trace.
    ///
    /// # Errors
    /// As the system says; the file ends as it did before then, or is tried again with the next trace.
    pub(super) fn add(&mut self, stream: Stream, objects: &str) -> io::Result<()> {
        let Some(per_file) = stream.per_file else {
            let main = match &mut self.main {
                Some(main) => main,
                none => none.insert(Open::create(&self.base)?),
            };
            return main.add(objects);
        };
        let (file, count) = match self.numbered.entry(stream.id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let mut path = self.base.clone().into_os_string();
                path.push(format!(".{}", self.next_index));
                let open = Open::create(Path::new(&path))?;
                self.next_index += 1;
                entry.insert((open, 0))
            }
        };
        file.add(objects)?;
        *count += 1;
        if *count >= per_file {
            self.numbered.remove(&stream.id);
        }
        Ok(())
    }

    /// Closes the file of a stream that gets no more.
    pub(super) fn close(&mut self, stream: u64) {
        self.numbered.remove(&stream);
    }
}

impl Open {
    /// A new file in the place of what is there, with nothing in its list.
    fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(b"[]\n")?;
        Ok(Self { file, end: 1 })
    }

    fn add(&mut self, objects: &str) -> io::Result<()> {
        let separator = if self.end == 1 { "\n" } else { ",\n" };
        let text = format!("{separator}{objects}\n]\n");
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(text.as_bytes())?;
        // Behind what was added stand a line break, the bracket and another line break.
        self.end += text.len() as u64 - 3;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &Path) -> Vec<i64> {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_file_is_whole_after_every_trace() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("trace.json");
        std::fs::write(&base, "of an earlier start, and longer than what comes").unwrap();
        let mut files = Files::new(base.clone());
        let main = Stream { id: 1, per_file: None };
        for count in 1..4 {
            files.add(main, &count.to_string()).unwrap();
            assert_eq!(list(&base), (1..=count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn numbered_files_are_full_after_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let numbered = |index: usize| folder.path().join(format!("t.{index}"));
        let mut files = Files::new(folder.path().join("t"));
        let (two, other) = (Stream { id: 1, per_file: Some(2) }, Stream { id: 2, per_file: Some(9) });
        for (stream, object) in [(two, "1"), (other, "7"), (two, "2"), (two, "3")] {
            files.add(stream, object).unwrap();
        }
        files.close(1);
        files.add(two, "4").unwrap();
        assert_eq!([0, 1, 2, 3].map(|index| list(&numbered(index))), [vec![1, 2], vec![7], vec![3], vec![4]]);
        assert!(!numbered(4).exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path().join("gone/t"));
        for per_file in [None, Some(1)] {
            assert!(files.add(Stream { id: 1, per_file }, "1").is_err());
        }
        std::fs::create_dir(folder.path().join("gone")).unwrap();
        files.add(Stream { id: 1, per_file: Some(1) }, "1").unwrap();
        assert_eq!(list(&folder.path().join("gone/t.0")), [1]);
    }
}
