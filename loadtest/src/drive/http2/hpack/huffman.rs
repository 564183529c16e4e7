//! The Huffman code of HPACK (RFC 7541, 5.2 and Appendix B).
//!
//! The code is canonical: codes of one length are consecutive and in the order of their symbols, so
//! the lengths alone say all. It is decoded bit by bit, which is slow; the blocks of a steady state
//! are not decoded at all.

/// Symbols: the bytes, and the end of the string.
const SYMBOLS: usize = 257;
/// Length of the longest code in bits.
const BITS_MAX: usize = 30;
/// What ends a string; inside one it is an error.
const END: u16 = 256;

/// The length of each symbol's code, in bits (RFC 7541, Appendix B).
#[rustfmt::skip] // 16 to a line
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30, // the end of the string, which never stands in one
];

/// How many codes have each length.
const COUNTS: [u32; BITS_MAX + 1] = counts();
/// The symbols in the order of their codes.
const ORDER: [u16; SYMBOLS] = order();

const fn counts() -> [u32; BITS_MAX + 1] {
    let mut counts = [0; BITS_MAX + 1];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
}

const fn order() -> [u16; SYMBOLS] {
    let mut order = [0; SYMBOLS];
    let (mut bits, mut at) = (1, 0);
    while bits <= BITS_MAX {
        let mut symbol: u16 = 0;
        while (symbol as usize) < SYMBOLS {
            if LENGTHS[symbol as usize] as usize == bits {
                order[at] = symbol;
                at += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    order
}

/// Appends what `code` stands for to `text`. Nothing if it is not well formed.
pub(super) fn decode(code: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let mut walk = Walk::default();
    for byte in code {
        for shift in (0..8).rev() {
            match walk.step(u32::from(byte >> shift & 1)) {
                Some(END) => return None,
                Some(symbol) => text.push(u8::try_from(symbol).ok()?),
                None => {}
            }
        }
    }
    // What is left is padding: less than a byte, and the beginning of the code of the end, which
    // is all ones.
    (walk.bits < 8 && walk.code + 1 == 1 << walk.bits).then_some(())
}

/// On the way through the code of one symbol.
#[derive(Default)]
struct Walk {
    bits: usize,
    code: u32,
    /// The smallest code of this length, and how many symbols have shorter ones.
    first: u32,
    shorter: u32,
}

impl Walk {
    /// The symbol that this bit completes. No code is longer than [`BITS_MAX`], and every sequence
    /// of so many bits begins with one.
    fn step(&mut self, bit: u32) -> Option<u16> {
        self.bits += 1;
        self.code = self.code << 1 | bit;
        let count = COUNTS[self.bits];
        let nth = self.code - self.first;
        if nth < count {
            let symbol = ORDER[(self.shorter + nth) as usize];
            *self = Self::default();
            return Some(symbol);
        }
        self.first = (self.first + count) << 1;
        self.shorter += count;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(code, &mut text).map(|()| text)
    }

    /// What a right encoder would write: codes are counted up, and lengthened as the table says.
    fn encoded(text: &[u8]) -> Vec<u8> {
        let (mut codes, mut next, mut bits_before) = ([0_u32; SYMBOLS], 0, 0);
        for symbol in ORDER.map(usize::from) {
            next <<= LENGTHS[symbol] - bits_before;
            bits_before = LENGTHS[symbol];
            codes[symbol] = next;
            next += 1;
        }
        assert_eq!(next, 1 << BITS_MAX, "the code is complete");
        let bits_of = |byte: &u8| {
            let (code, length) = (codes[usize::from(*byte)], LENGTHS[usize::from(*byte)]);
            (0..length).rev().map(move |shift| (code >> shift & 1) as u8)
        };
        let mut bits: Vec<u8> = text.iter().flat_map(bits_of).collect();
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
    }

    #[test]
    fn all_bytes() {
        let text: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&text)), Some(text));
    }

    /// Codes from all parts of the table of Appendix B.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (text, code) in [
            (&b"0"[..], &[0b0000_0111][..]),
            (b"=", &[0b1000_0011]),
            (b"X", &[0b1111_1100]),
            (b"\\", &[0xff, 0xfe, 0x1f]),
            (b"\x00", &[0xff, 0xc7]),
            (b"\xff", &[0xff, 0xff, 0xfb, 0xbf]),
            (b"\n", &[0xff, 0xff, 0xff, 0xf3]),
        ] {
            assert_eq!(decoded(code).as_deref(), Some(text), "{code:x?}");
        }
    }

    #[test]
    fn padding_is_ones_and_less_than_a_byte() {
        assert_eq!(decoded(&[]), Some(vec![]));
        assert_eq!(decoded(&[0b0001_1111]), Some(b"a".to_vec()));
        for wrong in [&[0b0001_1110][..], &[0b0001_1111, 0xff], &[0xff], &[0xff; 4]] {
            assert_eq!(decoded(wrong), None, "{wrong:x?}");
        }
    }
}
