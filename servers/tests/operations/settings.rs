//! Settings: flag before environment before file before default, each checked alike, and printed
//! so that they can be read again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use servers::{EPOLL, Model, POOL, TASKS, THREADS};

use crate::process::command;
use crate::server::PATIENCE;
use crate::support::{Administered, all, fails, succeeded};

/// A folder with `settings.toml` in it.
struct Settings {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn file(text: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    Settings { path, _folder: folder }
}

fn with(model: Model, config: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    arguments.push(format!("--config={}", config.display()));
    let mut command = command(model, &arguments);
    command.envs(environment.iter().copied());
    command
}

/// The value and the source of `key`, as the server would have it.
#[track_caller]
fn effective(mut command: Command, key: &str) -> (String, String) {
    let printed = succeeded(command.arg("--print-config"), "", "", PATIENCE);
    let line = printed.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    let (value, source) = line.expect(&printed).rsplit_once('#').unwrap();
    (value.trim().to_owned(), source.trim().to_owned())
}

#[test]
fn flag_before_environment_before_file_before_default() {
    let settings = file("# mine\nmax-frame = 1_024\nidle-timeout = \"1m\"\n");
    let nothing = file("");
    let path = settings.path.display();
    for model in all() {
        let of = |config: &Settings, arguments: &[&str], environment: &[(&str, &str)]| {
            effective(with(model, &config.path, arguments, environment), "max-frame")
        };
        let environment = [("QUINTET_MAX_FRAME", "2048")];
        let is = |value: &str, source: &str| (value.to_owned(), source.to_owned());
        assert_eq!(of(&nothing, &[], &[]), is("4194304", "default"));
        assert_eq!(of(&settings, &[], &[]), is("1024", &format!("{path}:2")));
        assert_eq!(of(&settings, &[], &environment), is("2048", "QUINTET_MAX_FRAME"));
        assert_eq!(of(&settings, &["--max-frame=4096"], &environment), is("4096", "--max-frame"));
        let idle = effective(with(model, &settings.path, &[], &environment), "idle-timeout");
        assert_eq!(idle, is("\"1m\"", &format!("{path}:3")));
    }
}

/// What is printed is what is used: a server that was started from it does as it says.
#[test]
fn what_a_file_says_is_done() {
    let settings = file("max-connections = 1\nworkers = 1\nlisten = \"127.0.0.1:0\"\n");
    for model in servers::FRAMED {
        let server = Administered::start_command(with(model, &settings.path, &[], &[]));
        let mut first = crate::client::Client::connect(server.address);
        first.echoes(1, b"served");
        let mut second = crate::client::Client::connect(server.address);
        second.receive_error(0, common::Code::ResourceExhausted);
    }
}

#[test]
fn each_model_has_its_own_knobs() {
    for (model, key, value) in [
        (POOL, "handoff", "\"ready\""),
        (TASKS, "runtime", "\"per-core\""),
        (EPOLL, "offload", "\"off\""),
        (EPOLL, "loops", "3"),
    ] {
        let settings = file(&format!("{key} = {value}\n"));
        let key = if key == "loops" { "workers" } else { key };
        let (effective, _) = effective(with(model, &settings.path, &[], &[]), key);
        assert_eq!(effective, value);
        if key != "workers" {
            let (line, code) = fails(&mut with(THREADS, &settings.path, &[], &[]));
            assert!(line.contains(&format!("{key} is no setting of threads")), "{line}");
            assert_eq!(code, 2);
        }
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let (admin, log) = ("--admin=127.0.0.1:9", "--log=debug");
    for model in all() {
        for arguments in [&["--workers=7", admin, log, "--idle-timeout=1h 30m"][..], &[]] {
            let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
            let mut first = command(model, &arguments);
            let first = succeeded(first.arg("--print-config"), "", "", PATIENCE);
            let settings = file(&first);
            let mut again = with(model, &settings.path, &["--print-config"], &[]);
            let again = succeeded(&mut again, "", "", PATIENCE);
            let table = |text: &str| text.parse::<toml::Table>().unwrap();
            assert_eq!(table(&first), table(&again), "{}", model.name);
            assert!(table(&first).len() >= 11, "{first}");
            assert!(!again.contains("# default"), "all of them are from the file: {again}");
        }
    }
}

/// One line, which names the file, the line in it, the key, and what would be right.
#[test]
fn what_is_wrong_in_a_file_is_told_in_one_line() {
    for model in all() {
        for (text, at, words) in [
            ("\nworkers = 0", 2, &["workers", "'0'", "1 to 1024"][..]),
            ("max-connections = 0", 1, &["max-connections", "'0'", "1..="]),
            ("max-frame = -1", 1, &["max-frame", "-1"]),
            ("max-frame = 99999999999", 1, &["max-frame", "99999999999", "64..=1073741824"]),
            ("workers = \"2\"", 1, &["workers", "a number", "a string"]),
            ("workers = 2.5", 1, &["workers", "a number", "with a point"]),
            ("workers = [2]", 1, &["workers", "a number", "a list"]),
            ("idle-timeout = 5", 1, &["idle-timeout", "a string", "a number"]),
            ("idle-timeout = \"5 parsecs\"", 1, &["idle-timeout", "parsecs", "min"]),
            ("drain-timeout = \"9999y\"", 1, &["drain-timeout", "limit of 1day"]),
            ("listen = \"nowhere\"", 1, &["listen", "nowhere", "socket address"]),
            ("log = true", 1, &["log", "a string", "a truth value"]),
            ("log-format = \"xml\"", 1, &["log-format", "xml", "text, json"]),
            ("\n\nfrobnicate = 1", 3, &["frobnicate", "no setting", "max-frame, "]),
            ("max_frame = 1024", 1, &["max_frame", "no setting", "max-frame, "]),
            ("config = \"other.toml\"", 1, &["config", "no setting"]),
            ("[limits]\nmax-frame = 1024", 1, &["limits", "no setting"]),
            ("workers = 2\nworkers = 3", 2, &["duplicate key"]),
            ("workers 2", 1, &["="]),
            ("listen = \"", 1, &["string"]),
        ] {
            let settings = file(text);
            let (line, code) = fails(&mut with(model, &settings.path, &[], &[]));
            let place = format!("{}:{at}: ", settings.path.display());
            let says = |word: &&str| line.contains(*word);
            assert!(line.contains(&place) && words.iter().all(says), "{text:?}: {line}");
            assert_eq!(code, 2, "{line}");
        }
    }
    let settings = file("workers = 2\nloops = 3");
    let (line, _) = fails(&mut with(EPOLL, &settings.path, &[], &[]));
    assert!(line.contains("workers is set at") && line.contains("already"), "{line}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("binary");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    for (path, word) in [
        (folder.path().join("nowhere.toml"), "No such file"),
        (folder.path().to_owned(), "directory"),
        (binary, "UTF-8"),
        ("/dev/zero".into(), "more than"),
    ] {
        let (line, code) = fails(&mut with(EPOLL, &path, &[], &[]));
        assert!(line.contains("--config") && line.contains(word), "{line}");
        assert_eq!(code, 2);
    }
}

#[test]
fn the_environment_is_checked_like_the_rest() {
    for model in all() {
        for (variable, value, word) in [
            ("QUINTET_WORKERS", "0", "--workers"),
            ("QUINTET_LISTEN", "nowhere", "--listen"),
            ("QUINTET_IDLE_TIMEOUT", "", "--idle-timeout"),
            ("QUINTET_LOG_FORMAT", "xml", "--log-format"),
        ] {
            let mut command = command(model, &[]);
            let (line, code) = fails(command.env(variable, value));
            assert!(line.contains(word) && line.contains("in the environment"), "{line}");
            assert_eq!(code, 2);
        }
        let mut wrong_flag = command(model, &["--workers=0".to_owned()]);
        let (line, _) = fails(wrong_flag.env("QUINTET_MAX_FRAME", "2048"));
        assert!(!line.contains("environment"), "the flag is to blame: {line}");
    }
}
