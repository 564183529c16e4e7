//! Python with Google's protobuf and gRPC, in a virtual environment under `target/` that is made
//! once, and the messages compiled from the contract.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::commands::{here, run};

/// The first run downloads packages.
const SET_UP_TIMEOUT: Duration = Duration::from_mins(5);
const PACKAGES: &str = "python3 python3-venv";

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

/// Makes it once for each state of what it is made from, whatever number of runs want it at once.
pub(crate) fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let requirements = here("servers/tests/python/requirements.txt");
        let mut made_from = DefaultHasher::new();
        for path in [&requirements, &here("common/proto/quintet/v1/quintet.proto")] {
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
    run(venv.args(["-m", "venv"]).arg(&environment.folder), PACKAGES, SET_UP_TIMEOUT);
    let mut pip = environment.python();
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    run(pip.arg(requirements), PACKAGES, SET_UP_TIMEOUT);
}

fn compile_messages(environment: &Environment) {
    fs::create_dir(&environment.messages).unwrap();
    let mut protoc = environment.python();
    let proto = here("common/proto");
    protoc.args(["-m", "grpc_tools.protoc"]).arg(format!("--proto_path={}", proto.display()));
    for plugin in ["python_out", "grpc_python_out"] {
        protoc.arg(format!("--{plugin}={}", environment.messages.display()));
    }
    run(protoc.arg("quintet/v1/quintet.proto"), PACKAGES, SET_UP_TIMEOUT);
}
