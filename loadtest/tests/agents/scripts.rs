//! The scripts for ssh and Slurm, with an `ssh` and an `sbatch` that do on this machine what theirs
//! would do elsewhere. All shell of the deployment is held against shellcheck.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{TIMEOUT, both, finished, here, is_whole, server, succeeded};

const SCRIPTS: [&str; 5] = [
    "deploy/loadtest/ssh/loadtest-ssh",
    "deploy/loadtest/slurm/submit",
    "deploy/loadtest/slurm/agent.sbatch",
    "deploy/loadtest/slurm/merge.sbatch",
    "loadtest/tests/agents/namespaces.sh",
];

/// Runs the line on this machine; one host's clock is ahead, one has no program, one is not there.
const SSH: &str = r#"
while [ "$1" = -o ]; do shift 2; done
host=$1; shift
case "$host: $*" in
nowhere:*) echo "no route to $host" >&2; exit 255 ;;
"ahead: date "*) echo $(($(date +%s%3N) + 3600000)) ;;
"bare: date "*) exec sh -c "$*" ;;
bare:*) echo "loadtest: command not found" >&2; exit 127 ;;
*) exec sh -c "$*" ;;
esac
"#;

/// Runs the tasks of an array at once in the background, each as a process; a job that depends on
/// it waits for all of them, and runs if each has succeeded.
const SBATCH: &str = r#"
while :; do
    case "$1" in
    --array=0-*) last=${1#--array=0-} ;;
    --dependency=afterok:*) after=${1#--dependency=afterok:} ;;
    --chdir=*) cd "${1#--chdir=}" ;;
    --output=*) output=${1#--output=} ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
script=$1; shift
if [ -n "$after" ]; then
    while [ "$(ls "$FAKE/$after" | wc -l)" -lt "$(cat "$FAKE/$after.tasks")" ]; do sleep 0.05; done
    ! grep -qvx 0 "$FAKE/$after"/* || { echo 4712; exit 0; }
    "$script" "$@" >"$output" 2>&1
    echo 4712
else
    mkdir "$FAKE/4711"
    echo $((last + 1)) >"$FAKE/4711.tasks"
    export SLURM_ARRAY_TASK_COUNT=$((last + 1))
    for task in $(seq 0 "$last"); do
        (
            SLURM_ARRAY_TASK_ID=$task "$script" "$@" >"${output%\%a.log}$task.log" 2>&1
            echo $? >"$FAKE/4711.$task" && mv "$FAKE/4711.$task" "$FAKE/4711/$task"
        ) >/dev/null 2>&1 &
    done
    echo "4711;cluster"
fi
"#;

/// A folder with a tool of ours in the place of the system's, and the load tester under a name that
/// only careful quoting gets through.
struct Machines {
    folder: tempfile::TempDir,
}

impl Machines {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("ssh", SSH), ("sbatch", SBATCH)] {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let program = env!("CARGO_BIN_EXE_loadtest");
        std::os::unix::fs::symlink(program, folder.path().join("the load tester")).unwrap();
        fs::create_dir(folder.path().join("jobs")).unwrap();
        Self { folder }
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("the results")
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(here(script));
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("LOADTEST", self.folder.path().join("the load tester"))
            .env("FAKE", self.folder.path().join("jobs"))
            .env("LEAD_S", "6"); // until all agents have started, on a busy machine
        finished(&mut command, "bash", TIMEOUT)
    }

    fn ssh(&self, hosts: &[&str], url: &str) -> Output {
        let results = self.results();
        let head = [results.to_str().unwrap()];
        let load = ["--", url, "-r", "300", "-d", "1s", "-c", "3", "--work", "echo:64=3,echo:1=1"];
        self.run(SCRIPTS[0], &[&head, hosts, &load].concat())
    }
}

#[test]
fn over_ssh_two_agents_make_one_result() {
    let (_server, port) = server();
    let machines = Machines::new();
    let output = machines.ssh(&["alpha", "beta"], &format!("tcp://127.0.0.1:{port}"));
    assert!(output.status.success(), "{}", both(&output));
    let merged = is_whole(&machines.results(), 2, 300);
    assert_eq!(merged["settings"]["connections"], 6);
    assert_eq!(merged["settings"]["work"], "echo:64=3,echo:1=1");
    assert!(String::from_utf8_lossy(&output.stdout).contains("300 planned"), "{}", both(&output));
}

#[test]
fn over_ssh_what_is_wrong_is_said_with_the_machine_at_the_end() {
    let machines = Machines::new();
    let (_server, port) = server();
    let url = format!("tcp://127.0.0.1:{port}");
    for (host, named) in [
        ("nowhere", "cannot log in to nowhere"),
        ("ahead", "the clock of ahead differs by 3600"),
        ("bare", "agent 1 on bare failed: loadtest: command not found"),
    ] {
        let output = machines.ssh(&["alpha", host], &url);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(said.lines().last().unwrap().contains(named), "{}", both(&output));
        assert!(!machines.results().join("merged.json").exists(), "a part is missing");
    }
    for arguments in [&[][..], &["results"], &["results", "alpha"], &["results", "--", "url"]] {
        let output = machines.run(SCRIPTS[0], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn by_slurm_three_agents_make_one_result() {
    let (_server, port) = server();
    let machines = Machines::new();
    let (results, url) = (machines.results(), format!("tcp://127.0.0.1:{port}"));
    let load = [results.to_str().unwrap(), "3", &url, "-r", "300", "-d", "1s", "-c", "2"];
    let output = machines.run(SCRIPTS[1], &load);
    assert!(output.status.success(), "{}", both(&output));
    let merged = is_whole(&results, 3, 300);
    assert_eq!(merged["settings"]["connections"], 6);
    let summary = fs::read_to_string(results.join("merge.log")).unwrap();
    assert!(summary.contains("300 planned"), "{summary}");
}

#[test]
fn by_slurm_an_agent_that_failed_leaves_nothing_to_merge() {
    let machines = Machines::new();
    let results = machines.results();
    // A port that was just free, and that nobody else is told about.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{nobody}");
    let output =
        machines.run(SCRIPTS[1], &[results.to_str().unwrap(), "2", &url, "-r", "300", "-d", "1s"]);
    assert!(output.status.success(), "the jobs were submitted: {}", both(&output));
    let said = fs::read_to_string(results.join("agent-1.log")).unwrap();
    assert!(said.contains("is a server listening there?"), "{said}");
    assert!(!results.join("merged.json").exists());
    for arguments in [&[][..], &["results", "0", "url"], &["results", "two", "url"]] {
        let output = machines.run(SCRIPTS[1], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn shellcheck_finds_nothing_in_them() {
    let check = |path: &Path| finished(Command::new("shellcheck").arg(path), "shellcheck", TIMEOUT);
    for script in SCRIPTS {
        let output = check(&here(script));
        assert!(output.status.success(), "{}", both(&output));
    }
    let mut wrong = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut wrong, b"#!/bin/sh\nrm $1\n").unwrap();
    assert!(!check(wrong.path()).status.success(), "it finds what is wrong");
    succeeded(Command::new("sh").args(["-n"]).arg(here(SCRIPTS[4])), "dash", TIMEOUT);
}
