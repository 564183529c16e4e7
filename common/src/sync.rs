//! What threads share, by std; or by loom, which runs every order of their steps that the memory
//! model allows (`tests/loom.rs`).

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};
