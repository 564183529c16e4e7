//! TLS of the grpc server, as the binary has it: who is let in and who is not, what a bad file costs,
//! and that peers that stop or go find the same limits as in clear text.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::ProtocolVersion;

use crate::binaries::fails;
use crate::client::echo;
use crate::http2::{self, PING, Peer};
use crate::models::GRPC;
use crate::process::ServerProcess;
use crate::secure::{Authority, Folder, Identity, Manner, Secure, TLS_1_2, TLS_1_3};
use crate::server::{PATIENCE, eventually};

/// What it takes to run a server with TLS, and to trust it.
struct Secured {
    server: ServerProcess,
    folder: Folder,
    authority: Authority,
    manner: Manner,
}

impl Secured {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(|_| arguments.iter().map(|&argument| argument.to_owned()).collect())
    }

    fn start_with(more: impl FnOnce(&Folder) -> Vec<String>) -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let mut arguments = install(&folder, &authority.signs()).to_vec();
        arguments.extend(more(&folder));
        let server = ServerProcess::start(GRPC.model, &arguments);
        let manner = Manner::of_grpc(authority.pem());
        Self { server, folder, authority, manner }
    }

    #[track_caller]
    fn open(&self) -> Secure {
        Secure::open(self.server.address, &self.manner).expect("it is let in")
    }
}

fn install(folder: &Folder, identity: &Identity) -> [String; 2] {
    let cert = folder.write("cert.pem", &identity.cert);
    let key = folder.write("key.pem", &identity.key);
    [format!("--tls-cert={cert}"), format!("--tls-key={key}")]
}

#[test]
fn each_version_of_tls_carries_calls() {
    let secured = Secured::start(&[]);
    for (versions, version) in
        [(TLS_1_2, ProtocolVersion::TLSv1_2), (TLS_1_3, ProtocolVersion::TLSv1_3)]
    {
        let manner = Manner { versions, ..secured.manner.clone() };
        let mut peer = Secure::open(secured.server.address, &manner).unwrap();
        assert_eq!((peer.version(), peer.protocol()), (version, Some(&b"h2"[..])));
        for stream in http2::streams().take(20) {
            peer.echoes(stream).unwrap();
        }
    }
    eventually("open", 0, || secured.server.stats().open);
    let stats = secured.server.stats();
    assert_eq!((stats.requests, stats.failed), (40, 0));
    // Below TLS, and not above it: an answer is one write.
    assert!((40..=80).contains(&stats.writes), "{} writes", stats.writes);
}

#[test]
fn of_several_protocols_h2_is_chosen_and_without_it_nothing_is() {
    let secured = Secured::start(&[]);
    let open = |offers: &[&'static str]| {
        let manner = Manner { offers: offers.to_vec(), ..secured.manner.clone() };
        Secure::open(secured.server.address, &manner)
    };
    for offers in [&["http/1.1", "h2"][..], &["h2"], &[]] {
        let mut peer = open(offers).unwrap();
        assert_eq!(peer.protocol(), Some(&b"h2"[..]).filter(|_| !offers.is_empty()));
        peer.echoes(1).unwrap();
    }
    let refused = open(&["http/1.1", "h3"]).err().expect("none of them is spoken");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[test]
fn a_client_without_the_right_certificate_is_not_let_in() {
    let authority = Authority::new();
    let secured = Secured::start_with(|folder| {
        vec![format!("--tls-client-ca={}", folder.write("clients.pem", authority.pem()))]
    });
    for versions in [TLS_1_2, TLS_1_3] {
        let ask = |identity| {
            let manner = Manner { versions, identity, ..secured.manner.clone() };
            // The last word of TLS 1.3's handshake is the client's: it hears of it later.
            Secure::open(secured.server.address, &manner)?.echoes(1)
        };
        ask(Some(authority.signs())).expect("it is let in");
        for (identity, alert) in
            [(None, "CertificateRequired"), (Some(secured.authority.signs()), "UnknownCA")]
        {
            let refused = ask(identity).expect_err("nobody has signed for it").to_string();
            // Over bytes that were not read, the end may be a reset.
            let words = [alert, "HandshakeFailure", "DecryptError", "reset", "Broken pipe"];
            assert!(words.iter().any(|word| refused.contains(word)), "{refused}");
        }
    }
    eventually("open", 0, || secured.server.stats().open);
    assert_eq!(secured.server.stats().requests, 2);
}

#[test]
fn certificates_are_read_again_when_told() {
    let secured = Secured::start(&[]);
    let mut old = secured.open();
    old.echoes(1).unwrap();
    let authority = Authority::new();
    install(&secured.folder, &authority.signs());
    secured.server.signal(Signal::HUP);
    secured.server.says("certificates read again");
    let manner = Manner::of_grpc(authority.pem());
    let mut new = Secure::open(secured.server.address, &manner).expect("the new one is known");
    new.echoes(1).unwrap();
    let unknown = Secure::open(secured.server.address, &secured.manner).err().unwrap();
    assert!(unknown.to_string().contains("UnknownIssuer"), "{unknown}");
    old.echoes(3).expect("the old connection goes on");

    for content in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let path = secured.folder.write("cert.pem", content);
        let lines = secured.server.log_lines();
        secured.server.signal(Signal::HUP);
        let said = secured.server.says("the old certificates stay: ");
        assert!(said.starts_with(&format!("--tls-cert: {path}: no certificate")), "{said}");
        assert_eq!(secured.server.log_lines(), lines + 1);
        let mut newer = Secure::open(secured.server.address, &manner).expect("as before");
        newer.echoes(1).unwrap();
    }
    old.echoes(5).unwrap();
    new.echoes(3).unwrap();
}

