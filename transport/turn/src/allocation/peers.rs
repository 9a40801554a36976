//! Whom the server lets send here, and the channels to them (RFC 8656, sections 9 and 12).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Addresses of peers that a server is asked to let send to an allocation. A peer may name 64 candidates, and its checks come from
/// 64 addresses at most.
pub const MAX_PERMISSIONS: usize = 128;

/// Channels that an allocation has over its life; to other addresses datagrams go without.
pub const MAX_CHANNELS: usize = 8;

/// Datagrams that wait until the server lets them out.
pub const MAX_HELD: usize = 32;

/// The first of their numbers.
const FIRST: u16 = 0x4000;

/// How long a permission lasts (RFC 8656, section 9), and when it is asked for again if it was used since.
const PERMISSION: Duration = Duration::from_secs(300);
const PERMISSION_AGAIN: Duration = Duration::from_secs(240);

/// The same of a channel (section 12): well before its permission ends.
const CHANNEL: Duration = Duration::from_secs(600);
const CHANNEL_AGAIN: Duration = Duration::from_secs(240);

/// Whether something may be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    /// The server has to be asked.
    Ask,
    /// It was asked.
    Wait,
    /// It said no, or too many were asked for.
    No,
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
    held: VecDeque<(SocketAddr, Vec<u8>)>,
}

#[derive(Debug)]
struct Permission {
    ip: IpAddr,
    state: Permitted,
    /// A renewal is not asked for before, as one was refused.
    not_before: Duration,
    /// When something was last sent there.
    used: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permitted {
    Asked,
    Since(Duration),
    /// The same, and asked for again.
    Renewing(Duration),
    Refused,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    /// Since when the server knows it.
    bound: Option<Duration>,
    asked: bool,
    /// A renewal is not asked for before, as one was refused.
    not_before: Duration,
    used: Duration,
}

impl Peers {
    pub(super) fn may_send(&mut self, ip: IpAddr, now: Duration) -> Answer {
        if let Some(known) = self.permissions.iter_mut().find(|it| it.ip == ip) {
            known.used = now;
            return match known.state {
                Permitted::Asked => Answer::Wait,
                Permitted::Since(since) | Permitted::Renewing(since)
                    if now < since + PERMISSION =>
                {
                    Answer::Yes
                }
                Permitted::Renewing(_) => Answer::Wait,
                Permitted::Since(_) => {
                    known.state = Permitted::Asked;
                    Answer::Ask
                }
                Permitted::Refused => Answer::No,
            };
        }
        if self.permissions.len() == MAX_PERMISSIONS {
            return Answer::No;
        }
        let (state, not_before) = (Permitted::Asked, Duration::ZERO);
        self.permissions.push(Permission { ip, state, not_before, used: now });
        Answer::Ask
    }

    /// Whether this side wants to hear from an address: something was sent there.
    pub(super) fn may_come(&self, ip: IpAddr) -> bool {
        let mut known = self.permissions.iter();
        known.any(|it| it.ip == ip && it.state != Permitted::Refused)
    }

    pub(super) fn hold(&mut self, peer: SocketAddr, datagram: &[u8]) {
        if self.held.len() == MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back((peer, datagram.to_vec()));
    }

    /// The server lets this address send; gives what waited for it.
    pub(super) fn permitted(&mut self, ip: IpAddr, now: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
        if let Some(known) = self.permissions.iter_mut().find(|it| it.ip == ip) {
            known.state = Permitted::Since(now);
        }
        let (now, later) = self.held.drain(..).partition(|(peer, _)| peer.ip() == ip);
        self.held = later;
        let now: VecDeque<_> = now;
        now.into()
    }

    /// The server does not let it send, or not for longer: then it is asked once more, but not before.
    pub(super) fn refused(&mut self, ip: IpAddr, not_before: Duration) {
        if let Some(known) = self.permissions.iter_mut().find(|it| it.ip == ip) {
            known.not_before = not_before;
            known.state = match known.state {
                Permitted::Renewing(since) => Permitted::Since(since),
                _ => Permitted::Refused,
            };
        }
        self.held.retain(|(peer, _)| peer.ip() != ip);
    }

