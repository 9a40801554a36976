//! What proves who a server is.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The SHA-256 of a certificate in DER. Shown, and read, as 64 hexadecimal digits; colons between them are
/// skipped.
///
/// ```
/// use deltawire_quic::{Fingerprint, QuicCertificate};
///
/// let fingerprint = QuicCertificate::generate()?.fingerprint();
/// assert_eq!(fingerprint.to_string().parse::<Fingerprint>()?, fingerprint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is no [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{digits} hexadecimal digits, and nothing but colons between them: a SHA-256 has 64")]
pub struct FingerprintError {
    /// Digits that were there before anything else was.
    pub digits: usize,
}

impl Fingerprint {
    /// That of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let mut hash = [0; 32];
        let digest = digest::digest(&digest::SHA256, certificate);
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut hash = [0; 32];
        let mut digits = 0;
        for digit in text.chars().filter(|character| *character != ':') {
            let (value, byte) = (digit.to_digit(16), hash.get_mut(digits / 2));
            let (Some(value), Some(byte)) = (value, byte) else {
                return Err(FingerprintError { digits });
            };
            *byte = *byte << 4 | value as u8;
            digits += 1;
        }
        if digits == 64 { Ok(Self(hash)) } else { Err(FingerprintError { digits }) }
    }
}

/// A server's certificate, those that vouch for it, and its key.
pub struct QuicCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A certificate could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// None could be made.
    #[error("no certificate could be made: {0}")]
    Generate(String),
    /// The text holds no certificate, or the one that it holds is broken.
    #[error("the chain of certificates cannot be read: {0}")]
    Chain(String),
    /// The text holds no private key, or the one that it holds is broken.
    #[error("the private key cannot be read: {0}")]
    Key(String),
}

impl QuicCertificate {
    /// A new one with an Ed25519 key (RFC 8410), which only its [`fingerprint`](Self::fingerprint) vouches for. It has the
    /// same length each time, and so have its signatures: simulated links are the same with another one.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::Generate(error.to_string());
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(failed)?;
        let mut certificate = CertificateParams::new(["deltawire".to_owned()]).map_err(failed)?;
        certificate.serial_number = Some(1.into());
        let made = certificate.self_signed(&key).map_err(failed)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { chain: vec![made.der().clone()], key: key.into() })
    }

    /// One that was made before, in PEM: its chain, the server's own first, and its key.
    ///
    /// # Errors
    ///
    /// When one of the two cannot be read.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|error| CertificateError::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(CertificateError::Chain("there is none in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        Ok(Self { chain, key })
    }

    /// One that was made before, in DER: its chain, the server's own first, and its key in PKCS #8.
    #[must_use]
    pub fn from_der(chain: impl IntoIterator<Item = Vec<u8>>, key: Vec<u8>) -> Self {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Self { chain, key: PrivatePkcs8KeyDer::from(key).into() }
    }

    /// The SHA-256 of the server's own, for peers to pin.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.chain.first().map_or(&[][..], |own| own.as_ref()))
    }

    /// The server's own in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        self.chain.first().map_or(&[][..], |own| own.as_ref())
    }
}

impl Clone for QuicCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for QuicCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicCertificate")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_they_are_shown_and_with_colons() {
        let fingerprint = Fingerprint::of(b"");
        let shown = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(fingerprint.to_string(), shown);
        let colons: Vec<_> = shown.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
        assert_eq!(colons.join(":").to_uppercase().parse(), Ok(fingerprint));
        for (text, digits) in [("", 0), ("e3 b0", 2), (&*format!("{shown}0"), 64), ("zz", 0)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError { digits }), "{text}");
        }
    }

    #[test]
    fn all_that_are_made_have_one_length() {
        let lengths = |_| {
            let made = QuicCertificate::generate().unwrap();
            (made.certificate_der().len(), made.key.secret_der().len())
        };
        let first = lengths(0);
        assert!((1..100).map(lengths).all(|lengths| lengths == first));
    }

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        let broken = QuicCertificate::from_pem("", "").unwrap_err();
        assert!(matches!(broken, CertificateError::Chain(_)), "{broken}");
    }
}
