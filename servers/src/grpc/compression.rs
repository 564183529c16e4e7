//! Which compressions messages may have, both ways. It pays with what a compressed message may grow
//! to, for which there must be room before it is opened.

use std::fmt;
use std::str::FromStr;

use http::HeaderMap;
use tonic::codec::CompressionEncoding;

/// What is written where there is none.
const NONE: &str = "none";

/// The compressions that the server takes, and gives to whoever takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compression(Vec<CompressionEncoding>);

impl Compression {
    pub(super) fn encodings(&self) -> impl Iterator<Item = CompressionEncoding> {
        self.0.iter().copied()
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::default());
        }
        let mut encodings = Vec::new();
        for name in text.split(',').map(str::trim) {
            let encoding = match name {
                "gzip" => CompressionEncoding::Gzip,
                "zstd" => CompressionEncoding::Zstd,
                _ => return Err(format!("'{name}' is not one of gzip, zstd, {NONE}")),
            };
            if encodings.contains(&encoding) {
                return Err(format!("'{name}' stands there twice"));
            }
            encodings.push(encoding);
        }
        Ok(Self(encodings))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        text.write_str(if names.is_empty() { NONE } else { "" })?;
        text.write_str(&names.join(","))
    }
}

/// How many times its length a compressed message of this call may have when it is opened.
pub(super) fn growth(headers: &HeaderMap) -> usize {
    /// A bit a match of 258 bytes (RFC 1951, 3.2.5), less what a block begins with.
    const DEFLATE: usize = 1032;
    /// A block of four bytes that stands for 128 KiB (RFC 8878, 3.1.1.2).
    const ZSTD: usize = 32 * 1024;
    match headers.get("grpc-encoding").map(http::HeaderValue::as_bytes) {
        Some(b"gzip") => DEFLATE,
        Some(b"zstd") => ZSTD,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["none", "gzip", "zstd", "gzip,zstd", "zstd,gzip"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        assert_eq!("gzip, zstd".parse::<Compression>().unwrap().to_string(), "gzip,zstd");
        for wrong in ["", "gzip,", "brotli", "gzip,none", "gzip,gzip"] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }
}
