//! A timer that an event loop can wait on, with the kernel's own precision.
//!
//! The timeouts of `epoll_wait` and of tokio have milliseconds, and a spinning thread would take
//! the server's core; a timerfd wakes some tens of microseconds late, which is what it takes to
//! wake a thread at all.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timerfd: readable once its time has come.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// If there is no descriptor left for it.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Becomes readable once, so many nanoseconds from now, and no more for what it was armed
    /// with before.
    ///
    /// # Errors
    /// None that can be provoked from here.
    pub fn arm(&self, ns: u64) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: timespec(0),
            it_value: timespec(ns.max(1)), // 0 would disarm it
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Whether the time has come since it was armed, or since this was called.
    ///
    /// # Errors
    /// None that can be provoked from here.
    pub fn has_fired(&self) -> io::Result<bool> {
        match rustix::io::read(&self.0, &mut [0; 8]) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Nanoseconds as the kernel takes them.
pub fn timespec(ns: u64) -> Timespec {
    const SECOND: u64 = 1_000_000_000;
    Timespec {
        tv_sec: i64::try_from(ns / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % SECOND).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_once() {
        let timer = Timer::new().unwrap();
        assert!(!timer.has_fired().unwrap());
        timer.arm(0).unwrap();
        let mut ready = [rustix::event::PollFd::new(&timer, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ready, Some(&timespec(5_000_000_000))), Ok(1));
        assert!(timer.has_fired().unwrap());
        assert!(!timer.has_fired().unwrap());
    }
}
