//! quinn: its state machine, the crate `quinn-proto`, with its defaults: windows of 1.25 MB, Cubic, pacing, and
//! the search for the path's MTU. All messages go through one stream, without a length in front.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{anyhow, bail};
use bytes::BytesMut;
use deltawire::sim::{Host, Simulation};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, ReadError, ServerConfig, StreamEvent, StreamId, WriteError,
};

use super::end::{self, End, Task};
use super::{Flow, MESSAGE};
use crate::measure::FILL;

pub(super) fn start(sim: &mut Simulation, hosts: [Host; 2]) -> anyhow::Result<Flow> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let server = ServerConfig::with_single_cert(vec![certificate], key.into())?;
    let client = ClientConfig::with_root_certificates(Arc::new(roots))?;
    let mut seeds = sim.random();
    let mut endpoint = |server| {
        let (mut config, mut seed) = (EndpointConfig::default(), [0; 32]);
        seeds.fill(&mut seed);
        config.rng_seed(Some(seed));
        Endpoint::new(Arc::new(config), server, true, None)
    };
    let (mut alice, bob) = (endpoint(None), endpoint(Some(Arc::new(server))));
    end::start(sim, hosts, |[_, far], now, [sends, counts]| {
        let connection = alice.connect(now, client, far, "localhost")?;
        let end = |endpoint, connection, task| Quic {
            endpoint,
            connection,
            stream: None,
            bytes: Vec::new(),
            answers: Vec::new(),
            task,
        };
        Ok([end(alice, Some(connection), sends), end(bob, None, counts)])
    })
}

struct Quic {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    stream: Option<StreamId>,
    /// What is about to be sent.
    bytes: Vec<u8>,
    /// What the endpoint says without a connection.
    answers: Vec<(SocketAddr, Vec<u8>)>,
    task: Task,
}

impl End for Quic {
    fn handle_datagram(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> anyhow::Result<()> {
        let mut answer = Vec::new();
        let datagram = BytesMut::from(datagram);
        let event = self.endpoint.handle(now, source, None, None, datagram, &mut answer);
        match (event, &mut self.connection) {
            (Some(DatagramEvent::ConnectionEvent(_, event)), Some((_, connection))) => {
                connection.handle_event(event);
            }
            (Some(DatagramEvent::NewConnection(incoming)), connection @ None) => {
                let accepted = self.endpoint.accept(incoming, now, &mut answer, None);
                *connection = Some(accepted.map_err(|error| anyhow!(error.cause))?);
            }
            (Some(DatagramEvent::NewConnection(incoming)), Some(_)) => {
                self.endpoint.ignore(incoming);
            }
            (Some(DatagramEvent::Response(transmit)), _) => {
                answer.truncate(transmit.size);
                self.answers.push((transmit.destination, answer));
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(now);
        }
        Ok(())
    }

    fn poll(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> anyhow::Result<Option<Instant>> {
        for (destination, answer) in self.answers.drain(..) {
            send(destination, &answer);
        }
        let Some((handle, connection)) = &mut self.connection else { return Ok(None) };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match (event, &self.task) {
                (Event::Connected, Task::Send(_)) => {
                    self.stream = connection.streams().open(Dir::Uni);
                }
                (Event::Stream(StreamEvent::Opened { dir }), Task::Count(_)) => {
                    self.stream = connection.streams().accept(dir);
                }
                (Event::ConnectionLost { reason }, _) => bail!("the connection ended: {reason}"),
                _ => {}
            }
        }
        if let Some(stream) = self.stream {
            match &self.task {
                Task::Send(started) => loop {
                    match connection.send_stream(stream).write(&[FILL; MESSAGE]) {
                        Ok(_) => started.set(),
                        Err(WriteError::Blocked) => break,
                        Err(error) => return Err(error.into()),
                    }
                },
                Task::Count(came) => {
                    let mut stream = connection.recv_stream(stream);
                    let mut chunks = stream.read(true)?;
                    loop {
                        match chunks.next(usize::MAX) {
                            Ok(Some(chunk)) => came.add(chunk.bytes.len()),
                            Ok(None) => bail!("the stream ended"),
                            Err(ReadError::Blocked) => break,
                            Err(error) => return Err(error.into()),
                        }
                    }
                    // What it says is to be sent is, below.
                    let _ = chunks.finalize();
                }
            }
        }
        while let Some(transmit) = connection.poll_transmit(now, 1, &mut self.bytes) {
            send(transmit.destination, &self.bytes[..transmit.size]);
            self.bytes.clear();
        }
        Ok(connection.poll_timeout())
    }
}
