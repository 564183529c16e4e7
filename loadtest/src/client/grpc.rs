//! A gRPC connection over the `h2` crate that does exactly what it is told, wrong things included.
//!
//! After "gRPC over HTTP2"
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). Whoever uses it bounds the
//! time.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpStream};

use bytes::{Buf, Bytes, BytesMut};
use common::{Request, Response};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, RecvStream, SendStream};
use http::{HeaderValue, Method, header};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

/// One byte for compression, four for the length.
pub const PREFIX_BYTES: usize = 5;
/// The unary method.
pub const CALL: &str = "/quintet.v1.Quintet/Call";
/// The method that streams.
pub const CONVERSE: &str = "/quintet.v1.Quintet/Converse";
/// What an HTTP/2 client says first (RFC 9113, 3.4), with empty settings.
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What it says to the server's settings: an empty frame of that kind with the flag ACK (6.5).
pub const HTTP2_ACK: &[u8; 9] = b"\0\0\0\x04\x01\0\0\0\0";
/// The code of a call whose status is missing or makes no sense: UNKNOWN.
const CODE_UNKNOWN: u32 = 2;

/// One connection. It lives on the runtime that it was opened on, and ends when it is dropped.
#[derive(Debug)]
pub struct Grpc {
    address: SocketAddr,
    client: SendRequest<Bytes>,
    driver: tokio::task::AbortHandle,
}

/// A call that has begun.
#[derive(Debug)]
pub struct Call {
    /// Where the request's messages go.
    pub requests: Requests,
    /// Where the answer comes from.
    pub answers: Answers,
}

/// The sending side of a call.
#[derive(Debug)]
pub struct Requests(SendStream<Bytes>);

/// The receiving side of a call.
#[derive(Debug)]
pub struct Answers(ResponseFuture);

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The call's status: a google.rpc.Code.
    pub code: u32,
    /// What it says to people.
    pub text: String,
    /// The messages' bytes, each without its prefix.
    pub messages: Vec<Bytes>,
}

/// A message with its prefix, not compressed.
pub fn message(request: &Request) -> Bytes {
    let mut bytes = vec![0];
    common::frame::encode(request, &mut bytes);
    bytes.into()
}

impl Grpc {
    /// Begins HTTP/2 over a connection that is there, and waits until the server has answered to
    /// all of that: a ping returns behind the settings.
    ///
    /// # Errors
    /// In words, if the other side does not speak it.
    pub async fn over(stream: TcpStream) -> Result<Self, String> {
        let words = |error: std::io::Error| error.to_string();
        let address = stream.peer_addr().map_err(words)?;
        stream.set_nonblocking(true).map_err(words)?;
        Self::over_io(tokio::net::TcpStream::from_std(stream).map_err(words)?, address).await
    }

    /// The same over anything that carries bytes to `address` and back.
    ///
    /// # Errors
    /// In words.
    pub async fn over_io(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
    ) -> Result<Self, String> {
        let (client, mut connection) =
            Builder::new().handshake(io).await.map_err(|error| error.to_string())?;
        let pings = connection.ping_pong();
        // How it ended is told to the calls that it had.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let grpc = Self { address, client, driver };
        if let Some(mut pings) = pings {
            pings.ping(Ping::opaque()).await.map_err(|error| error.to_string())?;
        }
        Ok(grpc)
    }

    /// Connects.
    ///
    /// # Errors
    /// In words.
    pub async fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .and_then(tokio::net::TcpStream::into_std)
            .map_err(|error| error.to_string())?;
        Self::over(stream).await
    }

    /// Begins a call: sends its head, and nothing else yet.
    ///
    /// # Errors
    /// In words, if the connection is over.
    pub async fn begin(&self, path: &str) -> Result<Call, String> {
        let words = |error: h2::Error| error.to_string();
        let mut client = self.client.clone().ready().await.map_err(words)?;
        let uri = format!("http://{}{path}", self.address);
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let (response, body) = client.send_request(request, false).map_err(words)?;
        Ok(Call { requests: Requests(body), answers: Answers(response) })
    }

    /// A whole call: one message there, and what comes back.
    ///
    /// # Errors
    /// In words, if there is no status.
    pub async fn call(&self, path: &str, message: Bytes) -> Result<Outcome, String> {
        let mut call = self.begin(path).await?;
        call.requests.queue(message, true)?;
        call.answers.outcome().await
    }

    /// A unary call of a request, and its response: that of the contract where the status is OK,
    /// else one made of the status.
    ///
    /// # Errors
    /// In words, if there is neither.
    pub async fn ask(&self, request: &Request) -> Result<Response, String> {
        let outcome = self.call(CALL, message(request)).await?;
        if outcome.code != 0 {
            let Outcome { code, text, .. } = outcome;
            return Ok(Response { id: request.id, code, message: text, payload: Vec::new() });
        }
        match outcome.responses()?.as_slice() {
            [response] => Ok(response.clone()),
            others => Err(format!("{} messages in the answer to a unary call", others.len())),
        }
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.driver.abort(); // which closes the socket
    }
}

