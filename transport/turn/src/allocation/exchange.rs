//! Requests and their answers: who asks is known by a name and a password (RFC 8489, section 9.2), and asks again over UDP until
//! there is an answer (section 6.2.1).

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use md5::{Digest, Md5};

use super::peers::Peers;
use super::{AllocationConfig, Purpose};
use crate::message::{Class, Message, Method, Writer, kind};
use crate::{Transaction, Transport, TurnError};

/// When a request is sent again for the first time, over UDP; each time after that takes twice as long. Browsers have the same.
const AGAIN: Duration = Duration::from_millis(250);

/// How often a request is sent over UDP: for 16 s in all.
const SENT: u32 = 6;

/// How long an answer over TCP is waited for.
const OVER_TCP: Duration = Duration::from_secs(16);

/// How often a request is made anew because the server asks for credentials, or says that its nonce is old.
const TRIES: u8 = 5;

/// The longest realm and nonce that are taken, bytes (RFC 8489, sections 14.9 and 14.10: 127 characters).
const MAX_TEXT: usize = 763;

/// UDP, as a transport is named (RFC 8656, section 18.8).
const UDP: [u8; 4] = [17, 0, 0, 0];
/// IPv6, as a family is named (RFC 8656, section 18.6).
const IPV6: [u8; 4] = [2, 0, 0, 0];

/// The errors that matter here.
const UNAUTHORIZED: u16 = 401;
const STALE_NONCE: u16 = 438;

/// What became of an answer.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is none to a request of this side's, or not the server's.
    Ignored,
    /// Ask once more, with what the server said; this often it was asked.
    Again(Purpose, u8),
    Done(Purpose),
    Refused(Purpose, TurnError),
}

/// What was asked and not answered yet: at most one request for each purpose.
pub(super) struct Exchange {
    ids: hmac::Key,
    named: u64,
    realm: Option<Realm>,
    pending: Vec<Pending>,
    transport: Transport,
}

/// What a server said of itself.
struct Realm {
    realm: String,
    nonce: String,
    key: [u8; 16],
}

struct Pending {
    purpose: Purpose,
    transaction: Transaction,
    request: Vec<u8>,
    /// Whether it was sealed.
    sealed: bool,
    sent: u32,
    /// How often it was made anew.
    tries: u8,
    /// When it is sent again, or given up.
    next: Duration,
}

impl Exchange {
    pub(super) fn new(config: &AllocationConfig) -> Self {
        Self {
            ids: hmac::Key::new(hmac::HMAC_SHA256, &config.seed),
            named: 0,
            realm: None,
            pending: Vec::new(),
            transport: config.transport,
        }
    }

    /// A name that nobody can guess for the next message.
    pub(super) fn name(&mut self) -> Transaction {
        self.named += 1;
        let tag = hmac::sign(&self.ids, &self.named.to_be_bytes());
        let mut name = [0; 12];
        name.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        name
    }

