use std::collections::BTreeMap;

use crate::strict::near_miss;
use crate::{EnsembleStep, ModelEntry, Problem, Scan};

impl Scan {
    /// What ensembles need and was not found: models that are not there, and versions that are not served. Models that are
    /// there and at fault are not told again.
    ///
    /// Models may also come from elsewhere, or later; a server finds out when it loads the ensemble.
    #[must_use]
    pub fn missing_parts(&self) -> Vec<Problem> {
        let models: BTreeMap<&str, Option<&ModelEntry>> = self
            .failed
            .iter()
            .map(|failed| (failed.name.as_str(), None))
            .chain(self.models.iter().map(|entry| (entry.name.as_str(), Some(entry))))
            .collect();
        let mut problems = Vec::new();
        for entry in &self.models {
            let steps = entry.config.scheduling.ensemble().map_or(&[][..], |ensemble| &ensemble.steps);
            for (index, step) in steps.iter().enumerate() {
                problems.extend(missing_part(entry, index, step, &models));
            }
        }
        problems
    }
}

fn missing_part(
    ensemble: &ModelEntry,
    index: usize,
    step: &EnsembleStep,
    models: &BTreeMap<&str, Option<&ModelEntry>>,
) -> Option<Problem> {
    let (field, message, remedy) = match (models.get(step.model_name.as_str()), step.model_version) {
        (None, _) => {
            let hint = near_miss(&step.model_name, models.keys().copied());
            ("model_name", format!("there is no model {:?}", step.model_name), hint)
        }
        (Some(Some(part)), Some(wanted))
            if !part.versions.iter().any(|version| version.version == wanted) =>
        {
            let served: Vec<String> =
                part.versions.iter().map(|version| version.version.to_string()).collect();
            let message = format!("version {wanted} of {:?} is not served", step.model_name);
            ("model_version", message, Some(format!("there are {}", served.join(", "))))
        }
        _ => return None,
    };
    let mut problem = Problem::of_path(ensemble.config_file(), message).of_model(ensemble.name.as_str());
    problem.key = Some(format!("ensemble_scheduling.step[{index}].{field}"));
    problem.remedy = remedy;
    Some(problem)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::scan;

    #[test]
    fn parts_that_are_not_there_are_told() {
        let root = tempfile::tempdir().unwrap();
        let step = |model: &str, version: i64, input: &str, output: &str| {
            format!(
                "{{ model_name = '{model}', model_version = {version}, input_map.x = '{input}', output_map.y = '{output}' }}"
            )
        };
        let steps = [
            step("digits", -1, "IN", "a"),
            step("digit", -1, "a", "b"),
            step("digits", 3, "b", "c"),
            step("broken", 7, "c", "OUT"),
        ];
        let config = format!(
            "ensemble_scheduling.step = [{}]\ninput = [{{ name = 'IN', data_type = 'FP32' }}]\n\
             output = [{{ name = 'OUT', data_type = 'FP32' }}]",
            steps.join(", ")
        );
        for folder in ["digits/1", "broken", "whole"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("digits/1/model.onnx"), "").unwrap();
        fs::write(root.path().join("broken/model.toml"), "nonsense = 1").unwrap();
        fs::write(root.path().join("whole/model.toml"), config).unwrap();
        let found = scan(&[root.path().to_owned()]);
        assert_eq!((found.models.len(), found.failed.len()), (2, 1), "{found:?}");
        let told: Vec<String> = found.missing_parts().iter().map(ToString::to_string).collect();
        let file = root.path().join("whole/model.toml");
        let file = file.display();
        assert_eq!(
            told,
            [
                format!(
                    "{file}: ensemble_scheduling.step[1].model_name: there is no model \"digit\"; did you mean digits?"
                ),
                format!(
                    "{file}: ensemble_scheduling.step[2].model_version: version 3 of \"digits\" is not served; there are 1"
                ),
            ]
        );
    }
}