impl Requests {
    /// Leaves bytes to the connection, which sends them when flow control lets it; `end` says that
    /// they are the last.
    ///
    /// # Errors
    /// In words, if the call is over.
    pub fn queue(&mut self, bytes: Bytes, end: bool) -> Result<(), String> {
        self.0.send_data(bytes, end).map_err(|error| error.to_string())
    }

    /// Waits until flow control lets the bytes through.
    ///
    /// # Errors
    /// In words, if the call is over.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), String> {
        while !bytes.is_empty() {
            self.0.reserve_capacity(bytes.len());
            let room = poll_fn(|task| self.0.poll_capacity(task)).await;
            let room = room.ok_or("the call is over")?.map_err(|error| error.to_string())?;
            self.queue(bytes.split_to(room.min(bytes.len())), false)?;
        }
        Ok(())
    }

    /// Gives the call up.
    pub fn reset(mut self) {
        self.0.send_reset(h2::Reason::CANCEL);
    }
}

impl Answers {
    /// Waits for the first part of the answer; the rest comes to nobody until it is dropped.
    ///
    /// # Errors
    /// In words, if there is none.
    pub async fn begun(self) -> Result<RecvStream, String> {
        let mut body = self.0.await.map_err(|error| error.to_string())?.into_body();
        let first = body.data().await.ok_or("the call ended without an answer")?;
        first.map(|_| body).map_err(|error| error.to_string())
    }

    /// Takes the answer as it comes, and forgets it.
    ///
    /// # Errors
    /// In words, if it breaks off.
    pub async fn ignore(self) -> Result<(), String> {
        let mut body = self.0.await.map_err(|error| error.to_string())?.into_body();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| error.to_string())?;
            // Fails only where the stream is gone, which the next read says.
            let _ = body.flow_control().release_capacity(chunk.len());
        }
        Ok(())
    }

    /// Waits for the end of the call.
    ///
    /// # Errors
    /// In words, if it ends without a status.
    pub async fn outcome(self) -> Result<Outcome, String> {
        let words = |error: h2::Error| error.to_string();
        let (head, mut body) = self.0.await.map_err(words)?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(words)?;
            // Fails only where the stream is gone, which the next read says.
            let _ = body.flow_control().release_capacity(chunk.len());
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.map_err(words)?.unwrap_or(head.headers);
        if head.status != http::StatusCode::OK {
            return Err(format!("HTTP status {}", head.status));
        }
        let code =
            trailers.get("grpc-status").map(code).ok_or("the call ended without a status")?;
        let text = trailers.get("grpc-message").map(text).unwrap_or_default();
        Ok(Outcome { code, text, messages: messages(bytes.freeze())? })
    }
}

impl Outcome {
    /// The messages, decoded.
    ///
    /// # Errors
    /// In words, if one is none of the contract.
    pub fn responses(&self) -> Result<Vec<Response>, String> {
        let decode = |message: &Bytes| Response::decode(message.clone());
        let all: Result<Vec<_>, _> = self.messages.iter().map(decode).collect();
        all.map_err(|error| format!("no response: {error}"))
    }
}

/// Cuts what came into messages.
fn messages(mut bytes: Bytes) -> Result<Vec<Bytes>, String> {
    let mut messages = Vec::new();
    while let Some((&[compressed, a, b, c, d], _)) = bytes.split_first_chunk::<PREFIX_BYTES>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        bytes.advance(PREFIX_BYTES);
        if compressed != 0 || length > bytes.len() {
            return Err("a message is compressed, or cut off".to_owned());
        }
        messages.push(bytes.split_to(length));
    }
    if bytes.is_empty() { Ok(messages) } else { Err("a message is cut off".to_owned()) }
}

fn code(status: &HeaderValue) -> u32 {
    status.to_str().ok().and_then(|status| status.parse().ok()).unwrap_or(CODE_UNKNOWN)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_into_messages() {
        let cut = |bytes: &'static [u8]| messages(Bytes::from_static(bytes));
        let two = cut(&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(two, [Bytes::from_static(&[8, 1]), Bytes::new()]);
        for wrong in [&[0, 0, 0, 0, 3, 8, 1][..], &[1, 0, 0, 0, 0], &[0, 0, 0]] {
            assert!(cut(wrong).is_err(), "{wrong:?}");
        }
    }
}
