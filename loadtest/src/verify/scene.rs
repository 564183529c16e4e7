//! What every check is given: where the server is, and how long it may take.

use std::fmt;
use std::io;
use std::time::Duration;

use common::{Request, Response, Work};

use super::told::Told;
use crate::client::Patience;
use crate::client::framed::Framed;
use crate::share::Interrupt;
use crate::target::Target;

/// No single answer takes longer on a server that works.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// One check's surroundings.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) target: Target,
    pub(super) told: Told,
    pub(super) patience: Patience,
    pub(super) interrupt: &'a Interrupt,
}

/// What a server did instead of what it promised, in words.
#[derive(Debug)]
pub(super) struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Fault {
    /// Says first where it happened.
    pub(super) fn at(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl Scene<'_> {
    /// A new connection, framed.
    pub(super) fn connect(&self) -> Result<Framed, Fault> {
        Ok(Framed::connect(self.target.address, self.patience.at_most(STEP_TIMEOUT))?)
    }

    /// Carries out what awaits, within the check's time.
    pub(super) fn block_on(
        &self,
        check: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bounded = async { tokio::time::timeout(self.patience.left(), check).await };
        let result = runtime.block_on(bounded);
        runtime.shutdown_background();
        result.unwrap_or_else(|_| Err("it does not answer in time".into()))
    }
}

/// A request.
pub(super) fn request(id: u64, work: impl Into<Option<Work>>) -> Request {
    Request { id, timeout_ms: 0, work: work.into() }
}

/// A request whose payload comes back.
pub(super) fn echo(id: u64, payload: &[u8]) -> Request {
    request(id, Work::Echo(payload.to_vec()))
}

/// That the answer is this one; the text for people is the server's own affair.
pub(super) fn expect(answer: &Response, id: u64, code: u32, payload: &[u8]) -> Result<(), Fault> {
    if (answer.id, answer.code) != (id, code) {
        let Response { id: other, code: wrong, message, .. } = answer;
        let text =
            format!("id {other} and code {wrong} ({message}) in place of id {id}, code {code}");
        return Err(text.into());
    }
    if answer.payload != payload {
        return Err(format!("a wrong payload in the answer to id {id}").into());
    }
    Ok(())
}

/// Works beyond each limit of the contract.
pub(super) fn works_beyond_limits() -> [Work; 7] {
    use common::service::{BLOCK_US_MAX, COMPUTE_ROUNDS_MAX, WAIT_US_MAX};
    let rounds_max = u32::try_from(COMPUTE_ROUNDS_MAX).unwrap_or(u32::MAX - 1);
    [
        Work::WaitUs(WAIT_US_MAX + 1),
        Work::WaitUs(u64::MAX),
        Work::BlockUs(BLOCK_US_MAX + 1),
        Work::BlockUs(u64::MAX),
        Work::ComputeRounds(0),
        Work::ComputeRounds(rounds_max + 1),
        Work::ComputeRounds(u32::MAX),
    ]
}

/// A request as bytes, with fields before and after it that no contract of today has: one of each
/// wire type, and the largest number that a field may have.
pub(super) fn with_unknown_fields(request: &Request) -> Vec<u8> {
    use prost::Message;
    use prost::encoding::{WireType, encode_key, encode_varint};
    let mut bytes = Vec::new();
    encode_key(100, WireType::Varint, &mut bytes);
    encode_varint(u64::MAX, &mut bytes);
    encode_key(101, WireType::ThirtyTwoBit, &mut bytes);
    bytes.extend([0xff; 4]);
    request.encode_raw(&mut bytes);
    encode_key(102, WireType::SixtyFourBit, &mut bytes);
    bytes.extend([0xff; 8]);
    encode_key((1 << 29) - 1, WireType::LengthDelimited, &mut bytes);
    encode_varint(3, &mut bytes);
    bytes.extend([0xff; 3]);
    bytes
}

/// Bytes that are a message to nobody: a number that does not end, a payload that ends too early,
/// a field without a number, and a wire type that does not exist.
pub(super) const MALFORMED: [&[u8]; 4] =
    [&[0x08, 0xff, 0xff], &[0x52, 0x10, 0x01], &[0x00, 0x01], &[0x0f, 0x01]];

/// What a browser says.
pub(super) const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";

/// What a client says that wants TLS: the heads of a record and of a hello (RFC 8446, 5.1 and
/// 4.1.2), and as many bytes as they promise.
pub(super) fn tls_hello() -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    bytes.resize(5 + 0x200, 0x2a);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn what_is_called_malformed_is() {
        for bytes in MALFORMED {
            assert!(Request::decode(bytes).is_err(), "{bytes:?}");
        }
        let request = echo(7, b"me");
        assert_eq!(Request::decode(with_unknown_fields(&request).as_slice()), Ok(request));
    }
}
