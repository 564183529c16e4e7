//! Envoy as its users run it: a process with the configuration of `deploy/envoy`, of which only the
//! ports are others. It pays with a package of some 40 MB, fetched once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::{fs, io};

use tempfile::TempDir;

use crate::harness::commands::here;
use crate::harness::patience::{PATIENCE, eventually};
use crate::harness::python::packages;

/// The ports of the committed configuration.
const LISTENER: &str = "port_value: 7000";
const SERVERS: [&str; 2] = ["port_value: 7005", "port_value: 7006"];
const ADMIN: &str = "port_value: 9901";

/// Dropping it kills the process.
pub(crate) struct Envoy {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Envoy {
    /// Runs it in front of these two, and waits until it has found both of them healthy.
    pub(crate) fn start(servers: [SocketAddr; 2]) -> Self {
        let bin = packages("envoy", "servers/tests/envoy/requirements.txt").join("bin/envoy");
        let folder = tempfile::tempdir().unwrap();
        let [config, admin, log] =
            ["envoy.yaml", "admin", "log"].map(|name| folder.path().join(name));
        fs::write(&config, configuration(servers)).unwrap();
        let mut envoy = Command::new(bin);
        envoy.arg("--config-path").arg(&config).arg("--admin-address-path").arg(&admin);
        envoy.arg("--log-path").arg(&log);
        envoy.args(["--log-level", "warning", "--concurrency", "1", "--disable-hot-restart"]);
        let process = envoy.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();

        let address = || fs::read_to_string(&admin).unwrap_or_default().parse::<SocketAddr>();
        eventually("an address of Envoy's admin", true, || address().is_ok());
        let admin = address().unwrap();
        eventually("Envoy is ready", true, || get(admin, "/ready").contains("LIVE"));
        let listeners = get(admin, "/listeners");
        let (_, listener) = listeners.split_once("grpc::").expect(&listeners);
        let listener = listener.lines().next().unwrap().trim().parse().expect(&listeners);
        let envoy = Self { address: listener, admin, process, _folder: folder };
        for server in servers {
            eventually("a server is healthy", true, || envoy.finds_healthy(server));
        }
        envoy
    }

    /// Whether calls may go there.
    pub(crate) fn finds_healthy(&self, server: SocketAddr) -> bool {
        let flags = format!("quintet::{server}::health_flags::healthy");
        get(self.admin, "/clusters").contains(&flags)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(servers: [SocketAddr; 2]) -> String {
    let mut text = fs::read_to_string(here("deploy/envoy/envoy.yaml")).unwrap();
    let free = "port_value: 0".to_owned();
    let [first, second] = servers.map(|server| format!("port_value: {}", server.port()));
    let ports = [(LISTENER, &free), (ADMIN, &free), (SERVERS[0], &first), (SERVERS[1], &second)];
    for (committed, ours) in ports {
        assert_eq!(text.matches(committed).count(), 1, "{committed}");
        text = text.replace(committed, ours);
    }
    text
}

/// What Envoy's admin says; nothing, where it says nothing.
fn get(admin: SocketAddr, path: &str) -> String {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}
