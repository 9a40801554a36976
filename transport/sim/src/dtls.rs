//! DTLS that does the same in each run, as far as it shows in times and lengths: its timers are
//! seeded, and its signatures, which are random and vary in length, are made until one has the
//! usual length.

use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, KeyProvider, SignatureAlgorithm, SigningKey, aws_lc_rs,
};
use dimpl::{ConfigBuilder, CryptoError};

/// The length that half of all ECDSA signatures on P-256 have in DER, bytes.
const LENGTH: usize = 71;

/// Tries until another length is taken: once in 2¹⁰⁰ times.
const TRIES: usize = 100;

/// Makes DTLS so. What it draws is the same on all links: their keys are random all the same.
pub(super) fn reproducible(builder: ConfigBuilder) -> ConfigBuilder {
    let provider = CryptoProvider { key_provider: &Keys, ..aws_lc_rs::default_provider() };
    builder.with_crypto_provider(provider).dangerously_set_rng_seed(7)
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(der)?;
        Ok(Box::new(Key(key)))
    }
}

#[derive(Debug)]
struct Key(Box<dyn SigningKey>);

impl SigningKey for Key {
    fn sign(
        &mut self,
        data: &[u8],
        hash: HashAlgorithm,
        signature: &mut Buf,
    ) -> Result<(), CryptoError> {
        for _ in 0..TRIES {
            self.0.sign(data, hash, signature)?;
            if signature.len() == LENGTH {
                break;
            }
        }
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.0.hash_algorithm()
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        self.0.supported_hash_algorithms()
    }
}
