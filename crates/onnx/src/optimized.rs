use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_128;

/// Length of the digest behind an entry's model.
const DIGEST_BYTES: usize = 16;
/// Folders with more files than this are not searched for external weights; such a model is not cached.
const MOST_NEIGHBOURS: usize = 1000;

/// One entry of the folder of optimised models: a model file, and the digest of its bytes behind it.
///
/// Entries are for the CPU. Providers that compile graphs (TensorRT, OpenVINO) have caches of their own, in their
/// options, and their compiled nodes cannot be saved this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptimizedEntry {
    path: PathBuf,
}

impl OptimizedEntry {
    /// The entry for the model file at `model`, or `None` for a model whose weights lie in other files: its own bytes
    /// do not tell whether those have changed.
    ///
    /// The key is a digest of the model's bytes, the engine's build, `settings` and the features of this machine's CPU,
    /// because the layouts that the engine chooses depend on them.
    pub(crate) fn of(folder: &Path, model: &Path, engine: &str, settings: &str) -> io::Result<Option<Self>> {
        let bytes = fs::read(model)?;
        if has_external_weights(model, &bytes)? {
            return Ok(None);
        }
        let context = format!("{engine}\n{settings}\n{}", cpu_features());
        let key = [xxh3_128(&bytes), xxh3_128(context.as_bytes())]
            .map(|digest| format!("{digest:032x}"))
            .join("-");
        Ok(Some(Self { path: folder.join(format!("{key}.onnx")) }))
    }

    /// The optimised model, if it is there and whole.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = fs::read(&self.path).ok()?;
        let length = bytes.len().checked_sub(DIGEST_BYTES)?;
        let whole = bytes[length..] == xxh3_128(&bytes[..length]).to_le_bytes();
        if !whole {
            tracing::warn!(entry = %self.path.display(), "optimised model is damaged and will be made again");
            return None;
        }
        bytes.truncate(length);
        Some(bytes)
    }

    /// A path of its own beside the entry, for the engine to write to.
    pub(crate) fn scratch(&self) -> io::Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(self.path.with_extension(format!("{}-{number}.part", process::id())))
    }

    /// Makes what the engine wrote to `scratch` the entry, in one step.
    pub(crate) fn commit(&self, scratch: &Path) -> io::Result<()> {
        let mut bytes = fs::read(scratch)?;
        let digest = xxh3_128(&bytes).to_le_bytes();
        bytes.extend_from_slice(&digest);
        fs::write(scratch, &bytes)?;
        fs::rename(scratch, &self.path)
    }
}

/// Whether a file beside the model is named in it: external weights are, as plain text.
fn has_external_weights(model: &Path, bytes: &[u8]) -> io::Result<bool> {
    let (Some(folder), Some(own)) = (model.parent(), model.file_name()) else {
        return Ok(true);
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for (index, entry) in fs::read_dir(folder)?.enumerate() {
        let name = entry?.file_name();
        if index >= MOST_NEIGHBOURS {
            return Ok(true);
        }
        if name != own && memmem::find(bytes, name.as_encoded_bytes()).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What of the CPU decides how a graph is laid out.
fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let features = [
            std::is_x86_feature_detected!("sse4.1"),
            std::is_x86_feature_detected!("avx"),
            std::is_x86_feature_detected!("avx2"),
            std::is_x86_feature_detected!("fma"),
            std::is_x86_feature_detected!("avxvnni"),
            std::is_x86_feature_detected!("avx512f"),
            std::is_x86_feature_detected!("avx512bw"),
            std::is_x86_feature_detected!("avx512vnni"),
            std::is_x86_feature_detected!("avx512bf16"),
        ];
        format!("x86_64 {features:?}")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_depends_on_model_engine_and_settings() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.onnx"), folder.path().join("two.onnx"));
        fs::write(&one, "weights").unwrap();
        fs::write(&two, "others").unwrap();
        let entry = |model: &Path, engine: &str, settings: &str| {
            OptimizedEntry::of(Path::new("cache"), model, engine, settings).unwrap().unwrap()
        };
        let first = entry(&one, "1.28", "All");
        assert_eq!(first, entry(&one, "1.28", "All"));
        for other in [
            entry(&two, "1.28", "All"),
            entry(&one, "1.29", "All"),
            entry(&one, "1.28", "Basic"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn models_with_external_weights_have_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.onnx");
        fs::write(&model, "…location model.weights…").unwrap();
        assert!(OptimizedEntry::of(folder.path(), &model, "", "").unwrap().is_some());
        fs::write(folder.path().join("model.weights"), "").unwrap();
        assert!(OptimizedEntry::of(folder.path(), &model, "", "").unwrap().is_none());
    }

    #[test]
    fn damaged_entries_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let entry = OptimizedEntry { path: folder.path().join("deep").join("key.onnx") };
        assert_eq!(entry.read(), None);
        let scratch = entry.scratch().unwrap();
        fs::write(&scratch, "optimised").unwrap();
        entry.commit(&scratch).unwrap();
        assert_eq!(entry.read().as_deref(), Some(&b"optimised"[..]));
        let mut bytes = fs::read(&entry.path).unwrap();
        bytes[3] ^= 1;
        fs::write(&entry.path, &bytes).unwrap();
        assert_eq!(entry.read(), None);
        fs::write(&entry.path, b"short").unwrap();
        assert_eq!(entry.read(), None);
    }
}
