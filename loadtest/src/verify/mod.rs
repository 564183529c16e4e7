//! Does a server keep the contract? Asked from outside, of whatever listens there, with the clients
//! that one hopes for and with those that one gets.
//!
//! The quick part of it is the gate of `compare`: a server that loses or confuses answers is not
//! measured, since doing less than the others would only make it look fast.

mod bystander;
mod deadlines;
mod framed;
mod framed_hostile;
mod greedy;
mod grpc;
mod grpc_hostile;
mod limit;
mod load;
mod scene;
mod timeouts;
mod told;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::scene::{Fault, Scene};
use self::told::Flag;
pub use self::told::Told;
use crate::client::Patience;
use crate::share::Interrupt;
use crate::target::{Protocol, Target};

/// Name and version of the schema.
pub const VERIFY_SCHEMA: &str = "quintet/verify/1";

/// No check takes longer, ...
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// ... and all together take no longer, also where each fails for want of an answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(29);

/// Connections that a check may have at a time, with those that a server has yet to let go of.
const CROWD: usize = 600;

/// One promise, and how it is put to the test.
#[derive(Debug)]
pub struct Check {
    /// What `--only` takes. Checks of different protocols may share it.
    pub name: &'static str,
    /// What a server promises, in one sentence.
    pub promise: &'static str,
    /// Who promises it.
    pub protocols: &'static [Protocol],
    /// Whether it is part of the gate.
    pub quick: bool,
    /// What has to be known of the server first.
    needs: Option<Flag>,
    run: Run,
}

const ALL_FRAMES: &[Protocol] = &[Protocol::Framed, Protocol::Raw];
const FRAMED: &[Protocol] = &[Protocol::Framed];
const GRPC: &[Protocol] = &[Protocol::Grpc];

