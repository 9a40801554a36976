//! DTLS of one link: what of its records is let in, whom it is with, and what it carries.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use deltawire_sdp::{Description, Fingerprint, HashFunction};
use dimpl::{Dtls, Output};

use crate::certificate::Certificate;
use crate::records::Records;
use crate::{EngineError, MAX_DATAGRAM_LEN};

/// What DTLS adds to what it seals, at most, bytes: header, nonce and tag of a record.
pub(super) const RECORD: usize = 37;

/// What DTLS tells.
pub(super) enum Event<'a> {
    /// The handshake is over, and the peer is who it should be.
    Connected,
    /// What the peer said.
    Data(&'a [u8]),
    /// The peer hung up.
    Closed,
}

pub(super) struct DtlsLayer {
    dtls: Dtls,
    records: Records,
    /// One of them has to be that of the peer's certificate; without any, nobody is let in.
    expected: Vec<Fingerprint>,
    verified: bool,
    started: bool,
    active: bool,
    closed: bool,
    timeout: Option<Instant>,
    /// Datagrams to be sent: those of a flight.
    datagrams: VecDeque<Vec<u8>>,
    /// Where DTLS puts what it gives.
    room: Vec<u8>,
}

impl DtlsLayer {
    pub(super) fn new(certificate: &Certificate, now: Instant) -> Result<Self, EngineError> {
        let config = certificate.shared.config().map_err(failed)?;
        Ok(Self {
            dtls: Dtls::new_12(config, certificate.dtls(), now),
            records: Records::default(),
            expected: Vec::new(),
            verified: false,
            started: false,
            active: false,
            closed: false,
            timeout: None,
            datagrams: VecDeque::new(),
            room: Vec::new(),
        })
    }

    /// Says whom it is with, and who opens.
    pub(super) fn expect(&mut self, peer: &Description<'_>, active: bool) {
        self.expected = peer.fingerprints.strongest().copied().collect();
        self.active = active;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.records.connected
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Begins, once there is a way to the peer.
    pub(super) fn start(&mut self, now: Instant) -> Result<(), EngineError> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        self.dtls.set_active(self.active);
        self.dtls.handle_timeout(now).map_err(failed)?;
        if self.active {
            // So a client begins.
            drop(self.dtls.handle_packet(&[]));
        }
        self.timeout = Some(now);
        Ok(())
    }

    /// Takes in a datagram. What cannot be read is dropped.
    #[inline]
    pub(super) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
        mut tell: impl FnMut(Event<'_>),
    ) -> Result<(), EngineError> {
        // A client says something only once it has begun.
        if self.closed || self.expected.is_empty() || (self.active && !self.started) {
            return Ok(());
        }
        if !self.started {
            self.start(now)?;
        }
        if !self.records.connected {
            self.dtls.handle_timeout(now).map_err(failed)?;
        }
        let mut rest = datagram;
        while let Some((record, admitted)) = self.records.next(&mut rest) {
            if !admitted {
                continue;
            }
            if let Err(error) = self.dtls.handle_packet(record) {
                // Anybody can send garbage. What ends the link shows in the next output.
                tracing::trace!(%error, "dropped a record");
            }
            self.drain(&mut tell)?;
        }
        Ok(())
    }

    /// Seals what is to be sent, into a datagram of its own.
    #[inline]
    pub(super) fn seal(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.dtls.send_application_data(packet) {
            Ok(_) => {}
            // The peer hung up, which shows in the next output; nobody hears what is still said.
            Err(dimpl::Error::ConnectionClosed) => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        // Nothing comes but the record, so it is written where it goes.
        let mut datagram = vec![0; packet.len() + RECORD];
        match self.dtls.poll_output(&mut datagram) {
            Output::Packet(record) => {
                let len = record.len();
                datagram.truncate(len);
                self.datagrams.push_back(datagram);
            }
            output => self.take(output, &mut |_event| {})?,
        }
        self.drain(&mut |_event| {})?;
        Ok(self.datagrams.pop_front())
    }

    pub(super) fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout.filter(|_| self.started && !self.closed)
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        mut tell: impl FnMut(Event<'_>),
    ) -> Result<(), EngineError> {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.dtls.handle_timeout(now).map_err(failed)?;
            self.drain(&mut tell)?;
        }
        Ok(())
    }

    /// Hangs up.
    pub(super) fn close(&mut self) {
        if self.started && !self.closed {
            drop(self.dtls.close());
            drop(self.drain(&mut |_event| {}));
        }
        self.closed = true;
    }

    /// Everything that there is to be had.
    fn drain(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Result<(), EngineError> {
        let mut room = std::mem::take(&mut self.room);
        room.resize(room.len().max(MAX_DATAGRAM_LEN), 0);
        let result = loop {
            match self.dtls.poll_output(&mut room) {
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    break Ok(());
                }
                // The longest that comes is a certificate.
                Output::BufferTooSmall { needed } => room.resize(needed, 0),
                output => {
                    if let Err(error) = self.take(output, tell) {
                        break Err(error);
                    }
                }
            }
        };
        room.truncate(MAX_DATAGRAM_LEN);
        self.room = room;
        result
    }

    fn take(
        &mut self,
        output: Output<'_>,
        tell: &mut impl FnMut(Event<'_>),
    ) -> Result<(), EngineError> {
        match output {
            Output::Packet(packet) => self.datagrams.push_back(packet.to_vec()),
            Output::ApplicationData(data) if self.verified => tell(Event::Data(data)),
            Output::Connected => {
                if !self.verified {
                    return Err(EngineError::Fingerprint);
                }
                self.records.connected = true;
                tell(Event::Connected);
            }
            Output::PeerCert(certificate) => {
                let fits = |expected: &Fingerprint| {
                    fingerprint(expected.function(), certificate) == *expected
                };
                if !self.expected.iter().any(fits) {
                    return Err(EngineError::Fingerprint);
                }
                self.verified = true;
            }
            Output::CloseNotify => {
                self.closed = true;
                tell(Event::Closed);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The latest that is a time and not a word for never.
pub(super) fn soon(at: Instant, start: Instant) -> Option<Duration> {
    let at = at.saturating_duration_since(start);
    (at < Duration::from_secs(365 * 24 * 3_600)).then_some(at)
}

fn failed(error: dimpl::Error) -> EngineError {
    EngineError::Stack(format!("DTLS: {error}"))
}

/// The fingerprint of a certificate in DER (RFC 8122, section 5).
pub(super) fn fingerprint(function: HashFunction, certificate: &[u8]) -> Fingerprint {
    let algorithm = match function {
        HashFunction::Sha224 => &digest::SHA224,
        HashFunction::Sha256 => &digest::SHA256,
        HashFunction::Sha384 => &digest::SHA384,
        HashFunction::Sha512 => &digest::SHA512,
    };
    let hash = digest::digest(algorithm, certificate);
    // The lengths of hashes are those of their functions.
    Fingerprint::new(function, hash.as_ref()).expect("a hash has the length of its function")
}
