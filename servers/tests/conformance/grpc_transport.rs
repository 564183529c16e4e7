//! What the flags of HTTP/2 do: each as the peer sees it on the wire, against the binary; and
//! compression, both ways, with messages that are nothing but air.

use std::io::Write;
use std::time::{Duration, Instant};

use common::{Request, Response};
use prost::Message;
use servers::grpc::generated::quintet_client::QuintetClient;
use tonic::codec::CompressionEncoding::{self, Gzip, Zstd};
use tonic::transport::{Channel, Endpoint};

use crate::binaries::fails;
use crate::client::{echo, wait};
use crate::http2::{self, ACK, CALL, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Peer};
use crate::http2::{PING, SETTINGS, WINDOW_UPDATE, frame};
use crate::models::GRPC;
use crate::process::ServerProcess;
use crate::server::{PATIENCE, eventually};

const LONG: Duration = Duration::from_mins(1);
const NONE: [(u16, u32); 1] = [(http2::SETTINGS_INITIAL_WINDOW_SIZE, 0)];

fn start(arguments: &[&str]) -> ServerProcess {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    ServerProcess::start(GRPC.model, &arguments)
}

/// What a server allows.
#[derive(Debug, PartialEq, Eq)]
struct Allowed {
    streams: u32,
    stream_window: u32,
    /// 16 KiB, unless it says another.
    frame: u32,
    headers: u32,
    connection_window: u32,
}

const DEFAULT: Allowed = Allowed {
    streams: 100,
    stream_window: 25_559,
    frame: 16_384,
    headers: 8192,
    connection_window: 2_555_900,
};

fn allowed(server: &ServerProcess) -> Allowed {
    let mut peer = Peer::mute(server.address);
    peer.send(&http2::hello());
    let settings = peer.next_of(SETTINGS);
    let setting = |number: u16| {
        let mut settings = settings.payload.chunks(6);
        let found = settings.find(|setting| setting[..2] == number.to_be_bytes());
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    let window = peer.next_of(WINDOW_UPDATE);
    assert_eq!(window.stream, 0);
    Allowed {
        streams: setting(http2::SETTINGS_MAX_CONCURRENT_STREAMS).expect("it says how many"),
        stream_window: setting(http2::SETTINGS_INITIAL_WINDOW_SIZE).expect("it says how much"),
        frame: setting(http2::SETTINGS_MAX_FRAME_SIZE).unwrap_or(16_384),
        headers: setting(http2::SETTINGS_MAX_HEADER_LIST_SIZE).expect("it says how large"),
        connection_window: 0xffff + u32::from_be_bytes(window.payload.try_into().unwrap()),
    }
}

#[test]
fn each_setting_is_what_its_flag_says() {
    for (flags, expected) in [
        (&[][..], DEFAULT),
        (
            // Halves of an equal share of 4 MiB.
            &["--max-concurrent-streams=250"],
            Allowed { streams: 250, stream_window: 8388, connection_window: 2_097_000, ..DEFAULT },
        ),
        (
            &["--initial-stream-window=65535"],
            Allowed { stream_window: 65_535, connection_window: 6_553_500, ..DEFAULT },
        ),
        (
            &["--initial-connection-window=1000000"],
            Allowed { stream_window: 10_000, connection_window: 1_000_000, ..DEFAULT },
        ),
        (
            &["--initial-connection-window=9000000"],
            Allowed { connection_window: 9_000_000, ..DEFAULT },
        ),
        (
            &["--max-http2-frame=20000"],
            Allowed {
                frame: 20_000,
                stream_window: 21_943,
                connection_window: 2_194_300,
                ..DEFAULT
            },
        ),
        (&["--max-header-list=12345"], Allowed { headers: 12_345, ..DEFAULT }),
    ] {
        assert_eq!(allowed(&start(flags)), expected, "{flags:?}");
    }
}

/// Each by the other ways too.
#[test]
fn settings_are_taken_from_the_environment_and_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "max-concurrent-streams = 7\ninitial-stream-window = 70_000\n\
                max-header-list = 4096\nkeepalive-interval = \"1m\"\ntls-self-signed = \"off\"\n\
                compression = \"gzip,zstd\"\nmax-connection-age = \"1h\"\n";
    file.as_file().write_all(text.as_bytes()).unwrap();
    let arguments = [format!("--config={}", file.path().display())];
    let mut command = crate::process::command(GRPC.model, &arguments);
    command.env("QUINTET_MAX_HTTP2_FRAME", "30000").env("QUINTET_MAX_HEADER_LIST", "5000");
    let server = ServerProcess::start_command(command);
    let expected = Allowed {
        streams: 7,
        stream_window: 70_000,
        frame: 30_000,
        headers: 5000,
        connection_window: 490_000,
    };
    assert_eq!(allowed(&server), expected);
}

