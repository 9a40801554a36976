//! Which certificate a client sees: that of the protocol that it asks for.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::{ALPN, QuicCertificate, QuicError};

/// The certificates of a server. Locked once a handshake.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    bare: Option<Arc<CertifiedKey>>,
    webtransport: Mutex<Option<Arc<CertifiedKey>>>,
}

impl Keys {
    /// With one for links over bare QUIC.
    pub(crate) fn new(
        bare: Option<&QuicCertificate>,
        provider: &CryptoProvider,
    ) -> Result<Self, QuicError> {
        let bare = bare.map(|certificate| certified(certificate, provider)).transpose()?;
        Ok(Self { bare, ..Self::default() })
    }

    /// Whether there is one for links over bare QUIC.
    pub(crate) fn has_bare(&self) -> bool {
        self.bare.is_some()
    }

    /// Shows this one from here on to clients that want WebTransport.
    #[cfg(feature = "webtransport")]
    pub(crate) fn set_webtransport(
        &self,
        certificate: &QuicCertificate,
        provider: &CryptoProvider,
    ) -> Result<(), QuicError> {
        let certified = certified(certificate, provider)?;
        *self.webtransport.lock().unwrap_or_else(PoisonError::into_inner) = Some(certified);
        Ok(())
    }
}

fn certified(
    certificate: &QuicCertificate,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, QuicError> {
    let QuicCertificate { chain, key } = certificate.clone();
    let certified = CertifiedKey::from_der(chain, key, provider);
    let unusable = |error: rustls::Error| QuicError::Options {
        what: "the certificate",
        why: error.to_string(),
    };
    certified.map(Arc::new).map_err(unusable)
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks = |protocol| hello.alpn().is_some_and(|mut it| it.any(|asked| asked == protocol));
        if self.bare.is_some() && asks(ALPN) {
            return self.bare.clone();
        }
        let webtransport = self.webtransport.lock().unwrap_or_else(PoisonError::into_inner);
        // Who speaks neither protocol is told that, which takes one.
        webtransport.clone().or_else(|| self.bare.clone())
    }
}
