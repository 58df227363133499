//! Rust code from the schemas in `proto/`, without protoc and flatc. The result is checked in, so that building needs no
//! generator.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

// This file is also a module of a test, elsewhere.
#[path = "codegen/flatbuffers.rs"]
mod flatbuffers;

/// What is generated: a file under `proto/` and the file under the crate's `src/generated/` that comes of it.
const GENERATED: [(&str, &str); 3] = [
    ("grpc_service.proto", "inference.rs"),
    // What reflection tells of it.
    ("grpc_service.proto", "inference.bin"),
    ("infer.fbs", "infer.rs"),
];

/// Writes `crates/protocol/src/generated/`; with `check`, only compares it with what would be written.
///
/// # Errors
/// A schema that does not compile, a file that cannot be read or written, and with `check` a file that is out
/// of date, named together with the command that renews it.
pub(crate) fn codegen(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("proto/grpc_service.proto").is_file())
        .context("no proto/grpc_service.proto above this crate")?;
    let target = root.join("crates/protocol/src/generated");
    for (schema, file) in GENERATED {
        let made = generate(&root.join("proto"), schema, file)?;
        let path = target.join(file);
        if !check {
            fs::write(&path, made).with_context(|| format!("cannot write {}", path.display()))?;
        } else if fs::read(&path).unwrap_or_default() != made {
            bail!("{} is not what proto/{schema} generates: run `cargo xtask codegen`", path.display());
        }
    }
    Ok(())
}

/// What comes of one schema, as the crate keeps it.
fn generate(folder: &Path, schema: &str, file: &str) -> Result<Vec<u8>> {
    if file.ends_with(".bin") {
        return describe(folder, schema);
    }
    if !schema.ends_with(".fbs") {
        return generate_messages(folder, schema, file).map(String::into_bytes);
    }
    let path = folder.join(schema);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    flatbuffers::generate(schema, &text).map(String::into_bytes)
}

/// The encoded descriptors of a schema and of all that it imports, without its comments.
fn describe(folder: &Path, proto: &str) -> Result<Vec<u8>> {
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_file(proto).with_context(|| format!("cannot compile {proto}"))?;
    Ok(compiler.encode_file_descriptor_set())
}

fn generate_messages(folder: &Path, proto: &str, file: &str) -> Result<String> {
    let descriptors =
        protox::compile([proto], [folder]).with_context(|| format!("cannot compile {proto}"))?;
    let scratch = Scratch::new()?;
    tonic_prost_build::configure()
        // Raw tensor contents are slices of the received message, never copies.
        .bytes(".")
        // Parameters keep one order, and an empty map costs nothing.
        .btree_map(".")
        // Messages are looked at before they take memory.
        .codec_path("crate::grpc::Codec")
        // Servers in tests and benchmarks write the RPCs they are about.
        .generate_default_stubs(true)
        .out_dir(&scratch.0)
        .compile_fds(descriptors)
        .with_context(|| format!("cannot generate code from {proto}"))?;
    fs::read_to_string(scratch.0.join(file)).with_context(|| format!("{proto} did not generate {file}"))
}

/// A folder that is removed again.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("adulis-codegen-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
