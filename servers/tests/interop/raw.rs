//! What no client library shows: the flag before each message that says whether it is compressed.
//! HTTP/2 by the `h2` crate, the five bytes by hand.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::net::TcpStream;

use crate::server;
use crate::service::generated::{BoolValue, SimpleRequest, SimpleResponse};

const TEST_TIMEOUT: Duration = Duration::from_secs(20);
const RESPONSE_BYTES: i32 = 314_159;

/// The rest of `server_compressed_unary`: the flag is set when it was asked for, and only then.
#[test]
fn a_response_is_compressed_where_that_is_asked_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async {
        for (compressed, flag) in [(true, 1), (false, 0)] {
            let answer = unary_call(compressed).await;
            let length = u32::from_be_bytes(answer[1..5].try_into().unwrap()) as usize;
            assert_eq!((answer[0], length), (flag, answer.len() - 5));
            if flag == 0 {
                let response = SimpleResponse::decode(&answer[5..]).unwrap();
                assert_eq!(response.payload.unwrap().body, vec![0; RESPONSE_BYTES as usize]);
            } else {
                assert!(length < 10_000, "zeros are easy to compress, and yet {length} bytes");
            }
        }
    };
    runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, test).await }).unwrap();
}

/// The bytes of the answer, prefix included.
async fn unary_call(compressed: bool) -> Bytes {
    let request = SimpleRequest {
        response_size: RESPONSE_BYTES,
        response_compressed: Some(BoolValue { value: compressed }),
        ..SimpleRequest::default()
    };
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(request.encoded_len().try_into().unwrap());
    request.encode(&mut body).unwrap();

    let stream = TcpStream::connect(server()).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let head = http::Request::post("http://test/grpc.testing.TestService/UnaryCall")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-accept-encoding", "gzip")
        .body(())
        .unwrap();
    let (answer, mut upload) = sender.send_request(head, false).unwrap();
    upload.send_data(body.freeze(), true).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    let mut bytes = BytesMut::new();
    while let Some(data) = answer.data().await {
        let data = data.unwrap();
        answer.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    let trailers = answer.trailers().await.unwrap().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    bytes.freeze()
}
