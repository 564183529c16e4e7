//! A server, a client far away and one nearby, each with a network namespace of its own, and virtual
//! cables between them. Loss is nftables' random numbers, a slow line is a token bucket.
//!
//! What was impaired is counted where it happened: a test over a network that is better than meant
//! fails.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::server::PATIENCE;

/// Says that a process is in its namespaces.
const INSIDE: &str = "QUINTET_TEST_NETWORK";
/// A whole test takes no longer than this, and ends by force where it would.
const TEST_TIMEOUT: &str = "100s";

/// In percent, each way.
const LOSS: u32 = 5;
/// 200 kbit/s, each way.
const SLOW_BYTES_PER_SECOND: u32 = 25_000;
/// What the token bucket lets through at once: some packets.
const BURST_BYTES: u32 = 3_000;
/// What waits for its turn before packets are lost: much, as on slow lines; and little, where what a
/// server cannot send should wait in the server.
const SLOW_QUEUE: &str = "400ms";
const ANSWERS_QUEUE: &str = "50ms";
/// Small, so that there are many packets to lose: the least that IPv4 hosts take (RFC 791, 3.1).
const MTU_BYTES: u32 = 576;
/// The least, the first and the largest send buffer of the server.
const SEND_BUFFER_BYTES: &str = "4096 8192 16384";
const SLICE_BYTES: usize = 3;
/// Such a slice in a packet: heads of IPv4 and of TCP with timestamps, and the slice.
const SLICE_PACKET_BYTES: usize = 20 + 32 + SLICE_BYTES;

/// The first of them are sent one by one: as fast as a slow line takes such packets. What cannot be
/// sent at once is sent together, so the others may be larger when they arrive.
const PACED_SLICES: u64 = 500;
const SLICE_PAUSE: Duration = Duration::from_millis(3);
/// A namespace by its name, nothing for this one; and its device.
type Side = (Option<&'static str>, &'static str);

/// What is wrong between the server and the far client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    /// [`LOSS`] percent of the packets, each way.
    pub(crate) loss: bool,
    /// [`SLOW_BYTES_PER_SECOND`], each way.
    pub(crate) slow: bool,
    /// [`SLICE_BYTES`] at a time, from the client.
    pub(crate) sliced: bool,
}

impl Impairment {
    pub(crate) const NONE: Self = Self { loss: false, slow: false, sliced: false };
}

/// The namespaces and cables of one test: the test's own process is the server's side.
pub(crate) struct Network {
    server: Side,
    far: Side,
    near: &'static str,
}

/// Runs `test` in a network of its own: this program again, for this test alone, within new
/// namespaces. With its processes they are gone, however it ends.
#[track_caller]
pub(crate) fn alone(test_path: &str, test: impl FnOnce(&Network)) {
    let (_program, name) = test_path.split_once("::").expect("a test in a module");
    if std::env::var_os(INSIDE).is_some() {
        return test(&Network::new());
    }
    let mut inside = Command::new("timeout");
    inside.args(["--kill-after=5s", TEST_TIMEOUT, "unshare"]);
    if !rustix::process::geteuid().is_root() {
        inside.args(["--user", "--map-root-user"]);
    }
    inside
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let output = inside.output().expect("timeout (coreutils) runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}; this test needs iproute2 and nftables (Debian, Ubuntu: apt install iproute2 nftables) \
         and the right to make namespaces: run it as root, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1):\n{said}",
        output.status
    );
    print!("{said}");
}

impl Network {
    fn new() -> Self {
        // The names of network namespaces are files in /run/netns: this /run is ours alone.
        run_on(None, &words("mount -t tmpfs tmpfs /run"));
        run_on(None, &words("ip link set lo up"));
        for (name, number) in [("far", 1), ("near", 2)] {
            run_on(None, &words(&format!("ip netns add {name}")));
            run_on(
                None,
                &words(&format!("ip link add to-{name} type veth peer name eth0 netns {name}")),
            );
            run_on(None, &words(&format!("ip addr add 10.0.{number}.1/24 dev to-{name}")));
            run_on(None, &words(&format!("ip -n {name} addr add 10.0.{number}.2/24 dev eth0")));
            run_on(None, &words(&format!("ip link set to-{name} up")));
            run_on(None, &words(&format!("ip -n {name} link set lo up")));
            run_on(None, &words(&format!("ip -n {name} link set eth0 up")));
        }
        // One packet a segment: else many would be lost or sent at once.
        let small = format!("mtu {MTU_BYTES} gso_max_segs 1");
        run_on(None, &words(&format!("ip link set to-far {small}")));
        run_on(None, &words(&format!("ip -n far link set eth0 {small}")));
        // As little as a socket may keep of what is not acknowledged: a server meets short writes.
        std::fs::write("/proc/sys/net/ipv4/tcp_wmem", SEND_BUFFER_BYTES).unwrap();
        Self { server: (None, "to-far"), far: (Some("far"), "eth0"), near: "near" }
    }

