//! A blocking thread per connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::READ_BYTES;

/// Small, since a thread here holds one buffer and calls nothing deep.
pub const STACK_BYTES: usize = 128 * 1024;

/// Echoes until the process ends.
///
/// # Errors
/// If the listener fails; a connection that fails, or for which there is no thread, is only
/// closed.
pub fn serve(listener: &TcpListener, stack_bytes: usize) -> io::Result<()> {
    loop {
        let Ok((stream, _)) = listener.accept() else { continue };
        stream.set_nodelay(true)?;
        let _ = thread::Builder::new()
            .name("floor-echo".to_owned())
            .stack_size(stack_bytes)
            .spawn(move || echo(stream));
    }
}

/// Until the peer closes, or fails: no matter to anybody else.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; READ_BYTES / 4];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}
