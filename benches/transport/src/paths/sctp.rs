//! webrtc-rs: its SCTP, the crate `rtc-sctp`, alone. ICE and DTLS make no difference to how much of a path is
//! used, but for the 37 bytes that a record of DTLS takes of each datagram, which stand there as zeros.
//!
//! Its defaults: a receive window of 1 MiB, packets of 1,191 bytes. The sender waits while 1 MiB is not
//! acknowledged, as in the library's example `data-channels-flow-control`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use deltawire::sim::{Host, Simulation};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier, ServerConfig, StreamEvent, StreamId,
};

use super::end::{self, End, Task};
use super::{Flow, MESSAGE};
use crate::measure::FILL;

const SEND_BUFFER: usize = 1 << 20;
/// What a record of DTLS 1.2 with AES-GCM takes beside its payload.
const RECORD: usize = 13 + 8 + 16;
const STREAM: StreamId = 0;

pub(super) fn start(sim: &mut Simulation, hosts: [Host; 2]) -> anyhow::Result<Flow> {
    end::start(sim, hosts, |[near, far], now, [sends, counts]| {
        let config = Arc::new(EndpointConfig::new());
        let endpoint =
            |local, server| Endpoint::new(local, Default::default(), config.clone(), server);
        let (mut alice, server) = (endpoint(near, None), Arc::new(ServerConfig::default()));
        let association = alice.connect(now, ClientConfig::default(), far)?;
        let end = |endpoint, association, peer, task| Sctp {
            endpoint,
            association,
            peer,
            connected: false,
            message: Bytes::from_static(&[FILL; MESSAGE]),
            task,
        };
        Ok([
            end(alice, Some(association), far, sends),
            end(endpoint(far, Some(server)), None, near, counts),
        ])
    })
}

struct Sctp {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    peer: SocketAddr,
    connected: bool,
    message: Bytes,
    task: Task,
}

impl End for Sctp {
    fn handle_datagram(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> anyhow::Result<()> {
        let packet = datagram.get(RECORD..).context("a short datagram")?;
        let packet = Bytes::copy_from_slice(packet);
        match (self.endpoint.handle(now, source, None, packet), &mut self.association) {
            (Some((handle, DatagramEvent::NewAssociation(association))), _) => {
                self.association = Some((handle, association));
            }
            (Some((_, DatagramEvent::AssociationEvent(event))), Some((_, association))) => {
                association.handle_event(event);
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
        Ok(())
    }

    fn poll(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> anyhow::Result<Option<Instant>> {
        let Some((handle, association)) = &mut self.association else { return Ok(None) };
        while let Some(event) = association.poll_endpoint_event() {
            self.endpoint.handle_event(*handle, event);
        }
        while let Some(event) = association.poll() {
            match (event, &self.task) {
                (Event::Connected, Task::Send(_)) => {
                    self.connected = true;
                    association.open_stream(STREAM, PayloadProtocolIdentifier::Binary)?;
                }
                (Event::Stream(StreamEvent::Readable { id }), Task::Count(came)) => {
                    while let Some(message) = association.stream(id)?.read()? {
                        came.add(message.len());
                    }
                }
                (Event::HandshakeFailed { reason }, _)
                | (Event::AssociationLost { reason, .. }, _) => {
                    anyhow::bail!("the association ended: {reason}");
                }
                _ => {}
            }
        }
        if let Task::Send(started) = &self.task
            && self.connected
        {
            started.set();
            let mut stream = association.stream(STREAM)?;
            while stream.buffered_amount()? < SEND_BUFFER {
                stream.write_chunk(now, &self.message)?;
            }
        }
        let mut datagram = Vec::new();
        while let Some(transmit) = association.poll_transmit(now) {
            let Payload::RawEncode(packets) = transmit.message else { continue };
            for packet in packets {
                datagram.clear();
                datagram.resize(RECORD, 0);
                datagram.extend_from_slice(&packet);
                send(self.peer, &datagram);
            }
        }
        Ok(association.poll_timeout())
    }
}
