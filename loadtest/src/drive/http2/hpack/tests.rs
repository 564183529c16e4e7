//! The decoder against the examples of RFC 7541, Appendix C, and against what no encoder writes.

use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<String, BlockError> {
    let mut text = String::new();
    let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |name, value| {
        text.extend([line(name), ": ".to_owned(), line(value), "\n".to_owned()]);
    })?;
    Ok(text)
}

/// Blocks of one connection, with the fields and the table's size after each.
#[track_caller]
fn decodes(table_bytes_max: usize, blocks: &[(&str, &str, usize)]) {
    let mut decoder = Decoder::new();
    decoder.table.resize(table_bytes_max);
    for (block, fields, table_bytes) in blocks {
        let text = decode(&mut decoder, &hex(block)).unwrap();
        let expected: String = fields.lines().map(|line| line.trim().to_owned() + "\n").collect();
        assert_eq!(text, expected);
        assert_eq!(decoder.table.bytes(), *table_bytes, "{fields}");
    }
}

#[test]
fn integers() {
    // C.1
    assert_eq!(integer(&mut &[0b1110_1010][..], 5), Ok(10));
    assert_eq!(integer(&mut &[0b0001_1111, 0b1001_1010, 0b0000_1010][..], 5), Ok(1337));
    assert_eq!(integer(&mut &[42][..], 8), Ok(42));
    assert_eq!(
        integer(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], 7),
        Err(BlockError::Integer)
    );
    assert_eq!(integer(&mut &[0x1f, 0x80][..], 5), Err(BlockError::Truncated));
}

#[test]
fn single_fields() {
    // C.2
    let literal = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    decodes(4096, &[(literal, "custom-key: custom-header", 55)]);
    decodes(4096, &[("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", 0)]);
    decodes(4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", 0)]);
    decodes(4096, &[("82", ":method: GET", 0)]);
}

const REQUESTS: [(&str, usize); 3] = [
    (
        ":method: GET
         :scheme: http
         :path: /
         :authority: www.example.com",
        57,
    ),
    (
        ":method: GET
         :scheme: http
         :path: /
         :authority: www.example.com
         cache-control: no-cache",
        110,
    ),
    (
        ":method: GET
         :scheme: https
         :path: /index.html
         :authority: www.example.com
         custom-key: custom-value",
        164,
    ),
];

#[test]
fn requests_with_and_without_huffman() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]; // C.3
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]; // C.4
    for blocks in [plain, coded] {
        let blocks: Vec<_> = blocks
            .iter()
            .zip(REQUESTS)
            .map(|(block, (fields, bytes))| (*block, fields, bytes))
            .collect();
        decodes(4096, &blocks);
    }
}

const RESPONSES: [&str; 3] = [
    ":status: 302
     cache-control: private
     date: Mon, 21 Oct 2013 20:13:21 GMT
     location: https://www.example.com",
    ":status: 307
     cache-control: private
     date: Mon, 21 Oct 2013 20:13:21 GMT
     location: https://www.example.com",
    ":status: 200
     cache-control: private
     date: Mon, 21 Oct 2013 20:13:22 GMT
     location: https://www.example.com
     content-encoding: gzip
     set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];

/// With a table of 256 bytes, from which entries are evicted.
#[test]
fn responses_with_and_without_huffman() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
    ]; // C.5
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ]; // C.6
    for blocks in [plain, coded] {
        let blocks: Vec<_> = blocks
            .iter()
            .zip(RESPONSES.iter().zip([222, 222, 215]))
            .map(|(block, (fields, bytes))| (*block, *fields, bytes))
            .collect();
        decodes(256, &blocks);
    }
}

#[test]
fn a_name_may_come_from_the_entry_that_its_field_drops() {
    let mut decoder = Decoder::new();
    decoder.table.resize(2 * ENTRY_BYTES);
    let first = decode(&mut decoder, &hex("4003 6162 6301 31")).unwrap();
    assert_eq!(first, "abc: 1\n");
    let block = [&hex("7e1e")[..], &[b'x'; 30]].concat();
    let text = decode(&mut decoder, &block).unwrap();
    assert_eq!(text, format!("abc: {}\n", "x".repeat(30)));
    assert_eq!(decoder.table.bytes(), 0, "larger than the whole table: it is empty");
}

#[test]
fn malformed_blocks_are_told_apart() {
    for (block, error) in [
        ("80", BlockError::Index),
        ("be", BlockError::Index),
        ("7e00", BlockError::Index),
        ("ff ff ff ff ff ff 01", BlockError::Integer),
        ("400a 6375", BlockError::Truncated),
        ("40", BlockError::Truncated),
        ("0081 00 00", BlockError::Huffman),
        ("3fe1 ff03", BlockError::Size), // above 4096
        ("82 20", BlockError::Size),     // not at the beginning
    ] {
        assert_eq!(decode(&mut Decoder::new(), &hex(block)), Err(error), "{block}");
    }
    let mut decoder = Decoder::new();
    let field = [&[0x40, 1, b'n', 0x7f, 0x81, 0x0f][..], &[b'v'; 2048]].concat();
    assert!(decode(&mut decoder, &field).is_ok());
    let bomb = vec![0xbe; LIST_BYTES_MAX / 2048];
    assert_eq!(decode(&mut decoder, &bomb), Err(BlockError::TooLong));
}

#[test]
fn the_generation_changes_with_the_table_alone() {
    let mut decoder = Decoder::new();
    for (block, changes) in [("88", false), ("4803 3330 32", true), ("be", false), ("20", true)] {
        let before = decoder.generation();
        decode(&mut decoder, &hex(block)).unwrap();
        assert_eq!(decoder.generation() != before, changes, "{block}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(blocks: Vec<Vec<u8>>) {
        let mut decoder = Decoder::new();
        for block in blocks {
            if decode(&mut decoder, &block).is_err() {
                break;
            }
            prop_assert!(decoder.table.bytes() <= TABLE_BYTES_MAX);
        }
    }
}
