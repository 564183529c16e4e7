//! Users, uploads and the exchange: one unary call, one that brings many messages, and one in which
//! both sides send many.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use common::config::{Offload, Overload};
use common::message::{Chunk, Digest, UserRequest, UserResponse, Work};
use common::{Code, Response};
use futures_util::stream;
use servers::grpc::generated::uploads_client::UploadsClient;
use servers::grpc::generated::users_client::UsersClient;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::client::{block, compute, echo, get_user, request, wait};
use crate::grpc::{channel, connect, with_server};
use crate::http2::{self, Peer};
use crate::models::GRPC;
use crate::process::ServerProcess;
use crate::server::{PATIENCE, eventually};

async fn find(client: &mut UsersClient<Channel>, id: &str) -> Result<UserResponse, Status> {
    let request = UserRequest { user_id: id.to_owned() };
    client.get_user(request).await.map(tonic::Response::into_inner)
}

#[test]
fn users_are_found_or_not_or_the_id_is_wrong() {
    with_server(
        |_| (),
        async |server| {
            let mut users = UsersClient::new(channel(server.address).await);
            let expected = UserResponse { name: "User 42".to_owned(), age: 60 };
            assert_eq!(find(&mut users, "42").await.unwrap(), expected);
            let status = find(&mut users, "10001").await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::NotFound);
            assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_FOUND");
            let status = find(&mut users, &"9".repeat(1_000_000)).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().len() < 200, "{status}");
            let violation = &status.get_details_bad_request().unwrap().field_violations[0];
            assert_eq!(
                (violation.field.as_str(), &*violation.description),
                ("user_id", status.message())
            );
            // The same handler, and the same counters.
            let asked = get_user(5, "42");
            let response = connect(server).await.call(asked).await.unwrap().into_inner();
            assert_eq!(response.payload, prost::Message::encode_to_vec(&expected));
            let now = server.stats.snapshot();
            assert_eq!((now.requests, now.not_found, now.invalid_argument), (4, 1, 1));
        },
    );
}

#[test]
fn many_at_once_each_get_their_own_user() {
    with_server(
        |_| (),
        async |server| {
            let mut clients = JoinSet::new();
            for first in 0..8_u32 {
                let mut users = UsersClient::new(channel(server.address).await);
                clients.spawn(async move {
                    for id in (1..=10_000).skip(first as usize).step_by(40) {
                        let user = find(&mut users, &id.to_string()).await.unwrap();
                        assert_eq!((user.name, user.age), (format!("User {id}"), 18 + id % 80));
                    }
                });
            }
            clients.join_all().await;
        },
    );
}

fn pieces(sizes: &[usize]) -> Vec<Chunk> {
    let piece =
        |(n, size): (usize, &usize)| (0..*size).map(|at| (n + at).to_le_bytes()[0]).collect();
    sizes.iter().enumerate().map(piece).map(|data| Chunk { data }).collect()
}

#[test]
fn an_upload_is_hashed_however_it_is_cut() {
    for offload in [Offload::On, Offload::Off] {
        with_server(
            |config| config.offload = offload,
            async |server| {
                let mut client = UploadsClient::new(channel(server.address).await);
                let sizes: [&[usize]; 5] =
                    [&[], &[0], &[1, 0, 2], &[16 * 1024, 16 * 1024 + 1, 5], &[1 << 20, 7, 1 << 20]];
                for sizes in sizes {
                    let pieces = pieces(sizes);
                    let whole: Vec<u8> = pieces.iter().flat_map(|it| it.data.clone()).collect();
                    let digest = client.upload(tokio_stream::iter(pieces)).await.unwrap();
                    let digest = digest.into_inner();
                    assert_eq!(digest.sha256, Sha256::digest(&whole).to_vec(), "{sizes:?}");
                    let expected = (whole.len() as u64, sizes.len() as u64);
                    assert_eq!((digest.bytes, digest.chunks), expected);
                }
            },
        );
    }
}

/// Each of them is more than half of what a connection has room for, and the end of one comes in
/// the same frame as the beginning of the next.
#[test]
fn large_pieces_do_not_wait_for_each_others_room() {
    with_server(
        |_| (),
        async |server| {
            let pieces = pieces(&[3 << 20, 3 << 20, 3 << 20]);
            let mut bytes = Vec::new();
            for piece in &pieces {
                let length = u32::try_from(prost::Message::encoded_len(piece)).unwrap();
                bytes.extend([&[0], &length.to_be_bytes()[..]].concat());
                prost::Message::encode(piece, &mut bytes).unwrap();
            }
            let mut peer = Peer::open(server.address, &[]);
            peer.send(&http2::headers(1, "/quintet.v1.Uploads/Upload"));
            assert_eq!(peer.upload(&[1], &bytes, PATIENCE), [bytes.len()]);
            let answer = peer.next_of(http2::DATA).payload;
            let digest: Digest = prost::Message::decode(&answer[5..]).unwrap();
            assert_eq!((digest.bytes, digest.chunks), (9 << 20, 3));
        },
    );
}