/// As it always did.
#[test]
fn without_tls_that_signal_ends_the_server() {
    let mut server = ServerProcess::start(GRPC.model, &[]);
    server.signal(Signal::HUP);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&server.ended()), Some(1));
}

#[test]
fn what_is_wrong_with_a_file_is_told_before_anything_listens() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let [cert, key] = &install(&folder, &authority.signs());
    let other = format!("--tls-key={}", folder.write("other.pem", authority.signs().key));
    let no_cert = folder.write("no-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let bad_cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_cert = folder.write("bad-cert.pem", bad_cert);
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let bad_key = folder.write("bad-key.pem", bad_key);
    let empty = folder.write("empty.pem", "");
    let of = |flag: &str, path: &str| format!("--tls-{flag}={path}");
    let nowhere = folder.path("nowhere").join("cert.pem").display().to_string();
    for (flags, words) in [
        (vec![cert.clone()], "--tls-cert needs --tls-key"),
        (vec![key.clone()], "--tls-key needs --tls-cert"),
        (vec![cert.clone(), other], "is not the key of the certificate in "),
        (vec![of("cert", &nowhere), key.clone()], "--tls-cert: cannot read "),
        (vec![of("cert", "/"), key.clone()], "directory"),
        (vec![of("cert", "/dev/zero"), key.clone()], "more than "),
        (vec![of("cert", &empty), key.clone()], "no certificate in PEM"),
        (vec![of("cert", &no_cert), key.clone()], "no certificate in PEM"),
        (vec![of("cert", &bad_cert), key.clone()], "no certificate for TLS"),
        (vec![cert.clone(), of("key", &nowhere)], "--tls-key: cannot read "),
        (vec![cert.clone(), of("key", &empty)], "no private key in PEM"),
        (vec![cert.clone(), of("key", &bad_key)], "no key for TLS"),
        (vec![cert.clone(), key.clone(), of("client-ca", &nowhere)], "--tls-client-ca: cannot "),
        (vec![cert.clone(), key.clone(), of("client-ca", &empty)], "no certificate in PEM"),
        (vec![cert.clone(), key.clone(), of("client-ca", &bad_cert)], "no certificate for TLS"),
        (vec![of("client-ca", &empty)], "--tls-client-ca is of no use without TLS"),
        (vec!["--tls-self-signed".to_owned(), cert.clone(), key.clone()], "leave out --tls-cert"),
        (vec![of("self-signed-cert", "x")], "of no use without --tls-self-signed"),
        (
            vec!["--tls-self-signed".to_owned(), of("self-signed-cert", &nowhere)],
            "--tls-self-signed: cannot write",
        ),
    ] {
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let message = fails(GRPC.model, &flags);
        assert!(message.contains(words), "{flags:?}: {message}");
    }
}

#[test]
fn a_certificate_for_trying_out_says_so_and_can_be_trusted() {
    let folder = Folder::new();
    let path = folder.path("trusted.pem");
    let flags =
        ["--tls-self-signed".to_owned(), format!("--tls-self-signed-cert={}", path.display())];
    let server = ServerProcess::start(GRPC.model, &flags);
    server.says("--tls-self-signed is for trials only");
    let manner = Manner::of_grpc(fs::read_to_string(path).unwrap());
    let mut peer = Secure::open(server.address, &manner).unwrap();
    peer.echoes(1).unwrap();
    server.signal(Signal::HUP);
    server.says("not read again");
    peer.echoes(3).unwrap();
    let stranger = Secure::open(server.address, &Manner::of_grpc(Authority::new().pem()));
    assert!(stranger.err().unwrap().to_string().contains("UnknownIssuer"));
}

