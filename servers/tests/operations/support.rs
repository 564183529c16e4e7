//! A server with its admin port, an HTTP client that knows little, and commands with a bound.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use servers::{FRAMED, GRPC, Model};

use crate::process::{ServerProcess, command};
use crate::server::PATIENCE;

pub(crate) fn all() -> impl Iterator<Item = Model> {
    FRAMED.into_iter().chain([GRPC])
}

/// A file of this repository.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A server process that answers an operator.
pub(crate) struct Administered {
    process: ServerProcess,
    pub(crate) admin: SocketAddr,
}

impl Administered {
    #[track_caller]
    pub(crate) fn start(model: Model, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::start_command(command(model, &arguments))
    }

    #[track_caller]
    pub(crate) fn start_command(mut command: Command) -> Self {
        command.arg("--admin=127.0.0.1:0");
        let process = ServerProcess::start_command(command);
        loop {
            let line = process.error_line(PATIENCE).expect("a line that says where the admin is");
            if let Some((_, address)) = line.split_once("admin address=") {
                return Self { admin: address.parse().unwrap(), process };
            }
        }
    }

    /// What a GET of `path` says: status and body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let answer = ask(self.admin, "GET", path);
        (answer.status, answer.body)
    }

    pub(crate) fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// The names of the process's threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        };
        tasks.map(name).map(|name| name.trim().to_owned()).collect()
    }
}

impl Deref for Administered {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.process
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// One request on a connection of its own.
#[track_caller]
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut stream = connect(address);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    answer(stream)
}

#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the server closes.
#[track_caller]
pub(crate) fn answer(mut stream: TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer and its end, and no reset");
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    let status = head.split(' ').nth(1).expect(head).parse().expect(head);
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// What `command` says, given `input`.
#[track_caller]
pub(crate) fn finished(
    command: &mut Command,
    input: &str,
    package: &str,
    most: Duration,
) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; it comes with the package {package}")
    });
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(most) else {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("{command:?} takes longer than {most:?}")
    };
    output.unwrap()
}

#[track_caller]
pub(crate) fn succeeded(
    command: &mut Command,
    input: &str,
    package: &str,
    most: Duration,
) -> String {
    let output = finished(command, input, package, most);
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn both(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The one line that a binary leaves with, and its exit code.
#[track_caller]
pub(crate) fn fails(command: &mut Command) -> (String, i32) {
    let output = finished(command, "", "", PATIENCE);
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.stdout.is_empty() && line.lines().count() == 1, "{}", both(&output));
    (line, output.status.code().expect("it leaves by itself"))
}
