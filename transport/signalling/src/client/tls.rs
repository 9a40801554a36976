//! Whom the client trusts with https.

use core::error::Error;

use reqwest::{Certificate, ClientBuilder};

use super::{ClientOptions, SignallingError};

/// Has the client trust the certificates of its options besides the system's.
pub(super) fn trust(
    builder: ClientBuilder,
    options: &ClientOptions,
) -> Result<ClientBuilder, SignallingError> {
    let Some(pem) = &options.root_certificates else { return Ok(builder) };
    let failed = |source| SignallingError::Client { source };
    let certificates =
        Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| failed(error.into()))?;
    if certificates.is_empty() {
        return Err(failed("root_certificates has no certificate in PEM".into()));
    }
    Ok(builder.tls_certs_merge(certificates))
}

/// What is wrong with a server's certificate, if that is why an exchange failed.
pub(super) fn untrusted(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            return Some(reason.to_string());
        }
        // An I/O error shows what it holds by `get_ref`, and by `source` only the cause of that.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}
