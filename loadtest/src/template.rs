//! Requests that are encoded once and then only get their id, and replies that are compared and
//! not decoded.
//!
//! Ids have a varint of constant length, so patching one in is five stores. The price: a reply
//! whose bytes differ from what prost would write is decoded after all, since other encodings of
//! the same message are legal.

use std::ops::Range;

use common::job::digest;
use common::message::{Code, Request, Response, Work};
use common::{frame, users};
use prost::Message;

use crate::recorder::ErrorKind;
use crate::target::Protocol;
use crate::work::{Kind, Mix, scramble};

/// The smallest id whose varint takes [`ID_BYTES`].
pub const ID_MIN: u64 = 1 << 28;
/// One above the largest such id.
pub const ID_END: u64 = 1 << 35;
/// Bytes of the varint of any id from [`ID_MIN`] to [`ID_END`].
pub const ID_BYTES: usize = 5;

/// The tag of field 1 as a varint, in `Request` and in `Response`: it stands first in both.
const ID_TAG: u8 = 1 << 3;

/// How many hashes may be spent on preparing the digests of one kind: some tenths of a second.
const HASHES_PREPARED_MAX: u64 = 2_000_000;

/// All requests of a run, by kind.
#[derive(Debug)]
pub struct Templates {
    templates: Vec<Template>,
}

impl Templates {
    /// One template for each kind of `mix`; `seed` decides the payloads of echoes.
    pub fn new(mix: &Mix, seed: u64, protocol: Protocol) -> Self {
        Self { templates: mix.kinds().map(|kind| Template::new(kind, seed, protocol)).collect() }
    }

    /// The template of a kind, by its index in the mix.
    pub fn of(&self, kind: usize) -> &Template {
        &self.templates[kind]
    }
}

/// One kind of request, and the reply to it.
#[derive(Debug)]
pub struct Template {
    /// What stands before the message: 4 bytes on framed, 5 on gRPC.
    prefix_bytes: usize,
    /// Decides who is asked for.
    seed: u64,
    /// One; of users one for each of them.
    variants: Vec<Variant>,
}

/// One request of a kind, and the reply to it.
#[derive(Debug)]
struct Variant {
    request: Vec<u8>,
    reply: Reply,
}

/// What a right answer is.
#[derive(Debug)]
enum Reply {
    /// The request's own bytes, prefix included.
    Itself,
    /// These bytes (prefix excluded) with the id patched in.
    Fixed(Vec<u8>),
    /// The same, with the digest of the id at the end.
    Digest { head: Vec<u8>, digests: Vec<[u8; 32]> },
}

impl Template {
    fn new(kind: Kind, seed: u64, protocol: Protocol) -> Self {
        let prefix_bytes = if protocol == Protocol::Grpc { 5 } else { 4 };
        let works = kind.works(payload(seed));
        let variants = works.into_iter().map(|work| Variant::new(work, protocol)).collect();
        Self { prefix_bytes, seed, variants }
    }

    /// Which of them the request of this id is.
    fn variant(&self, id: u64) -> &Variant {
        match &self.variants[..] {
            [only] => only,
            variants => {
                let number = scramble(self.seed ^ id) % variants.len() as u64;
                &variants[usize::try_from(number).unwrap_or(0)]
            }
        }
    }

    /// The id that the request `index` of a run has. Ids return after a long time, and sooner for
    /// `compute`, whose digests are prepared: a tester that hashed as much as the server would
    /// measure itself.
    pub fn id(&self, index: u64) -> u64 {
        ID_MIN
            + match &self.variants[..] {
                [Variant { reply: Reply::Digest { digests, .. }, .. }] => {
                    index % digests.len() as u64
                }
                _ => index % (ID_END - ID_MIN),
            }
    }

    /// Length of the whole request with this id, and its prefix.
    pub fn request_bytes(&self, id: u64) -> usize {
        self.variant(id).request.len()
    }

