//! What the pictures show: a request's way through each of the five models.

use crate::picture::What::{Goes, MayGo, Waits, Works};
use crate::picture::{Picture, Step, What};

const fn step(what: What, label: &'static str, says: &'static str) -> Step {
    Step { what, label, says }
}

/// All of them.
pub const PICTURES: &[Picture] = &[THREADS, POOL, TASKS, EPOLL, GRPC];

const THREADS: Picture = Picture {
    name: "threads",
    title: "threads: a request's way",
    lanes: &[("client", ""), ("kernel", "socket, scheduler"), ("thread", "one a connection")],
    steps: &[
        step(
            Waits(2),
            "in read()",
            "The thread of this connection sleeps in <code>read</code>. It has a stack and an \
             entry in the scheduler, and takes no CPU time.",
        ),
        step(Goes(0, 1), "frame", "Bytes arrive in the socket's receive buffer."),
        step(
            Goes(1, 2),
            "made runnable",
            "The kernel makes the thread runnable and, when a core is free, switches to it: a \
             context switch.",
        ),
        step(
            Works(2),
            "decode, plan",
            "<code>read</code> returns. The connection finds a whole frame, the service makes a \
             plan of it.",
        ),
        step(
            Waits(2),
            "sleep, or compute",
            "A plan that takes time is carried out right here: the thread sleeps, computes or \
             blocks. (<code>Reply</code> leaves this step out.)",
        ),
        step(
            Goes(2, 1),
            "write()",
            "The reply goes to the send buffer. Where that is full, the thread sleeps in \
             <code>write</code> too.",
        ),
        step(Goes(1, 0), "reply", "The kernel sends it."),
        step(
            Waits(2),
            "in read() again",
            "The thread calls <code>read</code>, finds nothing, and sleeps: the second switch.",
        ),
    ],
};

const POOL: Picture = Picture {
    name: "pool",
    title: "pool: a request's way",
    lanes: &[
        ("client", ""),
        ("kernel", ""),
        ("front", "one thread"),
        ("queue", "bounded"),
        ("worker", "a few threads"),
    ],
    steps: &[
        step(
            Waits(2),
            "epoll_wait",
            "The front waits for all connections at once. No idle connection has a thread.",
        ),
        step(Goes(0, 1), "frame", "Bytes arrive in the socket's receive buffer."),
        step(Goes(1, 2), "event", "<code>epoll_wait</code> returns with all that are ready."),
        step(
            Works(2),
            "read until\na frame",
            "The front reads until a whole request is there. It decodes nothing: that is the \
             worker's affair, on its own core.",
        ),
        step(
            Goes(2, 3),
            "push",
            "The connection goes into the queue. It stands there once at the most, so that one \
             worker at a time has it, and replies keep their order.",
        ),
        step(
            Goes(3, 4),
            "wake (futex)",
            "A worker takes it. One that sleeps is woken by a futex call and has to be scheduled \
             first; one that is busy takes it when it is done.",
        ),
        step(
            Works(4),
            "decode,\ncarry out",
            "All requests of the batch, up to the first that takes time. That one is carried out \
             here, and holds the worker as long as it lasts.",
        ),
        step(Goes(4, 1), "write()", "One write for all replies of the batch."),
        step(Goes(1, 0), "replies", "The kernel sends them."),
        step(
            Waits(4),
            "next in\nthe queue",
            "The worker gives the connection back and takes the next one, or sleeps.",
        ),
    ],
};

const TASKS: Picture = Picture {
    name: "tasks",
    title: "tasks: a request's way",
    lanes: &[
        ("client", ""),
        ("kernel", ""),
        ("worker", "one a core"),
        ("task", "a future"),
        ("elsewhere", "timer, threads"),
    ],
    steps: &[
        step(
            Waits(2),
            "epoll_wait",
            "No task is ready: a worker of the runtime waits in the kernel for all sockets and \
             the next timer. The others sleep behind it.",
        ),
        step(Goes(0, 1), "frame", "Bytes arrive in the socket's receive buffer."),
        step(Goes(1, 2), "event", "The event says which socket is ready; its waker, which task."),
        step(
            Goes(2, 3),
            "poll()",
            "The scheduler polls the future. It goes on where it last returned \
             <code>Pending</code>.",
        ),
        step(
            Works(3),
            "read,\nplan",
            "The read buffer is on the worker's stack, and only while bytes are there.",
        ),
        step(
            MayGo(3, 4),
            "job, timer",
            "A plan that takes time goes to a timer, to the threads that compute, or to those \
             that may block. The future returns <code>Pending</code>, and the worker polls others.",
        ),
        step(
            MayGo(4, 2),
            "wake",
            "When it is done, its waker makes the task ready, and a worker polls it again.",
        ),
        step(Goes(3, 1), "write()", "The replies are tried at once, without waiting for an event."),
        step(Goes(1, 0), "reply", "The kernel sends them."),
        step(
            Goes(3, 2),
            "Pending",
            "The next read has nothing: the task leaves its waker and returns. What is left of it \
             is its future, on the heap.",
        ),
    ],
};

