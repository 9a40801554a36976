//! A server's certificate that browsers believe by its hash: made, and made anew in time.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::{CertificateError, Fingerprint, QuicCertificate};

/// A certificate that only its hash vouches for, of the kind that browsers take for WebTransport: a key on P-256, valid
/// for [`LIFETIME`](Self::LIFETIME), which is less than the 14 days that they allow (W3C WebTransport, "custom certificate
/// requirements").
///
/// [`RENEW_AFTER`](Self::RENEW_AFTER) it was made there is a next one, whose hash is told beside its own, and
/// [`SERVE_NEXT_AFTER`](Self::SERVE_NEXT_AFTER) that it is the one that clients see: pages that were told hashes before
/// have had two days to connect. `now` is the time since 1970 UTC, by the clock on the wall.
#[derive(Debug)]
pub struct RenewedCertificate {
    served: Made,
    next: Option<Made>,
}

#[derive(Debug)]
struct Made {
    certificate: QuicCertificate,
    at: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

/// Clocks of clients may be behind.
const EARLIER: Duration = Duration::from_secs(3_600);

impl RenewedCertificate {
    /// How long one is valid from when it was made.
    pub const LIFETIME: Duration = DAY.saturating_mul(13);

    /// After how long there is a next one.
    pub const RENEW_AFTER: Duration = DAY.saturating_mul(10);

    /// After how long clients see the next one.
    pub const SERVE_NEXT_AFTER: Duration = DAY.saturating_mul(12);

    /// Makes the first.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub fn new(now: Duration) -> Result<Self, CertificateError> {
        Ok(Self { served: Made::new(now)?, next: None })
    }

    /// Does what is due. Says whether clients see another one from here on.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness: what was there stays, and the next call tries again.
    pub fn handle_time(&mut self, now: Duration) -> Result<bool, CertificateError> {
        let age = now.saturating_sub(self.served.at);
        // A clock that was set back by days would make one that is not valid yet.
        let is_early = now.saturating_add(EARLIER) < self.served.at;
        if age >= Self::LIFETIME || is_early {
            *self = Self::new(now)?;
            return Ok(true);
        }
        if self.next.is_none() && age >= Self::RENEW_AFTER {
            self.next = Some(Made::new(now)?);
        }
        if age >= Self::SERVE_NEXT_AFTER
            && let Some(next) = self.next.take()
        {
            self.served = next;
            return Ok(true);
        }
        Ok(false)
    }

    /// The one that clients see.
    #[must_use]
    pub fn served(&self) -> &QuicCertificate {
        &self.served.certificate
    }

    /// The hashes that clients are told, that of [`served`](Self::served) first: one, or two while there is a next one.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        [Some(&self.served), self.next.as_ref()]
            .into_iter()
            .flatten()
            .map(|made| made.certificate.fingerprint())
    }
}

impl Made {
    fn new(now: Duration) -> Result<Self, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::Generate(error.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::new(["deltawire".to_owned()]).map_err(failed)?;
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(EARLIER);
        params.not_after = epoch + now.saturating_add(RenewedCertificate::LIFETIME);
        let made = params.self_signed(&key).map_err(failed)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let chain = vec![made.der().clone()];
        Ok(Self { certificate: QuicCertificate { chain, key: private.into() }, at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = DAY.saturating_mul(20_000);

    fn hashes(certificate: &RenewedCertificate) -> Vec<Fingerprint> {
        certificate.fingerprints().collect()
    }

    #[test]
    fn the_next_one_is_told_two_days_before_it_is_seen() {
        let mut certificate = RenewedCertificate::new(START).unwrap();
        let first = hashes(&certificate);
        assert_eq!(first, [certificate.served().fingerprint()]);
        let hour = Duration::from_secs(3_600);
        let (mut now, mut seen, mut told) = (START, Vec::new(), 0);
        // Two months, by the hour.
        while now < START + 60 * DAY {
            let before = hashes(&certificate);
            let changed = certificate.handle_time(now).unwrap();
            let after = hashes(&certificate);
            if changed {
                // Who was told before was told of it.
                assert_eq!((before.len(), &before[1..]), (2, &after[..]));
                seen.push(now - START);
            }
            assert_eq!(after[0], certificate.served().fingerprint());
            told += usize::from(after.len() == 2);
            now += hour;
        }
        let days: Vec<_> = seen.iter().map(|at| at.as_secs() / 86_400).collect();
        assert_eq!(days, [12, 22, 32, 42, 52]);
        // Two days before each, by the hour.
        assert_eq!(told, 5 * 48);
    }

    #[test]
    fn a_machine_that_slept_has_a_new_one_at_once() {
        let mut certificate = RenewedCertificate::new(START).unwrap();
        let first = certificate.served().fingerprint();
        assert!(certificate.handle_time(START + RenewedCertificate::LIFETIME).unwrap());
        let second = certificate.served().fingerprint();
        assert_ne!(first, second);
        assert_eq!(hashes(&certificate), [second]);
        // And so has one whose clock was set back.
        assert!(certificate.handle_time(START).unwrap());
        assert!(!certificate.handle_time(START).unwrap());
        // What the wall says is no reason to panic.
        assert!(certificate.handle_time(Duration::ZERO).unwrap());
    }

    #[test]
    fn it_is_what_browsers_take() {
        let certificate = RenewedCertificate::new(START).unwrap();
        let der = certificate.served().certificate_der();
        let text = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
        // The curve prime256v1 (RFC 5480), and both ends of its validity, as texts in UTC: 4 Oct 2024.
        assert!(text(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]));
        assert!(text(b"241003230000Z") && text(b"241017000000Z"));
    }
}
