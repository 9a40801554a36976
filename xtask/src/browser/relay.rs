//! What stands between a page and its server, and can go dead: bytes and datagrams then lead nowhere, and nobody is told.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context;

/// How often threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(100);

/// The largest datagram.
const MAX_DATAGRAM: usize = 1 << 16;

/// A relay, whose threads end with it.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    way: Arc<Way>,
}

/// How the way through it is.
#[derive(Default)]
struct Way {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    dead: bool,
    /// How often it went dead: a stream that was there then has lost bytes, and goes on no more.
    outages: u32,
}

impl Relay {
    /// Passes datagrams on that come to `address`, and those that come back.
    pub(super) fn of_datagrams(address: SocketAddr, server: SocketAddr) -> anyhow::Result<Self> {
        let near = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
        near.set_read_timeout(Some(LOOK))?;
        let relay = Self { address: near.local_addr()?, way: Arc::default() };
        let way = Arc::downgrade(&relay.way);
        thread::spawn(move || pass_datagrams(&near, server, &way));
        Ok(relay)
    }

    /// Passes connections on to `server` that come to this address.
    pub(super) fn of_streams(address: IpAddr, server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let relay = Self { address: listener.local_addr()?, way: Arc::default() };
        let way = Arc::downgrade(&relay.way);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (Some(_), Ok(near)) = (way.upgrade(), near) else { return };
                let Ok(far) = TcpStream::connect(server) else { continue };
                let both = [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))];
                for (from, to) in both {
                    let (Ok(from), Ok(to), way) = (from, to, way.clone()) else { continue };
                    thread::spawn(move || {
                        // Whatever ends one way ends the other.
                        let _ = pass_bytes(&from, &to, &way);
                        let _ = from.shutdown(Shutdown::Both);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Ok(relay)
    }

    /// Nothing gets through any more, or again.
    pub(super) fn set_dead(&self, dead: bool) {
        let mut state = self.way.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outages += u32::from(dead && !state.dead);
        state.dead = dead;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Of streams, it waits for the next one.
        let _ = TcpStream::connect_timeout(&self.address, LOOK);
    }
}

/// How the way is, unless the relay is gone.
fn look(way: &Weak<Way>) -> Option<State> {
    way.upgrade().map(|way| *way.state.lock().unwrap_or_else(PoisonError::into_inner))
}

fn pass_datagrams(near: &UdpSocket, server: SocketAddr, way: &Weak<Way>) {
    let mut peers: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut buffer = vec![0; MAX_DATAGRAM];
    while let Some(state) = look(way) {
        let Ok((len, peer)) = near.recv_from(&mut buffer) else { continue };
        let far = match peers.get(&peer) {
            Some(far) => far,
            None => {
                let Ok(far) = return_datagrams(near, peer, server, way.clone()) else { continue };
                peers.entry(peer).or_insert(far)
            }
        };
        if !state.dead {
            let _ = far.send(&buffer[..len]);
        }
    }
}

/// Has what the server sends go back to a peer. Gives the socket for the other direction.
fn return_datagrams(
    near: &UdpSocket,
    peer: SocketAddr,
    server: SocketAddr,
    way: Weak<Way>,
) -> std::io::Result<UdpSocket> {
    let near = near.try_clone()?;
    let far = UdpSocket::bind(("127.0.0.1", 0))?;
    far.connect(server)?;
    far.set_read_timeout(Some(LOOK))?;
    let from = far.try_clone()?;
    thread::spawn(move || {
        let mut buffer = vec![0; MAX_DATAGRAM];
        while let Some(state) = look(&way) {
            let Ok(len) = from.recv(&mut buffer) else { continue };
            if !state.dead {
                let _ = near.send_to(&buffer[..len], peer);
            }
        }
    });
    Ok(far)
}

/// Passes bytes on until the way was dead and is not any more.
fn pass_bytes(mut from: &TcpStream, mut to: &TcpStream, way: &Weak<Way>) -> std::io::Result<()> {
    from.set_read_timeout(Some(LOOK))?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    let begun = look(way).unwrap_or_default();
    loop {
        let read = from.read(&mut buffer);
        let Some(state) = look(way) else { return Ok(()) };
        let was_dead = begun.dead || state.outages != begun.outages;
        if was_dead && !state.dead {
            return Ok(());
        }
        match read {
            Ok(0) => return Ok(()),
            Ok(_) if state.dead => {}
            Ok(len) => to.write_all(&buffer[..len])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}
