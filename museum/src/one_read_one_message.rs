//! TCP carries bytes, and knows nothing of the writes that they came in: one read may bring half a
//! message, or two. On the loopback, with small messages and a client that waits for each answer, one
//! read is one message so often that the mistake is found in production.

use std::io::{self, Read};

/// What stands before each message: its length, big-endian.
const PREFIX_BYTES: usize = 4;

// ANCHOR: broken
/// Believes that what was written together comes together, and alone.
pub mod broken {
    use super::*;

    /// The next message.
    ///
    /// # Errors
    /// Those of the stream; and where the input has ended.
    pub fn next_message(stream: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut chunk = [0; 4096];
        let bytes = stream.read(&mut chunk)?;
        match chunk[..bytes].split_first_chunk::<PREFIX_BYTES>() {
            Some((_length, message)) => Ok(message.to_vec()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Takes what the prefix says, in as many reads as that needs, and leaves the next message alone.
pub mod mended {
    use super::*;

    /// The longest message that a buffer is made for: the prefix is the peer's word.
    const MESSAGE_BYTES_MAX: usize = 1 << 20;

    /// The next message.
    ///
    /// # Errors
    /// Those of the stream; where the input has ended; where a message is too long.
    pub fn next_message(stream: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut prefix = [0; PREFIX_BYTES];
        stream.read_exact(&mut prefix)?;
        let length = u32::from_be_bytes(prefix) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("too long"));
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        Ok(message)
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpStream};
    use std::thread;

    use super::*;
    use crate::stage::{eventually, pair, unread};

    // ANCHOR: test
    const TWO: &[u8] = b"\0\0\0\x04tick\0\0\0\x04tock";

    /// The messages of [`TWO`], where the first `cut` bytes were read before the others were sent.
    fn messages(next: fn(&mut TcpStream) -> io::Result<Vec<u8>>, cut: usize) -> Vec<Vec<u8>> {
        let (mut server, mut client) = pair();
        let its_end = server.try_clone().unwrap();
        let peer = thread::spawn(move || {
            client.write_all(&TWO[..cut]).unwrap();
            eventually("what was sent is read", || unread(&its_end) == 0);
            client.write_all(&TWO[cut..]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        if cut > 0 {
            eventually("the first part is there", || unread(&server) == cut as u64);
        }
        let messages = std::iter::from_fn(|| next(&mut server).ok()).take(10).collect();
        peer.join().unwrap();
        messages
    }

    #[test]
    fn half_a_message_is_taken_for_one_and_two_for_one() {
        assert_eq!(messages(broken::next_message, 6)[0], b"ti");
        assert_eq!(messages(broken::next_message, TWO.len())[0], b"tick\0\0\0\x04tock");
    }

    #[test]
    fn wherever_they_are_cut_they_are_the_same() {
        for cut in 0..=TWO.len() {
            assert_eq!(messages(mended::next_message, cut), [b"tick", b"tock"], "cut at {cut}");
        }
    }
    // ANCHOR_END: test
}
