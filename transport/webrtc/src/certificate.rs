//! What proves who a peer is, and the DTLS configuration that all links share.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dimpl::{ConfigBuilder, DtlsCertificate};

use crate::records::MAX_QUEUE;

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
    dtls: DtlsCertificate,
    /// How DTLS is done with it.
    pub(crate) shared: &'static SharedDtls,
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
        match dimpl::certificate::generate_self_signed_certificate() {
            Ok(dtls) => Ok(Self { dtls, shared: &LINKS }),
            Err(error) => Err(CertificateError(error.to_string())),
        }
    }

    /// One that was made before: both in DER, the key in PKCS #8.
    #[must_use]
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        Self { dtls: DtlsCertificate { certificate, private_key }, shared: &LINKS }
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

    pub(crate) fn dtls(&self) -> DtlsCertificate {
        self.dtls.clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

static LINKS: SharedDtls = SharedDtls::new(|builder| builder);

/// How DTLS is done: its configuration is made once instead of for each link.
#[doc(hidden)]
pub struct SharedDtls {
    config: OnceLock<Arc<dimpl::Config>>,
    #[cfg(feature = "str0m")]
    pub(crate) provider: OnceLock<Arc<str0m::config::CryptoProvider>>,
    adjust: fn(ConfigBuilder) -> ConfigBuilder,
}

impl SharedDtls {
    /// As links do it, but for what is adjusted.
    pub const fn new(adjust: fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        Self {
            config: OnceLock::new(),
            #[cfg(feature = "str0m")]
            provider: OnceLock::new(),
            adjust,
        }
    }

    pub(crate) fn config(&self) -> Result<Arc<dimpl::Config>, dimpl::Error> {
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
        let config = (self.adjust)(builder).build()?;
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }
}

impl fmt::Debug for SharedDtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDtls").finish_non_exhaustive()
    }
}
