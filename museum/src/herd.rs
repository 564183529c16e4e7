//! Several loops that wait for one listening socket are all told of each connection; one gets it, the
//! others have woken up for nothing. nginx let its workers take turns with a lock, `accept_mutex`, on
//! by default until 1.11.3; with a listener for each, or EPOLLEXCLUSIVE, that is not needed.

use std::io;
use std::net::TcpListener;

use socket2::{Domain, SockRef, Socket, Type};

// ANCHOR: broken
/// One socket for all loops.
pub mod broken {
    use super::*;

    /// What each of so many loops listens on.
    ///
    /// # Errors
    /// Those of `dup(2)`.
    pub fn listeners(first: TcpListener, loops: usize) -> io::Result<Vec<TcpListener>> {
        let mut listeners = vec![first];
        while listeners.len() < loops {
            listeners.push(listeners[0].try_clone()?);
        }
        Ok(listeners)
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// A socket for each loop, all on one port: the kernel deals connections out to them.
pub mod mended {
    use super::*;

    /// What each of so many loops listens on.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`, `bind(2)` and `listen(2)`.
    pub fn listeners(first: TcpListener, loops: usize) -> io::Result<Vec<TcpListener>> {
        let address = first.local_addr()?;
        SockRef::from(&first).set_reuse_port(true)?;
        let mut listeners = vec![first];
        while listeners.len() < loops {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.listen(1024)?;
            listeners.push(socket.into());
        }
        Ok(listeners)
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use mio::{Events, Interest, Poll, Token};

    use super::*;
    use crate::stage::eventually;

    // ANCHOR: test
    const LOOPS: usize = 8;

    /// How many of the loops are told of a connection, and how many of them get it.
    fn told_and_served(
        listeners: fn(TcpListener, usize) -> io::Result<Vec<TcpListener>>,
        told: usize,
    ) -> (usize, usize) {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let mut loops: Vec<_> = (listeners(first, LOOPS).unwrap().into_iter())
            .map(|listener| {
                listener.set_nonblocking(true).unwrap();
                let mut listener = mio::net::TcpListener::from_std(listener);
                let (poll, events) = (Poll::new().unwrap(), Events::with_capacity(8));
                poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
                (listener, poll, events)
            })
            .collect();
        let _client = TcpStream::connect(address).unwrap();
        let mut woken = [false; LOOPS];
        eventually("as many are told as should be", || {
            for ((_, poll, events), woken) in loops.iter_mut().zip(&mut woken) {
                poll.poll(events, Some(Duration::ZERO)).unwrap();
                *woken |= !events.is_empty();
            }
            woken.iter().filter(|woken| **woken).count() >= told
        });
        let served = loops.iter().filter(|(listener, ..)| listener.accept().is_ok()).count();
        (woken.iter().filter(|woken| **woken).count(), served)
    }

    #[test]
    fn all_wake_up_for_one() {
        assert_eq!(told_and_served(broken::listeners, LOOPS), (LOOPS, 1));
    }

    #[test]
    fn one_wakes_up() {
        assert_eq!(told_and_served(mended::listeners, 1), (1, 1));
    }
    // ANCHOR_END: test
}
