//! str0m: one negotiated channel, ordered and reliable, messages of 64 KiB, driven as its documentation shows.
//!
//! - plain: its default configuration.
//! - tuned: it may buffer 2 MiB rather than 128 KiB, which is also the most that is in flight, and
//!   its datagrams have up to 1,400 bytes rather than 1,150. Its receive window is 4 MiB rather than 1 MiB.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context;
use deltawire::sim::{Host, Simulation};
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::end::{self, End, Task};
use super::{Flow, MESSAGE};
use crate::measure::FILL;

const BUFFER: usize = 2 << 20;
const DATAGRAM: usize = 1_400;
/// What it takes messages of up to is its window as well.
const WINDOW: u32 = 4 << 20;

pub(super) fn start_plain(sim: &mut Simulation, hosts: [Host; 2]) -> anyhow::Result<Flow> {
    start(sim, hosts, Rtc::builder)
}

pub(super) fn start_tuned(sim: &mut Simulation, hosts: [Host; 2]) -> anyhow::Result<Flow> {
    start(sim, hosts, || {
        let config = Rtc::builder().set_mtu(DATAGRAM..=DATAGRAM);
        config.set_sctp_max_buffered_amount(BUFFER).set_sctp_max_message_size(WINDOW)
    })
}

fn start(
    sim: &mut Simulation,
    hosts: [Host; 2],
    config: fn() -> RtcConfig,
) -> anyhow::Result<Flow> {
    str0m::crypto::from_feature_flags().install_process_default();
    end::start(sim, hosts, |[near, far], now, [sends, counts]| {
        let channel = || ChannelConfig { negotiated: Some(0), ..ChannelConfig::default() };
        let mut alice = config().build(now);
        alice.add_local_candidate(Candidate::host(near, Protocol::Udp)?);
        let mut bob = config().build(now);
        bob.add_local_candidate(Candidate::host(far, Protocol::Udp)?);
        let mut changes = alice.sdp_api();
        let here = changes.add_channel_with_config(channel());
        let (offer, pending) = changes.apply().context("no offer")?;
        let answer = bob.sdp_api().accept_offer(offer)?;
        let there = bob.direct_api().create_data_channel(channel());
        alice.sdp_api().accept_answer(pending, answer)?;
        let end = |rtc, local, channel, task| Str0m { rtc, local, channel, open: false, task };
        Ok([end(alice, near, here, sends), end(bob, far, there, counts)])
    })
}

struct Str0m {
    rtc: Rtc,
    local: SocketAddr,
    channel: ChannelId,
    open: bool,
    task: Task,
}

impl Str0m {
    /// Writes as much as it takes. Says whether it took any.
    fn write(&mut self) -> anyhow::Result<bool> {
        let Task::Send(started) = &self.task else { return Ok(false) };
        let Some(mut channel) = self.rtc.channel(self.channel).filter(|_| self.open) else {
            return Ok(false);
        };
        let mut wrote = false;
        while channel.write(true, &[FILL; MESSAGE])? {
            started.set();
            wrote = true;
        }
        Ok(wrote)
    }
}

impl End for Str0m {
    fn handle_datagram(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> anyhow::Result<()> {
        let receive = Receive::new(Protocol::Udp, source, self.local, datagram)?;
        Ok(self.rtc.handle_input(Input::Receive(now, receive))?)
    }

    fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        Ok(self.rtc.handle_input(Input::Timeout(now))?)
    }

    fn poll(
        &mut self,
        _now: Instant,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> anyhow::Result<Option<Instant>> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    if !self.write()? {
                        return Ok(Some(at));
                    }
                }
                Output::Transmit(transmit) => send(transmit.destination, &transmit.contents),
                Output::Event(Event::ChannelOpen(..)) => self.open = true,
                Output::Event(Event::ChannelData(data)) => {
                    if let Task::Count(came) = &self.task {
                        came.add(data.data.len());
                    }
                }
                Output::Event(_) => {}
            }
        }
    }
}