type Run = fn(&Scene<'_>) -> Result<(), Fault>;

/// One of the list below.
const fn check(
    name: &'static str,
    promise: &'static str,
    protocols: &'static [Protocol],
    run: Run,
) -> Check {
    Check { name, promise, protocols, quick: false, needs: None, run }
}

/// The same, where it was said what the server was told.
const fn told(
    needs: Flag,
    promise: &'static str,
    protocols: &'static [Protocol],
    run: Run,
) -> Check {
    Check { name: needs.name(), promise, protocols, quick: false, needs: Some(needs), run }
}

/// The same, and of the gate.
const fn quick(
    name: &'static str,
    promise: &'static str,
    protocols: &'static [Protocol],
    run: Run,
) -> Check {
    Check { name, promise, protocols, quick: true, needs: None, run }
}

/// All of them, in the order in which they are carried out.
#[rustfmt::skip] // a table, by lines
pub const CHECKS: &[Check] = &[
    quick("late-reader", "10,000 requests are answered in order although the first answer is read late", ALL_FRAMES, load::late_reader),
    quick("half-close", "a client that will send no more still gets its answers, and then the end", ALL_FRAMES, load::half_close),
    quick("byte-by-byte", "requests may come a byte at a time", ALL_FRAMES, load::byte_by_byte),
    quick("mixed", "all kinds of work are done at once and right, digests included", ALL_FRAMES, load::mixed),
    check("order", "answers keep the order of requests, however long each takes", FRAMED, framed::order),
    check("large-echo", "a message of a mebibyte comes back, or is above the limit", FRAMED, framed::large_echo),
    check("no-work", "a request for nothing is INVALID_ARGUMENT, and the connection lives", FRAMED, framed::no_work),
    check("zero-length", "a frame of no bytes is a request for nothing", FRAMED, framed::zero_length),
    check("above-limits", "work beyond the limits is INVALID_ARGUMENT, and the connection lives", FRAMED, framed::above_limits),
    check("unknown-fields", "fields that are not in the contract are ignored", FRAMED, framed::unknown_fields),
    check("frame-too-long", "a frame above the limit is answered by id 0 and code 8, then the end", FRAMED, framed::frame_too_long),
    check("malformed", "bytes that are no message are answered by id 0 and code 3, then the end", FRAMED, framed::malformed),
    check("foreign-bytes", "HTTP or TLS gets an error or the end, and is not kept waiting", FRAMED, framed_hostile::foreign_bytes),
    check("reset-in-frame", "200 resets in the middle of a frame disturb nobody", FRAMED, framed_hostile::reset_in_frame),
    check("reset-in-reply", "200 resets in the middle of an answer disturb nobody", FRAMED, framed_hostile::reset_in_reply),
    check("never-reads", "a client that sends and never reads is held back, and disturbs nobody", FRAMED, framed_hostile::never_reads),
    check("silence", "half a frame and then nothing disturbs nobody", FRAMED, framed_hostile::silence),
    check("deadline", "a request whose timeout_ms ends before its turn is DEADLINE_EXCEEDED", FRAMED, deadlines::framed),
    check("greedy", "a client that asks without end keeps nobody else waiting", FRAMED, greedy::framed),
    told(Flag::IdleTimeout, "who says nothing is closed then; who waits for an answer is not", FRAMED, timeouts::idle_framed),
    told(Flag::ReadTimeout, "a request that comes byte by byte is closed then, from its first on", FRAMED, timeouts::read_framed),
    told(Flag::WriteTimeout, "a client that reads none of its answers is closed then", FRAMED, timeouts::write_framed),
    check("open-and-close", "500 connections opened and closed at once disturb nobody", FRAMED, bystander::open_and_close),
    told(Flag::MaxConnections, "so many are served, others are told code 8, and room is given again", FRAMED, limit::framed),

    quick("many-streams", "5,000 calls on 100 streams of one connection are answered", GRPC, load::many_streams),
    quick("mixed", "all kinds of work are done at once and right, digests included", GRPC, load::mixed),
    check("stream-order", "a stream is answered in order, and a code stays in its response", GRPC, grpc::stream_order),
    check("large-echo", "a message of a mebibyte comes back, or is above the limit", GRPC, grpc::large_echo),
    check("no-work", "a request for nothing is INVALID_ARGUMENT, and the connection lives", GRPC, grpc::no_work),
    check("zero-length", "a message of no bytes is a request for nothing", GRPC, grpc::zero_length),
    check("above-limits", "work beyond the limits is INVALID_ARGUMENT, and the connection lives", GRPC, grpc::above_limits),
    check("unknown-fields", "fields that are not in the contract are ignored", GRPC, grpc::unknown_fields),
    check("bad-path", "a method that does not exist is UNIMPLEMENTED, and the connection lives", GRPC, grpc::bad_path),
    check("message-too-long", "a message above the limit is RESOURCE_EXHAUSTED", GRPC, grpc::message_too_long),
    check("malformed", "bytes that are no message are INTERNAL or INVALID_ARGUMENT", GRPC, grpc::malformed),
    check("foreign-bytes", "HTTP/1, TLS or framed TCP gets the end, and is not kept waiting", GRPC, grpc_hostile::foreign_bytes),
    check("reset-streams", "200 streams reset in the middle leave the connection as it was", GRPC, grpc_hostile::reset_streams),
    check("reset-in-call", "200 connections reset in the middle of a call disturb nobody", GRPC, grpc_hostile::reset_in_call),
    check("never-reads", "a client that sends and never reads is held back, and disturbs nobody", GRPC, grpc_hostile::never_reads),
    check("silence", "half a preface and then nothing disturbs nobody", GRPC, grpc_hostile::silence),
    check("slices", "a connection may come three bytes at a time", GRPC, grpc::slices),
    check("deadline", "a call whose timeout_ms ends before its turn is not done late", GRPC, deadlines::grpc),
    check("greedy", "a client that asks without end keeps nobody else waiting", GRPC, greedy::grpc),
    told(Flag::IdleTimeout, "who says nothing is closed then; who waits for an answer is not", GRPC, timeouts::idle_grpc),
    told(Flag::ReadTimeout, "a preface that comes byte by byte is closed then, or when idle", GRPC, timeouts::read_grpc),
    told(Flag::WriteTimeout, "a client that reads none of its answers is closed then", GRPC, timeouts::write_grpc),
    check("open-and-close", "500 connections opened and closed at once disturb nobody", GRPC, bystander::open_and_close),
    told(Flag::MaxConnections, "so many are served, others are closed, and room is given again", GRPC, limit::grpc),
];

/// What was found: the schema `quintet/verify/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyResult {
    /// [`VERIFY_SCHEMA`].
    pub schema: String,
    /// The URL.
    pub target: String,
    /// Whether all checks that were asked for were carried out, and passed.
    pub passed: bool,
    /// Those that were carried out, in order.
    pub checks: Vec<CheckResult>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// What was promised.
    pub promise: String,
    /// Whether it was kept.
    pub passed: bool,
    /// If not, what happened instead; else nothing.
    pub detail: String,
}

