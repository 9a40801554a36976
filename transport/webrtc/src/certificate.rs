//! What proves who a peer is, and the DTLS configuration that all links share.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::ConfigBuilder;
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{CryptoError, from_feature_flags};

use crate::records::{MAX_QUEUE, Records};
use crate::sctp_filter::SctpFilter;

/// How long a handshake may take, and how often it says something again: the link's own time limit
/// is to decide.
const HANDSHAKE: Duration = Duration::from_secs(24 * 3_600);
const RETRIES: usize = 64;

/// When a handshake says something again first; each time takes twice as long. Less than the usual
/// second (RFC 6347, section 4.2.4.1), as libwebrtc does: ICE has shown that the peer is there.
const FIRST_RETRY: Duration = Duration::from_millis(400);

/// A self-signed certificate and its key.
///
/// One is made for each node; give the node one of your own if its fingerprint has to outlive the
/// process.
#[derive(Clone)]
pub struct Certificate {
    dtls: DtlsCert,
    /// How DTLS is done with it.
    shared: &'static SharedDtls,
}

/// A certificate could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate could be made: {0}")]
pub struct CertificateError(String);

impl Certificate {
    /// A new one with an ECDSA key on P-256.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, CertificateError> {
        match from_feature_flags().dtls_provider.generate_certificate() {
            Some(dtls) => Ok(Self { dtls, shared: &LINKS }),
            None => Err(CertificateError("the crypto back-end refused".to_owned())),
        }
    }

    /// One that was made before: both in DER, the key in PKCS #8.
    #[must_use]
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        Self { dtls: DtlsCert { certificate, private_key }, shared: &LINKS }
    }

    /// The same with DTLS that is done in another way: for simulations.
    #[doc(hidden)]
    #[must_use]
    pub fn with_dtls(mut self, shared: &'static SharedDtls) -> Self {
        self.shared = shared;
        self
    }

    /// The certificate in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.dtls.certificate
    }

    /// The key in DER: keep it secret.
    #[must_use]
    pub fn private_key_der(&self) -> &[u8] {
        &self.dtls.private_key
    }

    pub(super) fn dtls(&self) -> DtlsCert {
        self.dtls.clone()
    }

    /// The crypto back-end, with DTLS as it is done with this certificate.
    pub(super) fn provider(&self) -> &'static Arc<CryptoProvider> {
        self.shared.provider()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

static LINKS: SharedDtls = SharedDtls::new(|builder| builder);

/// The crypto back-end of all links.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    LINKS.provider()
}

thread_local! {
    /// The filter of the connection that this thread made last: str0m makes DTLS itself, and gives
    /// no way to it.
    static FILTER: RefCell<Option<Arc<SctpFilter>>> = const { RefCell::new(None) };
}

/// The filter of the connection that this thread has just made; `None` if it has no DTLS yet.
pub(super) fn take_filter() -> Option<Arc<SctpFilter>> {
    FILTER.take()
}

/// How DTLS is done: its configuration is made once instead of for each link.
#[doc(hidden)]
pub struct SharedDtls {
    config: OnceLock<Arc<dimpl::Config>>,
    provider: OnceLock<Arc<CryptoProvider>>,
    adjust: fn(ConfigBuilder) -> ConfigBuilder,
}

impl SharedDtls {
    /// As links do it, but for what is adjusted.
    pub const fn new(adjust: fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        Self { config: OnceLock::new(), provider: OnceLock::new(), adjust }
    }

    fn provider(&'static self) -> &'static Arc<CryptoProvider> {
        self.provider.get_or_init(|| {
            Arc::new(CryptoProvider { dtls_provider: self, ..from_feature_flags() })
        })
    }

    fn config(&self) -> Result<Arc<dimpl::Config>, CryptoError> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        // ICE has verified the way back, so no cookie is needed.
        let builder = dimpl::Config::builder()
            .use_server_cookie(false)
            .max_queue_rx(MAX_QUEUE)
            .handshake_timeout(HANDSHAKE)
            .flight_retries(RETRIES)
            .flight_start_rto(FIRST_RETRY);
        let config = (self.adjust)(builder)
            .build()
            .map_err(|error| CryptoError::Other(error.to_string()))?;
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }
}

impl fmt::Debug for SharedDtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDtls").finish_non_exhaustive()
    }
}

impl DtlsProvider for SharedDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = self.config()?;
        let dtls = match version {
            DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, certificate.clone(), now),
            DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, certificate.clone(), now),
            _ => dimpl::Dtls::new_auto(config, certificate.clone(), now),
        };
        let filter = Arc::new(SctpFilter::new());
        FILTER.set(Some(filter.clone()));
        Ok(Box::new(Instance { dtls, filter, records: Records::default() }))
    }
}

/// DTLS, what of its records reach it, and what of its plaintext reaches SCTP.
struct Instance {
    records: Records,
    dtls: dimpl::Dtls,
    filter: Arc<SctpFilter>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dtls").finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        // So the stack starts a client.
        if packet.is_empty() {
            return self.dtls.handle_packet(packet);
        }
        let mut rest = packet;
        while let Some((record, admitted)) = self.records.next(&mut rest) {
            if admitted {
                self.dtls.handle_packet(record)?;
            }
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.dtls.poll_output(buffer) {
            // What is empty, SCTP drops.
            DtlsOutput::ApplicationData(packet) if !self.filter.admit(packet) => {
                DtlsOutput::ApplicationData(&[])
            }
            DtlsOutput::Connected => {
                self.records.connected = true;
                DtlsOutput::Connected
            }
            output => output,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.filter.sent(data);
        match self.dtls.send_application_data(data) {
            // The peer hung up, which shows in the next output; nobody hears what is still said.
            Err(DtlsImplError::ConnectionClosed) => Ok(data.len()),
            result => result,
        }
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}
