//! The examples in other languages, run as their users run them against the real server: in clear,
//! over TLS, and with a token. It pays with what each language needs on the machine, which a test
//! asks for in one line where it is missing.

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod token;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use servers::GRPC;
use tempfile::TempDir;

use harness::commands::{here, try_run};
use harness::process::ServerProcess;

/// The first run of an example installs or compiles what it needs.
const RUN_TIMEOUT: Duration = Duration::from_mins(5);

/// An example, and what it needs and says.
struct Example {
    folder: &'static str,
    /// The programs that its script asks for, and the Debian packages that they come with.
    needs: &'static [(&'static str, &'static str)],
    /// Parts of what it prints, in this order.
    prints: &'static [&'static str],
    /// What its language calls the code of a call without a token.
    unauthenticated: &'static str,
}

#[test]
fn python() {
    Example {
        folder: "python",
        needs: &[("python3", "python3 python3-venv")],
        prints: &[
            "hello: Hello Python\ngreetings: 3\n",
            "call: score\nconversation: 1 2 3\n",
            "feed: do re mi\n",
            "refused: INVALID_ARGUMENT wait_us is 60000001, above the limit of 60000000\n",
            "too late: DEADLINE_EXCEEDED\n",
        ],
        unauthenticated: "UNAUTHENTICATED",
    }
    .works();
}

#[test]
fn node() {
    Example {
        folder: "node",
        needs: &[("node", "nodejs"), ("npm", "npm")],
        prints: &[
            "hello: Hello Node\ngreetings: 3\n",
            "call: score\nconversation: 1 2 3\n",
            "feed: do re mi\n",
            "refused: INVALID_ARGUMENT wait_us is 60000001, above the limit of 60000000\n",
            "too late: DEADLINE_EXCEEDED\n",
        ],
        unauthenticated: "UNAUTHENTICATED",
    }
    .works();
}

#[test]
fn go() {
    Example {
        folder: "go",
        needs: &[
            ("go", "golang-go golang-google-grpc-dev golang-goprotobuf-dev"),
            ("protoc", "protobuf-compiler"),
            ("protoc-gen-go", "protoc-gen-go-1-3"),
        ],
        prints: &[
            "hello: Hello Go\ngreetings: 3\n",
            "call: score\nconversation: 1 2 3\n",
            "feed: do re mi\n",
            "refused: InvalidArgument wait_us is 60000001, above the limit of 60000000\n",
            "too late: DeadlineExceeded\n",
        ],
        unauthenticated: "Unauthenticated",
    }
    .works();
}

#[test]
fn cpp() {
    Example {
        folder: "cpp",
        needs: &[
            ("make", "make"),
            ("g++", "g++ libgrpc++-dev libprotobuf-dev"),
            ("pkg-config", "pkg-config"),
            ("protoc", "protobuf-compiler"),
            ("grpc_cpp_plugin", "protobuf-compiler-grpc"),
        ],
        prints: &[
            "hello: Hello C++\ngreetings: 3\n",
            "call: score\nconversation: 1 2 3\n",
            "feed: do re mi\n",
            "refused: INVALID_ARGUMENT wait_us is 60000001, above the limit of 60000000\n",
            "too late: DEADLINE_EXCEEDED\n",
        ],
        unauthenticated: "UNAUTHENTICATED",
    }
    .works();
}

/// Bytes are base64 in JSON: `score`, two digests, `do`. The first event comes however many were
/// published before somebody was there.
#[test]
fn buf() {
    Example {
        folder: "buf",
        needs: &[("node", "nodejs"), ("npm", "npm")],
        prints: &[
            "\"message\": \"Hello buf\"",
            "\"payload\": \"c2NvcmU=\"",
            "== one request, many responses",
            "\"message\": \"Hello buf\"",
            "\"message\": \"Hello buf\"",
            "\"message\": \"Hello buf\"",
            "== many requests, many responses",
            "\"id\": \"1\"",
            "\"id\": \"2\"",
            "== what is published from now on",
            "\"subscribers\": 1",
            "\"topic\": \"buf\"",
            "\"payload\": \"ZG8=\"",
            "== refused",
            "\"code\": \"invalid_argument\"",
            "\"message\": \"wait_us is 60000001, above the limit of 60000000\"",
            "exit code 24",
            "== too late",
            "\"code\": \"deadline_exceeded\"",
            "exit code 32",
        ],
        unauthenticated: "unauthenticated",
    }
    .works();
}

impl Example {
    fn works(&self) {
        self.has_what_it_needs();
        let folder = tempfile::tempdir().unwrap();
        self.talks(&ServerProcess::start(GRPC, &[]), &[]);

        let (tls, ca) = tls(&folder);
        self.talks(&ServerProcess::start(GRPC, &tls), &["--ca", &ca]);

        let (jwt, token) = token::flags(&folder);
        let server = ServerProcess::start(GRPC, &[tls, jwt].concat());
        self.talks(&server, &["--ca", &ca, "--token", &token]);
        let said = self.run(&server, &["--ca", &ca]).expect_err("it needs a token");
        assert!(said.contains(self.unauthenticated), "{said}");
    }

    #[track_caller]
    fn has_what_it_needs(&self) {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        for (program, packages) in self.needs {
            let is_there = std::env::split_paths(&paths).any(|path| path.join(program).is_file());
            assert!(
                is_there,
                "examples/{} needs {program} (Debian, Ubuntu: apt install {packages})",
                self.folder
            );
        }
    }

    #[track_caller]
    fn talks(&self, server: &ServerProcess, flags: &[&str]) {
        let said = self.run(server, flags).unwrap_or_else(|said| panic!("{flags:?}: {said}"));
        let mut rest = said.as_str();
        for part in self.prints {
            let (_, after) = rest.split_once(part).unwrap_or_else(|| {
                panic!("{flags:?}: no {part:?} at its place in what it says:\n{said}")
            });
            rest = after;
        }
    }

    fn run(&self, server: &ServerProcess, flags: &[&str]) -> Result<String, String> {
        let mut script = Command::new(here("examples").join(self.folder).join("run"));
        script.arg(server.address.to_string()).args(flags);
        script.env("CARGO_TARGET_DIR", target()).env("no_proxy", "*");
        script.env("GRPC_VERBOSITY", "error");
        try_run(&mut script, "bash", RUN_TIMEOUT)
    }
}

/// A server with a certificate of its own, and the file that makes it known.
fn tls(folder: &TempDir) -> (Vec<String>, String) {
    let ca = folder.path().join("ca.pem").display().to_string();
    let flags = ["--tls-self-signed".to_owned(), format!("--tls-self-signed-cert={ca}")];
    (flags.to_vec(), ca)
}

/// Where this build is.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// The scripts are what people read first.
#[test]
fn the_scripts_are_clean() {
    let scripts = fs::read_dir(here("examples")).unwrap();
    let scripts = scripts.map(|folder| folder.unwrap().path().join("run"));
    let scripts: Vec<_> = scripts.filter(|path| path.is_file()).collect();
    assert_eq!(scripts.len(), 5);
    let mut shellcheck = Command::new("shellcheck");
    harness::commands::run(shellcheck.args(&scripts), "shellcheck", RUN_TIMEOUT);
}
