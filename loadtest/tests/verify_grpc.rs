//! The same as for framed servers: gRPC servers with one flaw each, and the check that finds it.
//! Without a flaw the server keeps the contract.

#[path = "support/flawed_grpc.rs"]
mod flawed_grpc;
#[path = "support/told.rs"]
mod told;

use std::collections::HashSet;

use flawed_grpc::{Flaw, serve};
use loadtest::share::Interrupt;
use loadtest::target::Protocol;
use loadtest::verify::{CHECKS, choose, verify};
use told::{LIMITED, TOLD, for_check};

/// What is wrong, and which check says so.
const FLAWS: [(Flaw, &str); 30] = [
    (Flaw::LosesCalls, "many-streams"),
    (Flaw::WrongDigests, "mixed"),
    (Flaw::SwapsAnswers, "stream-order"),
    (Flaw::EndsStreams, "stream-order"),
    (Flaw::CutsLong, "large-echo"),
    (Flaw::DoesNothingGladly, "no-work"),
    (Flaw::DoesNothingGladly, "zero-length"),
    (Flaw::KnowsNoLimits, "above-limits"),
    (Flaw::RefusesUnknownFields, "unknown-fields"),
    (Flaw::TakesAnyPath, "bad-path"),
    (Flaw::WaitsForTooLong, "message-too-long"),
    (Flaw::ClosesOnErrors, "malformed"),
    (Flaw::TakesAnyBytes, "malformed"),
    (Flaw::KeepsStrangers, "foreign-bytes"),
    (Flaw::StreamsTakeConnectionAlong, "reset-streams"),
    (Flaw::DiesOfErrors, "reset-in-call"),
    (Flaw::StoresAll, "never-reads"),
    (Flaw::GreetsOneByOne, "silence"),
    (Flaw::WantsAllAtOnce, "slices"),
    (Flaw::IgnoresDeadlines, "deadline"),
    (Flaw::ServesTheBusiest, "greedy"),
    (Flaw::NeverCloses, "idle-timeout"),
    (Flaw::ClosesEarly, "idle-timeout"),
    (Flaw::CutsWaiting, "idle-timeout"),
    (Flaw::NeverCloses, "read-timeout"),
    (Flaw::NeverCloses, "write-timeout"),
    (Flaw::ServesOneMore, "max-connections"),
    (Flaw::NeverMakesRoom, "max-connections"),
    (Flaw::StopsAccepting, "open-and-close"),
    (Flaw::ClosesOnErrors, "message-too-long"),
];

#[test]
fn without_a_flaw_all_is_kept() {
    let limit = ["max-connections".to_owned()];
    for (flaw, told, only) in [(Flaw::None, &TOLD, &[][..]), (Flaw::Limited, &LIMITED, &limit)] {
        let checks = choose(Protocol::Grpc, told, only).unwrap();
        let result = verify(serve(flaw), told, &checks, &Interrupt::default(), |_| ());
        let failed: Vec<_> = result.checks.iter().filter(|check| !check.passed).collect();
        assert!(result.passed, "{failed:#?}");
    }
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for (flaw, name) in FLAWS {
        let check = choose(Protocol::Grpc, for_check(name), &[name.to_owned()]).unwrap();
        let result = verify(serve(flaw), for_check(name), &check, &Interrupt::default(), |_| ());
        assert!(!result.passed, "{flaw:?} passed as {name}");
        assert_eq!(result.checks[0].name, name);
        assert!(!result.checks[0].detail.is_empty(), "{flaw:?}");
    }
}

#[test]
fn every_check_has_a_flaw_that_it_finds() {
    let found: HashSet<_> = FLAWS.iter().map(|(_, name)| *name).collect();
    for check in CHECKS.iter().filter(|check| check.protocols.contains(&Protocol::Grpc)) {
        assert!(found.contains(check.name), "{} was never seen to fail", check.name);
    }
}
