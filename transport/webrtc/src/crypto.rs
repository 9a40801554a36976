//! What links need of cryptography beside DTLS.

use aws_lc_rs::hmac;

/// HMAC-SHA1 of these bytes, one after the other.
pub(crate) fn hmac_sha1(key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    payloads.iter().for_each(|payload| context.update(payload));
    let mut tag = [0; 20];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}
