//! `adulis check`: every problem of models and repositories, without loading one.

use std::io::{self, Write};

use adulis_repository::{Scan, scan};

use crate::cli::{CheckArgs, EXIT_CONFIGURATION, EXIT_OK};

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

fn report(found: &Scan, out: &mut impl Write) -> io::Result<()> {
    for model in &found.models {
        let versions: Vec<String> =
            model.versions.iter().map(|version| version.version.to_string()).collect();
        let plural = if versions.len() == 1 { "" } else { "s" };
        writeln!(out, "ok      {} (version{plural} {})", model.name, versions.join(", "))?;
    }
    for note in &found.notes {
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
}
