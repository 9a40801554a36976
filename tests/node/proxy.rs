//! A network between two nodes that does to datagrams what it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::nodes::ANY_PORT;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who connects to who accepts.
    There,
    Back,
}

/// What becomes of a datagram: those that are sent in its place.
pub(crate) type Fate = Box<dyn FnMut(Way, Vec<u8>) -> Vec<Vec<u8>> + Send>;

/// Two sockets, and the task that moves datagrams between them. The node that accepts sees the
/// address of one for all that comes from the other.
pub(crate) struct Proxy {
    address: SocketAddr,
    fate: Arc<Mutex<Fate>>,
    rebind: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before a node that listens here.
    pub(crate) async fn before(listening: SocketAddr) -> Self {
        let front = UdpSocket::bind(ANY_PORT).await.unwrap();
        let back = towards(listening).await;
        let address = front.local_addr().unwrap();
        let fate: Arc<Mutex<Fate>> = Arc::new(Mutex::new(Box::new(|_, bytes| vec![bytes])));
        let rebind = Arc::new(Notify::new());
        let task = tokio::spawn(run(front, back, listening, fate.clone(), rebind.clone()));
        Self { address, fate, rebind, task }
    }

    /// The description of the node behind it, with its own address in place of the node's.
    pub(crate) fn hide(&self, listening: SocketAddr, sdp: &str) -> String {
        let of = |address: SocketAddr| format!("{} {}", address.ip(), address.port());
        assert!(sdp.contains(&of(listening)), "{sdp}");
        sdp.replace(&of(listening), &of(self.address))
    }

    /// Gives what comes from the node that connects another port, and forgets the old one, as a NAT
    /// does.
    pub(crate) fn rebind(&self) {
        self.rebind.notify_one();
    }

    pub(crate) fn set(&self, fate: impl FnMut(Way, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) {
        *self.fate.lock().unwrap() = Box::new(fate);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn towards(listening: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(ANY_PORT).await.unwrap();
    socket.connect(listening).await.unwrap();
    socket
}

async fn run(
    front: UdpSocket,
    mut back: UdpSocket,
    listening: SocketAddr,
    fate: Arc<Mutex<Fate>>,
    rebind: Arc<Notify>,
) {
    let mut client = None;
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        // A port that was closed may answer with an error, which is the node's to notice.
        let (way, bytes) = tokio::select! {
            () = rebind.notified() => {
                back = towards(listening).await;
                continue;
            }
            received = front.recv_from(&mut one) => match received {
                Ok((len, from)) => {
                    client = Some(from);
                    (Way::There, one[..len].to_vec())
                }
                Err(_) => continue,
            },
            received = back.recv(&mut other) => match received {
                Ok(len) => (Way::Back, other[..len].to_vec()),
                Err(_) => continue,
            },
        };
        let datagrams = (fate.lock().unwrap())(way, bytes);
        for datagram in datagrams {
            let _ = match (way, client) {
                (Way::There, _) => back.send(&datagram).await,
                (Way::Back, Some(client)) => front.send_to(&datagram, client).await,
                (Way::Back, None) => continue,
            };
        }
    }
}
