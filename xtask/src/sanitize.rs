//! Tests under AddressSanitizer: of the crate with unsafe code, and of those whose libraries do the most of it on bytes from
//! outside.
//!
//! Rust's own checks end at `unsafe`: an access out of bounds, after a free or of what was freed twice ends such a run. Miri
//! would say more of Rust code, but it runs no foreign functions, and all our unsafe code calls some.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::{process, setup, workspace};

/// `onnx` is the one with unsafe code of ours. The others hand bytes to libraries that have some: `bytes`, `bytemuck`, `memchr`,
/// `smallvec` (tensors, codecs), `rustix` (shared memory).
const PACKAGES: [&str; 4] = [
    "adulis-onnx",
    "adulis-tensor",
    "adulis-shared-memory",
    "adulis-protocol",
];

/// Flags of `sanitize`.
#[derive(Args)]
pub(crate) struct SanitizeArgs {
    /// Test these crates instead.
    #[arg(long, value_name = "CRATE")]
    package: Vec<String>,
}

/// Builds the tests with the sanitizer, in a build folder of their own, and runs them.
///
/// # Errors
/// There is no sanitizer for this platform; a test fails; the sanitizer finds something.
pub(crate) fn run(args: &SanitizeArgs) -> Result<ExitCode> {
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        bail!("the sanitizer is run on Linux on x86-64");
    }
    setup::run(&setup::SetupArgs::default())?;
    let mut test = workspace::cargo();
    test.args(["test", "--lib", "--tests", "--no-fail-fast"]);
    // With a target named, build scripts and macros are left as they are.
    test.args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"]);
    test.arg(workspace::target()?.join("sanitize"));
    let named = args.package.iter().map(String::as_str);
    let packages: Vec<&str> = if args.package.is_empty() { PACKAGES.to_vec() } else { named.collect() };
    test.args(packages.iter().flat_map(|package| ["--package", package]));
    // An unstable flag, of any toolchain.
    test.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    process::run(&mut test)?;
    eprintln!("AddressSanitizer found nothing in the tests of {}", packages.join(", "));
    Ok(ExitCode::SUCCESS)
}
