//! A queue without a bound takes whatever comes, so that who reads never notices that who works is
//! slower; it grows until the memory is gone, and all that stands in it is late before it is begun.
//! (Fred Hebert's essay "Queues Don't Fix Overload" is about nothing else.)

use std::io::{self, Read};

use crossbeam_channel::{Receiver, Sender};

/// Bytes of a request.
pub const REQUEST_BYTES: usize = 1024;

/// How many are worked on in the time that a client is ready to wait.
pub const PLACES: usize = 16;

/// A request.
pub type Request = Box<[u8; REQUEST_BYTES]>;

// ANCHOR: broken
/// As long as memory.
pub mod broken {
    use super::*;

    /// The queue between who reads and who works.
    pub fn queue() -> (Sender<Request>, Receiver<Request>) {
        crossbeam_channel::unbounded()
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// As long as there is any use in waiting.
pub mod mended {
    use super::*;

    /// The queue between who reads and who works. Where it is full, to put something in waits, and
    /// with it the reading; then the kernel's buffers fill, and then the client waits.
    pub fn queue() -> (Sender<Request>, Receiver<Request>) {
        crossbeam_channel::bounded(PLACES)
    }
}
// ANCHOR_END: mended

// ANCHOR: reader
/// Puts what a client sends into the queue, until its end.
///
/// # Errors
/// Those of the stream; and its end.
pub fn read_all(mut stream: impl Read, queue: &Sender<Request>) -> io::Result<()> {
    loop {
        let mut request = Box::new([0; REQUEST_BYTES]);
        stream.read_exact(&mut *request)?;
        queue.send(request).map_err(io::Error::other)?;
    }
}
// ANCHOR_END: reader

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::stage::{Aside, aside, eventually, pair};

    // ANCHOR: test
    /// Many times what the sockets of both ends hold, whose buffers are set.
    const REQUESTS: usize = 16 << 10;
    const BUFFER_BYTES: usize = 64 << 10;

    /// A client that sends all of its requests, to a server whose workers have not begun.
    fn overload(queue: Sender<Request>) -> (TcpStream, Aside<io::Result<()>>) {
        let (server, mut client) = pair();
        socket2::SockRef::from(&client).set_send_buffer_size(BUFFER_BYTES).unwrap();
        socket2::SockRef::from(&server).set_recv_buffer_size(BUFFER_BYTES).unwrap();
        let its_socket = client.try_clone().unwrap();
        aside(move || read_all(server, &queue));
        let sends = aside(move || client.write_all(&vec![7; REQUESTS * REQUEST_BYTES]));
        (its_socket, sends)
    }

    #[test]
    fn all_is_taken_though_nothing_is_done() {
        let (sender, receiver) = broken::queue();
        let (_socket, sends) = overload(sender);
        sends.ended().unwrap();
        eventually("all of it is in the queue", || receiver.len() == REQUESTS);
    }

    #[test]
    fn the_client_waits_and_nothing_is_lost() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let (sender, receiver) = mended::queue();
        let (socket, sends) = overload(sender);
        eventually("the queue is full, and the client has no room", || {
            let mut room = [PollFd::new(&socket, PollFlags::OUT)];
            receiver.is_full() && poll(&mut room, Some(&Timespec::default())).unwrap() == 0
        });
        assert_eq!(receiver.len(), PLACES);
        for _ in 0..REQUESTS {
            receiver.recv_timeout(Duration::from_secs(20)).expect("none is lost");
        }
        sends.ended().unwrap();
    }
    // ANCHOR_END: test
}
