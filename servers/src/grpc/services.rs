//! The services beside the contract's own: each in a file, each as a handler that awaits.

mod greeter;

pub(super) use self::greeter::Greeter;
