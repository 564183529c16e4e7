//! What threads share, by std; or by loom, which runs every order of their steps that the memory
//! model allows (`tests/loom.rs`); or by shuttle, which runs many (the tests of `servers`).

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
#[cfg(all(feature = "shuttle", not(loom)))]
pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, atomic};
#[cfg(not(any(loom, feature = "shuttle")))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};
