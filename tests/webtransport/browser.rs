//! What a browser does, by quinn and web-transport-proto: a client of which this project has no code but how a link's
//! streams begin.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use deltawire::quic::Fingerprint;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use url::Url;
use web_transport_proto::http::{HeaderName, HeaderValue};
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Settings};

use crate::lab::soon;

/// Believes servers by the hashes that it was told.
#[derive(Debug)]
struct Pinned(Vec<Fingerprint>, CryptoProvider);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let known = self.0.contains(&Fingerprint::of(own));
        let wrong = || rustls::Error::General("the hash is another one".to_owned());
        known.then(ServerCertVerified::assertion).ok_or_else(wrong)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.1.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.1.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection of HTTP/3's.
pub(crate) struct Browser {
    pub(crate) connection: Connection,
    /// Keep their streams open.
    pub(crate) control: SendStream,
    _qpack: [SendStream; 2],
    server_control: RecvStream,
    _endpoint: Endpoint,
}

/// A session that was granted.
pub(crate) struct Session {
    pub(crate) browser: Browser,
    pub(crate) request: (SendStream, RecvStream),
}

/// A connection, and nothing said on it.
pub(crate) async fn connect(
    server: SocketAddr,
    hashes: Vec<Fingerprint>,
    protocol: &[u8],
) -> Result<(Connection, Endpoint), ConnectionError> {
    let provider = aws_lc_rs::default_provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(hashes, provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    let connection = endpoint.connect(server, "127.0.0.1").unwrap().await?;
    Ok((connection, endpoint))
}

impl Browser {
    /// One whose settings were said, with what browsers say besides.
    pub(crate) async fn start(server: SocketAddr, hashes: Vec<Fingerprint>) -> Self {
        let (connection, endpoint) = connect(server, hashes, b"h3").await.unwrap();
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&bytes).await.unwrap();
        let mut qpack = Vec::new();
        for kind in [2, 3] {
            let mut stream = connection.open_uni().await.unwrap();
            stream.write_all(&[kind]).await.unwrap();
            qpack.push(stream);
        }
        let mut server_control = connection.accept_uni().await.unwrap();
        let settings = soon("settings", Settings::read(&mut server_control)).await.unwrap();
        assert_eq!(settings.supports_webtransport(), 1);
        let Ok(qpack) = qpack.try_into() else { unreachable!() };
        Self { connection, control, _qpack: qpack, server_control, _endpoint: endpoint }
    }

    /// Asks for a session.
    pub(crate) async fn ask(
        self,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Session, ConnectError> {
        let authority = self.connection.remote_address();
        let url = Url::parse(&format!("https://{authority}{path}")).unwrap();
        let mut asked = ConnectRequest::new(url);
        for (name, value) in fields {
            let value = HeaderValue::from_str(value).unwrap();
            asked = asked.with_header(HeaderName::from_static(name), value);
        }
        let mut request = self.connection.open_bi().await.unwrap();
        asked.write(&mut request.0).await.unwrap();
        soon("answer", ConnectResponse::read(&mut request.1)).await?;
        Ok(Session { browser: self, request })
    }

    /// Why the server has closed the connection: the code of HTTP/3's, and what it says.
    pub(crate) async fn closed(&self) -> (u64, String) {
        match soon("end", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("{other}"),
        }
    }

    /// The server's stream of settings goes on.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = self.server_control.read(&mut byte);
        tokio::time::timeout(Duration::from_millis(50), read).await.is_err()
    }
}

impl Session {
    /// Opens the two streams that a client of a link has.
    pub(crate) async fn streams(&self) -> (SendStream, RecvStream, SendStream) {
        let (mut commands, answers) = self.browser.connection.open_bi().await.unwrap();
        commands.write_all(&[0x40, 0x41, 0, 0]).await.unwrap();
        let mut deltas = self.browser.connection.open_uni().await.unwrap();
        deltas.write_all(&[0x40, 0x54, 0, 1]).await.unwrap();
        (commands, answers, deltas)
    }

    /// The stream of the server's deltas, behind how it begins.
    pub(crate) async fn deltas_of_server(&self) -> RecvStream {
        let mut stream = soon("stream", self.browser.connection.accept_uni()).await.unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head, [0x40, 0x54, 0, 2]);
        stream
    }
}