/// The checks for what a target speaks and was told, and of these names where there are any.
///
/// # Errors
/// A name that no check for this protocol has, or one that needs to be told more; in words.
pub fn choose(
    protocol: Protocol,
    told: &Told,
    names: &[String],
) -> Result<Vec<&'static Check>, String> {
    let known = || CHECKS.iter().filter(|check| check.protocols.contains(&protocol));
    for name in names {
        let Some(check) = known().find(|check| check.name == name) else {
            return Err(format!("there is no check `{name}` for it; see loadtest verify --list"));
        };
        if let Some(flag) = check.needs.filter(|flag| !told.has(*flag)) {
            return Err(format!(
                "`{name}` is checked where it is said what the server was told: --{}",
                flag.name()
            ));
        }
    }
    let only_the_limit = !names.is_empty() && names.iter().all(|name| name == limit::NAME);
    let crowded = told.max_connections.is_some_and(|max| max.get() < CROWD);
    if crowded && !only_the_limit {
        return Err(format!(
            "other checks need {CROWD} connections: start it with more, or say --only {}",
            limit::NAME
        ));
    }
    let can = |check: &&Check| check.needs.is_none_or(|flag| told.has(flag));
    let chosen = |check: &&Check| names.is_empty() || names.iter().any(|name| name == check.name);
    Ok(known().filter(can).filter(chosen).collect())
}

