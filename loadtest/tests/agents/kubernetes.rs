//! The manifests: held against the schema of Kubernetes, strictly, and then the command lines in
//! them are run as they stand, with the numbers that an Indexed Job would give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{TIMEOUT, both, finished, here, is_whole, server, succeeded};
use crate::support::loadtest;

/// The first run downloads packages.
const SET_UP_TIMEOUT: Duration = Duration::from_mins(5);
/// Until all agents have started, on a busy machine.
const LEAD: Duration = Duration::from_secs(6);
const MANIFESTS: [&str; 3] = ["results.yaml", "agents.yaml", "merge.yaml"];

fn manifest(name: &str) -> PathBuf {
    here("deploy/loadtest/kubernetes").join(name)
}

/// A Python with the package that carries the schemas, made once.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let requirements = here("loadtest/tests/agents/requirements.txt");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (folder, whole) = (target.join("kubernetes"), target.join("kubernetes/whole"));
        let lock = fs::File::create(target.join("kubernetes.lock")).unwrap();
        lock.lock().unwrap(); // until it is whole, or this process has ended
        let wanted = fs::read_to_string(&requirements).unwrap();
        if fs::read_to_string(&whole).ok() != Some(wanted.clone()) {
            let _ = fs::remove_dir_all(&folder);
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv"]).arg(&folder);
            succeeded(&mut venv, "python3 python3-venv", SET_UP_TIMEOUT);
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
            succeeded(pip.arg(&requirements), "python3-venv", SET_UP_TIMEOUT);
            fs::write(&whole, wanted).unwrap();
        }
        folder.join("bin/python")
    })
}

fn validator() -> Command {
    let mut validator = Command::new(python());
    validator.arg(here("loadtest/tests/agents/validate.py"));
    validator
}

/// The documents of all manifests, which are valid.
fn documents() -> Vec<Value> {
    let mut validator = validator();
    validator.args(MANIFESTS.map(manifest));
    let output = succeeded(&mut validator, "python3", TIMEOUT);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The container of the Job of that name.
fn container(documents: &[Value], name: &str) -> Value {
    let job = documents.iter().find(|document| document["metadata"]["name"] == name).unwrap();
    job["spec"]["template"]["spec"]["containers"][0].clone()
}

fn arguments(container: &Value) -> Vec<String> {
    let arguments = container["args"].as_array().unwrap();
    arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

#[test]
fn manifests_are_valid_and_a_wrong_field_is_found() {
    assert_eq!(documents().len(), 3);
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.yaml");
    for (file, right, wrong) in [
        ("agents.yaml", "completions: 4", "completions: four"),
        ("agents.yaml", "backoffLimit:", "backofLimit:"),
        ("agents.yaml", "        - name: agent\n", "        - nickname: agent\n"),
        ("merge.yaml", "mountPath:", "mountpath:"),
        ("results.yaml", "accessModes: [ReadWriteMany]", "accessModes: ReadWriteMany"),
    ] {
        let text = fs::read_to_string(manifest(file)).unwrap();
        assert!(text.contains(right), "{file} has no {right}");
        fs::write(&broken, text.replacen(right, wrong, 1)).unwrap();
        let output = finished(validator().arg(&broken), "python3", TIMEOUT);
        assert!(!output.status.success(), "{wrong} was not found: {}", both(&output));
        assert!(both(&output).contains("broken.yaml"), "{}", both(&output));
    }
}

#[test]
fn the_numbers_of_agents_are_one_number() {
    let documents = documents();
    let job = documents.iter().find(|document| document["metadata"]["name"] == "loadtest").unwrap();
    let agents = job["spec"]["completions"].as_u64().unwrap();
    assert_eq!(job["spec"]["completionMode"], "Indexed");
    assert_eq!(job["spec"]["parallelism"], agents, "all must run at the same time");
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let environment = &container(&documents, "loadtest")["env"];
    assert_eq!(environment[0]["value"], agents.to_string());
    let merged = arguments(&container(&documents, "loadtest-merge"));
    let parts = merged.iter().filter(|argument| argument.starts_with("/results/agent-"));
    assert_eq!(parts.count() as u64, agents);
}

#[test]
fn the_command_lines_of_the_manifests_make_one_result() {
    let documents = documents();
    let (_server, port) = server();
    let results = tempfile::tempdir().unwrap();
    let folder = results.path().to_str().unwrap();
    let start = humantime::format_rfc3339_seconds(SystemTime::now() + LEAD).to_string();
    let agent = container(&documents, "loadtest");
    assert_eq!(agent["command"][0], "loadtest");
    let line = |number: usize| {
        let set = |argument: String| {
            [
                ("$(JOB_COMPLETION_INDEX)", number.to_string()),
                ("$(AGENTS)", "4".to_owned()),
                ("$(START_AT)", start.clone()),
                // A smaller load, for a smaller cluster.
                ("tcp://server:7004", format!("tcp://127.0.0.1:{port}")),
                ("--rate=40k", "--rate=400".to_owned()),
                ("--duration=60s", "--duration=1s".to_owned()),
                ("/results", folder.to_owned()),
            ]
            .iter()
            .fold(argument, |argument, (from, to)| argument.replace(from, to))
        };
        arguments(&agent).into_iter().map(set).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        for number in 0..4 {
            let arguments = line(number);
            scope.spawn(|| succeeded(loadtest().args(arguments), "", TIMEOUT));
        }
    });
    let merge = arguments(&container(&documents, "loadtest-merge"));
    let merge = merge.iter().map(|argument| argument.replace("/results", folder));
    succeeded(loadtest().args(merge), "", TIMEOUT);
    let merged = is_whole(results.path(), 4, 400);
    assert_eq!(merged["settings"]["connections"], 256);
}

/// The start in the file is one that nobody can keep: who forgets to set it is told.
#[test]
fn a_start_that_was_not_set_is_missed() {
    let (_server, port) = server();
    let agents = fs::read_to_string(manifest("agents.yaml")).unwrap();
    let start = "1970-01-01T00:00:00Z";
    assert!(agents.contains(start));
    let readme = fs::read_to_string(manifest("README.md")).unwrap();
    assert!(readme.contains(&format!("sed \"s/{start}/")), "the command there sets it");
    let mut run = loadtest();
    run.args(["run", &format!("tcp://127.0.0.1:{port}"), "--agent=0/4"]);
    let output = finished(run.args(["--start-at", start, "-r", "400"]), "", TIMEOUT);
    assert!(!output.status.success() && both(&output).contains("start was"), "{}", both(&output));
}