    /// Makes the cable to the far client a bad one.
    pub(crate) fn impair(&self, impairment: Impairment) {
        let lose = if impairment.loss {
            format!("numgen random mod 100 < {LOSS} counter name lost drop;")
        } else {
            String::new()
        };
        for (side, device) in [self.server, self.far] {
            let rules = format!(
                "table ip path {{ counter lost {{ }}; counter slices {{ }};
                   chain inbound {{ type filter hook input priority 0;
                     iifname != {device} accept;
                     {lose}
                     ip length {SLICE_PACKET_BYTES} counter name slices;
                   }}; }}"
            );
            run_on(side, &["nft", &rules]);
        }
        if impairment.slow {
            for side in [self.server, self.far] {
                limit_rate(side, 8 * SLOW_BYTES_PER_SECOND, SLOW_QUEUE);
            }
        }
    }

    /// So many bits a second to the far client: it can ask for more than it can be sent.
    pub(crate) fn limit_answers(&self, bits_per_second: u32) {
        limit_rate(self.server, bits_per_second, ANSWERS_QUEUE);
    }

    /// From now on no packet arrives, at either end.
    pub(crate) fn go_dead(&self) {
        for (side, device) in [self.server, self.far] {
            let rule = format!("nft insert rule ip path inbound iifname {device} drop");
            run_on(side, &words(&rule));
        }
    }

    /// Puts this thread on the far client's side, where the server has this address.
    pub(crate) fn enter_far(&self, port: u16) -> SocketAddr {
        enter(self.far.0.expect("the far client has a namespace"));
        (Ipv4Addr::new(10, 0, 1, 1), port).into()
    }

    /// The same nearby.
    pub(crate) fn enter_near(&self, port: u16) -> SocketAddr {
        enter(self.near);
        (Ipv4Addr::new(10, 0, 2, 1), port).into()
    }

    /// What was to be impaired was: `bytes` went each way in so much time.
    pub(crate) fn was_as_bad_as_meant(
        &self,
        impairment: Impairment,
        bytes: usize,
        elapsed: Duration,
    ) {
        let lost = [self.server, self.far].map(|(side, _)| counted(side, "lost"));
        assert_eq!(lost.map(|lost| lost > 0), [impairment.loss; 2], "packets lost: {lost:?}");
        let slices = counted(None, "slices");
        let many = slices >= PACED_SLICES / 4; // what is lost comes again, with others
        assert_eq!(many, impairment.sliced, "{slices} slices arrived as they were sent");
        if impairment.slow {
            self.was_slow(bytes, elapsed);
        }
        eprintln!("{impairment:?}: {bytes} bytes in {elapsed:?}, {lost:?} lost, {slices} slices");
    }

    fn was_slow(&self, bytes: usize, elapsed: Duration) {
        let beyond_burst = u32::try_from(bytes).unwrap() - BURST_BYTES;
        let least = Duration::from_secs(beyond_burst.into()) / SLOW_BYTES_PER_SECOND;
        assert!(elapsed >= least, "{bytes} bytes in {elapsed:?}: less than {least:?}");
        for (side, device) in [self.server, self.far] {
            let show = format!("tc -s -j qdisc show dev {device}");
            let bucket: Value = serde_json::from_str(&run_on(side, &words(&show))).unwrap();
            let [sent, held] = ["bytes", "overlimits"].map(|of| bucket[0][of].as_u64().unwrap());
            assert!(sent >= bytes as u64 && held > 0, "{bucket}");
        }
    }
}

fn limit_rate((side, device): Side, bits_per_second: u32, queue: &str) {
    let bucket = format!(
        "tc qdisc add dev {device} root tbf \
         rate {bits_per_second}bit burst {BURST_BYTES} latency {queue}"
    );
    run_on(side, &words(&bucket));
}

/// How many packets a counter has seen.
fn counted(side: Option<&str>, name: &str) -> u64 {
    let counter = run_on(side, &words(&format!("nft -j list counter ip path {name}")));
    let counter: Value = serde_json::from_str(&counter).unwrap();
    counter["nftables"][1]["counter"]["packets"].as_u64().unwrap()
}

fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().collect()
}

/// What a command says, within a namespace or here.
#[track_caller]
fn run_on(namespace: Option<&str>, command: &[&str]) -> String {
    let enter = namespace.map(|name| ["ip", "netns", "exec", name]);
    let command = [enter.as_ref().map_or(&[][..], |enter| enter), command].concat();
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Puts this thread into a namespace, and all that it starts.
fn enter(namespace: &str) {
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// The same address, or that of somebody on this side who passes on what a client says in slices.
pub(crate) fn sliced_if(sliced: bool, server: SocketAddr) -> SocketAddr {
    if !sliced {
        return server;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
            server.set_nodelay(true).unwrap();
            client.set_nodelay(true).unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || slice(from, to));
            thread::spawn(move || pass_on(server, client));
        }
    });
    address
}

fn slice(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let (mut buffer, mut slices) = ([0; 16 * 1024], 0);
    loop {
        let read = from.read(&mut buffer)?;
        for slice in buffer[..read].chunks(SLICE_BYTES) {
            to.write_all(slice)?;
            slices += 1;
            if slices <= PACED_SLICES {
                thread::sleep(SLICE_PAUSE);
            }
        }
        if read == 0 {
            return to.shutdown(Shutdown::Write);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
