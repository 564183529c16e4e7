//! One unary gRPC call over an HTTP/2 stream, after "gRPC over HTTP2"
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! Request and reply are checked as bytes, so nothing is decoded that is as expected.

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};

use crate::recorder::ErrorKind;
use crate::target::Target;

/// One byte for compression, four for the length.
const PREFIX_BYTES: usize = 5;
/// The code of a call whose status is missing or makes no sense: UNKNOWN.
const CODE_UNKNOWN: u32 = 2;
const PATH: &str = "/quintet.v1.Quintet/Call";

/// What stands before every message.
#[derive(Debug)]
pub(super) struct Head {
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    pub(super) fn new(target: Target) -> Self {
        let uri = Uri::builder()
            .scheme("http")
            .authority(target.address.to_string())
            .path_and_query(PATH)
            .build()
            .expect("an address and a constant path are a URI");
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
            (header::TE, HeaderValue::from_static("trailers")),
        ];
        Self { uri, headers: headers.into_iter().collect() }
    }

    /// Sends `message` (its prefix included) and gives `check` the reply (its prefix excluded).
    pub(super) async fn call(
        &self,
        client: SendRequest<Bytes>,
        message: Bytes,
        check: impl FnOnce(&[u8]) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let mut client = client.ready().await.map_err(|error| kind(&error))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        let (response, mut body) =
            client.send_request(request, false).map_err(|error| kind(&error))?;
        body.send_data(message, true).map_err(|error| kind(&error))?;
        let (head, mut body) = response.await.map_err(|error| kind(&error))?.into_parts();
        if let Some(status) = head.headers.get("grpc-status") {
            return Err(ErrorKind::Code(code(status))); // trailers only: there is no message
        }
        if head.status != http::StatusCode::OK {
            return Err(ErrorKind::Protocol);
        }
        let mut reply = Bytes::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| kind(&error))?;
            // Fails only where the stream is gone, which the next read says.
            let _ = body.flow_control().release_capacity(chunk.len());
            reply = if reply.is_empty() { chunk } else { joined(&reply, &chunk) };
        }
        let trailers = body.trailers().await.map_err(|error| kind(&error))?;
        match trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")).map(code) {
            Some(0) => check(message_of(&reply)?),
            Some(code) => Err(ErrorKind::Code(code)),
            None => Err(ErrorKind::Protocol),
        }
    }
}

fn joined(one: &[u8], two: &[u8]) -> Bytes {
    let mut both = BytesMut::with_capacity(one.len() + two.len());
    both.extend_from_slice(one);
    both.extend_from_slice(two);
    both.freeze()
}

/// The one message of a reply, which is not compressed: nobody offered that.
fn message_of(reply: &[u8]) -> Result<&[u8], ErrorKind> {
    let (prefix, message) = reply.split_first_chunk::<PREFIX_BYTES>().ok_or(ErrorKind::Protocol)?;
    let [compressed, length @ ..] = *prefix;
    if compressed == 0 && u32::from_be_bytes(length) as usize == message.len() {
        Ok(message)
    } else {
        Err(ErrorKind::Protocol)
    }
}

fn code(status: &HeaderValue) -> u32 {
    status.to_str().ok().and_then(|status| status.parse().ok()).unwrap_or(CODE_UNKNOWN)
}

fn kind(error: &h2::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.get_io().map(std::io::Error::kind) {
        Some(Io::UnexpectedEof | Io::BrokenPipe | Io::NotConnected) => ErrorKind::Closed,
        Some(_) => ErrorKind::Reset,
        None if error.is_go_away() && error.is_remote() => ErrorKind::Closed,
        None if error.is_reset() && error.is_remote() => ErrorKind::StreamReset,
        None => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_whole_message() {
        assert_eq!(message_of(&[0, 0, 0, 0, 2, 8, 1]), Ok([8, 1].as_slice()));
        for reply in [&[0, 0, 0, 0, 3, 8, 1][..], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0]] {
            assert_eq!(message_of(reply), Err(ErrorKind::Protocol), "{reply:?}");
        }
    }
}