    /// Appends the request with this id.
    pub fn write(&self, id: u64, out: &mut Vec<u8>) {
        let at = out.len() + self.prefix_bytes + 1;
        out.extend_from_slice(&self.variant(id).request);
        out[at..at + ID_BYTES].copy_from_slice(&varint(id));
    }

    /// Appends a part of the same request: the bytes of this range.
    pub fn write_part(&self, id: u64, range: Range<usize>, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&self.variant(id).request[range.clone()]);
        for (id_at, byte) in (self.prefix_bytes + 1..).zip(varint(id)) {
            if range.contains(&id_at) {
                out[at + id_at - range.start] = byte;
            }
        }
    }

    /// Whether `message`, a reply without its prefix, is the right answer to the request `id`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, id: u64, message: &[u8]) -> Result<(), ErrorKind> {
        let Variant { request, reply } = self.variant(id);
        let right = match reply {
            Reply::Itself => same(message, &request[self.prefix_bytes..], id),
            Reply::Fixed(reply) => same(message, reply, id),
            Reply::Digest { head, digests } => message
                .split_last_chunk::<32>()
                .is_some_and(|(first, last)| *last == digests[slot(id)] && same(first, head, id)),
        };
        if right { Ok(()) } else { self.judge(id, message) }
    }

    /// Why the bytes are not the expected ones; nothing, where they mean the same.
    #[cold]
    fn judge(&self, id: u64, message: &[u8]) -> Result<(), ErrorKind> {
        let expected = &self.variant(id).reply;
        let (reply_id, payload) = if matches!(expected, Reply::Itself) {
            let reply = Request::decode(message).map_err(|_| ErrorKind::WrongPayload)?;
            (reply.id, None)
        } else {
            let reply = Response::decode(message).map_err(|_| ErrorKind::Protocol)?;
            // A protocol error is answered with id 0: no request was understood.
            if reply.code != Code::Ok as u32 && (reply.id == id || reply.id == 0) {
                return Err(ErrorKind::Code(reply.code));
            }
            (reply.id, Some(reply.payload))
        };
        if reply_id != id {
            return Err(ErrorKind::WrongId);
        }
        let expected = match expected {
            Reply::Itself => None,
            Reply::Fixed(reply) => Response::decode(reply.as_slice()).ok().map(|r| r.payload),
            Reply::Digest { digests, .. } => Some(digests[slot(id)].to_vec()),
        };
        if payload.is_some() && payload == expected { Ok(()) } else { Err(ErrorKind::WrongPayload) }
    }
}

impl Variant {
    fn new(work: Work, protocol: Protocol) -> Self {
        let response = |payload| Response::ok(ID_MIN, payload).encode_to_vec();
        let reply = match (protocol, &work) {
            (Protocol::Raw, _) => Reply::Itself,
            (_, Work::Echo(payload)) => Reply::Fixed(response(payload.clone())),
            (_, Work::ComputeRounds(rounds)) => {
                let mut head = response(vec![0; 32]);
                head.truncate(head.len() - 32);
                Reply::Digest { head, digests: digests(*rounds) }
            }
            (_, Work::GetUser(id)) => {
                let user = id.parse().ok().and_then(users::user).unwrap_or_default();
                Reply::Fixed(response(user.encode_to_vec()))
            }
            (_, Work::WaitUs(_) | Work::BlockUs(_)) => Reply::Fixed(response(Vec::new())),
        };
        let mut request = Vec::new();
        if protocol == Protocol::Grpc {
            request.push(0); // "not compressed" stands before gRPC's length
        }
        frame::encode(&Request { id: ID_MIN, timeout_ms: 0, work: Some(work) }, &mut request);
        Self { request, reply }
    }
}

fn slot(id: u64) -> usize {
    usize::try_from(id - ID_MIN).unwrap_or(usize::MAX)
}

