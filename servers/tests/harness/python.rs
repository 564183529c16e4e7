//! Python packages, each set in a virtual environment under `target/` that is made once; and
//! Google's protobuf and gRPC there, with the messages compiled from the contract.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::commands::{here, run};

/// The first run downloads packages.
const SET_UP_TIMEOUT: Duration = Duration::from_mins(5);
const DEBIAN: &str = "python3 python3-venv";
/// What the client of the contract speaks.
const PROTOS: [&str; 2] = ["quintet/v1/quintet.proto", "quintet/v1/users.proto"];

/// The folder of an environment with the packages of a file, made once for each state of it,
/// whatever number of runs want it at once.
pub(crate) fn packages(name: &str, requirements: &str) -> PathBuf {
    let wanted = fs::read_to_string(here(requirements)).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (folder, whole) = (target.join(name), target.join(name).join("whole"));
    let lock = fs::File::create(target.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap(); // until it is whole, or this process has ended
    if fs::read_to_string(&whole).ok() != Some(wanted.clone()) {
        let _ = fs::remove_dir_all(&folder);
        let mut venv = Command::new("python3");
        run(venv.args(["-m", "venv"]).arg(&folder), DEBIAN, SET_UP_TIMEOUT);
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        run(pip.arg(here(requirements)), DEBIAN, SET_UP_TIMEOUT);
        fs::write(&whole, wanted).unwrap();
    }
    folder
}

/// Python that speaks the contract.
pub(crate) struct Environment {
    folder: PathBuf,
    pub(crate) messages: PathBuf,
}

impl Environment {
    pub(crate) fn python(&self) -> Command {
        let mut python = Command::new(self.folder.join("bin/python"));
        // A proxy of the machine's has no business on the loopback.
        python.env("no_proxy", "*").env("GRPC_VERBOSITY", "error");
        python
    }
}

/// Makes it once for each state of the contract.
pub(crate) fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let folder = packages("python", "servers/tests/python/requirements.txt");
        let mut contract = DefaultHasher::new();
        for proto in PROTOS {
            contract.write(&fs::read(here("common/proto").join(proto)).unwrap());
        }
        let messages = folder.join(format!("messages-{:016x}", contract.finish()));
        let environment = Environment { folder, messages };
        let lock = fs::File::create(environment.folder.join("messages.lock")).unwrap();
        lock.lock().unwrap();
        if !environment.messages.exists() {
            compile_messages(&environment);
        }
        environment
    })
}

/// The messages are there once all of them are.
fn compile_messages(environment: &Environment) {
    let unfinished = environment.folder.join("messages");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir(&unfinished).unwrap();
    let mut protoc = environment.python();
    let proto = here("common/proto");
    protoc.args(["-m", "grpc_tools.protoc"]).arg(format!("--proto_path={}", proto.display()));
    for plugin in ["python_out", "grpc_python_out"] {
        protoc.arg(format!("--{plugin}={}", unfinished.display()));
    }
    run(protoc.args(PROTOS), DEBIAN, SET_UP_TIMEOUT);
    fs::rename(unfinished, &environment.messages).unwrap();
}
