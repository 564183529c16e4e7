//! More clients than a server was told to serve.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::Code;

use super::scene::{Fault, STEP_TIMEOUT, Scene, echo, expect};
use super::told::Flag;
use crate::client::framed::{Framed, is_reset};
use crate::client::grpc::Grpc;
use crate::descriptors;

/// The check's name.
pub(super) const NAME: &str = Flag::MaxConnections.name();
/// Clients that come when all room is taken.
const MORE: usize = 3;
/// Who is served says something after this part of the idle timeout.
const AWAKE_PART: u32 = 4;
/// Between two attempts to be served where a server has yet to see that others went.
const AGAIN: Duration = Duration::from_millis(5);

/// Exactly so many, one code for the others.
pub(super) fn framed(scene: &Scene<'_>) -> Result<(), Fault> {
    let max = max(scene)?;
    let enter = || {
        let mut client = scene.connect()?;
        client.send(&[echo(1, b"in")])?;
        expect(&client.receive()?, 1, 0, b"in")?;
        Ok(client)
    };
    let refused = || {
        let mut client = scene.connect()?;
        // Whether it speaks makes no difference; a request may meet the end.
        let _ = client.send(&[echo(1, b"in")]);
        match client.receive() {
            Ok(answer) if answer.id == 1 => Err("it is served".into()),
            answer => {
                expect(&answer?, 0, Code::ResourceExhausted as u32, b"")?;
                Ok(client.receive_end()?)
            }
        }
    };
    let mut stays = |client: &mut Framed| {
        client.set_patience(scene.patience.at_most(STEP_TIMEOUT));
        client.send(&[echo(2, b"still")])?;
        expect(&client.receive()?, 2, 0, b"still")
    };
    keeps_to(scene, max, &enter, &refused, &mut stays)
}

/// The others are closed; a server may say why before (GOAWAY).
pub(super) fn grpc(scene: &Scene<'_>) -> Result<(), Fault> {
    let max = max(scene)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bounded = |ask: &mut dyn FnMut() -> AskedOne| {
        let left = scene.patience.at_most(STEP_TIMEOUT).left();
        let asked = runtime.block_on(async { tokio::time::timeout(left, ask()).await });
        asked.unwrap_or_else(|_| Err("it does not answer in time".into()))
    };
    let address = scene.target.address;
    let enter = || {
        bounded(&mut || {
            Box::pin(async move {
                let grpc = Grpc::connect(address).await?;
                expect(&grpc.ask(&echo(1, b"in")).await?, 1, 0, b"in")?;
                Ok(grpc)
            })
        })
    };
    let refused = || {
        let patience = scene.patience.at_most(STEP_TIMEOUT);
        let mut stream = TcpStream::connect_timeout(&address, patience.left())?;
        stream.set_read_timeout(Some(patience.left()))?;
        let (mut said, mut chunk) = (Vec::new(), [0; 1024]);
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Err(error) if is_reset(&error) => return Ok(()),
                Ok(bytes) => said.extend_from_slice(&chunk[..bytes]),
                Err(_) => return Err("it is neither served nor closed".into()),
            }
            if !says_goodbye(&said) {
                return Err("it is served".into()); // these are the server's settings, and no more
            }
        }
    };
    let mut stays = |grpc: &mut Grpc| {
        let still = echo(2, b"still");
        let left = scene.patience.at_most(STEP_TIMEOUT).left();
        let asked = runtime.block_on(async { tokio::time::timeout(left, grpc.ask(&still)).await });
        let answer = asked.unwrap_or_else(|_| Err("it does not answer in time".into()))?;
        expect(&answer, 2, 0, b"still")
    };
    keeps_to(scene, max, &enter, &refused, &mut stays)
}

/// Whether one of these frames (RFC 9113, 4.1: three bytes of length, one of type) is a GOAWAY.
fn says_goodbye(mut frames: &[u8]) -> bool {
    const HEAD_BYTES: usize = 9;
    const GOAWAY: u8 = 7;
    while let [a, b, c, kind, ..] = *frames {
        if kind == GOAWAY {
            return true;
        }
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        frames = frames.get(HEAD_BYTES + length..).unwrap_or_default();
    }
    false
}

type AskedOne = std::pin::Pin<Box<dyn Future<Output = Result<Grpc, Fault>>>>;

fn max(scene: &Scene<'_>) -> Result<usize, Fault> {
    let max = scene.told.max_connections.map_or(1, std::num::NonZero::get);
    descriptors::check(max + MORE).map_err(|error| error.to_string())?;
    Ok(max)
}

/// Fills all room, knocks, and makes room.
fn keeps_to<C>(
    scene: &Scene<'_>,
    max: usize,
    enter: &dyn Fn() -> Result<C, Fault>,
    refused: &dyn Fn() -> Result<(), Fault>,
    stays: &mut dyn FnMut(&mut C) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut inside = Inside { clients: VecDeque::new(), stays, idle: scene.told.idle_timeout };
    for number in 1..=max {
        let entered = eventually(scene, enter);
        let client = entered.map_err(|it| it.at(&format!("connection {number} of {max}")))?;
        inside.clients.push_back((Instant::now(), client));
        inside.stay_awake()?;
    }
    for number in 1..=MORE {
        refused().map_err(|fault| fault.at(&format!("connection {max} + {number}")))?;
    }
    inside.all_stay()?;
    inside.clients.pop_back();
    let client = eventually(scene, enter).map_err(|fault| fault.at("where one has left"))?;
    inside.clients.push_back((Instant::now(), client));
    refused().map_err(|fault| fault.at("all room is taken again"))?;
    inside.all_stay()
}

/// Those who are served, and when each was answered last; the longest ago first.
struct Inside<'a, C> {
    clients: VecDeque<(Instant, C)>,
    stays: &'a mut dyn FnMut(&mut C) -> Result<(), Fault>,
    idle: Option<Duration>,
}

impl<C> Inside<'_, C> {
    /// Lets those speak who would soon be closed for saying nothing.
    fn stay_awake(&mut self) -> Result<(), Fault> {
        while let (Some(idle), Some((at, _))) = (self.idle, self.clients.front()) {
            if at.elapsed() < idle / AWAKE_PART {
                break;
            }
            self.longest_ago_stays()?;
        }
        Ok(())
    }

    fn all_stay(&mut self) -> Result<(), Fault> {
        (0..self.clients.len()).try_for_each(|_| self.longest_ago_stays())
    }

    fn longest_ago_stays(&mut self) -> Result<(), Fault> {
        let Some((_, mut client)) = self.clients.pop_front() else { return Ok(()) };
        (self.stays)(&mut client).map_err(|fault| fault.at("one of those inside"))?;
        self.clients.push_back((Instant::now(), client));
        Ok(())
    }
}

/// Enters where a server may have yet to see that others went.
fn eventually<C>(scene: &Scene<'_>, enter: &dyn Fn() -> Result<C, Fault>) -> Result<C, Fault> {
    let patience = scene.patience.at_most(STEP_TIMEOUT);
    loop {
        match enter() {
            Err(_) if !patience.is_over() => thread::sleep(AGAIN),
            entered => return entered,
        }
    }
}
