//! The contract holds outside Rust: a Python client, with Google's protobuf and gRPC, talks to
//! each of the five binaries. The test makes itself a virtual environment under `target/`.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use servers::{EPOLL, GRPC, Model, POOL, TASKS, THREADS};

use crate::process::ServerProcess;

/// The first run downloads packages.
const SET_UP_TIMEOUT: Duration = Duration::from_mins(5);
const CHECKS_TIMEOUT: Duration = Duration::from_mins(1);
/// What the client speaks.
const PROTOS: [&str; 2] = ["quintet/v1/quintet.proto", "quintet/v1/users.proto"];

#[test]
fn threads() {
    checks_pass("framed", THREADS);
}

#[test]
fn pool() {
    checks_pass("framed", POOL);
}

#[test]
fn tasks() {
    checks_pass("framed", TASKS);
}

#[test]
fn epoll() {
    checks_pass("framed", EPOLL);
}

#[test]
fn grpc() {
    checks_pass("grpc", GRPC);
}

fn checks_pass(transport: &str, model: Model) {
    let environment = environment();
    let server = ServerProcess::start(model, &[]);
    let mut client = environment.python();
    client.arg(here("tests/python/contract_client.py")).arg(&environment.messages);
    client.args([transport, &server.address.to_string()]);
    // A proxy of the machine's has no business on the loopback.
    client.env("no_proxy", "*").env("GRPC_VERBOSITY", "error");
    let said = run(&mut client, CHECKS_TIMEOUT);
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 3, "{said}");
}

/// Python with the packages, and the messages compiled from our contract.
struct Environment {
    folder: PathBuf,
    messages: PathBuf,
}

impl Environment {
    fn python(&self) -> Command {
        Command::new(self.folder.join("bin/python"))
    }
}

/// Makes it once for each state of what it is made from, whatever number of runs want it at once.
fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let requirements = here("tests/python/requirements.txt");
        let mut made_from = DefaultHasher::new();
        for path in [requirements.clone()].into_iter().chain(PROTOS.map(proto)) {
            made_from.write(&fs::read(path).unwrap());
        }
        let folder = target.join(format!("python-{:016x}", made_from.finish()));
        let environment = Environment { messages: folder.join("messages"), folder };

        let lock = fs::File::create(target.join("python.lock")).unwrap();
        lock.lock().unwrap(); // until it is whole, or this process has ended
        let whole = environment.folder.join("whole");
        if !whole.exists() {
            let _ = fs::remove_dir_all(&environment.folder);
            install(&environment, &requirements);
            compile_messages(&environment);
            fs::write(&whole, "").unwrap();
        }
        environment
    })
}

fn install(environment: &Environment, requirements: &Path) {
    let mut venv = Command::new("python3");
    assert!(
        venv.arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()),
        "this test needs python3 on the PATH (Debian, Ubuntu: apt install python3 python3-venv)"
    );
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&environment.folder);
    try_run(&mut venv, SET_UP_TIMEOUT).unwrap_or_else(|said| {
        panic!("python3 -m venv fails (Debian, Ubuntu: apt install python3-venv):\n{said}")
    });
    let mut pip = environment.python();
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    run(pip.arg(requirements), SET_UP_TIMEOUT);
}

fn compile_messages(environment: &Environment) {
    fs::create_dir(&environment.messages).unwrap();
    let mut protoc = environment.python();
    let folder = proto("");
    protoc.args(["-m", "grpc_tools.protoc"]).arg(format!("--proto_path={}", folder.display()));
    for plugin in ["python_out", "grpc_python_out"] {
        protoc.arg(format!("--{plugin}={}", environment.messages.display()));
    }
    run(protoc.args(PROTOS), SET_UP_TIMEOUT);
}

fn proto(path: &str) -> PathBuf {
    here("../common/proto").join(path)
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command, timeout: Duration) -> String {
    try_run(command, timeout).unwrap_or_else(|said| panic!("{command:?}:\n{said}"))
}

/// What the command says; as an error where it fails or takes too long.
fn try_run(command: &mut Command, timeout: Duration) -> Result<String, String> {
    let (mut said, pipe) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(pipe.try_clone().unwrap()).stderr(pipe);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    command.stdout(Stdio::null()).stderr(Stdio::null()); // closes our ends of the pipe
    let reader = thread::spawn(move || std::io::read_to_string(&mut said).unwrap_or_default());
    let give_up_at = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > give_up_at {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let said = reader.join().unwrap();
    match status {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(format!("{said}\n{status}")),
        None => Err(format!("{said}\nnot done after {timeout:?}")),
    }
}
