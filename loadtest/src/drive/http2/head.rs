//! The header blocks of a call: those of requests, encoded once, and those of replies, decoded only
//! if they are not the same bytes as before.
//!
//! After "gRPC over HTTP2" (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). The
//! first request of a connection puts its fields into the peer's table, the others name them by
//! their places: six bytes, which cost a server as little as any client's.

use super::hpack::{BlockError, Decoder};
use crate::target::Target;

const PATH: &str = "/quintet.v1.Quintet/Call";
/// What a peer's table holds if its settings do not say less (RFC 9113, 6.5.2).
const TABLE_BYTES_DEFAULT: u32 = 4096;
/// What an entry of it counts for besides its bytes (RFC 7541, 4.1).
const ENTRY_BYTES: usize = 32;
/// `:method: POST` and `:scheme: http` in the static table, as indexed fields.
const POST_OVER_HTTP: [u8; 2] = [0x83, 0x86];
/// The four fields of [`fields`] in the dynamic table, whose newest entry is 62.
const ADDED: [u8; 4] = [0x80 + 65, 0x80 + 64, 0x80 + 63, 0x80 + 62];
/// The names of those fields in the static table, 0 for the one that is not there.
const NAMES: [u8; 4] = [4, 1, 31, 0];

/// The code of a call whose status makes no sense: UNKNOWN.
const CODE_UNKNOWN: u32 = 2;

/// What is the same in all requests: name and value.
fn fields(target: Target) -> [(&'static str, String); 4] {
    [
        (":path", PATH.to_owned()),
        (":authority", target.address.to_string()),
        ("content-type", "application/grpc".to_owned()),
        ("te", "trailers".to_owned()),
    ]
}

/// What the peer's table holds of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// All of them.
    All,
    /// Nothing, and it has no room.
    Never,
}

/// The header blocks of one connection's requests.
#[derive(Debug)]
pub(super) struct RequestHead {
    /// The fields that are not in the static table, as literals.
    literals: [Vec<u8>; 4],
    /// What they take in a table.
    entries_bytes: u32,
    known: Known,
    table_bytes: u32,
    /// The table's new size, which the next block must begin with.
    resize: Option<u32>,
}

impl RequestHead {
    pub(super) fn new(target: Target) -> Self {
        let fields = fields(target);
        let bytes = |(name, value): &(&str, String)| name.len() + value.len() + ENTRY_BYTES;
        let entries_bytes = u32::try_from(fields.iter().map(bytes).sum::<usize>());
        let mut names = NAMES.into_iter();
        Self {
            literals: fields.map(|(name, value)| {
                let index = names.next().unwrap_or(0);
                // The index is written with a prefix that says whether the field is to be added.
                let mut literal = vec![index];
                if index == 0 {
                    string(name, &mut literal);
                }
                string(&value, &mut literal);
                literal
            }),
            entries_bytes: entries_bytes.expect("four short fields"),
            known: Known::Nothing,
            table_bytes: TABLE_BYTES_DEFAULT,
            resize: None,
        }
    }

    /// The peer's table may have so many bytes. More than before is not made use of.
    pub(super) fn limit(&mut self, table_bytes: u32) {
        if table_bytes >= self.table_bytes {
            return;
        }
        self.table_bytes = if table_bytes < self.entries_bytes {
            self.known = Known::Never;
            0
        } else {
            table_bytes
        };
        self.resize = Some(self.table_bytes);
    }

    /// Appends the header block of the next request.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        if let Some(table_bytes) = self.resize.take() {
            integer(0x20, 5, table_bytes, out);
        }
        out.extend_from_slice(&POST_OVER_HTTP);
        match self.known {
            Known::All => return out.extend_from_slice(&ADDED),
            Known::Nothing => self.known = Known::All,
            Known::Never => {}
        }
        for literal in &self.literals {
            // "Without indexing" and "with incremental indexing" (RFC 7541, 6.2).
            let (form, prefix_bits) = if self.known == Known::Never { (0, 4) } else { (0x40, 6) };
            integer(form, prefix_bits, u32::from(literal[0]), out);
            out.extend_from_slice(&literal[1..]);
        }
    }
}

