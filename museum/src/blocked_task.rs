//! A task that blocks its thread blocks the tasks that share it: they are ready, and nobody polls
//! them. The compiler does not see it, since a call that blocks looks like any other; so a handler
//! that asks a database by a driver that blocks works well in every test with one client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Asks another server by a client that blocks: what a byte is answered with.
///
/// # Errors
/// Those of the connection.
pub fn ask(backend: SocketAddr, question: u8) -> io::Result<u8> {
    let mut stream = TcpStream::connect(backend)?;
    stream.write_all(&[question])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

// ANCHOR: broken
/// Blocks the thread of all tasks.
pub mod broken {
    use super::*;

    /// Answers a client: a `?` by asking the backend, anything else by itself.
    ///
    /// # Errors
    /// Those of both connections.
    pub async fn answer(mut client: tokio::net::TcpStream, backend: SocketAddr) -> io::Result<()> {
        let answer = match client.read_u8().await? {
            b'?' => ask(backend, b'?')?,
            other => other,
        };
        client.write_u8(answer).await
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Blocks a thread that is there to be blocked.
pub mod mended {
    use super::*;
    use tokio::task::spawn_blocking;

    /// Answers a client: a `?` by asking the backend, anything else by itself.
    ///
    /// # Errors
    /// Those of both connections.
    pub async fn answer(mut client: tokio::net::TcpStream, backend: SocketAddr) -> io::Result<()> {
        let answer = match client.read_u8().await? {
            b'?' => spawn_blocking(move || ask(backend, b'?')).await??,
            other => other,
        };
        client.write_u8(answer).await
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::*;
    use crate::stage::{aside, client_of};

    // ANCHOR: test
    /// Whether a client that asks for nothing special is answered while another's question is with
    /// the backend. Where it is not, it cannot be: the one thread there is stands in a read.
    fn is_answered_meanwhile<Answered: Future<Output = io::Result<()>> + Send + 'static>(
        answer: fn(tokio::net::TcpStream, SocketAddr) -> Answered,
        patience: Duration,
    ) -> bool {
        let (listener, backend) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (mut asks, mut other) = (client_of(&listener), client_of(&listener));
        let backend_address = backend.local_addr().unwrap();
        let served = aside(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let (first, _) = listener.accept().await?;
                let (second, _) = listener.accept().await?;
                let first = tokio::spawn(answer(first, backend_address));
                let second = tokio::spawn(answer(second, backend_address));
                first.await?.and(second.await?)
            })
        });
        asks.write_all(b"?").unwrap();
        let (mut question, _) = backend.accept().unwrap(); // so the handler stands there now
        other.write_all(b"!").unwrap();
        other.set_read_timeout(Some(patience)).unwrap();
        let is_answered = other.read(&mut [0]).is_ok();
        question.write_all(b"=").unwrap();
        asks.read_exact(&mut [0]).unwrap();
        served.ended().unwrap();
        is_answered
    }

    #[test]
    fn the_others_wait_for_the_backend_too() {
        assert!(!is_answered_meanwhile(broken::answer, Duration::from_millis(100)));
    }

    #[test]
    fn the_others_do_not_notice() {
        assert!(is_answered_meanwhile(mended::answer, crate::stage::PATIENCE));
    }
    // ANCHOR_END: test
}
