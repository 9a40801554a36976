//! Browsers that connect over WebTransport: where, with which certificate, and who is let in.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use deltawire_quic::{Fingerprint, QuicCertificate, QuicEndpoint, QuicError, RenewedCertificate};
#[cfg(feature = "signalling-server")]
use deltawire_signalling::{OfferedLink, Tickets};
use deltawire_webtransport::{KIND, Origins, Request, Rules};

#[cfg(feature = "signalling-server")]
use super::offered;
#[cfg(feature = "signalling-server")]
use crate::admission;
use crate::admission::Decision;
use crate::{Admission, BuildError, Node};

/// Where links are if nothing else is said.
const DEFAULT_PATH: &str = "/deltawire";

/// What a builder is told of WebTransport.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) admission: Option<Admission>,
    pub(crate) path: Option<String>,
    pub(crate) origins: Origins,
    pub(crate) certificate: Option<QuicCertificate>,
}

/// A node's links over WebTransport.
pub(crate) struct WebTransport {
    admission: Admission,
    rules: Rules,
    certificate: Mutex<Certificate>,
    #[cfg(feature = "signalling-server")]
    tickets: Tickets,
}

/// The certificate that browsers see.
struct Certificate {
    kind: Kind,
    /// How often it has become another one.
    changes: u64,
}

enum Kind {
    /// The user's own, for which an authority vouches.
    Given(QuicCertificate),
    Renewed(RenewedCertificate),
}

impl WebTransport {
    /// Whether nothing but a ticket lets in.
    #[cfg(feature = "signalling-server")]
    pub(super) fn needs_tickets(&self) -> bool {
        self.admission.is_ticket()
    }

    /// As it was told; `None` if nobody is let in.
    pub(crate) fn new(
        options: Options,
        #[cfg(feature = "signalling-server")] tickets: Tickets,
    ) -> Result<Option<Self>, BuildError> {
        let Options { admission, path, origins, certificate } = options;
        let Some(admission) = admission else { return Ok(None) };
        let path = path.unwrap_or_else(|| DEFAULT_PATH.to_owned());
        // Browsers write anything else in another way, and take dots out.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let has_dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
        if !path.starts_with('/') || !path.bytes().all(is_plain) || has_dots {
            return Err(BuildError::WebTransportPath { path });
        }
        let mut rules = Rules::new(path);
        rules.origins = origins;
        let kind = match certificate {
            Some(certificate) => Kind::Given(certificate),
            None => Kind::Renewed(RenewedCertificate::new(wall_clock())?),
        };
        Ok(Some(Self {
            admission,
            rules,
            certificate: Mutex::new(Certificate { kind, changes: 0 }),
            #[cfg(feature = "signalling-server")]
            tickets,
        }))
    }

    /// Has browsers accepted on a socket.
    pub(crate) fn accept_on(&self, endpoint: &mut QuicEndpoint) -> Result<(), QuicError> {
        endpoint.accept_webtransport(self.certificate().served(), self.rules.clone())
    }

    /// The certificate as it is now, made anew if that was due.
    fn certificate(&self) -> MutexGuard<'_, Certificate> {
        let mut certificate = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        certificate.renew(wall_clock());
        certificate
    }

    /// Shows browsers another certificate if it is another one than after so many `changes`.
    pub(crate) fn renew(&self, endpoint: &mut QuicEndpoint, changes: &mut u64) {
        let certificate = self.certificate();
        if *changes == certificate.changes {
            return;
        }
        match endpoint.set_webtransport_certificate(certificate.served()) {
            Ok(()) => *changes = certificate.changes,
            Err(error) => tracing::error!(%error, "browsers see a certificate that is too old"),
        }
    }

    /// Says what of a browser that asks to be let in.
    pub(crate) fn decide(&self, request: &Request, from: SocketAddr) -> Decision {
        #[cfg(feature = "signalling-server")]
        if let Some(ticket) = &request.ticket {
            return admission::redeem(&self.tickets, KIND, ticket, from);
        }
        self.admission.decide(KIND, request.token.as_deref().unwrap_or_default(), from)
    }

    /// The hashes that browsers are told; none where an authority vouches for the certificate.
    fn fingerprints(&self) -> Vec<Fingerprint> {
        match &self.certificate().kind {
            Kind::Given(_) => Vec::new(),
            Kind::Renewed(renewed) => renewed.fingerprints().collect(),
        }
    }

    /// What signalling says of it.
    #[cfg(feature = "signalling-server")]
    pub(super) fn offered(&self, port: u16) -> OfferedLink {
        offered(KIND, "wt", port, &self.rules.path, self.fingerprints())
    }
}

impl Certificate {
    fn served(&self) -> &QuicCertificate {
        match &self.kind {
            Kind::Given(certificate) => certificate,
            Kind::Renewed(renewed) => renewed.served(),
        }
    }

    fn renew(&mut self, now: Duration) {
        let Kind::Renewed(renewed) = &mut self.kind else { return };
        match renewed.handle_time(now) {
            Ok(changed) => self.changes += u64::from(changed),
            Err(error) => tracing::error!(%error, "no certificate for browsers could be made"),
        }
    }
}

/// Time since 1970 UTC.
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What a node has because browsers reach it over WebTransport.
impl Node {
    /// The SHA-256 of each certificate that browsers may see over WebTransport, for pages that are not told by signalling:
    /// two in the days before one takes the place of the other, and none with a
    /// [certificate of one's own](crate::NodeBuilder::webtransport_certificate), or if nobody is let in.
    #[must_use]
    pub fn webtransport_fingerprints(&self) -> Vec<Fingerprint> {
        let webtransport = self.inner().quic.webtransport();
        webtransport.map(|webtransport| webtransport.fingerprints()).unwrap_or_default()
    }
}
