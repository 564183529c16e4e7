//! What a supervisor is told over its socket, and the unit for systemd.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use servers::{EPOLL, Model};

use crate::process::{ServerProcess, command};
use crate::server::PATIENCE;
use crate::support::{all, finished, here, succeeded};

/// A supervisor's end of the socket.
struct Supervisor {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn supervises(&self, mut command: Command) -> Command {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command
    }

    /// The lines of the next message.
    #[track_caller]
    fn hears(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("it says something");
        String::from_utf8_lossy(&bytes[..length]).lines().map(ToOwned::to_owned).collect()
    }

    fn hears_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert!(self.socket.recv(&mut [0; 1]).is_err());
        self.socket.set_nonblocking(false).unwrap();
    }
}

#[test]
fn it_hears_of_readiness_and_of_the_drain() {
    for model in all() {
        let supervisor = Supervisor::new();
        let command = supervisor.supervises(command(model, &["--drain-delay=10m".to_owned()]));
        let mut server = ServerProcess::start_command(command);
        let status = format!("STATUS=listening on {}", server.address);
        assert_eq!(supervisor.hears(), ["READY=1", &status], "{}", model.name);
        std::net::TcpStream::connect(server.address).expect("ready means: it listens");
        server.signal(Signal::USR1);
        server.stats_json();
        supervisor.hears_nothing();
        server.signal(Signal::TERM);
        assert_eq!(supervisor.hears(), ["STOPPING=1", "STATUS=draining"]);
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(128 + 15));
    }
}

#[test]
fn a_server_that_cannot_listen_is_not_ready() {
    let supervisor = Supervisor::new();
    let first = ServerProcess::start(EPOLL, &[]);
    let taken = format!("--listen={}", first.address);
    let output = finished(&mut supervisor.supervises(command(EPOLL, &[taken])), "", "", PATIENCE);
    assert!(!output.status.success());
    supervisor.hears_nothing();
}

/// A supervisor that is gone is a line in the log, and no reason not to serve.
#[test]
fn a_supervisor_that_does_not_listen_is_no_reason_to_stop() {
    let mut command = command(EPOLL, &[]);
    command.env("NOTIFY_SOCKET", "/nonexistent/notify");
    let server = ServerProcess::start_command(command);
    let line = server.error_line(PATIENCE).unwrap();
    assert!(line.contains("WARN") && line.contains("NOTIFY_SOCKET"), "{line}");
    crate::client::Client::connect(server.address).echoes(1, b"served");
}

/// The unit with the binaries of this build in it, in a folder of its own.
fn unit(model: Model, adjust: impl FnOnce(String) -> String) -> (tempfile::TempDir, String) {
    let text = fs::read_to_string(here("deploy/systemd/quintet@.service")).unwrap();
    let binary = command(model, &[]).get_program().to_str().unwrap().to_owned();
    let folder = Path::new(&binary).parent().unwrap().to_str().unwrap();
    let text = adjust(text).replace("/usr/lib/quintet", folder);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(format!("quintet@{}.service", model.name));
    fs::write(&path, text).unwrap();
    (directory, path.to_str().unwrap().to_owned())
}

fn analyze(arguments: &[&str], path: &str) -> std::process::Output {
    let mut analyze = Command::new("systemd-analyze");
    finished(analyze.args(arguments).arg(path), "", "systemd", Duration::from_mins(1))
}

#[test]
fn the_unit_is_valid() {
    for model in all() {
        let (_folder, path) = unit(model, |text| text);
        let output = analyze(&["verify", "--man=no"], &path);
        let said = crate::support::both(&output);
        assert!(output.status.success() && !said.contains("quintet@"), "{said}");
    }
    for (right, wrong) in [
        ("Type=notify", "Type=notified"),
        ("TimeoutStopSec=15s", "TimeoutStopSec=15 parsecs"),
        ("ProtectSystem=strict", "ProtectSystems=strict"),
        ("/usr/lib/quintet/%i", "/usr/lib/nowhere/%i"),
    ] {
        let (_folder, path) = unit(EPOLL, |text| {
            assert!(text.contains(right));
            text.replace(right, wrong)
        });
        let said = crate::support::both(&analyze(&["verify", "--man=no"], &path));
        assert!(said.contains("quintet@"), "{wrong} was not found: {said}");
    }
}

/// Of ten; what systemd calls OK begins below five.
const EXPOSURE_MAX: &str = "--threshold=20";

#[test]
fn the_unit_exposes_little() {
    let (_folder, path) = unit(EPOLL, |text| text);
    let output = analyze(&["security", "--offline=true", EXPOSURE_MAX], &path);
    assert!(output.status.success(), "{}", crate::support::both(&output));
}

/// The settings of the example are good, and the unit leaves time for their drain.
#[test]
fn the_unit_waits_for_the_drain() {
    let settings = here("deploy/systemd/epoll.toml");
    let config = format!("--config={}", settings.display());
    let mut command = command(EPOLL, &[config, "--print-config".to_owned()]);
    let printed: toml::Table = succeeded(&mut command, "", "", PATIENCE).parse().unwrap();
    let duration = |text: &str| humantime::parse_duration(text).unwrap();
    let of = |key: &str| duration(printed[key].as_str().unwrap());
    let unit = fs::read_to_string(here("deploy/systemd/quintet@.service")).unwrap();
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let drain = of("drain-delay") + of("drain-timeout");
    assert!(duration(stop) > drain + Duration::from_millis(500), "{stop} for {drain:?}");
    let limit = unit.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).unwrap();
    let connections = printed["max-connections"].as_integer().unwrap();
    assert!(limit.parse::<i64>().unwrap() >= connections + 64, "{limit} for {connections}");
}
