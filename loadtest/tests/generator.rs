//! What is generated from the command line: completions that their shells can read, and manual
//! pages without a warning. A tool that is not there fails the test and says how to get it.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::loadtest;

/// The commands that a user sees.
fn commands() -> Vec<String> {
    let help = said(loadtest().arg("--help"));
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = rest.split_once("\n\n").unwrap();
    let names = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a tool of the system on `input`.
#[track_caller]
fn tool(command: &[&str], package: &str, input: &str) -> Output {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error} (Debian, Ubuntu: apt install {package})", command[0])
        });
    // A tool that says no early may not read to the end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn every_shell_has_all_commands_and_no_hidden_one() {
    assert!(commands().len() >= 8, "{:?}", commands());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(loadtest().args(["completions", shell]));
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not complete {command}");
        }
        assert!(script.contains("server-pid"), "{shell} does not complete flags");
        assert!(!script.contains("known-server"), "{shell} completes what is hidden");
    }
}

#[test]
fn bash_reads_its_completions_and_completes() {
    let script = said(loadtest().args(["completions", "bash"]));
    let read = |script: &str| tool(&["bash", "-n"], "bash", script);
    let output = read(&script);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(!read(&script.replacen("esac", "", 1)).status.success(), "bash finds what is wrong");
    let ask = "COMP_WORDS=(loadtest selfc); COMP_CWORD=1\n\
               _loadtest loadtest selfc loadtest; echo \"${COMPREPLY[*]}\"";
    let output = tool(&["bash"], "bash", &format!("{script}\n{ask}\n"));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "selfcheck", "{output:?}");
}

#[test]
fn manual_pages_have_no_warning() {
    let directory = tempfile::tempdir().unwrap();
    let man = loadtest().args(["man", "--output-dir"]).arg(directory.path()).output().unwrap();
    assert!(man.status.success(), "{man:?}");
    let page = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let set = |page: &str| tool(&["groff", "-man", "-ww", "-Tutf8", "-P-cbou"], "groff-base", page);
    let mut names: Vec<String> =
        commands().iter().map(|command| format!("loadtest-{command}.1")).collect();
    names.push("loadtest.1".to_owned());
    for name in &names {
        let output = set(&page(name));
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{name}: {warnings}");
        let title = Path::new(name).file_stem().unwrap().to_str().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(title), "{name}: {output:?}");
    }
    let found = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(found, names.len(), "a page for each, and none for what is hidden");
    let broken = set(&format!("{}.NONSENSE\n", page("loadtest-run.1")));
    assert!(!broken.stderr.is_empty(), "groff finds what is wrong");

    let shown = said(loadtest().arg("man"));
    assert_eq!(shown, page("loadtest.1"));
    let run = String::from_utf8(set(&page("loadtest-run.1")).stdout).unwrap();
    assert!(run.contains("EXAMPLES"), "{run}");
    assert!(run.contains("  loadtest run tcp://127.0.0.1:7004 -c 64 -d 10s"), "{run}");
}

/// `loadtest/peers/measure.py` beside its own format: a result becomes the table that it describes.
#[test]
fn the_table_of_the_peers_is_made_from_a_result() {
    let row = |client: &str, depth: u64, cpu_us: f64, of_loadtest: Option<f64>| {
        serde_json::json!({
            "client": client, "server": "epoll", "depth": depth, "blocks": 4, "noisy_blocks": 1,
            "cpu_us_per_request": cpu_us, "cpu_us_per_request_min": cpu_us * 0.9,
            "cpu_us_per_request_max": cpu_us * 1.1, "requests_per_s": 1e5, "busy": 0.5,
            "of_loadtest": of_loadtest,
        })
    };
    let medians = [
        row("loadtest, framed", 1, 4.0, None),
        row("loadtest, framed", 16, 0.5, None),
        row("wrk", 1, 5.0, Some(1.25)),
        row("wrk", 16, 2.0, Some(4.0)),
    ];
    let result = serde_json::json!({
        "schema": "quintet/generators/1", "date": "2026-01-31T12:00:00Z", "connections": 50,
        "machine": { "cpu_model": "a CPU", "cores": 2, "kernel": "6.1" }, "rounds": 4,
        "versions": { "wrk": "4.1.0" }, "seconds": 2.0, "seed": 1, "medians": medians, "blocks": [],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), result.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/measure.py");
    let table = said(Command::new("python3").arg(script).arg("--table").arg(file.path()));
    for line in [
        "| loadtest, framed | epoll | 4.00 | 10 % | 1 | 0.50 | 0.50 | 10 % | 1 | 0.50 |",
        "| wrk | epoll | 5.00 | 10 % | 1.25 | 0.50 | 2.00 | 10 % | 4.00 | 0.50 |",
    ] {
        assert!(table.lines().any(|found| found == line), "{table}");
    }
    assert!(table.contains("wrk 4.1.0") && table.contains("4 of 16 blocks noisy"), "{table}");
}
