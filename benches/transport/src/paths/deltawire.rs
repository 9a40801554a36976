//! Deltawire: a link of the simulated network over datagrams, with the defaults; deltas, and commands beside
//! them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use deltawire::prelude::*;
use deltawire::sim::{Carrier, Clock, End, Host, LinkOptions, Simulation};
use deltawire::webrtc::EngineKind;

use super::end::Count;
use super::{Flow, MESSAGE};
use crate::measure::{FILL, PING};

/// How often a command is sent.
const EVERY: Duration = Duration::from_millis(10);

pub(super) fn start(sim: &mut Simulation, hosts: [Host; 2]) -> anyhow::Result<Flow> {
    start_with(sim, hosts, LinkOptions { carrier: Carrier::Datagrams, ..LinkOptions::default() })
}

pub(super) fn start_on_str0m(sim: &mut Simulation, hosts: [Host; 2]) -> anyhow::Result<Flow> {
    let (carrier, engine) = (Carrier::Datagrams, EngineKind::Str0m);
    start_with(sim, hosts, LinkOptions { carrier, engine, ..LinkOptions::default() })
}

/// A row for each way in which a link can be made.
fn start_with(
    sim: &mut Simulation,
    [near, far]: [Host; 2],
    options: LinkOptions,
) -> anyhow::Result<Flow> {
    let (here, there) = sim.connect_with(near, far, &options)?;
    let (came, delays, clock) = (Count::default(), Delays::default(), sim.clock());
    let (End { peer: here, link }, Peer { command, send, receive }) = (here, there.peer);
    sim.spawn(flood(here.send));
    sim.spawn(count(receive, came.clone()));
    sim.spawn(ask(here.command.send, clock.clone()));
    sim.spawn(answer(command.receive, delays.clone(), clock));
    sim.spawn(async move {
        let _kept = (link, there.link, send, command.send, here.receive, here.command.receive);
        std::future::pending::<()>().await;
    });
    Ok(Flow { came, commands: Some(delays) })
}

const FIELDS: DeltaFields = DeltaFields::new(DocId([FILL; 16]));

async fn flood(mut sender: Sender) {
    while let Ok(grant) = sender.reserve(MESSAGE).await {
        if grant.commit(FIELDS, MESSAGE).is_err() {
            return;
        }
    }
}

async fn count(mut receiver: Receiver, came: Count) {
    while let Ok(message) = receiver.next().await {
        let Ok(delta) = message.delta() else { return };
        came.add(delta.payload().len());
    }
}

/// Sends commands that say when they were sent.
async fn ask(mut sender: Sender, clock: Clock) {
    while let Ok(mut grant) = sender.reserve(PING).await {
        let now = clock.now().as_nanos() as u64;
        grant.payload_mut()[..8].copy_from_slice(&now.to_le_bytes());
        if grant.commit(FIELDS, PING).is_err() {
            return;
        }
        clock.sleep(EVERY).await;
    }
}

async fn answer(mut receiver: Receiver, delays: Delays, clock: Clock) {
    while let Ok(message) = receiver.next().await {
        let Ok(delta) = message.delta() else { return };
        let Some(sent) = delta.payload().first_chunk() else { return };
        let sent = Duration::from_nanos(u64::from_le_bytes(*sent));
        delays.0.borrow_mut().push(clock.now().saturating_sub(sent));
    }
}

/// How long commands took.
#[derive(Clone, Default)]
pub(super) struct Delays(Rc<RefCell<Vec<Duration>>>);

impl Delays {
    /// The shortest time that this share of them did not exceed.
    pub(super) fn milliseconds(&self, share: f64) -> f64 {
        let mut all = self.0.borrow().clone();
        all.sort();
        let index = (share * all.len() as f64).ceil() as usize;
        all.get(index.max(1) - 1).map_or(f64::NAN, |delay| 1e3 * delay.as_secs_f64())
    }
}
