//! Servers with one flaw each: the check that is about it finds it. Without a flaw the server keeps
//! the contract.

#[path = "support/flawed_framed.rs"]
mod flawed_framed;
#[path = "support/told.rs"]
mod told;

use std::collections::HashSet;

use flawed_framed::{Flaw, serve};
use loadtest::share::Interrupt;
use loadtest::target::Protocol;
use loadtest::verify::{CHECKS, choose, verify};
use told::{LIMITED, TOLD, for_check};

/// What is wrong, which check says so, and a part of how.
const FLAWS: [(Flaw, &str, &str); 31] = [
    (Flaw::ShortWrites, "late-reader", "answer "),
    (Flaw::HangsUp, "half-close", "it closed the connection"),
    (Flaw::WholeReads, "byte-by-byte", " of 5: "),
    (Flaw::WrongDigests, "mixed", "wrong_payload"),
    (Flaw::SwapsAnswers, "order", "in place of id 18446744073709551615"),
    (Flaw::CutsLong, "large-echo", "a wrong payload"),
    (Flaw::ClosesOnNoWork, "no-work", "it closed the connection"),
    (Flaw::IgnoresEmptyFrames, "zero-length", "in place of id 0, code 3"),
    (Flaw::KnowsNoLimits, "above-limits", "WaitUs(60000001): id 10 and code 0"),
    (Flaw::RefusesUnknownFields, "unknown-fields", "code 3 (what?)"),
    (Flaw::KeepsOpenAfterErrors, "frame-too-long", "does not close"),
    (Flaw::WrongErrorCode, "frame-too-long", "id 0 and code 13"),
    (Flaw::WrongErrorCode, "malformed", "id 0 and code 13"),
    (Flaw::GoesOnAfterErrors, "malformed", "more bytes than answers"),
    (Flaw::WaitsForTooLong, "foreign-bytes", "HTTP/1: it does not answer"),
    (Flaw::DiesOfErrors, "reset-in-frame", ""),
    (Flaw::DiesOfErrors, "reset-in-reply", ""),
    (Flaw::OneLock, "never-reads", "a bystander was disturbed"),
    (Flaw::StoresAll, "never-reads", "it took 64 MiB"),
    (Flaw::OneAtATime, "silence", "a newcomer"),
    (Flaw::IgnoresDeadlines, "deadline", ""),
    (Flaw::ServesTheBusiest, "greedy", "a bystander was disturbed"),
    (Flaw::NeverCloses, "idle-timeout", "never spoke: it does not close"),
    (Flaw::ClosesEarly, "idle-timeout", "never spoke: it closed after"),
    (Flaw::CutsWaiting, "idle-timeout", "waits for its answer: it closed"),
    (Flaw::EachByteExtends, "read-timeout", "does not close"),
    (Flaw::WaitsForReaders, "write-timeout", "does not close"),
    (Flaw::ServesOneMore, "max-connections", "connection 20 + 1: it is served"),
    (Flaw::RefusesSilently, "max-connections", "connection 20 + 1: "),
    (Flaw::NeverMakesRoom, "max-connections", "where one has left"),
    (Flaw::StopsAccepting, "open-and-close", "a newcomer"),
];

#[test]
fn without_a_flaw_all_is_kept() {
    let limit = ["max-connections".to_owned()];
    for (flaw, told, only) in [(Flaw::None, &TOLD, &[][..]), (Flaw::Limited, &LIMITED, &limit)] {
        let checks = choose(Protocol::Framed, told, only).unwrap();
        let result = verify(serve(flaw), told, &checks, &Interrupt::default(), |_| ());
        let failed: Vec<_> = result.checks.iter().filter(|check| !check.passed).collect();
        assert!(result.passed, "{failed:#?}");
    }
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for (flaw, name, how) in FLAWS {
        let check = choose(Protocol::Framed, for_check(name), &[name.to_owned()]).unwrap();
        let result = verify(serve(flaw), for_check(name), &check, &Interrupt::default(), |_| ());
        assert!(!result.passed, "{flaw:?} passed as {name}");
        assert_eq!(result.checks[0].name, name);
        let detail = &result.checks[0].detail;
        assert!(!detail.is_empty() && detail.contains(how), "{flaw:?}: {detail}");
    }
}

#[test]
fn every_check_has_a_flaw_that_it_finds() {
    let found: HashSet<_> = FLAWS.iter().map(|(_, name, _)| *name).collect();
    for check in CHECKS.iter().filter(|check| check.protocols.contains(&Protocol::Framed)) {
        assert!(found.contains(check.name), "{} was never seen to fail", check.name);
    }
}
