//! A server in a thread of the test, and a client that blocks. Whatever they wait for has a bound.

use std::fmt::Debug;
use std::io::{self, BufReader, Read, Write};
use std::net::{self, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use common::message::{Code, Request, Response, Work};
use common::{Config, Service, Shutdown, Stats, frame, job};

/// Far above what any step takes, also on a busy machine; a step that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// For a drain that is not to end by its timeout: a test that had to wait for this would fail.
pub const NEVER: Duration = Duration::from_mins(10);
/// For a drain that is to end by its timeout.
pub const SOON: Duration = Duration::from_millis(200);

pub type Serve = fn(TcpListener, Service, &Config, &Shutdown, &Stats) -> io::Result<()>;

/// Dropping it drains it, and fails the test where the drain does not end.
pub struct Server {
    pub address: SocketAddr,
    stats: Stats,
    shutdown: Shutdown,
    ended: Option<Receiver<io::Result<()>>>,
}

impl Server {
    pub fn start(serve: Serve, drain_timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config { drain_timeout, ..Config::default() };
        let (shutdown, stats) = (Shutdown::new(), Stats::new());
        let (its_shutdown, its_stats) = (shutdown.clone(), stats.clone());
        let (end, ended) = mpsc::channel();
        thread::spawn(move || {
            let served = serve(listener, Service::new(), &config, &its_shutdown, &its_stats);
            let _ = end.send(served);
        });
        Self { address, stats, shutdown, ended: Some(ended) }
    }

    #[track_caller]
    pub fn connect(&self) -> Client {
        let connected = TcpStream::connect_timeout(&self.address, PATIENCE);
        self.has_not_ended();
        Client::over(connected.unwrap())
    }

    #[track_caller]
    fn has_not_ended(&self) {
        match self.ended.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => {}
            Some(ended) => panic!("serve has ended before it was told to: {ended:?}"),
        }
    }

    /// Waits until so many requests take time.
    #[track_caller]
    pub fn has_in_progress(&self, count: u64) {
        eventually("requests in progress", count, || {
            self.has_not_ended();
            self.stats.snapshot().in_progress
        });
    }

    /// Pulls the trigger, and does not wait.
    pub fn begin_drain(&self) {
        self.shutdown.trigger();
    }

    /// Waits until `serve` returns without an error.
    #[track_caller]
    pub fn drained(&mut self) {
        self.begin_drain();
        let ended = self.ended.take().expect("a server ends once");
        let served = ended.recv_timeout(PATIENCE).expect("serve returns");
        served.expect("serve returns without an error");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_drain();
        if self.ended.is_some() && !thread::panicking() {
            self.drained();
        }
    }
}

