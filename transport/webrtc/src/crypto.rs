//! What links need of cryptography beside DTLS.

use aws_lc_rs::{digest, hmac};
use deltawire_sdp::{Fingerprint, HashFunction};
use is::Sha1HmacProvider;

/// Seals checks of ICE (RFC 8489, section 14.5).
#[derive(Debug)]
pub(crate) struct Hmac;

impl Sha1HmacProvider for Hmac {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        hmac_sha1(key, payloads)
    }
}

/// HMAC-SHA1 of these bytes, one after the other.
pub(crate) fn hmac_sha1(key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    payloads.iter().for_each(|payload| context.update(payload));
    let mut tag = [0; 20];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}

/// The fingerprint of a certificate in DER (RFC 8122, section 5).
pub(crate) fn fingerprint(function: HashFunction, certificate: &[u8]) -> Fingerprint {
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