/// Carries checks out, one after the other, and shows each to `seen` when it is over. An interrupt
/// ends it after the check that is under way; those that are left are not in the result.
pub fn verify(
    target: Target,
    told: &Told,
    checks: &[&'static Check],
    interrupt: &Interrupt,
    seen: impl FnMut(&CheckResult),
) -> VerifyResult {
    let waits = |check: &&Check| check.needs.map(|flag| told.waits(flag));
    let total = TOTAL_TIMEOUT + checks.iter().filter_map(waits).sum::<Duration>();
    verify_within(total, target, told, checks, interrupt, seen)
}

fn verify_within(
    total: Duration,
    target: Target,
    told: &Told,
    checks: &[&'static Check],
    interrupt: &Interrupt,
    mut seen: impl FnMut(&CheckResult),
) -> VerifyResult {
    let patience = Patience::of(total);
    let mut results = Vec::new();
    for check in checks {
        if interrupt.is_triggered() {
            break;
        }
        let longest = CHECK_TIMEOUT + check.needs.map_or(Duration::ZERO, |flag| told.waits(flag));
        let patience = patience.at_most(longest);
        let scene = Scene { target, told: *told, patience, interrupt };
        let verdict = if patience.is_over() {
            Err(Fault::from("not carried out: the checks before it took all the time"))
        } else {
            (check.run)(&scene)
        };
        let result = CheckResult {
            name: check.name.to_owned(),
            promise: check.promise.to_owned(),
            passed: verdict.is_ok(),
            detail: verdict.err().map(|fault| fault.to_string()).unwrap_or_default(),
        };
        seen(&result);
        results.push(result);
    }
    VerifyResult {
        schema: VERIFY_SCHEMA.to_owned(),
        target: target.to_string(),
        passed: results.len() == checks.len() && results.iter().all(|check| check.passed),
        checks: results,
    }
}

/// Puts a server through the quick checks, up to the first that fails.
///
/// # Errors
/// In words: what it got wrong.
pub fn gate(target: Target, interrupt: &Interrupt) -> Result<(), String> {
    let gate = CHECKS.iter().filter(|check| check.quick);
    for check in gate.filter(|check| check.protocols.contains(&target.protocol)) {
        let failed = verify(target, &Told::default(), &[check], interrupt, |_| ());
        if let Some(failed) = failed.checks.iter().find(|check| !check.passed) {
            return Err(format!("{}: {}", failed.name, failed.detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::num::NonZeroUsize;

    const SHORT: Option<Duration> = Some(Duration::from_millis(100));
    const ALL: Told = Told {
        idle_timeout: SHORT,
        read_timeout: SHORT,
        write_timeout: SHORT,
        max_connections: NonZeroUsize::new(CROWD),
    };

    #[test]
    fn names_are_distinct_and_lines_are_short() {
        for protocol in [Protocol::Framed, Protocol::Raw, Protocol::Grpc] {
            let checks = choose(protocol, &ALL, &[]).unwrap();
            let names: HashSet<_> = checks.iter().map(|check| check.name).collect();
            assert_eq!(names.len(), checks.len());
            assert!(checks.iter().any(|check| check.quick));
        }
        for check in CHECKS {
            assert!(check.name.len() <= 16 && check.promise.len() <= 78, "{}", check.promise);
        }
    }

    #[test]
    fn names_choose() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let chosen = choose(Protocol::Framed, &ALL, &names(&["order", "mixed"])).unwrap();
        assert_eq!(chosen.iter().map(|check| check.name).collect::<Vec<_>>(), ["mixed", "order"]);
        for (name, why) in [("order", "no check `order`"), ("idle-timeout", "--idle-timeout")] {
            let refused = choose(Protocol::Grpc, &Told::default(), &names(&[name])).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let told = |told| choose(Protocol::Framed, &told, &[]).unwrap().len();
        assert_eq!(told(ALL), told(Told::default()) + 4);
    }

    /// Nobody accepts, and nothing is said.
    fn silent(protocol: Protocol, check: &'static Check) {
        const TOTAL: Duration = Duration::from_secs(2);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target { protocol, address: listener.local_addr().unwrap() };
        let began = std::time::Instant::now();
        let result = verify_within(TOTAL, target, &ALL, &[check], &Interrupt::default(), |_| ());
        let [result] = result.checks.as_slice() else { panic!("one check") };
        assert!(!result.passed && !result.detail.is_empty(), "{result:?}");
        assert!(began.elapsed() < 20 * TOTAL, "{result:?}");
    }

    #[test]
    fn one_who_never_answers_takes_a_bounded_time() {
        std::thread::scope(|scope| {
            for protocol in [Protocol::Framed, Protocol::Grpc] {
                for check in choose(protocol, &ALL, &[]).unwrap() {
                    scope.spawn(move || silent(protocol, check));
                }
            }
        });
    }

    #[test]
    fn what_there_is_no_time_for_has_not_passed() {
        let address = "127.0.0.1:9".parse().unwrap();
        let target = Target { protocol: Protocol::Framed, address };
        let checks = choose(Protocol::Framed, &ALL, &[]).unwrap();
        let mut seen = 0;
        let interrupt = Interrupt::default();
        let result =
            verify_within(Duration::ZERO, target, &ALL, &checks, &interrupt, |_| seen += 1);
        assert_eq!((result.passed, result.checks.len(), seen), (false, checks.len(), checks.len()));
        assert!(result.checks.iter().all(|check| check.detail.starts_with("not carried out")));
        interrupt.trigger();
        let result = verify_within(TOTAL_TIMEOUT, target, &ALL, &checks, &interrupt, |_| seen += 1);
        assert!(!result.passed && result.checks.is_empty(), "interrupted before the first");
        assert_eq!(seen, checks.len());
    }
}