    /// Nothing that was asked counts any more.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    pub(super) fn ask(
        &mut self,
        (purpose, tries): (Purpose, u8),
        config: &AllocationConfig,
        peers: &Peers,
        now: Duration,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        let transaction = self.name();
        let request = |method| Writer::new(method, Class::Request, transaction);
        let lifetime = super::MAX_LIFETIME.as_secs() as u32;
        let request = match purpose {
            Purpose::Allocate => {
                let request = request(Method::Allocate)
                    .attribute(kind::REQUESTED_TRANSPORT, &UDP)
                    .attribute(kind::LIFETIME, &lifetime.to_be_bytes());
                match config.ipv6 {
                    true => request.attribute(kind::REQUESTED_ADDRESS_FAMILY, &IPV6),
                    false => request,
                }
            }
            Purpose::Refresh => {
                request(Method::Refresh).attribute(kind::LIFETIME, &lifetime.to_be_bytes())
            }
            Purpose::GiveBack => request(Method::Refresh).attribute(kind::LIFETIME, &[0; 4]),
            Purpose::Permit(ip) => {
                let peer = std::net::SocketAddr::new(ip, 0);
                request(Method::CreatePermission).address(kind::XOR_PEER_ADDRESS, peer)
            }
            Purpose::Bind(peer) => {
                let [a, b] = peers.number(peer).unwrap_or_default().to_be_bytes();
                request(Method::ChannelBind)
                    .attribute(kind::CHANNEL_NUMBER, &[a, b, 0, 0])
                    .address(kind::XOR_PEER_ADDRESS, peer)
            }
        };
        let request = match &self.realm {
            Some(Realm { realm, nonce, key }) => request
                .attribute(kind::USERNAME, config.username.as_bytes())
                .attribute(kind::REALM, realm.as_bytes())
                .attribute(kind::NONCE, nonce.as_bytes())
                .sealed(key),
            None => request.finish(),
        };
        out.push_back(request.clone());
        let next = now + self.wait(0);
        let sealed = self.realm.is_some();
        self.pending.retain(|pending| pending.purpose != purpose);
        self.pending.push(Pending { purpose, transaction, request, sealed, sent: 1, tries, next });
    }

    fn wait(&self, sent: u32) -> Duration {
        match self.transport {
            Transport::Udp => AGAIN * (1 << sent.min(5)),
            Transport::Tcp => OVER_TCP,
        }
    }

    /// Sends again what has no answer; says what is given up.
    pub(super) fn handle_timeout(
        &mut self,
        now: Duration,
        out: &mut VecDeque<Vec<u8>>,
    ) -> Option<Purpose> {
        let most = if self.transport == Transport::Udp { SENT } else { 1 };
        let given_up = |it: &Pending| it.next <= now && it.sent >= most;
        if let Some(at) = self.pending.iter().position(given_up) {
            return Some(self.pending.swap_remove(at).purpose);
        }
        for at in 0..self.pending.len() {
            let wait = self.pending.get(at).map_or(Duration::ZERO, |it| self.wait(it.sent));
            if let Some(pending) = self.pending.get_mut(at).filter(|it| it.next <= now) {
                pending.sent += 1;
                pending.next = now + wait;
                out.push_back(pending.request.clone());
            }
        }
        None
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.pending.iter().map(|pending| pending.next).min()
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: &Message<'_>,
        config: &AllocationConfig,
    ) -> Outcome {
        let is_to = |pending: &Pending| pending.transaction == answer.transaction;
        let Some(at) = self.pending.iter().position(is_to) else { return Outcome::Ignored };
        match answer.class {
            Class::Success => {
                let Some(pending) = self.pending.get(at) else { return Outcome::Ignored };
                let key = self.realm.as_ref().map(|realm| &realm.key);
                // Who only saw the request go by could say anything.
                if pending.sealed && !key.is_some_and(|key| answer.is_sealed(key)) {
                    return Outcome::Ignored;
                }
                Outcome::Done(self.pending.swap_remove(at).purpose)
            }
            Class::Error => self.handle_error(at, answer, config),
            Class::Request | Class::Indication => Outcome::Ignored,
        }
    }

    /// Those that ask for credentials cannot be sealed, so no error has to be: who forges one could as well drop the request.
    fn handle_error(
        &mut self,
        at: usize,
        answer: &Message<'_>,
        config: &AllocationConfig,
    ) -> Outcome {
        let Some((code, reason)) = answer.error() else { return Outcome::Ignored };
        let Pending { purpose, sealed, tries, .. } = self.pending.swap_remove(at);
        let realm = answer.text(kind::REALM, MAX_TEXT);
        let nonce = answer.text(kind::NONCE, MAX_TEXT);
        let known = self.realm.as_mut();
        match (code, nonce) {
            (STALE_NONCE, Some(nonce)) if sealed && tries < TRIES => {
                if let Some(known) = known {
                    nonce.clone_into(&mut known.nonce);
                }
                Outcome::Again(purpose, tries + 1)
            }
            (UNAUTHORIZED, _) if config.username.is_empty() => {
                Outcome::Refused(purpose, TurnError::NoCredentials)
            }
            (UNAUTHORIZED, Some(nonce)) if !sealed => match realm {
                Some(realm) => {
                    let key = key(config, realm);
                    let (realm, nonce) = (realm.to_owned(), nonce.to_owned());
                    self.realm = Some(Realm { realm, nonce, key });
                    Outcome::Again(purpose, tries + 1)
                }
                None => Outcome::Refused(purpose, TurnError::Broken("it names no realm")),
            },
            (UNAUTHORIZED, _) => Outcome::Refused(purpose, TurnError::Credentials { code, reason }),
            _ => Outcome::Refused(purpose, TurnError::Refused { code, reason }),
        }
    }
}

/// What requests are sealed with (RFC 8489, section 9.2.2).
fn key(config: &AllocationConfig, realm: &str) -> [u8; 16] {
    let mut digest = Md5::new();
    for part in [&config.username, ":", realm, ":", &config.credential] {
        digest.update(part.as_bytes());
    }
    digest.finalize().into()
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}