#[test]
fn what_does_not_fit_together_is_told_in_one_line() {
    for (flags, words) in [
        (
            &["--initial-connection-window=99999", "--initial-stream-window=1000"][..],
            &["100 calls of 1000 bytes need 100000", "raise it"][..],
        ),
        (&["--initial-connection-window=65534"], &["65535"]),
        (&["--initial-stream-window=0"], &["'0'"]),
        (&["--max-http2-frame=16383"], &["16384..=16777215"]),
        (&["--max-concurrent-streams=0"], &["1..=10000"]),
        (&["--keepalive-timeout=0s"], &["some time"]),
        (&["--keepalive-interval=often"], &["often"]),
        (&["--compression=gzip,brotli"], &["'brotli'", "gzip, zstd, none"]),
        (&["--tls-self-signed=perhaps"], &["perhaps", "on, off"]),
    ] {
        let message = fails(GRPC.model, flags);
        assert!(words.iter().all(|word| message.contains(word)), "{flags:?}: {message}");
    }
}

#[test]
fn a_silent_peer_is_asked_as_often_as_the_flag_says() {
    let server = start(&["--keepalive-interval=100ms", "--keepalive-timeout=300ms"]);
    let mut peer = Peer::open(server.address, &[]);
    for _ in 0..5 {
        assert_eq!(peer.next_of(PING).flags & ACK, 0);
    }
    peer.is_there = false;
    peer.farewell();
    eventually("open", 0, || server.stats().open);
    assert_eq!(server.stats().read_timeouts, 1);
}

/// What it has asked for is answered; what it asks for later goes elsewhere.
#[test]
fn an_old_connection_is_told_to_go_and_its_calls_end_well() {
    let server = start(&["--max-connection-age=300ms", "--max-connection-age-grace=1m"]);
    let mut peer = Peer::open(server.address, &[]);
    peer.send(&http2::call(1, &wait(1, Duration::from_secs(3))));
    let mut has_gone = false;
    loop {
        let frame = peer.next().expect("the answer comes");
        has_gone |= frame.kind == GOAWAY;
        if frame.kind == DATA && frame.stream == 1 && !frame.payload.is_empty() {
            break;
        }
    }
    assert!(has_gone, "it is told before its answer comes");
    assert!(peer.farewell().goaway.is_none_or(|code| code == 0));
    let stats = server.stats();
    assert_eq!((stats.requests, stats.failed, stats.idle_timeouts), (1, 0, 0));
    // Others are served meanwhile, on their own.
    let mut next = Peer::open(server.address, &[]);
    next.send(&http2::call(1, &echo(1, b"new")));
    assert_eq!(next.answer(1).payload, b"new");
}

#[test]
fn calls_of_an_old_connection_are_cut_after_their_grace() {
    let server = start(&["--max-connection-age=200ms", "--max-connection-age-grace=200ms"]);
    let mut peer = Peer::open(server.address, &[]);
    peer.send(&http2::call(1, &wait(1, LONG)));
    let began = Instant::now();
    assert_eq!(peer.farewell().goaway, Some(0));
    assert!(began.elapsed() < PATIENCE);
    eventually("in progress", 0, || server.stats().in_progress);
    eventually("open", 0, || server.stats().open);
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await }).expect("it ends");
}

async fn connect(server: &ServerProcess) -> QuintetClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    QuintetClient::new(endpoint.connect().await.unwrap())
}

/// One that compresses, and takes what is.
async fn compressing(
    server: &ServerProcess,
    encoding: CompressionEncoding,
) -> QuintetClient<Channel> {
    connect(server).await.send_compressed(encoding).accept_compressed(encoding)
}

