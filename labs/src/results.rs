//! The result file, schema `quintet/labs/1`: what labs came to, in one run or in several, so that
//! the book can show more than one.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use loadtest::environment::Environment;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// Name and version of the schema.
pub const SCHEMA: &str = "quintet/labs/1";

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: String,
    /// That of the run that was written last.
    pub environment: Environment,
    /// By number.
    pub runs: Vec<Run>,
}

/// One run over the labs, or over some of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number, from 1.
    pub run: u32,
    /// What it ran on.
    pub environment: Environment,
    /// In the order in which they ran.
    pub labs: Vec<Outcome>,
}

impl Results {
    /// What the file holds; nothing where there is none yet.
    ///
    /// # Errors
    /// If it is there, and is no such file.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let results: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of labs", path.display()))?;
        if results.schema != SCHEMA {
            bail!("{} is of the schema {}, and not of {SCHEMA}", path.display(), results.schema);
        }
        Ok(Some(results))
    }

    /// Puts the outcome into the run of this number, in the place of an earlier one of the same lab
    /// and setting.
    ///
    /// # Errors
    /// If the run is of another machine: its figures would stand beside each other as if they
    /// belonged together.
    pub fn add(
        &mut self,
        number: u32,
        environment: &Environment,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        let at = match self.runs.binary_search_by_key(&number, |run| run.run) {
            Ok(at) => at,
            Err(at) => {
                let labs = Vec::new();
                self.runs.insert(at, Run { run: number, environment: environment.clone(), labs });
                at
            }
        };
        let run = &mut self.runs[at];
        let machine = |environment: &Environment| {
            (environment.cpu_model.clone(), environment.cores, environment.kernel.clone())
        };
        if machine(&run.environment) != machine(environment) {
            bail!("run {number} of the file is of another machine: give another --run");
        }
        run.environment = environment.clone();
        self.environment = environment.clone();
        let same = |other: &&mut Outcome| other.name == outcome.name && other.knob == outcome.knob;
        match run.labs.iter_mut().find(same) {
            Some(other) => *other = outcome,
            None => run.labs.push(outcome),
        }
        Ok(())
    }

    /// Reads the file, adds the outcome, and writes it again.
    ///
    /// # Errors
    /// If one of that is not possible.
    pub fn keep(
        path: &Path,
        number: u32,
        environment: &Environment,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        let new = || Self {
            schema: SCHEMA.to_owned(),
            environment: environment.clone(),
            runs: Vec::new(),
        };
        let mut results = Self::read(path)?.unwrap_or_else(new);
        results.add(number, environment, outcome)?;
        let text = serde_json::to_string_pretty(&results)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, knob: &str, took_s: f64) -> Outcome {
        Outcome {
            name: name.to_owned(),
            knob: knob.to_owned(),
            date: String::new(),
            took_s,
            rounds: 1,
            in_shape: true,
            ratios: Vec::new(),
            rows: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn runs_stand_beside_each_other_and_a_lab_once_in_each() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("labs.json");
        assert_eq!(Results::read(&path).unwrap(), None);
        let here = Environment::look();
        for (run, name, knob, took_s) in [
            (2, "a", "x", 1.0),
            (1, "a", "x", 2.0),
            (1, "b", "x", 3.0),
            (1, "a", "x", 4.0),
            (1, "a", "y", 5.0),
        ] {
            Results::keep(&path, run, &here, outcome(name, knob, took_s)).unwrap();
        }
        let results = Results::read(&path).unwrap().unwrap();
        let seen = results.runs.iter().flat_map(|run| {
            let labs = run.labs.iter();
            labs.map(|lab| (run.run, lab.name.as_str(), lab.knob.as_str(), lab.took_s))
        });
        let seen: Vec<_> = seen.collect();
        assert_eq!(
            seen,
            [(1, "a", "x", 4.0), (1, "b", "x", 3.0), (1, "a", "y", 5.0), (2, "a", "x", 1.0)]
        );
    }

    #[test]
    fn another_machine_and_another_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("labs.json");
        let here = Environment::look();
        Results::keep(&path, 1, &here, outcome("a", "x", 1.0)).unwrap();
        let elsewhere = Environment { cores: here.cores + 1, ..here.clone() };
        let error = Results::keep(&path, 1, &elsewhere, outcome("b", "x", 1.0)).unwrap_err();
        assert!(error.to_string().contains("another --run"), "{error}");
        Results::keep(&path, 2, &elsewhere, outcome("b", "x", 1.0)).unwrap();
        fs::write(&path, "{}").unwrap();
        assert!(Results::read(&path).unwrap_err().to_string().contains("no result of labs"));
    }
}