/// The first bytes of a `ClientHello`, and of records that never come.
const HALF_HELLOS: [&[u8]; 4] =
    [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01\x3f\xff"];

/// Whichever of the two timeouts is shorter; and it is within it that HTTP/2 must be open too.
#[test]
fn a_handshake_that_stops_is_ended_in_time() {
    for flags in [
        ["--read-timeout=300ms", "--idle-timeout=1m", "--max-connections=6"],
        ["--read-timeout=1m", "--idle-timeout=300ms", "--max-connections=6"],
    ] {
        let secured = Secured::start(&flags);
        let began = Instant::now();
        let mut peers = HALF_HELLOS.map(|bytes| {
            let peer = Peer::mute(secured.server.address);
            peer.send(bytes);
            peer
        });
        let mut no_preface = Secure::shake_hands(secured.server.address, &secured.manner).unwrap();
        // Nobody waits behind them.
        secured.open().echoes(1).unwrap();
        for peer in &mut peers {
            peer.farewell();
        }
        no_preface.farewell();
        assert!(began.elapsed() < PATIENCE);
        eventually("open", 0, || secured.server.stats().open);
        assert_eq!(secured.server.stats().read_timeouts, 5);
    }
}

/// A byte now and then extends nothing.
#[test]
fn a_handshake_that_drips_is_ended_in_time() {
    let secured = Secured::start(&["--read-timeout=300ms"]);
    let peer = Peer::mute(secured.server.address);
    let began = Instant::now();
    let mut hello = b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03".to_vec();
    hello.resize(4000, 7);
    for byte in hello {
        if peer.try_send(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    assert!(began.elapsed() < PATIENCE, "it was never closed");
    assert_eq!(secured.server.stats().read_timeouts, 1);
}

#[test]
fn who_speaks_the_other_way_harms_nobody_else() {
    let secured = Secured::start(&[]);
    let mut bystander = secured.open();
    let plain: [&[u8]; 3] = [&http2::hello(), b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096]];
    for (stream, bytes) in http2::streams().zip(plain) {
        let peer = Peer::mute(secured.server.address);
        peer.send(bytes);
        let mut rest = Vec::new();
        // An alert, and the end.
        let ended = peer.stream().read_to_end(&mut rest);
        assert!(
            ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        );
        bystander.echoes(stream).unwrap();
    }
    let stats = secured.server.stats();
    assert_eq!((stats.requests, stats.read_timeouts), (3, 0));

    let clear = ServerProcess::start(GRPC.model, &[]);
    let mut bystander = Peer::open(clear.address, &[]);
    assert!(Secure::open(clear.address, &secured.manner).is_err());
    bystander.send(&http2::call(1, &echo(1, b"unharmed")));
    assert_eq!(bystander.answer(1).payload, b"unharmed");
    eventually("open", 1, || clear.stats().open);
}

#[test]
fn one_connection_too_many_hears_it_in_words_of_tls() {
    let secured = Secured::start(&["--max-connections=1"]);
    let mut served = secured.open();
    served.echoes(1).unwrap();
    let refused = Secure::open(secured.server.address, &secured.manner).err().unwrap();
    assert!(refused.to_string().contains("InternalError"), "{refused}");
    served.echoes(3).unwrap();
    assert_eq!(secured.server.stats().refused, 1);
}

#[test]
fn a_drain_does_not_wait_for_a_handshake() {
    for bytes in HALF_HELLOS {
        let mut secured = Secured::start(&["--drain-timeout=1m"]);
        let mut served = secured.open();
        served.echoes(1).unwrap();
        let mut peer = Peer::mute(secured.server.address);
        peer.send(bytes);
        eventually("open", 2, || secured.server.stats().open);
        let began = Instant::now();
        secured.server.signal(Signal::TERM);
        peer.farewell();
        let (has_gone, _) = served.farewell();
        assert!(has_gone, "it is told before");
        assert!(secured.server.ended().success());
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn an_idle_connection_is_told_to_go_as_in_clear_text() {
    let secured = Secured::start(&["--idle-timeout=300ms"]);
    let mut peer = secured.open();
    peer.echoes(1).unwrap();
    assert_eq!(peer.farewell(), (true, true), "GOAWAY, and an end that TLS was told of");
    assert_eq!(secured.server.stats().idle_timeouts, 1);
}

/// What waits in the buffers of TLS counts as little as what waits in those of the kernel.
#[test]
fn a_peer_that_takes_no_bytes_is_cut_in_time() {
    let secured = Secured::start(&["--write-timeout=300ms"]);
    let mut bystander = secured.open();
    let mut peer = secured.open();
    // Each is to be answered.
    let pings = http2::frame(PING, 0, 0, &[7; 8]).repeat(500);
    let began = Instant::now();
    while peer.0.write_all(&pings).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it was never cut");
    }
    bystander.echoes(1).unwrap();
    eventually("open", 1, || secured.server.stats().open);
    assert_eq!(secured.server.stats().write_timeouts, 1);
}
