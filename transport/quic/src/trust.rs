//! Which servers a client believes to be the ones that it means.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{CertificateError, Fingerprint, QuicError};

/// Which servers a client trusts: those whose certificate is pinned, those that an authority vouches for, and
/// any at a loopback address as long as nothing is pinned and there is no authority. Default: the last alone.
#[derive(Clone, Debug, Default)]
pub struct QuicTrust {
    pins: Vec<Fingerprint>,
    roots: Vec<CertificateDer<'static>>,
}

impl QuicTrust {
    /// None but those at loopback addresses.
    #[must_use]
    pub fn loopback() -> Self {
        Self::default()
    }

    /// The same, and the server whose certificate has this SHA-256, whatever its name and however old it is.
    #[must_use]
    pub fn pin(mut self, fingerprint: Fingerprint) -> Self {
        self.pins.push(fingerprint);
        self
    }

    /// The same, and the servers that these authorities vouch for: certificates in PEM, one after another. Then
    /// the name in the address counts, and the time.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, or there is none.
    pub fn authorities(mut self, pem: &str) -> Result<Self, CertificateError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let read = read.map_err(|error| CertificateError::Chain(error.to_string()))?;
        if read.is_empty() {
            return Err(CertificateError::Chain("there is none in it".to_owned()));
        }
        self.roots.extend(read);
        Ok(self)
    }

    /// What checks the certificate of one server, and where it says what was wrong.
    pub(crate) fn verifier(
        &self,
        is_loopback: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(Arc<Verifier>, Verdict), QuicError> {
        let authorities = if self.roots.is_empty() {
            None
        } else {
            let options = |why: String| QuicError::Options { what: "authorities", why };
            let mut store = RootCertStore::empty();
            for root in &self.roots {
                store.add(root.clone()).map_err(|error| options(error.to_string()))?;
            }
            let built = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
                .build()
                .map_err(|error| options(error.to_string()))?;
            Some(built)
        };
        let any = is_loopback && self.pins.is_empty() && authorities.is_none();
        let verdict = Verdict::default();
        let verifier = Verifier {
            pins: self.pins.clone(),
            authorities,
            any,
            provider: provider.clone(),
            verdict: verdict.clone(),
        };
        Ok((Arc::new(verifier), verdict))
    }
}

/// What was wrong with a server's certificate, as TLS carries texts only.
pub(crate) type Verdict = Arc<OnceLock<QuicError>>;

/// Checks the certificate of one server.
pub(crate) struct Verifier {
    pins: Vec<Fingerprint>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Whether any certificate will do.
    any: bool,
    provider: Arc<CryptoProvider>,
    verdict: Verdict,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("pins", &self.pins).finish_non_exhaustive()
    }
}

impl Verifier {
    fn refuse(&self, error: QuicError) -> rustls::Error {
        let text = error.to_string();
        let _ = self.verdict.set(error);
        rustls::Error::General(text)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let came = Fingerprint::of(certificate);
        if self.any || self.pins.contains(&came) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(authorities) = &self.authorities else {
            return Err(self.refuse(match self.pins.len() {
                0 => QuicError::Untrusted { came, why: "nothing vouches for it".to_owned() },
                pins => QuicError::WrongPin { came, pins },
            }));
        };
        let verified = authorities.verify_server_cert(certificate, intermediates, name, ocsp, now);
        verified.map_err(|error| self.refuse(QuicError::Untrusted { came, why: error.to_string() }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
