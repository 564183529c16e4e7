//! What the preprocessor says, in Chinese. Terms are those of the book's glossary.

/// What result files say.
#[rustfmt::skip] // as below
pub(crate) const DATA: &[(&str, &str)] = &[
    // Loads of scenarios.
    ("{} over {} connections, depth {}", "{}，{} 个连接，深度 {}"),
    ("{} over {} connections, {} requests/s planned", "{}，{} 个连接，计划每秒 {} 个请求"),

    // Parameters of sweeps and crossovers.
    ("connections", "连接数"),
    ("depth", "深度"),
    ("payload", "echo 的字节数"),
    ("rate", "每秒请求数"),
    ("work", "工作"),
    ("idle", "空闲连接数"),
    ("% of requests that block for 1 ms", "阻塞 1 ms 的请求所占的百分比"),
    ("clients that each wait for 10 ms", "各等 10 ms 的客户端数"),
    ("hashes of a request", "每个请求的散列次数"),
    ("bytes of an echo", "echo 的字节数"),

    // What a crossover asks.
    ("a thread per connection answers a fifth less than an event loop",
        "每连接一线程比事件循环少回答五分之一"),
    ("a loop that blocks answers less than a pool of 16 workers",
        "会阻塞的循环不如有 16 个工作线程的线程池回答得多"),
    ("a pool of 16 workers answers a fifth less than tasks, which have no such number",
        "有 16 个工作线程的线程池比任务少回答五分之一，而任务没有这样一个数目"),
    ("to hand the work to another thread costs less than a fifth",
        "把工作移交给另一个线程，代价不到五分之一"),
    ("threads and an event loop are within a tenth of each other",
        "线程与事件循环相差不到十分之一"),
    ("gRPC answers at least half as much as the framed event loop",
        "gRPC 的回答数至少是帧协议事件循环的一半"),

    // Contenders.
    ("threads", "threads"),
    ("tasks", "tasks"),
    ("epoll", "epoll"),
    ("grpc", "grpc"),
    ("pool, 16 workers", "pool，16 个工作线程"),
    ("epoll, offload off", "epoll，offload off"),
];

