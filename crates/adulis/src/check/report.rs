use std::io::{self, Write};

use adulis_repository::{Problem, Scan};
use serde::Serialize;

/// What a look through models and repositories found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Every model, by name.
    pub models: Vec<ModelReport>,
    /// What is wrong and no one model's.
    pub problems: Vec<Finding>,
    /// What is odd and stops nothing.
    pub notes: Vec<Finding>,
}

/// One model.
#[derive(Debug, Serialize)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// The versions that would be served; none where the model is at fault.
    pub versions: Vec<u64>,
    /// All that is wrong with it.
    pub problems: Vec<Finding>,
}

/// One thing: where, what, and what to do about it.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The file or folder.
    pub file: String,
    /// The key in the file.
    pub key: Option<String>,
    /// What is wrong, with its line where that is known.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// As a line of text.
    #[serde(skip)]
    text: String,
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        Self {
            file: problem.path.to_string_lossy().into_owned(),
            key: problem.key.clone(),
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
            text: problem.to_string(),
        }
    }
}

impl Report {
    /// What a scan found, and what each model's configuration asks for that is not there.
    #[must_use]
    pub fn of(found: &Scan) -> Self {
        let sound = found.models.iter().map(|entry| ModelReport {
            name: entry.name.clone(),
            versions: entry.versions.iter().map(|version| version.version).collect(),
            problems: Vec::new(),
        });
        let failed = found.failed.iter().map(|failed| ModelReport {
            name: failed.name.clone(),
            versions: Vec::new(),
            problems: findings(&failed.problems),
        });
        let mut report = Self {
            models: sound.chain(failed).collect(),
            problems: findings(&found.problems),
            notes: found.empty.iter().chain(&found.notes).map(Finding::from).collect(),
        };
        report.models.sort_by(|a, b| a.name.cmp(&b.name));
        for problem in found.missing_parts() {
            report.add(&problem);
        }
        report
    }

    /// Adds a problem to its model's.
    pub fn add(&mut self, problem: &Problem) {
        let name = problem.model.as_deref();
        match self.models.iter_mut().find(|model| Some(model.name.as_str()) == name) {
            Some(model) => model.problems.push(problem.into()),
            None => self.problems.push(problem.into()),
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.all_problems().next().is_none()
    }

    fn all_problems(&self) -> impl Iterator<Item = &Finding> {
        self.problems.iter().chain(self.models.iter().flat_map(|model| &model.problems))
    }

    /// Writes it for people: a table of the models, then a line for each problem and note.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_table(out)?;
        for note in &self.notes {
            writeln!(out, "note    {}", note.text)?;
        }
        for problem in self.all_problems() {
            writeln!(out, "problem {}", problem.text)?;
        }
        let sound = self.models.iter().filter(|model| model.problems.is_empty()).count();
        let problems = self.all_problems().count();
        let failed = self.models.len() - sound;
        writeln!(
            out,
            "{} sound, {failed} not; {}",
            counted(sound, "model is", "models are"),
            counted(problems, "problem", "problems")
        )
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        if self.models.is_empty() {
            return Ok(());
        }
        let rows = self.models.iter().map(|model| {
            let result = match model.problems.len() {
                0 => "ok".to_owned(),
                count => counted(count, "problem", "problems"),
            };
            // A folder's name may hold anything, and this goes to terminals.
            [
                model.name.escape_debug().to_string(),
                versions(&model.versions),
                result,
            ]
        });
        let header = ["MODEL", "VERSIONS", "RESULT"].map(str::to_owned);
        let rows: Vec<[String; 3]> = std::iter::once(header).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        for [name, versions, result] in &rows {
            writeln!(out, "{name:first$}  {versions:second$}  {result}")?;
        }
        Ok(())
    }

    /// Writes it for programs: one JSON document.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }
}

fn findings(problems: &[Problem]) -> Vec<Finding> {
    problems.iter().map(Finding::from).collect()
}

fn versions(versions: &[u64]) -> String {
    match versions {
        [] => "-".to_owned(),
        versions => versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