    /// Those whose permission has to be asked for again: of those that are used.
    pub(super) fn permissions_to_ask(&mut self, now: Duration) -> Vec<IpAddr> {
        let due = self.permissions.iter_mut().filter(|it| it.due().is_some_and(|at| at <= now));
        due.map(|it| {
            // What is sent until there is an answer goes on.
            if let Permitted::Since(since) = it.state {
                it.state = Permitted::Renewing(since);
            }
            it.ip
        })
        .collect()
    }

    /// The number of the channel to a peer, if there is one.
    pub(super) fn channel(&mut self, peer: SocketAddr, now: Duration) -> Option<u16> {
        let at = self.channels.iter().position(|it| it.peer == peer)?;
        let channel = self.channels.get_mut(at)?;
        channel.used = now;
        let number = FIRST + u16::try_from(at).ok()?;
        if let Some(known) = self.permissions.iter_mut().find(|it| it.ip == peer.ip()) {
            known.used = now;
        }
        channel.bound.filter(|since| now < *since + CHANNEL).map(|_| number)
    }

    /// The number of a channel that is there or asked for.
    pub(super) fn number(&self, peer: SocketAddr) -> Option<u16> {
        let at = self.channels.iter().position(|it| it.peer == peer)?;
        u16::try_from(at).ok().map(|at| FIRST + at)
    }

    /// Who is at the other end of a channel.
    pub(super) fn behind(&self, number: u16) -> Option<SocketAddr> {
        let channel = self.channels.get(usize::from(number.checked_sub(FIRST)?))?;
        // The server may use it before its answer comes.
        (channel.bound.is_some() || channel.asked).then_some(channel.peer)
    }

    /// Whether a channel has to be asked for.
    pub(super) fn begin_channel(&mut self, peer: SocketAddr) -> bool {
        let known = self.channels.iter().any(|it| it.peer == peer);
        if known || self.channels.len() == MAX_CHANNELS {
            return false;
        }
        let (used, not_before) = (Duration::ZERO, Duration::ZERO);
        self.channels.push(Channel { peer, bound: None, asked: true, not_before, used });
        true
    }

    pub(super) fn bound(&mut self, peer: SocketAddr, now: Duration) {
        if let Some(channel) = self.channels.iter_mut().find(|it| it.peer == peer) {
            (channel.bound, channel.asked) = (Some(now), false);
        }
    }

    /// There is no channel: its number is not used again, and datagrams go without. One that there was is asked for once more, but
    /// not before.
    pub(super) fn unbound(&mut self, peer: SocketAddr, not_before: Duration) {
        if let Some(channel) = self.channels.iter_mut().find(|it| it.peer == peer) {
            (channel.not_before, channel.asked) = (not_before, false);
        }
    }

    /// Those that have to be asked for again: of those that are used.
    pub(super) fn channels_to_ask(&mut self, now: Duration) -> Vec<SocketAddr> {
        let mut due = Vec::new();
        for channel in &mut self.channels {
            if channel.due().is_some_and(|at| at <= now) {
                channel.asked = true;
                due.push(channel.peer);
            }
        }
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let permissions = self.permissions.iter().filter_map(Permission::due);
        permissions.chain(self.channels.iter().filter_map(Channel::due)).min()
    }
}

impl Permission {
    /// When it is asked for again, if it is used.
    fn due(&self) -> Option<Duration> {
        let Permitted::Since(since) = self.state else { return None };
        (self.used > since).then(|| (since + PERMISSION_AGAIN).max(self.not_before))
    }
}

impl Channel {
    fn due(&self) -> Option<Duration> {
        let since = self.bound.filter(|_| !self.asked)?;
        (self.used > since).then(|| (since + CHANNEL_AGAIN).max(self.not_before))
    }
}