const EPOLL: Picture = Picture {
    name: "epoll",
    title: "epoll: a request's way",
    lanes: &[
        ("client", ""),
        ("kernel", ""),
        ("loop", "one a core"),
        ("table", "of clients"),
        ("elsewhere", "threads"),
    ],
    steps: &[
        step(
            Waits(2),
            "epoll_wait",
            "The loop waits for all of its sockets, until the first timer is due at the latest.",
        ),
        step(Goes(0, 1), "frame", "Bytes arrive in the socket's receive buffer."),
        step(Goes(1, 2), "events", "All that are ready come at once, up to a bound."),
        step(
            Goes(2, 3),
            "key",
            "The event carries a key. It finds the client, or nobody, if that one has left: a key \
             has a generation.",
        ),
        step(
            Works(2),
            "its turn:\nread, plan",
            "The client's turn: one read into the loop's one buffer, then every whole request.",
        ),
        step(
            MayGo(2, 4),
            "job",
            "A plan that takes time is only begun: a timer is set, or a job goes to another \
             thread. That it is under way is written into the client.",
        ),
        step(
            MayGo(4, 2),
            "result, eventfd",
            "The job's thread puts its result into a queue and writes to an eventfd, which is an \
             event like any other.",
        ),
        step(Goes(2, 1), "write()", "One write for all replies of the turn."),
        step(
            Goes(1, 0),
            "replies",
            "The kernel sends them. What it did not take stays in the \
             client until an event says that there is room.",
        ),
        step(
            Works(2),
            "timers,\nthe rest",
            "Completions, timers, clients whose turn was cut short, new connections; then around \
             again.",
        ),
    ],
};

const GRPC: Picture = Picture {
    name: "grpc",
    title: "grpc: a call's way",
    lanes: &[
        ("client", ""),
        ("kernel", ""),
        ("connection", "a task"),
        ("call", "a future"),
        ("elsewhere", "timer, threads"),
    ],
    steps: &[
        step(
            Waits(2),
            "epoll_wait",
            "The runtime's workers wait, as in <em>tasks</em>, for all connections.",
        ),
        step(
            Goes(0, 1),
            "frames",
            "HEADERS and DATA of one stream or of many arrive in the socket's receive buffer.",
        ),
        step(Goes(1, 2), "event, poll()", "The task of the connection is polled, and reads."),
        step(
            Works(2),
            "frames,\nHPACK, flow",
            "h2 takes the bytes apart: frames to streams, headers out of their compression, \
             credit of the flow-control windows counted.",
        ),
        step(
            Goes(2, 3),
            "begins",
            "Each new stream is a call: a future of its own. All that one read has brought are \
             carried out here, as far as they go without waiting.",
        ),
        step(
            Works(3),
            "layers,\nplan",
            "The call passes its layers (deadline, panics, what is switched on), is decoded, and \
             gets its plan: the same plan as on a framed connection.",
        ),
        step(
            MayGo(3, 4),
            "job, timer",
            "One that has to wait becomes a task of its own. The other streams go on: nobody \
             stands in line behind it.",
        ),
        step(MayGo(4, 3), "wake", "When it is done, the call's task is polled again."),
        step(
            Goes(3, 2),
            "answer",
            "HEADERS, DATA and trailers are queued at the connection, as far as the client's \
             windows allow.",
        ),
        step(Goes(2, 1), "write()", "The answers of the turn go out in one write."),
        step(Goes(1, 0), "frames", "The kernel sends them. The client tells them apart by stream."),
    ],
};