/// Appends a string that is not Huffman-coded (RFC 7541, 5.2).
fn string(text: &str, out: &mut Vec<u8>) {
    integer(0, 7, u32::try_from(text.len()).expect("a short field"), out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends an integer whose first bits share a byte with `first` (RFC 7541, 5.1).
#[allow(clippy::cast_possible_truncation)] // seven bits, or less than the prefix holds
fn integer(first: u8, prefix_bits: u32, value: u32, out: &mut Vec<u8>) {
    let most = (1 << prefix_bits) - 1;
    if value < most {
        return out.push(first | value as u8);
    }
    out.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 & 0x7f | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What a reply's header block says, of all that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// `:status`, of HTTP.
    pub(super) status: Option<u16>,
    /// `grpc-status`.
    pub(super) code: Option<u32>,
}

impl Said {
    fn hear(&mut self, name: &[u8], value: &[u8]) {
        let value = std::str::from_utf8(value).unwrap_or_default();
        match name {
            b":status" => self.status = Some(value.parse().unwrap_or(0)),
            b"grpc-status" => self.code = Some(value.parse().unwrap_or(CODE_UNKNOWN)),
            _ => {}
        }
    }
}

/// A block that changed nothing, and what it said.
#[derive(Debug, Default)]
struct Memo {
    block: Vec<u8>,
    generation: u64,
    said: Said,
}

/// Reads the header blocks of one connection's replies.
#[derive(Debug)]
pub(super) struct ReplyHeads {
    decoder: Decoder,
    /// The last one of a head, and of trailers.
    memos: [Memo; 2],
}

impl ReplyHeads {
    pub(super) fn new() -> Self {
        Self { decoder: Decoder::new(), memos: Default::default() }
    }

    /// What a whole block says. A block that leaves the table as it is, and comes again before
    /// anything changed the table, is only compared.
    ///
    /// # Errors
    /// If it is malformed; then nothing on this connection can be understood any more.
    pub(super) fn read(&mut self, block: &[u8], is_trailers: bool) -> Result<Said, BlockError> {
        /// A block of a steady state is much shorter.
        const MEMO_BYTES_MAX: usize = 256;
        let memo = &mut self.memos[usize::from(is_trailers)];
        let generation = self.decoder.generation();
        if memo.generation == generation && memo.block == block && !block.is_empty() {
            return Ok(memo.said);
        }
        let mut said = Said::default();
        self.decoder.decode(block, |name, value| said.hear(name, value))?;
        if self.decoder.generation() == generation && block.len() <= MEMO_BYTES_MAX {
            memo.block.clear();
            memo.block.extend_from_slice(block);
            (memo.generation, memo.said) = (generation, said);
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = ":method: POST\n:scheme: http\n:path: /quintet.v1.Quintet/Call\n\
         :authority: 127.0.0.1:7005\ncontent-type: application/grpc\nte: trailers\n";

    fn head() -> RequestHead {
        RequestHead::new("grpc://127.0.0.1:7005".parse().unwrap())
    }

    /// The next block, what it says, and how long it is.
    #[track_caller]
    fn next(head: &mut RequestHead, decoder: &mut Decoder) -> usize {
        let (mut block, mut text) = (Vec::new(), String::new());
        head.write(&mut block);
        let line = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let field = |name: &[u8], value: &[u8]| {
            text.extend([line(name), ": ".to_owned(), line(value), "\n".to_owned()]);
        };
        decoder.decode(&block, field).unwrap();
        assert_eq!(text, EXPECTED);
        block.len()
    }

    #[test]
    fn the_second_request_is_six_bytes() {
        let (mut head, mut decoder) = (head(), Decoder::new());
        assert!(next(&mut head, &mut decoder) > 60);
        let generation = decoder.generation();
        for _ in 0..3 {
            assert_eq!(next(&mut head, &mut decoder), 6);
        }
        assert_eq!(decoder.generation(), generation, "nothing is added again");
    }

    #[test]
    fn a_smaller_table_is_kept_to() {
        let (mut head, mut decoder) = (head(), Decoder::new());
        next(&mut head, &mut decoder);
        head.limit(8192);
        assert_eq!(next(&mut head, &mut decoder), 6, "a larger table changes nothing");
        head.limit(512);
        assert!(next(&mut head, &mut decoder) > 6, "the size is said");
        assert_eq!(next(&mut head, &mut decoder), 6);
        head.limit(100);
        for _ in 0..3 {
            assert!(next(&mut head, &mut decoder) > 60, "literals that are not added");
        }
    }

    #[test]
    fn a_peer_without_a_table_gets_literals_from_the_first_on() {
        let (mut head, mut decoder) = (head(), Decoder::new());
        head.limit(0);
        next(&mut head, &mut decoder);
        let generation = decoder.generation();
        next(&mut head, &mut decoder);
        assert_eq!(decoder.generation(), generation);
    }

    #[test]
    fn only_two_fields_matter() {
        let mut said = Said::default();
        for (name, value) in [(":status", "200"), ("grpc-status", "8"), ("grpc-message", "full")] {
            said.hear(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(said, Said { status: Some(200), code: Some(8) });
        said.hear(b":status", b"two hundred");
        said.hear(b"grpc-status", b"\xff");
        assert_eq!(said, Said { status: Some(0), code: Some(CODE_UNKNOWN) });
    }

    #[test]
    fn the_same_bytes_mean_something_else_once_the_table_changed() {
        let mut heads = ReplyHeads::new();
        let code = |code: u8| {
            let name = b"grpc-status";
            [&[0x40, 11][..], name, &[1, b'0' + code]].concat()
        };
        let code_is = |said: Said| said.code.unwrap();
        assert_eq!(code_is(heads.read(&code(3), true).unwrap()), 3);
        for _ in 0..2 {
            assert_eq!(code_is(heads.read(&[0xbe], true).unwrap()), 3); // the newest entry
        }
        assert_eq!(code_is(heads.read(&code(5), false).unwrap()), 5);
        for _ in 0..2 {
            assert_eq!(code_is(heads.read(&[0xbe], true).unwrap()), 5);
            assert_eq!(code_is(heads.read(&[0xbf], true).unwrap()), 3);
        }
    }
}
