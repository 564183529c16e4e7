//! Five servers.
