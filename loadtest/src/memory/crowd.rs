//! The connections whose memory is measured: silent ones, or ones in the middle of a request.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::service::WAIT_US_MAX;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::client::Patience;
use crate::client::framed::Framed;
use crate::client::grpc::{CALL, Call, Grpc};
use crate::connect::connect_all;
use crate::target::{Protocol, Target};
use crate::template::{Template, Templates};
use crate::work::{Kind, Mix};

/// How long the last request of an active connection is outstanding: as long as the contract
/// allows.
pub const OUTSTANDING: Duration = Duration::from_micros(WAIT_US_MAX);
/// The least that one growth of a crowd may take, and what each connection adds to it.
const GROWTH_TIMEOUT: Duration = Duration::from_secs(10);
const GROWTH_TIMEOUT_EACH: Duration = Duration::from_millis(10);

/// What a connection does while its memory is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Nothing since it was opened; over gRPC, since both sides said their settings.
    Idle,
    /// It has had its requests answered, one after the other, and one `wait` is outstanding.
    Active,
}

/// What an active connection asks before.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Of which kind.
    pub work: Kind,
    /// How many.
    pub count: u64,
}

/// Connections to one server that do the same.
pub(super) struct Crowd {
    target: Target,
    activity: Activity,
    asked: Templates,
    outstanding: Templates,
    requests: u64,
    members: Members,
    outstanding_since: Option<Instant>,
}

enum Members {
    Framed(Vec<Framed>),
    Grpc { connections: Vec<(Grpc, Option<Call>)>, runtime: Runtime },
}

impl Crowd {
    pub(super) fn new(target: Target, activity: Activity, requests: &Requests) -> io::Result<Self> {
        let wait = Kind::Wait { us: WAIT_US_MAX };
        let templates = |kind| Templates::new(&Mix::from(kind), 1, target.protocol);
        let members = match target.protocol {
            Protocol::Framed | Protocol::Raw => Members::Framed(Vec::new()),
            Protocol::Grpc => Members::Grpc {
                connections: Vec::new(),
                // A thread of its own, so that the connections live on between two growths.
                runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
            },
        };
        Ok(Self {
            target,
            activity,
            asked: templates(requests.work),
            outstanding: templates(wait),
            requests: requests.count,
            members,
            outstanding_since: None,
        })
    }

    fn len(&self) -> usize {
        match &self.members {
            Members::Framed(clients) => clients.len(),
            Members::Grpc { connections, .. } => connections.len(),
        }
    }

    /// Opens connections until there are `count`. All get their requests answered before the first
    /// leaves one outstanding, since that may take the server's last worker.
    ///
    /// # Errors
    /// In words, if one cannot be opened, or is not answered in time.
    pub(super) fn grow(&mut self, count: usize) -> Result<(), String> {
        let more = count.saturating_sub(self.len());
        let each = GROWTH_TIMEOUT_EACH * u32::try_from(more).unwrap_or(u32::MAX);
        let patience = Patience::of(GROWTH_TIMEOUT + each);
        let streams = connect_all(self.target.address, more, patience.left())
            .map_err(|error| error.to_string())?;
        let active = self.activity == Activity::Active;
        let asked = active.then(|| (self.asked.of(0), self.requests));
        if active {
            self.outstanding_since.get_or_insert_with(Instant::now);
        }
        let last = self.outstanding.of(0);
        match &mut self.members {
            Members::Framed(clients) => {
                let new = clients.len();
                clients.extend(streams.into_iter().map(|stream| Framed::over(stream, patience)));
                let new = &mut clients[new..];
                let ask = |client: &mut Framed| match asked {
                    Some((template, count)) => ask_framed(client, template, count),
                    None => Ok(()),
                };
                new.iter_mut().try_for_each(ask).map_err(|error| error.to_string())?;
                let leave = |client: &mut Framed| client.send_bytes(&written(last, 0));
                let leave = new.iter_mut().filter(|_| active).try_for_each(leave);
                leave.map_err(|error| error.to_string())
            }
            Members::Grpc { connections, runtime } => {
                let growth = async {
                    let new = connections.len();
                    for stream in streams {
                        connections.push((Grpc::over(stream).await?, None));
                    }
                    let Some((template, count)) = asked else { return Ok(()) };
                    for (grpc, _) in &connections[new..] {
                        ask_grpc(grpc, template, count).await?;
                    }
                    for (grpc, call) in &mut connections[new..] {
                        let begun = grpc.begin(CALL).await?;
                        let begun = call.insert(begun);
                        let message = Bytes::from(written(last, 0));
                        begun.requests.queue(message, true)?;
                    }
                    Ok(())
                };
                let bounded = async { tokio::time::timeout(patience.left(), growth).await };
                runtime.block_on(bounded).unwrap_or_else(|_| Err("it does not answer".to_owned()))
            }
        }
    }

    /// What its connections do.
    pub(super) fn activity(&self) -> Activity {
        self.activity
    }

    /// Whether what should be outstanding still is.
    ///
    /// # Errors
    /// In words, if it took so long that the first may have been answered.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.outstanding_since {
            Some(since) if since.elapsed() > OUTSTANDING => {
                Err("the first of its requests may have ended: use fewer connections".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn written(template: &Template, index: u64) -> Vec<u8> {
    let id = template.id(index);
    let mut bytes = Vec::with_capacity(template.request_bytes(id));
    template.write(id, &mut bytes);
    bytes
}

fn ask_framed(client: &mut Framed, template: &Template, count: u64) -> io::Result<()> {
    for index in 0..count {
        client.send_bytes(&written(template, index))?;
        let message = client.receive_message()?;
        template
            .check(template.id(index), message)
            .map_err(|kind| io::Error::other(format!("a wrong answer: {}", kind.name())))?;
    }
    Ok(())
}

async fn ask_grpc(grpc: &Grpc, template: &Template, count: u64) -> Result<(), String> {
    for index in 0..count {
        let outcome = grpc.call(CALL, written(template, index).into()).await?;
        let right = outcome.messages.first().map(|message| {
            template.check(template.id(index), message).map_err(|kind| kind.name().into_owned())
        });
        right.unwrap_or_else(|| Err(format!("code {}", outcome.code)))?;
    }
    Ok(())
}
