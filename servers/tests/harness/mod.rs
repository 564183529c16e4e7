//! What the test targets of this package share: the list of models, servers in the test's own
//! process and as processes of their own, a client that blocks, programs in other languages, and
//! patience.

#[macro_use]
pub(crate) mod models;
pub(crate) mod client;
pub(crate) mod commands;
pub(crate) mod patience;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod server;
