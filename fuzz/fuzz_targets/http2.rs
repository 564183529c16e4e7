//! Any bytes as what a gRPC server says to the load tester: they are understood or refused, and cost
//! no more memory than its bounds allow.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadtest::drive::fuzz;

fuzz_target!(|bytes: &[u8]| fuzz::hear(bytes));
