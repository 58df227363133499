//! `adulis check`: every problem of models and repositories, without loading one; and `adulis serve --check-config`.

use std::io::{self, Write};

use adulis_repository::{Scan, scan};

use crate::cli::{CheckArgs, EXIT_CONFIGURATION, EXIT_OK};
use crate::config::Loaded;

/// Looks through the paths and writes a line for each model, problem and note. Gives the exit code.
///
/// # Errors
/// If `out` cannot be written to.
pub fn check(args: &CheckArgs, out: &mut impl Write) -> io::Result<u8> {
    let found = scan(&args.paths);
    report(&found, out)?;
    let sound = found.problems.is_empty() && found.failed.is_empty();
    Ok(if sound { EXIT_OK } else { EXIT_CONFIGURATION })
}

/// Writes that a configuration is sound, and a note for what is odd about it: variables that look misspelt, paths that are
/// not there and repositories without a model, both of which may look different where the server will run.
///
/// # Errors
/// If `out` cannot be written to.
pub fn check_config(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "OK")?;
    for note in &loaded.notes {
        writeln!(out, "note    {note}")?;
    }
    let found = scan(&loaded.config.repositories);
    for note in found.problems.iter().chain(&found.empty) {
        writeln!(out, "note    {note}")?;
    }
    Ok(())
}

fn report(found: &Scan, out: &mut impl Write) -> io::Result<()> {
    for model in &found.models {
        let versions: Vec<String> =
            model.versions.iter().map(|version| version.version.to_string()).collect();
        let plural = if versions.len() == 1 { "" } else { "s" };
        writeln!(out, "ok      {} (version{plural} {})", model.name, versions.join(", "))?;
    }
    for note in found.empty.iter().chain(&found.notes) {
        writeln!(out, "note    {note}")?;
    }
    for problem in found.all_problems() {
        writeln!(out, "problem {problem}")?;
    }
    let (sound, failed) = (found.models.len(), found.failed.len());
    let problems = found.all_problems().count();
    writeln!(out, "{sound} models are sound, {failed} are not; {problems} problems")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    #[test]
    fn tells_every_model_and_problem() {
        let root = tempfile::tempdir().unwrap();
        for path in ["good/1", "bad/1"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("good/1/model.onnx"), "").unwrap();
        let run = |path: &str| {
            let paths = vec![root.path().join(path)];
            let mut out = Vec::new();
            let code = check(&CheckArgs { paths }, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            (code, text.replace(&format!("{}/", root.path().display()), ""))
        };
        assert_eq!(
            run("good"),
            (0, "ok      good (version 1)\n1 models are sound, 0 are not; 0 problems\n".to_owned())
        );
        let (code, text) = run("");
        assert_eq!(code, EXIT_CONFIGURATION);
        assert!(text.contains("ok      good"), "{text}");
        assert!(text.contains("problem bad/1/model.onnx: is not there"), "{text}");
        assert!(text.ends_with("1 models are sound, 1 are not; 1 problems\n"), "{text}");
    }

    #[test]
    fn a_repository_without_a_model_is_mentioned() {
        let root = tempfile::tempdir().unwrap();
        let noted =
            format!("note    {}: no model was found in this folder; expected ", root.path().display());
        let paths = vec![root.path().to_owned()];

        let mut out = Vec::new();
        assert_eq!(check(&CheckArgs { paths: paths.clone() }, &mut out).unwrap(), EXIT_OK);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&noted), "{text}");

        let config = Config { repositories: paths, ..Config::default() };
        let loaded = Loaded { config, file: None, notes: vec!["odd".to_owned()] };
        let mut out = Vec::new();
        check_config(&loaded, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("OK\nnote    odd\n{noted}")), "{text}");
    }
}
