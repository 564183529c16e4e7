//! The rows: one function a fault, written once for all servers, in the order of the page.
//! It pays with a peer that speaks both wires; a model's own way stands beside the promise.

mod bytes;
mod deadline;
mod drain;
mod floods;
mod greedy;
mod limits;
mod overload;
pub(crate) mod panic;
mod resets;
mod silence;

use crate::matrix::{ALL, OVER_HTTP2, Row};

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "over_max_connections",
        fault: "more connections than allowed",
        promise: "exactly so many are served; one more is refused at once and counted; room that \
                  is left is given to the next",
        flags: "`--max-connections` (`threads`: 8000, others: 16384)",
        peer_sees: "one RESOURCE_EXHAUSTED response with id 0, then the end",
        how: &[("grpc", "the connection closes: before HTTP/2 has begun there is no word for it")],
        servers: ALL,
        test: limits::over_max_connections,
    },
    Row {
        name: "out_of_descriptors",
        fault: "no descriptor left to accept with",
        promise: "no spinning: 0.1 s of CPU in 3 s and 10 log lines at the most; open connections \
                  undisturbed; serving within 1 s of release",
        flags: "the process's own limit (`ulimit -n`)",
        peer_sees: "a connection that waits in the backlog until there is room",
        how: &[
            ("threads", "the thread that accepts sleeps for a moment"),
            ("pool", "the front leaves the listener disarmed for a moment"),
            ("tasks", "the task that accepts sleeps for a moment"),
            ("epoll", "each loop has a listener of its own, and a time to try it again"),
            ("grpc", "an accept loop of our own: tonic's would spin"),
        ],
        servers: ALL,
        test: limits::out_of_descriptors,
    },
    Row {
        name: "silent_peer",
        fault: "a peer that stays silent, from the first or after a request",
        promise: "closed at the timeout, every one; costs no worker meanwhile",
        flags: "`--idle-timeout` (5m)",
        peer_sees: "the end of the connection",
        how: &[
            ("threads", "the timeout is an option of the socket its thread reads from"),
            (
                "pool",
                "the front looks at all connections every eighth of the timeout; with `--handoff \
                 connection` a silent peer does cost a worker, which is that knob's lesson",
            ),
            ("tasks", "one timer a connection, which is set anew only when it fires too early"),
            ("epoll", "the loop looks at all connections every eighth of the timeout"),
            (
                "grpc",
                "it is told to go (GOAWAY), and has a second to do so; without a preface the \
                 shorter of idle and read timeout applies, and no second",
            ),
        ],
        servers: ALL,
        test: silence::silent_peer,
    },
    Row {
        name: "stall_in_mid_frame",
        fault: "a peer that stalls in mid-frame, or sends a byte now and then",
        promise: "closed at the timeout, counted from the frame's first byte",
        flags: "`--read-timeout` (30s)",
        peer_sees: "the end of the connection",
        how: &[],
        servers: ALL,
        test: silence::stall_in_mid_frame,
    },
    Row {
        name: "peer_that_never_reads",
        fault: "a peer that asks and never reads",
        promise: "closed at the timeout; until then it holds two frame limits (8 MiB) of memory \
                  at the most; others undisturbed",
        flags: "`--write-timeout` (30s), `--max-frame` (4 MiB)",
        peer_sees: "its own sending stops (back-pressure), then the end",
        how: &[
            (
                "threads",
                "the timeout is an option of the socket; a call blocks for an eighth of it, for it \
                 does not say when the last byte was taken",
            ),
            ("pool", "a stalled connection is with the front, which looks at it now and then"),
            ("tasks", "a timer, set only where a write has to wait"),
            ("epoll", "the loop looks at all connections every eighth of the timeout"),
            ("grpc", "HTTP/2 has two ears: the socket, and the window that a peer grants"),
        ],
        servers: ALL,
        test: silence::peer_that_never_reads,
    },
    Row {
        name: "greedy_peer",
        fault: "a peer that pipelines without end",
        promise: "a bystander's p99 at most twice that of a run without it (over HTTP/2, where the \
                  peer has a hundred streams, ten times)",
        flags: "none",
        peer_sees: "its answers, at the pace that is left for it",
        how: &[
            ("threads", "the kernel's scheduler shares the cores between threads"),
            ("pool", "a connection goes back to the end of the queue after each batch"),
            ("tasks", "a task yields after each read that filled its buffer"),
            ("epoll", "a turn ends after a read that filled its buffer"),
            (
                "grpc",
                "a stream yields after four messages; but a runtime shares by task, and a hundred \
                 streams are a hundred tasks: twice is not kept",
            ),
        ],
        servers: ALL,
        test: greedy::greedy_peer,
    },
    Row {
        name: "foreign_bytes",
        fault: "HTTP/1, TLS, noise, a frame above the limit, a message that is none",
        promise: "one error response where the protocol allows, then the end; 64 KiB of memory a \
                  connection at the most",
        flags: "`--max-frame` (4 MiB)",
        peer_sees: "RESOURCE_EXHAUSTED or INVALID_ARGUMENT with id 0, then the end",
        how: &[("grpc", "a bad message is its call's status; a bad frame closes the connection")],
        servers: ALL,
        test: bytes::foreign_bytes,
    },
    Row {
        name: "panic_in_a_handler",
        fault: "a handler that panics",
        promise: "that request gets INTERNAL; connection, worker and process live on, and there \
                  are as many threads as before",
        flags: "none",
        peer_sees: "INTERNAL for that request, and the answers to all others",
        how: &[],
        servers: ALL,
        test: panic::panic_in_a_handler,
    },
    Row {
        name: "deadline_before_work",
        fault: "a request whose client has given up before its turn",
        promise: "DEADLINE_EXCEEDED, and the work is not done",
        flags: "`timeout_ms` of the request (0: none)",
        peer_sees: "DEADLINE_EXCEEDED in its place in the order",
        how: &[
            ("threads", "behind an earlier request on its connection"),
            ("pool", "behind an earlier request on its connection, or in the queue"),
            ("tasks", "behind an earlier request on its connection, or for the cores"),
            ("epoll", "behind an earlier request on its connection, or for the cores"),
            ("grpc", "calls do not stand behind each other, but all of them for the cores"),
        ],
        servers: ALL,
        test: deadline::deadline_before_work,
    },
    Row {
        name: "thousand_resets",
        fault: "1,000 resets, in every state a connection can be in",
        promise: "descriptors, threads and connections back to the baseline within 2 s, none in \
                  CLOSE-WAIT",
        flags: "none",
        peer_sees: "nothing: it has gone",
        how: &[
            ("threads", "a thread that waits for a client notices after the wait"),
            ("pool", "a worker that waits for a client notices after the wait"),
        ],
        servers: ALL,
        test: resets::thousand_resets,
    },
    Row {
        name: "drain",
        fault: "SIGTERM or SIGINT, whoever is there",
        promise: "accepts no more; what was read is answered; exit 0 within the timeout and 0.5 s; \
                  a second signal exits at once",
        flags: "`--drain-timeout` (5s)",
        peer_sees: "its answers, then the end; a newcomer: connection refused",
        how: &[
            ("threads", "shutting a socket's reading side down is what wakes its thread"),
            ("pool", "an eventfd wakes the front; workers finish what they have"),
            ("tasks", "a token is cancelled, and each task looks at it where it waits"),
            ("epoll", "a waker ends each loop's wait"),
            ("grpc", "GOAWAY tells the peer, and a stream that stays open is cut"),
        ],
        servers: ALL,
        test: drain::drain,
    },
    Row {
        name: "overload_wait",
        fault: "twice the work there is capacity for, `--overload wait`",
        promise: "all of it is answered, slowed by back-pressure; memory flat; goodput at least \
                  0.8 of that at capacity",
        flags: "`--overload` (wait), `--max-in-flight`",
        peer_sees: "answers that come later",
        how: &[
            ("threads", "threads wait at a semaphore, in the order of their coming"),
            ("pool", "the queue is as long as there are connections; one stands in it once"),
            ("tasks", "tasks await a permit"),
            ("epoll", "clients stand in a line of the loop's own"),
            ("grpc", "calls await a permit; a connection has a hundred of them at the most"),
        ],
        servers: ALL,
        test: overload::overload_wait,
    },
    Row {
        name: "overload_reject",
        fault: "twice the work there is capacity for, `--overload reject`",
        promise: "what is too much is answered RESOURCE_EXHAUSTED within 10 ms; memory flat; \
                  goodput at least 0.8 of that at capacity",
        flags: "`--overload` (wait), `--max-in-flight`",
        peer_sees: "RESOURCE_EXHAUSTED for what is too much",
        how: &[
            ("threads", "no place is free in a semaphore; what takes no time needs none"),
            (
                "pool",
                "the queue is full; every request needs a worker, so that a bystander's echoes \
                 are refused with the others",
            ),
            ("tasks", "no permit is free; what takes no time needs none"),
            ("epoll", "the loop's share of the places is taken; each loop has its own"),
            ("grpc", "no permit is free; the refusal is the call's status"),
        ],
        servers: ALL,
        test: overload::overload_reject,
    },
    Row {
        name: "three_bytes_at_a_time",
        fault: "a client whose bytes come and go three at a time",
        promise: "every reply byte-identical, in order, exactly once",
        flags: "none",
        peer_sees: "its answers",
        how: &[],
        servers: ALL,
        test: bytes::three_bytes_at_a_time,
    },
    Row {
        name: "rapid_reset",
        fault: "HTTP/2: streams opened and reset, 100,000 times",
        promise: "GOAWAY or close; 8 MiB at the most",
        flags: "none",
        peer_sees: "GOAWAY",
        how: &[],
        servers: OVER_HTTP2,
        test: floods::rapid_reset,
    },
    Row {
        name: "made_you_reset",
        fault: "HTTP/2: streams that the server is made to reset (a window beyond 2^31)",
        promise: "GOAWAY or close; 8 MiB at the most",
        flags: "none",
        peer_sees: "GOAWAY",
        how: &[],
        servers: OVER_HTTP2,
        test: floods::made_you_reset,
    },
    Row {
        name: "continuation_flood",
        fault: "HTTP/2: a header list without end",
        promise: "8 MiB at the most; others undisturbed",
        flags: "none",
        peer_sees: "GOAWAY or the end",
        how: &[],
        servers: OVER_HTTP2,
        test: floods::continuation_flood,
    },
    Row {
        name: "empty_data_flood",
        fault: "HTTP/2: DATA frames of nothing, without end",
        promise: "8 MiB at the most; others undisturbed",
        flags: "none",
        peer_sees: "nothing, or GOAWAY",
        how: &[],
        servers: OVER_HTTP2,
        test: floods::empty_data_flood,
    },
    Row {
        name: "ping_flood",
        fault: "HTTP/2: PINGs without end",
        promise: "8 MiB at the most; others undisturbed",
        flags: "none",
        peer_sees: "their answers, or GOAWAY",
        how: &[],
        servers: OVER_HTTP2,
        test: floods::ping_flood,
    },
    Row {
        name: "settings_flood",
        fault: "HTTP/2: SETTINGS without end",
        promise: "8 MiB at the most; others undisturbed",
        flags: "none",
        peer_sees: "their answers, or GOAWAY",
        how: &[],
        servers: OVER_HTTP2,
        test: floods::settings_flood,
    },
];
