//! What the scenes need: two ends of a TCP connection, and patience with a bound.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Far above what any step takes, also on a busy machine; a step that takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server's end and its client's, connected over the loopback.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client_of(&listener);
    (listener.accept().unwrap().0, client)
}

/// A client that loses patience and does not hang.
pub(crate) fn client_of(listener: &TcpListener) -> TcpStream {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Looks, until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up_at, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs it on a thread of its own; how it ended can be asked for, with patience.
pub(crate) fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Aside<T> {
    let (end, ended) = mpsc::sync_channel(1);
    thread::spawn(move || drop(end.send(work())));
    Aside(ended)
}

/// What goes on aside.
pub(crate) struct Aside<T>(mpsc::Receiver<T>);

impl<T> Aside<T> {
    /// How it ended.
    #[track_caller]
    pub(crate) fn ended(self) -> T {
        self.0.recv_timeout(PATIENCE).expect("it ends")
    }
}

/// How many bytes wait in the kernel to be read from this socket.
pub(crate) fn unread(stream: &TcpStream) -> u64 {
    rustix::io::ioctl_fionread(stream).unwrap()
}
