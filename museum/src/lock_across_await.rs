//! A lock that is held across an `.await` is held for as long as a client likes. The next task that
//! locks blocks the thread which alone could read what the first one waits for: a deadlock on one
//! thread, with no second lock to be found. clippy's `await_holding_lock` sees the plain case.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

// ANCHOR: broken
/// Locks, and then waits for its client.
pub mod broken {
    use super::*;

    /// Adds what its client says to what all have said.
    ///
    /// # Errors
    /// Those of the connection.
    #[expect(clippy::await_holding_lock, reason = "that is the exhibit: clippy finds this one")]
    pub async fn note(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> io::Result<()> {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push(client.read_u8().await?);
        Ok(())
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Waits, and then locks.
pub mod mended {
    use super::*;

    /// Adds what its client says to what all have said.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn note(client: &mut TcpStream, said: &Mutex<Vec<u8>>) -> io::Result<()> {
        let byte = client.read_u8().await?;
        said.lock().unwrap_or_else(PoisonError::into_inner).push(byte);
        Ok(())
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::io::Write;

    use tokio::runtime::Builder;

    use super::*;
    use crate::stage::pair;

    // ANCHOR: test
    /// Whether another task could have the lock while a client lets the server wait.
    fn is_free(note: impl AsyncFnOnce(&mut TcpStream, &Mutex<Vec<u8>>) -> io::Result<()>) -> bool {
        let (server, mut client) = pair();
        server.set_nonblocking(true).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut server = TcpStream::from_std(server).unwrap();
            let said = Mutex::default();
            let is_free = {
                let mut noting = std::pin::pin!(note(&mut server, &said));
                tokio::select! {
                    biased; // polls it once; it waits, for its client has said nothing
                    _ = &mut noting => panic!("nothing was said"),
                    () = ready(()) => {}
                }
                let is_free = said.try_lock().is_ok(); // a `lock` here would be the last of this thread
                client.write_all(b"!").unwrap();
                noting.await.unwrap();
                is_free
            };
            assert_eq!(said.into_inner().unwrap(), b"!");
            is_free
        })
    }

    #[test]
    fn the_lock_waits_for_a_client() {
        assert!(!is_free(broken::note));
    }

    #[test]
    fn the_lock_is_held_for_a_push() {
        assert!(is_free(mended::note));
    }
    // ANCHOR_END: test
}