/// Polls until `observe` gives `expected`.
#[track_caller]
pub fn eventually<T: PartialEq + Debug + Copy>(what: &str, expected: T, observe: impl Fn() -> T) {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let seen = observe();
        if seen == expected {
            return;
        }
        assert!(Instant::now() < give_up_at, "{what}: {seen:?}, never {expected:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// One connection.
pub struct Client {
    input: BufReader<TcpStream>,
}

impl Client {
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { input: BufReader::new(stream) }
    }

    pub fn stream(&self) -> &TcpStream {
        self.input.get_ref()
    }

    #[track_caller]
    pub fn send(&self, requests: &[Request]) {
        self.send_bytes(&framed(requests));
    }

    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the server takes what is sent");
    }

    /// The next response, whatever it says.
    #[track_caller]
    pub fn receive(&mut self) -> Response {
        let mut prefix = [0; frame::PREFIX_BYTES];
        self.input.read_exact(&mut prefix).expect("a response comes");
        let mut message = vec![0; u32::from_be_bytes(prefix) as usize];
        self.input.read_exact(&mut message).expect("a whole response comes");
        frame::decode(&message).expect("it is one")
    }

    /// The next response is `id`'s, and good; its payload.
    #[track_caller]
    pub fn receive_ok(&mut self, id: u64) -> Vec<u8> {
        let Response { id: of, code, message, payload } = self.receive();
        assert_eq!((of, code, message.as_str()), (id, 0, ""));
        payload
    }

    #[track_caller]
    pub fn receive_error(&mut self, id: u64, code: Code) {
        let response = self.receive();
        assert_eq!((response.id, response.code), (id, code as u32), "{response:?}");
    }

    /// The server has said all, and says so.
    #[track_caller]
    pub fn receive_eof(&mut self) {
        let bytes = self.input.read(&mut [0]).expect("the end, and no reset");
        assert_eq!(bytes, 0, "more bytes after the last response");
    }

    /// The server is gone: it may say so by an end, or by a reset.
    #[track_caller]
    pub fn is_let_go(&mut self) {
        match self.input.read(&mut [0]) {
            Ok(bytes) => assert_eq!(bytes, 0, "an answer to nothing"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Whether there is nothing to be read now.
    pub fn has_heard_nothing(&self) -> bool {
        self.stream().set_nonblocking(true).unwrap();
        let nothing = self.stream().peek(&mut [0]).is_err();
        self.stream().set_nonblocking(false).unwrap();
        nothing
    }

    #[track_caller]
    pub fn echoes(&mut self, id: u64, payload: &[u8]) {
        self.send(&[echo(id, payload)]);
        assert!(self.receive_ok(id) == payload, "echo {id}: another payload came back");
    }

    /// Says that no request follows, and stays for the answers.
    pub fn half_close(&self) {
        self.stream().shutdown(net::Shutdown::Write).unwrap();
    }

    /// Leaves as a process that crashes or a cable that breaks: no end, a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends these requests, and gets each answer in its turn.
    #[track_caller]
    pub fn gets_all(&mut self, requests: &[Request]) {
        self.send(requests);
        for request in requests {
            assert_eq!(self.receive_ok(request.id), answer(request), "{request:?}");
        }
    }
}

impl Client {
    /// Asks, and reads nothing, until the server takes no more.
    pub fn asks_and_never_reads(&self) {
        self.stream().set_write_timeout(Some(SOON)).unwrap();
        let requests = framed(&vec![echo(1, &[7; 10_000]); 100]);
        while self.stream().write_all(&requests).is_ok() {}
    }

    /// Asks for more than the sockets of both ends hold, and begins to read when nothing moves any
    /// more: the server has to keep the rest of a reply, and the requests behind it.
    #[track_caller]
    pub fn reads_late(&mut self) {
        const REQUESTS: u64 = 1000;
        let payload = vec![7; 100_000];
        let mut output = self.stream().try_clone().unwrap();
        let requests: Vec<_> = (0..REQUESTS).map(|id| echo(id, &payload)).collect();
        let (say, progress) = mpsc::channel();
        let writer = thread::spawn(move || {
            for piece in framed(&requests).chunks(1 << 20) {
                output.write_all(piece).expect("all of it is taken");
                let _ = say.send(());
            }
        });
        while progress.recv_timeout(SOON).is_ok() {}
        for id in 0..REQUESTS {
            assert!(self.receive_ok(id) == payload, "echo {id}");
        }
        writer.join().unwrap();
    }
}

pub fn framed(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        frame::encode(request, &mut bytes);
    }
    bytes
}

fn request(id: u64, work: Work) -> Request {
    Request { id, timeout_ms: 0, work: Some(work) }
}

pub fn echo(id: u64, payload: &[u8]) -> Request {
    request(id, Work::Echo(payload.to_vec()))
}

pub fn wait(id: u64, duration: Duration) -> Request {
    request(id, Work::WaitUs(duration.as_micros().try_into().unwrap()))
}

pub fn block(id: u64, duration: Duration) -> Request {
    request(id, Work::BlockUs(duration.as_micros().try_into().unwrap()))
}

pub fn compute(id: u64, rounds: u32) -> Request {
    request(id, Work::ComputeRounds(rounds))
}

/// Some of each kind, in turn.
pub fn mixed(ids: std::ops::Range<u64>) -> Vec<Request> {
    let short = Duration::from_micros(50);
    let of_kind = |id: u64| match id % 4 {
        0 => wait(id, short),
        1 => compute(id, 2),
        2 => block(id, short),
        _ => echo(id, &id.to_be_bytes()),
    };
    ids.map(of_kind).collect()
}

/// What a good answer has in it.
fn answer(request: &Request) -> Vec<u8> {
    match request.work.as_ref().unwrap() {
        Work::Echo(payload) => payload.clone(),
        Work::ComputeRounds(rounds) => job::digest(request.id, *rounds).to_vec(),
        _ => Vec::new(),
    }
}

/// What people send to the wrong port, and what is a frame but no message.
pub const FOREIGN: [(&[u8], Code); 3] = [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Code::ResourceExhausted),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Code::ResourceExhausted),
    (b"\x00\x00\x00\x02\xff\xff", Code::InvalidArgument),
];
