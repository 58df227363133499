//! A bounded search on any toolchain: the seeds of each target, and what becomes of them when bytes are changed, cut out, put
//! in, repeated and exchanged. The fuzzer (`cargo xtask fuzz`) does the same for longer, and sees which code a change reaches.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod mutation;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adulis_fuzzing::{TARGETS, Target};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use mutation::Mutation;

/// Mutations of each target, unless `PROPTEST_CASES` says another number.
const EXECUTIONS: u32 = 8192;
/// When a target's search ends before it has made all of them.
const TIME: Duration = Duration::from_secs(5);
/// Fewer of them are no search.
const LEAST: u32 = 512;
/// Between two looks at the clock.
const BATCH: u32 = 128;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The seeds of a target, by their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: BTreeSet<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn search(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(name);
    let taken = seeds.iter().filter(|seed| (target.run)(seed)).count();
    assert!(taken > 0, "none of the {} seeds is taken: their form has changed", seeds.len());

    let default = Config::default();
    let wanted = if std::env::var_os("PROPTEST_CASES").is_some() {
        default.cases
    } else {
        EXECUTIONS
    };
    let has_all_time = wanted > EXECUTIONS;
    let config = Config { cases: BATCH, failure_persistence: None, ..default };
    let mut root = TestRunner::new(config.clone());
    let begun = Instant::now();
    let counts = Cell::new((0, 0));
    let executions = || counts.get().0 + counts.get().1;
    // On a busy machine, too, it goes on until something is taken.
    let is_short = || executions() < LEAST || counts.get().0 == 0 || begun.elapsed() < TIME;
    while executions() < wanted && (has_all_time || is_short()) {
        // A runner counts its cases once: each batch has its own.
        let mut runner = TestRunner::new_with_rng(config.clone(), root.new_rng());
        let outcome = runner.run(&Mutation::any(), |mutation| {
            let is_taken = (target.run)(&mutation.applied(&seeds));
            let (taken, refused) = counts.get();
            counts.set(if is_taken { (taken + 1, refused) } else { (taken, refused + 1) });
            Ok::<(), TestCaseError>(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, mutation)) => {
                panic!("{}", found(target, &mutation.applied(&seeds), &reason.to_string()))
            }
            Err(TestError::Abort(reason)) => panic!("{name}: {reason}"),
        }
    }
    let ((taken, refused), time): ((u32, u32), _) = (counts.get(), begun.elapsed());
    eprintln!("{name}: {} executions in {time:?}, {taken} of them taken", executions());
    // Else nothing behind the first check was reached, or nothing was changed.
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

/// Writes the input that was found to a file, and says what to do with it.
fn found(target: &Target, input: &[u8], reason: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("found_by_{}", target.name));
    let mut told = format!("{}: {reason}\ninput: {}\n", target.name, input.escape_ascii());
    let kept = fs::write(&path, input);
    let _ = match kept {
        Ok(()) => writeln!(
            told,
            "kept in {}: once it is mended, copy it to fuzz/seeds/{}",
            path.display(),
            target.name
        ),
        Err(error) => writeln!(told, "cannot be kept in {}: {error}", path.display()),
    };
    told
}

macro_rules! searches {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                search(stringify!($name));
            }
        )*

        const SEARCHED: &[&str] = &[$(stringify!($name)),*];
    };
}

searches! {
    cached_value
    certificates
    compressed_body
    config_json
    config_pbtxt
    config_server
    config_toml
    control_decode
    credentials
    flatbuffers_decode
    generate_decode
    grpc_decode
    grpc_frames
    headers
    labels
    looked_up_cells
    protobuf_body
    rest_decode
    token
    v1_decode
    worker_frames
}

/// A target has its search here, its program for the fuzzer, its seeds, and its place in the documentation.
#[test]
fn every_target_is_everywhere() {
    let targets: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(SEARCHED.iter().copied().collect::<BTreeSet<_>>(), targets);
    let manifest: toml::Table =
        fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap().parse().unwrap();
    let programs = manifest["bin"].as_array().unwrap().iter();
    let programs: BTreeSet<&str> = programs.map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(programs, targets);
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(fuzz_folder().join(folder)).unwrap();
        files
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let targets: BTreeSet<String> = targets.into_iter().map(str::to_owned).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
    let documentation = fs::read_to_string(fuzz_folder().join("../docs/security.md")).unwrap();
    for name in &targets {
        assert!(documentation.contains(&format!("| `{name}` |")), "docs/security.md has no row for {name}");
        let program = fs::read_to_string(fuzz_folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("adulis_fuzzing::{name}(input)")), "{program}");
    }
}

/// The search finds what can be found by changing seeds, and tells a small input.
#[test]
fn a_fault_is_found_and_made_small() {
    let target = Target {
        name: "planted",
        run: |input| {
            assert!(!input.windows(4).any(|bytes| bytes == b"[[[["), "planted");
            true
        },
    };
    let seeds = vec![br#"{"a":[1,2,[3]],"b":[4]}"#.to_vec()];
    // The same search each time: now and then, one ends with a fault that two changes make.
    let config = Config { cases: EXECUTIONS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
    let outcome = runner.run(&Mutation::any(), |mutation: Mutation| {
        (target.run)(&mutation.applied(&seeds));
        Ok::<(), TestCaseError>(())
    });
    let Err(TestError::Fail(reason, mutation)) = outcome else {
        panic!("it was not found")
    };
    let told = found(&target, &mutation.applied(&seeds), &reason.to_string());
    for part in ["planted", "[[[[", "found_by_planted"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(mutation.count(), 1, "one change does it: {mutation:?}");
}
