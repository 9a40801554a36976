//! As much of STUN (RFC 8489) as tells a browser from which address it asks.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;

/// What all messages have behind type and length.
const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A server. It ends with this program.
pub(super) struct Stun {
    address: SocketAddr,
    answered: Arc<Mutex<usize>>,
}

impl Stun {
    /// At the address from which this machine reaches others: nothing is sent to them.
    pub(super) fn start() -> anyhow::Result<Self> {
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        probe.connect((Ipv4Addr::new(10, 9, 0, 254), 9)).context("this machine has no network")?;
        let socket = UdpSocket::bind((probe.local_addr()?.ip(), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(600)))?;
        let (address, answered) = (socket.local_addr()?, Arc::<Mutex<usize>>::default());
        let counted = answered.clone();
        thread::spawn(move || {
            let mut request = [0; 2_048];
            while let Ok((len, from)) = socket.recv_from(&mut request) {
                if let Some(answer) = answer(&request[..len], from)
                    && socket.send_to(&answer, from).is_ok()
                {
                    *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                }
            }
        });
        Ok(Self { address, answered })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked.
    pub(super) fn answered(&self) -> usize {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a binding request is answered with: XOR-MAPPED-ADDRESS.
fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let SocketAddr::V4(from) = from else { return None };
    let transaction = request.get(8..20).filter(|_| request.starts_with(&[0, 1]))?;
    if request.get(4..8)? != MAGIC {
        return None;
    }
    let mut answer = vec![1, 1, 0, 12];
    answer.extend(MAGIC);
    answer.extend(transaction);
    answer.extend([0, 0x20, 0, 8, 0, 1]);
    let masked =
        |bytes: &[u8]| bytes.iter().zip(MAGIC).map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>();
    answer.extend(masked(&from.port().to_be_bytes()));
    answer.extend(masked(&from.ip().octets()));
    Some(answer)
}
