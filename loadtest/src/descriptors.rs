//! Whether this process may open as many files as a load needs, asked before anything is opened:
//! the system would say so in the middle of it, and of one connection only.

use rustix::process::{Resource, getrlimit};

/// What the program needs beside connections: its own files, epoll, timers, pipes.
const BESIDE: usize = 64;

/// There are not enough descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections need more open files than the {files_max} that this process may \
     have; raise the limit (ulimit -n) or use fewer"
)]
pub struct DescriptorError {
    /// How many connections were asked for, all kinds together.
    pub connections: usize,
    /// The soft limit.
    pub files_max: u64,
}

/// Looks whether `connections` connections fit below the limit of open files.
///
/// # Errors
/// If they do not.
pub fn check(connections: usize) -> Result<(), DescriptorError> {
    fits(connections, getrlimit(Resource::Nofile).current)
}

fn fits(connections: usize, files_max: Option<u64>) -> Result<(), DescriptorError> {
    match files_max {
        Some(files_max) if (connections + BESIDE) as u64 > files_max => {
            Err(DescriptorError { connections, files_max })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_before() {
        assert_eq!(fits(936, Some(1000)), Ok(()));
        assert_eq!(fits(1_000_000, None), Ok(()));
        let error = fits(937, Some(1000)).unwrap_err().to_string();
        assert!(error.starts_with("937 connections need more open files than the 1000"), "{error}");
    }
}
