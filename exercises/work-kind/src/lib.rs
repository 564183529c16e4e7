//! Exercise 3: a new kind of work. There is nothing to be written here: it goes into the contract
//! (`common/proto/quintet/v1/quintet.proto`), the one handler (`common/src/service.rs`) and the load
//! tester (`loadtest/src/work.rs`, `loadtest/src/template.rs`), and the compiler says what else has to
//! know of it. The tests are in `tests/`.
//!
//! The kind is `bytes reverse = 15`: the bytes come back in reverse order.