/// Whether two messages are the same but for the id, which must be this one.
fn same(message: &[u8], template: &[u8], id: u64) -> bool {
    const HEAD: usize = 1 + ID_BYTES;
    message.len() == template.len()
        && message.first() == Some(&ID_TAG)
        && message[1..HEAD] == varint(id)
        && message[HEAD..] == template[HEAD..]
}

/// An id as protobuf writes it.
fn varint(id: u64) -> [u8; ID_BYTES] {
    debug_assert!((ID_MIN..ID_END).contains(&id));
    let seven = |shift: u32| ((id >> shift) & 0x7f) as u8;
    [seven(0) | 0x80, seven(7) | 0x80, seven(14) | 0x80, seven(21) | 0x80, seven(28)]
}

/// Makes payloads that differ from byte to byte, so that a shifted or repeated one is seen.
fn payload(seed: u64) -> impl FnOnce(usize) -> Vec<u8> {
    move |bytes| {
        let mut payload: Vec<u8> = (0..bytes.div_ceil(8) as u64)
            .flat_map(|word| scramble(seed ^ word).to_le_bytes())
            .collect();
        payload.truncate(bytes);
        payload
    }
}

/// The digests of the first ids, as many as can be had in a short time. The number is odd (and
/// prime where work is light), so that neighbours on a connection differ whatever the number of
/// connections.
fn digests(rounds: u32) -> Vec<[u8; 32]> {
    let ids = (HASHES_PREPARED_MAX / u64::from(rounds)).clamp(17, 1021) | 1;
    (0..ids).map(|index| digest(ID_MIN + index, rounds)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::service::{Plan, Service};

    fn template(work: &str, protocol: Protocol) -> Template {
        Template::new(work.parse().unwrap(), 7, protocol)
    }

    /// What a right server would answer to the bytes of a request.
    fn answer(request: &[u8]) -> Response {
        match Service::new().plan(Request::decode(request).unwrap(), None) {
            Plan::Reply(response) | Plan::Wait { response, .. } => response,
            Plan::Compute(job) => job.run(),
            Plan::Block(job) => job.run(),
        }
    }

    #[test]
    fn a_patched_request_is_what_prost_would_write() {
        for work in ["echo:0", "echo:64", "wait:10ms", "compute:100", "block:5ms", "user:1"] {
            let template = template(work, Protocol::Framed);
            for index in [0, 1, 127, 128, 1 << 20, ID_END - ID_MIN - 1, ID_END - ID_MIN] {
                let (id, mut bytes, mut expected) = (template.id(index), Vec::new(), Vec::new());
                template.write(id, &mut bytes);
                let work = work.parse::<Kind>().unwrap().works(payload(7)).remove(0);
                frame::encode(&Request { id, timeout_ms: 0, work: Some(work) }, &mut expected);
                assert_eq!(bytes, expected, "{index}");
                assert_eq!(template.check(id, &answer(&bytes[4..]).encode_to_vec()), Ok(()));
            }
        }
    }

    #[test]
    fn the_parts_of_a_request_are_the_whole() {
        let (template, mut whole) = (template("echo:20", Protocol::Grpc), Vec::new());
        let id = template.id(77_777_777);
        template.write(id, &mut whole);
        for middle in 0..=whole.len() {
            let mut parts = Vec::new();
            template.write_part(id, 0..middle, &mut parts);
            template.write_part(id, middle..whole.len(), &mut parts);
            assert_eq!(parts, whole, "{middle}");
        }
    }

    #[test]
    fn a_grpc_message_has_one_byte_more_before_it() {
        let (template, mut bytes) = (template("echo:3", Protocol::Grpc), Vec::new());
        template.write(template.id(5), &mut bytes);
        assert_eq!(bytes[0], 0);
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        assert_eq!(length as usize, bytes.len() - 5);
        assert_eq!(Request::decode(&bytes[5..]).unwrap().id, ID_MIN + 5);
    }

    #[test]
    fn wrong_answers_are_told_apart() {
        let (id, other) = (ID_MIN + 4, ID_MIN + 5);
        for work in ["echo:64", "wait:1ms", "compute:3", "user:100"] {
            let template = template(work, Protocol::Framed);
            let mut request = Vec::new();
            template.write(id, &mut request);
            let right = answer(&request[4..]);
            let check = |response: Response| template.check(id, &response.encode_to_vec());
            assert_eq!(check(Response { id: other, ..right.clone() }), Err(ErrorKind::WrongId));
            let payload = [right.payload.as_slice(), b"x"].concat();
            assert_eq!(check(Response { payload, ..right.clone() }), Err(ErrorKind::WrongPayload));
            let refused = Response::error(id, Code::ResourceExhausted, "full");
            assert_eq!(check(refused), Err(ErrorKind::Code(8)));
            let misunderstood = Response::error(0, Code::InvalidArgument, "what?");
            assert_eq!(check(misunderstood), Err(ErrorKind::Code(3)));
            assert_eq!(template.check(id, b"\xff\xff"), Err(ErrorKind::Protocol));
        }
    }

    /// The user that the request `index` asks for; its right answer is believed, and no other.
    fn asks_for(template: &Template, index: u64) -> u32 {
        let (id, mut bytes) = (template.id(index), Vec::new());
        template.write(id, &mut bytes);
        assert_eq!(bytes.len(), template.request_bytes(id));
        let Some(Work::GetUser(user)) = Request::decode(&bytes[4..]).unwrap().work else {
            panic!("no user")
        };
        let right = answer(&bytes[4..]);
        assert_eq!(template.check(id, &right.encode_to_vec()), Ok(()));
        let user = user.parse().unwrap();
        let of = |id: u32| users::user(id).unwrap();
        let mut elder = of(user);
        elder.age += 1;
        for wrong in [of(user % 5_000 + 1), elder] {
            let wrong = Response { payload: wrong.encode_to_vec(), ..right.clone() };
            let told = template.check(id, &wrong.encode_to_vec());
            assert_eq!(told, Err(ErrorKind::WrongPayload), "{user}");
        }
        user
    }

    #[test]
    fn users_are_drawn_evenly_by_the_seed() {
        let drawn = |seed| -> Vec<u32> {
            let template = Template::new("user:50".parse().unwrap(), seed, Protocol::Framed);
            (0..5_000).map(|index| asks_for(&template, index)).collect()
        };
        let users = drawn(7);
        for user in 1..=50 {
            let times = users.iter().filter(|drawn| **drawn == user).count();
            assert!((60..140).contains(&times), "user {user}: {times} of 5,000");
        }
        assert!(users.iter().all(|user| (1..=50).contains(user)));
        assert_eq!(users, drawn(7));
        assert_ne!(users, drawn(8));
    }

    #[test]
    fn another_encoding_of_the_right_answer_is_right() {
        let template = template("echo:3", Protocol::Framed);
        let mut request = Vec::new();
        template.write(ID_MIN, &mut request);
        let mut bytes = answer(&request[4..]).encode_to_vec();
        bytes.extend([2 << 3, 0]); // `code` written out although it is 0
        assert_eq!(template.check(ID_MIN, &bytes), Ok(()));
    }

    #[test]
    fn the_floor_answers_with_the_request_itself() {
        let template = template("echo:8", Protocol::Raw);
        let (mut bytes, mut other) = (Vec::new(), Vec::new());
        template.write(ID_MIN, &mut bytes);
        template.write(ID_MIN + 1, &mut other);
        assert_eq!(template.check(ID_MIN, &bytes[4..]), Ok(()));
        assert_eq!(template.check(ID_MIN, &other[4..]), Err(ErrorKind::WrongId));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(template.check(ID_MIN, &bytes[4..]), Err(ErrorKind::WrongPayload));
    }
}