#[test]
fn messages_are_compressed_both_ways() {
    let server = start(&["--compression=gzip,zstd"]);
    run(async {
        for encoding in [Gzip, Zstd] {
            let mut client = compressing(&server, encoding).await;
            for bytes in [0, 10, 10_000, 4_000_000] {
                let payload = vec![7; bytes];
                let response = client.call(echo(1, &payload)).await.unwrap();
                let said = response.metadata().get("grpc-encoding").cloned();
                assert_eq!(said.unwrap(), encoding.to_string());
                assert_eq!(response.into_inner().payload, payload);
            }
            // Several of a stream, each of which may need all the room there is.
            let requests = tokio_stream::iter((0..20).map(|id| echo(id, &[7; 5000])));
            let mut responses = client.converse(requests).await.unwrap().into_inner();
            for id in 0..20 {
                let response: Response = responses.message().await.unwrap().unwrap();
                assert_eq!((response.id, response.payload.len()), (id, 5000));
            }
        }
        let mut plain = connect(&server).await;
        let response = plain.call(echo(1, b"plain")).await.unwrap();
        assert!(response.metadata().get("grpc-encoding").is_none());
    });
}

#[test]
fn what_was_not_asked_for_is_not_compressed() {
    for (flags, taken, refused) in [
        (&[][..], &[][..], &[Gzip, Zstd][..]),
        (&["--compression=gzip"], &[Gzip], &[Zstd]),
        (&["--compression=zstd"], &[Zstd], &[Gzip]),
    ] {
        let server = start(flags);
        run(async {
            for encoding in refused {
                let mut client = compressing(&server, *encoding).await;
                let status = client.call(echo(1, b"no")).await.unwrap_err();
                assert_eq!(status.code(), tonic::Code::Unimplemented, "{status}");
                let mut taking = connect(&server).await.accept_compressed(*encoding);
                let response = taking.call(echo(1, b"plain")).await.unwrap();
                assert!(response.metadata().get("grpc-encoding").is_none());
            }
            for encoding in taken {
                compressing(&server, *encoding).await.call(echo(1, b"yes")).await.unwrap();
            }
        });
    }
}

/// What is small until it is opened is as large as it is then.
#[test]
fn a_message_of_air_is_refused_by_what_it_would_become() {
    let server = start(&["--compression=gzip,zstd", "--max-frame=1000000"]);
    run(async {
        for encoding in [Gzip, Zstd] {
            let mut client = compressing(&server, encoding).await;
            let largest = vec![0; 1_000_000 - 6];
            client.call(echo(1, &largest)).await.expect("no larger than the limit");
            for bytes in [1_000_000, 100_000_000] {
                let status = client.call(echo(1, &vec![0; bytes])).await.unwrap_err();
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
            }
            client.call(echo(2, b"and the connection goes on")).await.unwrap();
        }
    });
}

/// A whole call whose message is compressed by zstd: not at all (RFC 8878, a raw block).
fn compressed(stream: u32, request: &Request) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const SINGLE_SEGMENT: u8 = 0x20;
    const LAST_BLOCK: u32 = 1;
    let bytes = request.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap();
    let mut zstd = MAGIC.to_vec();
    zstd.extend([SINGLE_SEGMENT, u8::try_from(length).unwrap()]);
    zstd.extend(&(length << 3 | LAST_BLOCK).to_le_bytes()[..3]);
    zstd.extend(bytes);
    let mut message = vec![1];
    message.extend(u32::try_from(zstd.len()).unwrap().to_be_bytes());
    message.extend(zstd);
    let head = [&http2::head(CALL)[..], b"\0\x0dgrpc-encoding\x04zstd"].concat();
    [
        frame(HEADERS, END_HEADERS, stream, &head),
        http2::data(stream, &message),
        frame(DATA, END_STREAM, stream, b""),
    ]
    .concat()
}

/// Nobody knows before how large it becomes: two of them do not share the room for one.
#[test]
fn a_compressed_message_waits_for_the_room_that_it_could_need() {
    let server = start(&["--compression=zstd"]);
    let mut peer = Peer::open(server.address, &NONE);
    let request = echo(1, &[7; 200]);
    peer.send(&compressed(1, &request));
    let is_answer = |frame: &Frame, stream| frame.kind == HEADERS && frame.stream == stream;
    while !is_answer(&peer.next().unwrap(), 1) {}
    // Its answer holds the room.
    peer.send(&compressed(3, &request));
    for stream in (5..45).step_by(2) {
        peer.send(&http2::call(stream, &request));
        peer.send(&http2::window_update(stream, 1000));
        loop {
            let frame = peer.next().expect("what is not compressed needs no room");
            assert!(!is_answer(&frame, 3), "there was no room for it");
            if is_answer(&frame, stream) {
                break;
            }
        }
    }
    peer.send(&http2::window_update(1, 1000));
    while !is_answer(&peer.next().expect("it has its turn"), 3) {}
}
