//! A client of framed TCP that blocks, with a timeout on every step.
//! It frames messages itself: the servers' own framing could not contradict itself.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{self, SocketAddr, TcpStream};
use std::time::Duration;

use common::{Request, Response, Work};
use prost::Message;
use socket2::SockRef;

use super::patience::PATIENCE;

/// One connection.
pub(crate) struct Client {
    input: BufReader<TcpStream>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens"))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { input: BufReader::new(stream) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.input.get_ref()
    }

    #[track_caller]
    pub(crate) fn send(&self, requests: &[Request]) {
        self.send_bytes(&framed(requests));
    }

    #[track_caller]
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the server takes what is sent");
    }

    /// Sends, to a server that may not take it.
    pub(crate) fn try_send(&self, requests: &[Request]) -> std::io::Result<()> {
        self.stream().write_all(&framed(requests))
    }

    /// The next response, whatever it says.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive().expect("a whole response comes")
    }

    /// The same of a server that may not answer.
    pub(crate) fn try_receive(&mut self) -> std::io::Result<Response> {
        let mut prefix = [0; 4];
        self.input.read_exact(&mut prefix)?;
        let mut message = vec![0; u32::from_be_bytes(prefix) as usize];
        self.input.read_exact(&mut message)?;
        Response::decode(message.as_slice()).map_err(std::io::Error::other)
    }

    /// The next response is `id`'s, and good; its payload.
    #[track_caller]
    pub(crate) fn receive_ok(&mut self, id: u64) -> Vec<u8> {
        let Response { id: of, code, message, payload } = self.receive();
        assert_eq!((of, code, message.as_str()), (id, 0, ""));
        payload
    }

    #[track_caller]
    pub(crate) fn receive_error(&mut self, id: u64, code: common::Code) -> String {
        let response = self.receive();
        assert_eq!((response.id, response.code), (id, code as u32), "{response:?}");
        assert!(response.payload.is_empty(), "{response:?}");
        assert!(!response.message.is_empty(), "an error says why");
        response.message
    }

    /// The server has said all, and says so.
    #[track_caller]
    pub(crate) fn receive_eof(&mut self) {
        let bytes = self.input.read(&mut [0; 1]).expect("the end, and no reset");
        assert_eq!(bytes, 0, "more bytes after the last response");
    }

    #[track_caller]
    pub(crate) fn echoes(&mut self, id: u64, payload: &[u8]) {
        self.send(&[echo(id, payload)]);
        assert!(self.receive_ok(id) == payload, "echo {id}: another payload came back");
    }

    /// Says that no request follows, and stays for the answers.
    pub(crate) fn half_close(&self) {
        self.stream().shutdown(net::Shutdown::Write).unwrap();
    }

    /// Leaves as a process that crashes or a cable that breaks: no end, a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Connects, or says that nobody listens.
pub(crate) fn try_connect(address: SocketAddr) -> Result<Client, ErrorKind> {
    TcpStream::connect_timeout(&address, PATIENCE).map(Client::over).map_err(|error| error.kind())
}

pub(crate) fn framed(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        let length = u32::try_from(request.encoded_len()).unwrap();
        bytes.extend_from_slice(&length.to_be_bytes());
        request.encode(&mut bytes).unwrap();
    }
    bytes
}

pub(crate) fn echo(id: u64, payload: &[u8]) -> Request {
    request(id, Work::Echo(payload.to_vec()))
}

pub(crate) fn wait(id: u64, duration: Duration) -> Request {
    request(id, Work::WaitUs(microseconds(duration)))
}

pub(crate) fn block(id: u64, duration: Duration) -> Request {
    request(id, Work::BlockUs(microseconds(duration)))
}

pub(crate) fn compute(id: u64, rounds: u32) -> Request {
    request(id, Work::ComputeRounds(rounds))
}

pub(crate) fn get_user(id: u64, user: &str) -> Request {
    request(id, Work::GetUser(user.to_owned()))
}

pub(crate) fn request(id: u64, work: Work) -> Request {
    Request { id, timeout_ms: 0, work: Some(work) }
}

fn microseconds(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap()
}