/// Longer in all than the idle timeout and the second that who is idle has to leave, with no pause
/// that long.
#[test]
fn an_upload_that_goes_on_is_not_idle() {
    const IDLE: Duration = Duration::from_millis(400);
    const PAUSE: Duration = Duration::from_millis(50);
    const PIECES: u64 = 40;
    with_server(
        |config| config.timeouts.idle = Some(IDLE),
        async |server| {
            let mut client = UploadsClient::new(channel(server.address).await);
            let piece = |number| async move {
                tokio::time::sleep(PAUSE).await;
                (number < PIECES).then(|| (Chunk { data: vec![7; 10] }, number + 1))
            };
            let digest = client.upload(stream::unfold(0, piece)).await.unwrap().into_inner();
            assert_eq!((digest.bytes, digest.chunks), (10 * PIECES, PIECES));
            assert_eq!(server.stats.snapshot().idle_timeouts, 0);
        },
    );
}

/// The most memory that the process ever had.
fn resident_peak_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_upload_of_any_length_takes_the_room_of_a_piece() {
    const PIECES: u64 = 32;
    let server = ServerProcess::start(GRPC.model, &[]);
    let before_kib = resident_peak_kib(server.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let digest = runtime.block_on(async {
        let mut client = UploadsClient::new(channel(server.address).await);
        let pieces = (0..PIECES).map(|_| Chunk { data: vec![7; 1 << 20] });
        client.upload(tokio_stream::iter(pieces)).await.unwrap().into_inner()
    });
    assert_eq!((digest.bytes, digest.chunks), (PIECES << 20, PIECES));
    let more_kib = resident_peak_kib(server.id()) - before_kib;
    assert!(more_kib < (PIECES << 10) / 2, "{more_kib} KiB for pieces of 1,024");
    eprintln!("{more_kib} KiB more for pieces of 1,024");
}

#[test]
fn an_upload_finds_no_place_where_there_is_none() {
    with_server(
        |config| (config.in_flight_max, config.overload) = (1, Overload::Reject),
        async |server| {
            let mut other = connect(server).await;
            let blocks = tokio::spawn(async move {
                other.call(wait(1, Duration::from_mins(1))).await.unwrap();
            });
            eventually("in progress", 1, || server.stats.snapshot().in_progress);
            let mut client = UploadsClient::new(channel(server.address).await);
            let small = client.upload(tokio_stream::iter(pieces(&[1000]))).await;
            assert!(small.is_ok(), "what takes no time needs no place");
            let status = client.upload(tokio_stream::iter(pieces(&[1 << 20]))).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::ResourceExhausted);
            let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
            assert!(delay > Duration::ZERO);
            blocks.abort();
        },
    );
}

#[test]
fn an_exchange_answers_as_things_are_done() {
    with_server(
        |_| (),
        async |server| {
            let (requests, ask) = tokio::sync::mpsc::channel(200);
            let mut client = connect(server).await;
            let mut answers = client.exchange(ReceiverStream::new(ask)).await.unwrap().into_inner();
            requests.send(wait(0, Duration::from_secs(2))).await.unwrap();
            requests.send(block(1, Duration::from_secs(2))).await.unwrap();
            eventually("in progress", 2, || server.stats.snapshot().in_progress);
            let mut fast: HashMap<u64, Response> = HashMap::new();
            for id in 2..100 {
                let work = match id % 4 {
                    0 => compute(id, 2),
                    1 => request(id, Work::WaitUs(u64::MAX)),
                    2 => get_user(id, &id.to_string()),
                    _ => echo(id, &id.to_be_bytes()),
                };
                requests.send(work).await.unwrap();
            }
            drop(requests);
            for _ in 2..100 {
                let answer = answers.next().await.unwrap().expect("errors stay in their message");
                assert!(answer.id > 1, "the slow ones come last: {answer:?}");
                let twice = fast.insert(answer.id, answer);
                assert_eq!(twice, None, "answered twice");
            }
            for (id, answer) in fast {
                let code = if id % 4 == 1 { Code::InvalidArgument } else { Code::Ok };
                assert_eq!(answer.code, code as u32, "{answer:?}");
                assert!(id % 4 != 3 || answer.payload == id.to_be_bytes());
            }
            let mut slow = [(); 2].map(|()| u64::MAX);
            for id in &mut slow {
                *id = answers.next().await.unwrap().unwrap().id;
            }
            slow.sort_unstable();
            assert_eq!(slow, [0, 1]);
            assert!(answers.next().await.is_none(), "nothing was asked besides");
        },
    );
}

#[test]
fn an_exchange_has_a_bound_of_its_own() {
    const AT_ONCE: u64 = 100;
    with_server(
        |_| (),
        async |server| {
            let requests = (0..5 * AT_ONCE).map(|id| wait(id, Duration::from_millis(100)));
            let mut client = connect(server).await;
            let answers = client.exchange(tokio_stream::iter(requests)).await.unwrap().into_inner();
            let mut ids: Vec<u64> = answers.map(|answer| answer.unwrap().id).collect().await;
            ids.sort_unstable();
            assert!(ids.into_iter().eq(0..5 * AT_ONCE), "each once");
            assert_eq!(server.stats.snapshot().in_progress_peak, AT_ONCE);
        },
    );
}