/// Everything else.
#[rustfmt::skip] // Each pair on its own lines, the longer ones on two.
pub(crate) const WORDS: &[(&str, &str)] = &[
    // Machine.
    ("{}, {} cores, Linux {}; {}{}; `results/{}`", "{}，{} 核，Linux {}；{}{}；`results/{}`"),
    (", revision {}", "，修订 {}"),

    // Tables.
    ("server", "服务器"),
    ("requests/s", "请求/秒"),
    ("of best", "相对最好"),
    ("of floor", "相对下限"),
    ("CPU, µs", "CPU，µs"),
    ("switches", "切换"),
    ("threads", "线程"),
    ("MiB", "MiB"),
    ("{}. Medians; {}", "{}。取中位数；{}"),
    ("bytes for an idle connection", "一个空闲连接的字节数"),
    ("per request", "每个请求"),
    ("CPU time, µs", "CPU 时间，µs"),
    ("context switches", "上下文切换"),
    ("reads", "读"),
    ("writes", "写"),
    ("waits for events", "等待事件"),
    ("re-arms (`epoll_ctl`)", "重新注册（`epoll_ctl`）"),
    ("wake-ups of a loop", "唤醒循环"),
    ("hand-offs to another thread", "移交给另一个线程"),
    ("futex calls, as strace saw them", "futex 调用（strace 所见）"),
    ("bytes read", "读入的字节"),
    ("bytes written", "写出的字节"),
    ("bytes copied by the server", "服务器复制的字节"),
    ("allocations", "内存分配次数"),
    ("bytes allocated", "分配的字节"),
    ("16 streams each", "各 16 个流"),
    ("16 in the pipeline", "流水线中 16 个"),
    ("one at a time", "一次一个"),
    ("An echo of 64 bytes, 64 connections; futex calls: 4 connections, traced. {}. {}",
        "64 字节的 echo，64 个连接；futex 调用：4 个连接，用 strace 跟踪。{}。{}"),

    // Plots.
    ("requests answered per second", "每秒回答的请求数"),
    ("CPU time of the server per request", "服务器每个请求的 CPU 时间"),
    ("median latency", "延迟的中位数"),
    ("99th percentile of latency", "延迟的第 99 百分位"),
    ("memory of the server (RssAnon)", "服务器的内存（RssAnon）"),
    ("context switches per request", "每个请求的上下文切换次数"),
    ("{}: {}", "{}：{}"),
    ("Medians over blocks. {}", "各块取中位数。{}"),
    ("Medians over blocks. Lines: 95 % intervals. {}",
        "各块取中位数，线段为 95 % 置信区间。{}"),
    ("Medians over blocks, 95 % intervals. {}", "各块取中位数，附 95 % 置信区间。{}"),
    ("{} bytes", "{} 字节"),
    ("an idle connection: memory", "一个空闲连接占用的内存"),
    ("What the server's own memory (RssAnon) grows by for each; the kernel's part of a socket \
      is not in it. {}",
        "每多一个连接，服务器自身的内存（RssAnon）增加多少；套接字在内核里的那部分不算在内。{}"),
    ("kernel, and the way into it", "内核，以及进入内核"),
    ("copying, allocator", "复制，分配器"),
    ("runtime", "运行时"),
    ("HTTP/2", "HTTP/2"),
    ("codec, connection", "编解码，连接"),
    ("server, clock", "服务器，时钟"),
    ("{} µs a request, {} × {}", "每个请求 {} µs，{} × {}"),
    ("where a request's CPU time goes, sixteen outstanding on each connection",
        "一个请求的 CPU 时间花在哪里：每个连接上有十六个在途"),
    ("where a request's CPU time goes, one outstanding on each connection",
        "一个请求的 CPU 时间花在哪里：每个连接上有一个在途"),
    ("Samples of perf. {}", "perf 采样。{}"),

    // Crossovers.
    ("From **{}** ({}–{}) {} on, {}.", "{3}达到 **{0}**（{1}–{2}）之后，{4}。"),
    ("At each point measured, from **{}** {} on, {}.",
        "在测过的每一点上，也就是{1}从 **{0}** 起，{2}。"),
    ("Up to **{}** {}, the last point measured, it is not so that {}.",
        "直到测过的最后一点，也就是{1}为 **{0}** 时，都还看不到这种情况：{2}。"),
    ("level", "界线"),
    ("{}: requests per second, as a part of those of {}", "{}：每秒请求数，与 {} 之比"),
    ("Medians of ratios of interleaved blocks, 95 % intervals. {}",
        "交错的各块之比的中位数，附 95 % 置信区间。{}"),

    // Pictures: what several have.
    ("{}; the steps are in the list", "{}；各步骤见下面的列表"),
    ("client", "客户端"),
    ("kernel", "内核"),
    ("worker", "工作线程"),
    ("elsewhere", "别处"),
    ("timer, threads", "定时器、线程"),
    ("one a core", "每核一个"),
    ("frame", "帧"),
    ("event", "事件"),
    ("reply", "回复"),
    ("replies", "回复"),
    ("epoll_wait", "epoll_wait"),
    ("write()", "write()"),
    ("job, timer", "工作、定时器"),
    ("wake", "唤醒"),
    ("Bytes arrive in the socket's receive buffer.", "字节到达套接字的接收缓冲区。"),
    ("The kernel sends it.", "内核把它发出去。"),
    ("The kernel sends them.", "内核把它们发出去。"),

    // Threads.
    ("threads: a request's way", "threads：一个请求走过的路"),
    ("socket, scheduler", "套接字、调度器"),
    ("thread", "线程"),
    ("one a connection", "每个连接一个"),
    ("in read()", "在 read() 里"),
    ("The thread of this connection sleeps in <code>read</code>. It has a stack and an \
      entry in the scheduler, and takes no CPU time.",
        "这个连接的线程睡在 <code>read</code> 里。它有一个栈，在调度器里有一个位置，不花 CPU 时间。"),
    ("made runnable", "变为可运行"),
    ("The kernel makes the thread runnable and, when a core is free, switches to it: a \
      context switch.",
        "内核把线程标为可运行，等有核空出来就切换到它：一次上下文切换。"),
    ("decode, plan", "解码，定计划"),
    ("<code>read</code> returns. The connection finds a whole frame, the service makes a \
      plan of it.",
        "<code>read</code> 返回。连接找到一个完整的帧，服务据此定出一份计划。"),
    ("sleep, or compute", "睡眠或计算"),
    ("A plan that takes time is carried out right here: the thread sleeps, computes or \
      blocks. (<code>Reply</code> leaves this step out.)",
        "需要时间的计划就在这里执行：线程睡眠、计算或阻塞。（<code>Reply</code> 没有这一步。）"),
    ("The reply goes to the send buffer. Where that is full, the thread sleeps in \
      <code>write</code> too.",
        "回复进入发送缓冲区。缓冲区满了，线程就在 <code>write</code> 里也睡下。"),
    ("in read() again", "又在 read() 里"),
    ("The thread calls <code>read</code>, finds nothing, and sleeps: the second switch.",
        "线程调用 <code>read</code>，没有可读的内容，于是睡下：第二次切换。"),

    // Pool.
    ("pool: a request's way", "pool：一个请求走过的路"),
    ("front", "前台"),
    ("one thread", "一个线程"),
    ("queue", "队列"),
    ("bounded", "有界"),
    ("a few threads", "几个线程"),
    ("The front waits for all connections at once. No idle connection has a thread.",
        "前台同时等所有连接。空闲的连接都不占线程。"),
    ("<code>epoll_wait</code> returns with all that are ready.",
        "<code>epoll_wait</code> 返回，带回所有就绪的连接。"),
    ("read until\na frame", "读到有一\n个完整帧"),
    ("The front reads until a whole request is there. It decodes nothing: that is the \
      worker's affair, on its own core.",
        "前台一直读到有一个完整的请求为止。它不解码：那是工作线程在自己的核上做的事。"),
    ("push", "入队"),
    ("The connection goes into the queue. It stands there once at the most, so that one \
      worker at a time has it, and replies keep their order.",
        "连接进入队列。它在队列里最多排一次，所以同时只有一个工作线程拿着它，回复也就保持次序。"),
    ("wake (futex)", "唤醒(futex)"),
    ("A worker takes it. One that sleeps is woken by a futex call and has to be scheduled \
      first; one that is busy takes it when it is done.",
        "一个工作线程取走它。睡着的要先由 futex 调用唤醒，再等调度；忙着的做完手头的事再来取。"),
    ("decode,\ncarry out", "解码，执行"),
    ("All requests of the batch, up to the first that takes time. That one is carried out \
      here, and holds the worker as long as it lasts.",
        "执行这一批里的所有请求，到第一个需要时间的为止。那一个也在这里执行，用多久就占住工作线程多久。"),
    ("One write for all replies of the batch.", "这一批的所有回复，用一次写送出。"),
    ("next in\nthe queue", "队列里\n的下一个"),
    ("The worker gives the connection back and takes the next one, or sleeps.",
        "工作线程把连接还回去，再取下一个，或者睡下。"),

    // Tasks.
    ("tasks: a request's way", "tasks：一个请求走过的路"),
    ("task", "任务"),
    ("a future", "future"),
    ("No task is ready: a worker of the runtime waits in the kernel for all sockets and \
      the next timer. The others sleep behind it.",
        "没有任务就绪：运行时的一个工作线程在内核里等所有的套接字和下一个定时器，其余的在它后面睡。"),
    ("The event says which socket is ready; its waker, which task.",
        "事件说明哪个套接字就绪；它的唤醒器说明是哪个任务。"),
    ("poll()", "poll()"),
    ("The scheduler polls the future. It goes on where it last returned \
      <code>Pending</code>.",
        "调度器 poll 这个 future。它从上次返回 <code>Pending</code> 的地方继续。"),
    ("read,\nplan", "读，定计划"),
    ("The read buffer is on the worker's stack, and only while bytes are there.",
        "读缓冲区在工作线程的栈上，只在有字节可读时才存在。"),
    ("A plan that takes time goes to a timer, to the threads that compute, or to those \
      that may block. The future returns <code>Pending</code>, and the worker polls others.",
        "需要时间的计划交给定时器、计算线程，或可以阻塞的线程。future 返回 <code>Pending</code>，\
         工作线程去 poll 别的任务。"),
    ("When it is done, its waker makes the task ready, and a worker polls it again.",
        "做完之后，唤醒器让任务就绪，由某个工作线程再次 poll 它。"),
    ("The replies are tried at once, without waiting for an event.",
        "回复立刻尝试写出，不先等事件。"),
    ("Pending", "Pending"),
    ("The next read has nothing: the task leaves its waker and returns. What is left of it \
      is its future, on the heap.",
        "下一次读没有内容：任务留下唤醒器，然后返回。它剩下的只有堆上的那个 future。"),

    // Epoll.
    ("epoll: a request's way", "epoll：一个请求走过的路"),
    ("loop", "循环"),
    ("table", "表"),
    ("of clients", "各客户端"),
    ("The loop waits for all of its sockets, until the first timer is due at the latest.",
        "循环等自己的所有套接字，最多等到第一个定时器到期。"),
    ("events", "事件"),
    ("All that are ready come at once, up to a bound.", "所有就绪的一次报来，数目有上限。"),
    ("key", "键"),
    ("The event carries a key. It finds the client, or nobody, if that one has left: a key \
      has a generation.",
        "事件带着一个键。用它找到那个客户端；如果客户端已经离开，就谁也找不到：键里有世代号。"),
    ("its turn:\nread, plan", "轮到它：\n读，定计划"),
    ("The client's turn: one read into the loop's one buffer, then every whole request.",
        "轮到这个客户端：往循环唯一的缓冲区里读一次，然后处理每个完整的请求。"),
    ("job", "工作"),
    ("A plan that takes time is only begun: a timer is set, or a job goes to another \
      thread. That it is under way is written into the client.",
        "需要时间的计划只是开个头：设一个定时器，或者把工作交给另一个线程。正在进行这一点，\
         记在客户端里。"),
    ("result, eventfd", "结果、eventfd"),
    ("The job's thread puts its result into a queue and writes to an eventfd, which is an \
      event like any other.",
        "做这份工作的线程把结果放进队列，再往一个 eventfd 里写；它与别的事件没有两样。"),
    ("One write for all replies of the turn.", "这一轮的所有回复，用一次写送出。"),
    ("The kernel sends them. What it did not take stays in the \
      client until an event says that there is room.",
        "内核把它们发出去。没收下的留在客户端的状态里，直到有事件说又有空间了。"),
    ("timers,\nthe rest", "定时器，\n其余的事"),
    ("Completions, timers, clients whose turn was cut short, new connections; then around \
      again.",
        "完成通知，定时器，上次没做完就让位的客户端，新连接；然后再来一轮。"),

    // gRPC.
    ("grpc: a call's way", "grpc：一个调用走过的路"),
    ("connection", "连接"),
    ("a task", "一个任务"),
    ("call", "调用"),
    ("The runtime's workers wait, as in <em>tasks</em>, for all connections.",
        "运行时的工作线程替所有连接等，与 tasks 相同。"),
    ("frames", "帧"),
    ("HEADERS and DATA of one stream or of many arrive in the socket's receive buffer.",
        "一个流或许多流的 HEADERS 和 DATA 到达套接字的接收缓冲区。"),
    ("event, poll()", "事件、poll()"),
    ("The task of the connection is polled, and reads.", "连接的任务被 poll，于是去读。"),
    ("frames,\nHPACK, flow", "帧、HPACK\n流量控制"),
    ("h2 takes the bytes apart: frames to streams, headers out of their compression, \
      credit of the flow-control windows counted.",
        "h2 把字节拆开：帧归到各个流，头部解压，流量控制窗口的额度记账。"),
    ("begins", "开始"),
    ("Each new stream is a call: a future of its own. All that one read has brought are \
      carried out here, as far as they go without waiting.",
        "每个新的流是一个调用，各是一个 future。一次读带来的所有调用都在这里执行，直到必须等待为止。"),
    ("layers,\nplan", "各层、\n定计划"),
    ("The call passes its layers (deadline, panics, what is switched on), is decoded, and \
      gets its plan: the same plan as on a framed connection.",
        "调用经过各层（截止时间、panic、已启用的功能），解码，得到计划：与帧协议连接上的计划相同。"),
    ("One that has to wait becomes a task of its own. The other streams go on: nobody \
      stands in line behind it.",
        "必须等待的调用成为一个独立的任务。其他的流照常进行：没有谁排在它后面。"),
    ("When it is done, the call's task is polled again.", "做完之后，这个调用的任务再次被 poll。"),
    ("answer", "回答"),
    ("HEADERS, DATA and trailers are queued at the connection, as far as the client's \
      windows allow.",
        "HEADERS、DATA 和尾部字段在连接上排队，数量以客户端的窗口为限。"),
    ("The answers of the turn go out in one write.", "这一轮的所有回答，用一次写送出。"),
    ("The kernel sends them. The client tells them apart by stream.",
        "内核把它们发出去。客户端按流区分它们。"),
];
