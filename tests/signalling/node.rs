//! A node that answers with little, and servers for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use deltawire::signalling::{
    Answer, Answerer, ClientOptions, Offerer, Rate, Refusal, ResourceId, SdpFragment,
    SignallingClient, SignallingError, SignallingOptions, SignallingServer, Token, router,
};
use tokio::sync::Notify;

pub(crate) const OFFER: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
pub(crate) const ID: &str = "07070707070707070707070707070707";

/// Takes one offer's candidates; other offers name what it shall refuse them with.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) offers: Mutex<Vec<(String, SocketAddr)>>,
    pub(crate) candidates: Mutex<HashMap<ResourceId, Vec<String>>>,
    /// The offer "never" is being answered.
    pub(crate) started: Notify,
    /// It is not any more.
    pub(crate) given_up: Notify,
}

/// Tells when it is dropped.
struct Dropped<'a>(&'a Notify);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Answerer for Node {
    async fn answer(&self, offer: String, from: Offerer) -> Result<Answer, Refusal> {
        let from = from.address;
        self.offers.lock().unwrap().push((offer.clone(), from));
        let (field, value, expected) = ("a=setup", "x".repeat(100), "must be actpass");
        match offer.as_str() {
            "malformed" => Err(Refusal::Malformed { field, value, expected }),
            "no channels" => Err(Refusal::NoChannels),
            "pending" => Err(Refusal::TooManyPending { limit: 3 }),
            "peers" => Err(Refusal::TooManyPeers { limit: 4 }),
            "address" => Err(Refusal::TooManyOfAddress { limit: 5 }),
            "shutdown" => Err(Refusal::ShuttingDown),
            "unsupported" => Err(Refusal::Unsupported { field, value, expected }),
            "never" => {
                let _dropped = Dropped(&self.given_up);
                self.started.notify_one();
                std::future::pending().await
            }
            "internal" => Err(Refusal::Internal { reason: "the secret reason".to_owned() }),
            _ => {
                let id = ResourceId::new([7; 16]);
                self.candidates.lock().unwrap().insert(id, Vec::new());
                Ok(Answer { id, sdp: format!("v=0\r\ns={from}\r\n") })
            }
        }
    }

    fn add_candidates(&self, id: &ResourceId, candidates: Vec<String>) -> Result<(), Refusal> {
        let mut known = self.candidates.lock().unwrap();
        known.get_mut(id).ok_or(Refusal::Unknown)?.extend(candidates);
        Ok(())
    }

    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal> {
        self.candidates.lock().unwrap().remove(id).map(drop).ok_or(Refusal::Unknown)
    }
}

/// Serves a router as long as the runtime lives, and gives its address.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let server = SignallingServer::bind(([127, 0, 0, 1], 0).into(), router).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    address
}

/// A node of its own behind these options, without a limit on the rate.
pub(crate) async fn start(options: SignallingOptions) -> (Arc<Node>, SocketAddr) {
    let node = Arc::new(Node::default());
    let options = SignallingOptions { rate: unlimited(), ..options };
    let address = serve(router(Arc::clone(&node), options)).await;
    (node, address)
}

pub(crate) fn unlimited() -> Rate {
    Rate { refill: std::time::Duration::ZERO, ..Rate::default() }
}

pub(crate) fn client(token: Option<&str>) -> SignallingClient {
    let token = token.map(|token| Token::new(token).unwrap());
    SignallingClient::new(ClientOptions { token, ..ClientOptions::default() }).unwrap()
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/webrtc")
}

pub(crate) fn fragment() -> SdpFragment {
    SdpFragment {
        username_fragment: "EsAw".to_owned(),
        password: "P2uYro0UCOQ4zxjKXaWCBui1".to_owned(),
        candidates: vec!["candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host".to_owned()],
        end_of_candidates: true,
    }
}

/// The status that a request was refused with, the last part of its problem's kind, the problem's
/// detail, and the seconds to wait.
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, SignallingError>,
) -> (u16, String, String, Option<u64>) {
    match result {
        Err(SignallingError::Refused { status, problem, retry_after, .. }) => {
            let problem = problem.expect("a problem");
            assert_eq!(problem.status, status);
            let kind = problem.kind.rsplit(':').next().unwrap().to_owned();
            (status, kind, problem.detail, retry_after.map(|wait| wait.as_secs()))
        }
        other => panic!("{other:?}"),
    }
}
