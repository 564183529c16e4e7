//! Whether this process may open as many files as a load needs, asked before anything is opened:
//! the system would say so in the middle of it, and of one connection only.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What the program opens beside connections and after this: an epoll per load thread, the
/// server's counters, the files of results.
const BESIDE: usize = 64;

/// There are not enough descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections need more open files than the {files_max} that this process may \
     have, {open} of which it has; raise the limit (ulimit -n) or use fewer"
)]
pub struct DescriptorError {
    /// How many connections were asked for, all kinds together.
    pub connections: usize,
    /// The soft limit.
    pub files_max: u64,
    /// How many are open.
    pub open: usize,
}

/// Looks whether `connections` connections fit below the limit of open files.
///
/// # Errors
/// If they do not.
pub fn check(connections: usize) -> Result<(), DescriptorError> {
    // Where /proc does not say, the connects will.
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    fits(connections, open, getrlimit(Resource::Nofile).current)
}

fn fits(connections: usize, open: usize, files_max: Option<u64>) -> Result<(), DescriptorError> {
    match files_max {
        Some(files_max) if connections.saturating_add(open + BESIDE) as u64 > files_max => {
            Err(DescriptorError { connections, files_max, open })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_before() {
        assert_eq!(fits(926, 10, Some(1000)), Ok(()));
        assert_eq!(fits(1_000_000, 10, None), Ok(()));
        let error = fits(927, 10, Some(1000)).unwrap_err().to_string();
        assert!(error.starts_with("927 connections need more open files than the 1000"), "{error}");
    }
}
