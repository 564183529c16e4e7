//! The files for containers and for Kubernetes: held against their checkers, and then done as they
//! say, with this build's binaries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use servers::EPOLL;

use crate::process::command;
use crate::python;
use crate::server::{PATIENCE, eventually};
use crate::support::{Administered, all, both, finished, here, succeeded};

/// For a checker that reads a few files.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);
const MANIFESTS: [&str; 2] = ["deployment.yaml", "service.yaml"];

fn manifest(name: &str) -> PathBuf {
    here("deploy/servers/kubernetes").join(name)
}

fn validator() -> Command {
    let mut validator = Command::new(python::program("python"));
    validator.arg(here("loadtest/tests/agents/validate.py"));
    validator
}

fn documents() -> Vec<Value> {
    let mut validator = validator();
    let json = succeeded(validator.args(MANIFESTS.map(manifest)), "", "python3", CHECK_TIMEOUT);
    serde_json::from_str(&json).unwrap()
}

fn pod() -> Value {
    documents()[0]["spec"]["template"]["spec"].clone()
}

#[test]
fn manifests_are_valid_and_a_wrong_field_is_found() {
    assert_eq!(documents().len(), 3);
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.yaml");
    for (file, right, wrong) in [
        ("deployment.yaml", "replicas: 2", "replicas: two"),
        ("deployment.yaml", "readinessProbe:", "readynessProbe:"),
        ("deployment.yaml", "terminationGracePeriodSeconds:", "terminationGracePeriod:"),
        ("service.yaml", "targetPort:", "targetport:"),
        ("service.yaml", "minAvailable:", "minAvailables:"),
    ] {
        let text = fs::read_to_string(manifest(file)).unwrap();
        assert!(text.contains(right), "{file} has no {right}");
        fs::write(&broken, text.replacen(right, wrong, 1)).unwrap();
        let output = finished(validator().arg(&broken), "", "python3", CHECK_TIMEOUT);
        assert!(!output.status.success(), "{wrong} was not found: {}", both(&output));
        assert!(both(&output).contains("broken.yaml"), "{}", both(&output));
    }
}

fn environment(container: &Value) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for variable in container["env"].as_array().unwrap() {
        pairs.push((variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap()));
    }
    pairs
}

/// The probes find what they ask for, at the ports that the settings name.
#[test]
fn the_pod_is_probed_where_it_answers() {
    let pod = pod();
    let container = &pod["containers"][0];
    let environment = environment(container);
    let port_of = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        port["containerPort"].as_u64().unwrap()
    };
    for (name, variable) in [("requests", "QUINTET_LISTEN"), ("admin", "QUINTET_ADMIN")] {
        let value = environment.iter().find(|(name, _)| *name == variable).unwrap().1;
        assert!(value.ends_with(&format!(":{}", port_of(name))), "{variable} {value}");
    }
    let mut server = command(EPOLL, &["--log-format=text".to_owned()]);
    server.envs(environment.iter().copied()); // the test's own ports are flags, and go before these
    let server = Administered::start_command(server);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], "admin", "{probe}");
        let path = get["path"].as_str().unwrap();
        assert_eq!(server.get(path).0, 200, "{probe} {path}");
    }
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz", "a drain is no failure");
    server.signal(rustix::process::Signal::TERM);
    eventually("readyz", 503, || server.get("/readyz").0);
    assert_eq!(server.get("/healthz").0, 200);
}

#[test]
fn the_pod_is_given_the_time_that_its_drain_takes() {
    let pod = pod();
    let container = &pod["containers"][0];
    let environment = environment(container);
    let of = |name: &str| {
        let (_, value) = environment.iter().find(|(variable, _)| *variable == name).unwrap();
        humantime::parse_duration(value).unwrap()
    };
    let drain =
        of("QUINTET_DRAIN_DELAY") + of("QUINTET_DRAIN_TIMEOUT") + Duration::from_millis(500);
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(Duration::from_secs(grace) > drain, "{grace} s for {drain:?}");
    let probe = &container["readinessProbe"];
    let period =
        probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(
        of("QUINTET_DRAIN_DELAY") > Duration::from_secs(period),
        "who asks hears of it in time"
    );
}

#[test]
fn the_container_file_has_no_fault() {
    let containerfile = here("deploy/container/Containerfile");
    let mut hadolint = Command::new(python::program("hadolint"));
    let said = succeeded(hadolint.arg(&containerfile), "", "python3", CHECK_TIMEOUT);
    assert_eq!(said, "");
    let wrong = fs::read_to_string(&containerfile).unwrap().replacen("WORKDIR /", "WORKDIR ", 1);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("Containerfile"), wrong).unwrap();
    let mut hadolint = Command::new(python::program("hadolint"));
    hadolint.arg(directory.path().join("Containerfile"));
    let output = finished(&mut hadolint, "", "python3", CHECK_TIMEOUT);
    assert!(both(&output).contains("DL3000"), "a relative folder was not found: {}", both(&output));
    let mut shellcheck = Command::new("shellcheck");
    shellcheck.arg(here("deploy/container/gather"));
    succeeded(&mut shellcheck, "", "shellcheck", CHECK_TIMEOUT);
}

/// What the container file gathers is enough for a root of its own: each server runs in it.
#[test]
fn an_image_of_what_is_gathered_runs() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let mut gather = Command::new(here("deploy/container/gather"));
    gather.arg(&image);
    for model in all() {
        gather.arg(command(model, &[]).get_program());
    }
    succeeded(&mut gather, "", "libc-bin", CHECK_TIMEOUT);
    let libraries = files(&image).into_iter().filter(|file| !file.contains("/usr/bin/"));
    assert!((2..=6).contains(&libraries.count()), "{:?}", files(&image));
    for model in all() {
        let mut inside = Command::new("unshare");
        inside.args(["--map-root-user", "--root"]).arg(&image);
        inside.arg(format!("/usr/bin/{}", model.name)).arg("--print-config");
        let said = succeeded(&mut inside, "", "util-linux", PATIENCE);
        assert!(said.contains(model.listen), "{said}");
    }
    let containerfile = fs::read_to_string(here("deploy/container/Containerfile")).unwrap();
    for model in all() {
        assert!(containerfile.contains(&format!("target/release/{} ", model.name)));
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path().to_str().unwrap().to_owned());
        }
    }
    files
}
