//! The client before a proxy that speaks TLS, as servers stand behind one.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use deltawire::signalling::{
    ClientOptions, SignallingClient, SignallingError, SignallingOptions, Token,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::node::{OFFER, fragment, start};

/// A certificate authority of the test's own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Its certificate as it is given to clients.
fn pem(authority: &CertifiedIssuer<'static, KeyPair>) -> String {
    let body = BASE64_STANDARD.encode(authority.as_ref().der());
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// Takes TLS off connections and passes them on to a server, with a certificate for this name.
async fn proxy(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    server: SocketAddr,
) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate goes away.
                let Ok(mut near) = acceptor.accept(stream).await else { return };
                let mut far = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

fn client(root_certificates: Option<String>) -> SignallingClient {
    let token = Some(Token::new("token").unwrap());
    let options = ClientOptions { token, root_certificates, ..ClientOptions::default() };
    SignallingClient::new(options).unwrap()
}

#[tokio::test]
async fn a_whole_exchange_over_https() {
    let token = Some(Token::new("token").unwrap());
    let (node, server) = start(SignallingOptions { token, ..SignallingOptions::default() }).await;
    let authority = authority("the test's own");
    let address = proxy(&authority, "localhost", server).await;
    let client = client(Some(pem(&authority)));
    let url = format!("https://localhost:{}/webrtc", address.port());
    let answered = client.offer(&url, OFFER).await.unwrap();
    assert!(answered.sdp.starts_with("v=0"));
    let resource = answered.resource.unwrap();
    assert!(resource.as_str().starts_with(&url));
    client.add_candidates(&resource, &fragment()).await.unwrap();
    client.hang_up(&resource).await.unwrap();
    assert_eq!(node.offers.lock().unwrap().len(), 1);
    assert!(node.candidates.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named() {
    let (node, server) = start(SignallingOptions::default()).await;
    let (authority, other) = (authority("one"), authority("another"));
    let known = proxy(&authority, "localhost", server).await;
    let elsewhere = proxy(&authority, "example.org", server).await;
    for (address, roots, reason) in [
        (known, None, "UnknownIssuer"),
        (known, Some(pem(&other)), "UnknownIssuer"),
        (elsewhere, Some(pem(&authority)), "not valid for name"),
    ] {
        let url = format!("https://localhost:{}/webrtc", address.port());
        match client(roots).offer(&url, OFFER).await.unwrap_err() {
            error @ SignallingError::Untrusted { .. } => {
                let text = error.to_string();
                assert!(text.contains(&url) && text.contains(reason), "{text}");
                assert!(text.contains("root_certificates"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(node.offers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"] {
        let root_certificates = Some(pem.to_owned());
        let options = ClientOptions { root_certificates, ..ClientOptions::default() };
        match SignallingClient::new(options).unwrap_err() {
            SignallingError::Client { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_cannot_be_reached_by_https() {
    let (node, address) = start(SignallingOptions::default()).await;
    let url = format!("https://{address}/webrtc");
    let error = client(None).offer(&url, OFFER).await.unwrap_err();
    assert!(matches!(error, SignallingError::Unreachable { .. }), "{error:?}");
    assert!(node.offers.lock().unwrap().is_empty());
}
