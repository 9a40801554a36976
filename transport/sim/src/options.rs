use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deltawire_channels::session::SessionConfig;
use deltawire_channels::{Delivery, Limits, Order};
use deltawire_framing::control::Role;
use deltawire_link::{ConnectionConfig, PacingLimits};
use deltawire_webrtc::{Certificate, DEFAULT_MTU, EngineConfig, EngineKind, SharedDtls};

use super::dtls::reproducible;
use super::random::Random;

/// What a simulated link runs on. See the [module](super#what-a-link-runs-on).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// Transport messages of the session, each a datagram of its own.
    #[default]
    Frames,
    /// The datagrams of two WebRTC stacks.
    Datagrams,
}

/// How two hosts are connected. Both ends get the same, but for [`acceptor_limits`](Self::acceptor_limits).
#[derive(Clone, Copy, Debug)]
pub struct LinkOptions {
    /// What the link runs on. Default: [`Carrier::Frames`].
    pub carrier: Carrier,
    /// Which WebRTC stack, where it runs on one. Default: [`EngineKind::default`].
    pub engine: EngineKind,
    /// What bounds each peer. Default: [`Limits::default`].
    pub limits: Limits,
    /// What bounds the acceptor's peer, where that differs. Default: `None`.
    pub acceptor_limits: Option<Limits>,
    /// How much is on its way. Default: [`PacingLimits::default`].
    pub pacing: PacingLimits,
    /// How long it may take to reach the peer. Default: 10 s.
    pub connect_timeout: Duration,
    /// Largest datagram that the stack makes, bytes. Default:
    /// [`DEFAULT_MTU`](deltawire_webrtc::DEFAULT_MTU).
    pub mtu: usize,
    /// Whether commands arrive in the order in which they were sent. Default: they do.
    pub command: Order,
    /// Delivery of the initiator's deltas. Default: reliable and ordered.
    pub initiator: Delivery,
    /// Delivery of the acceptor's deltas. Default: reliable and ordered.
    pub acceptor: Delivery,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            carrier: Carrier::default(),
            engine: EngineKind::default(),
            limits: Limits::default(),
            acceptor_limits: None,
            pacing: PacingLimits::default(),
            connect_timeout: Duration::from_secs(10),
            mtu: DEFAULT_MTU,
            command: Order::default(),
            initiator: Delivery::default(),
            acceptor: Delivery::default(),
        }
    }
}

impl LinkOptions {
    fn limits_of(&self, role: Role) -> Limits {
        match role {
            Role::Initiator => self.limits,
            Role::Acceptor => self.acceptor_limits.unwrap_or(self.limits),
        }
    }

    pub(super) fn engine(&self, role: Role) -> EngineConfig {
        let limits = self.limits_of(role);
        let mut config = EngineConfig::new(shared_certificate());
        config.kind = self.engine;
        config.mtu = self.mtu;
        config.max_buffered = self.pacing.max.max(self.pacing.min) + limits.max_frame_len;
        config.max_message_size = u32::try_from(limits.max_frame_len).unwrap_or(u32::MAX);
        config.receive_buffer = u32::try_from(limits.largest_data_window()).unwrap_or(u32::MAX);
        // As of a socket of 4 MiB.
        config.burst = 1 << 20;
        config.command = self.command;
        config.initiator = self.initiator;
        config.acceptor = self.acceptor;
        config
    }

    pub(super) fn connection(&self, role: Role, random: &mut Random) -> ConnectionConfig {
        let mut session_id = [0; 16];
        random.fill(&mut session_id);
        let mut session = SessionConfig::new(role, session_id, random.number());
        session.limits = self.limits_of(role);
        session.command = self.command;
        (session.send, session.receive) = match role {
            Role::Initiator => (self.initiator, self.acceptor),
            Role::Acceptor => (self.acceptor, self.initiator),
        };
        let (pacing, connect_timeout) = (self.pacing, self.connect_timeout);
        ConnectionConfig { session, pacing, connect_timeout, valid_until: None }
    }
}

static DTLS: SharedDtls = SharedDtls::new(reproducible);

/// A certificate for nodes of simulations: the same for everybody and in each process, because lengths of
/// certificates vary. Its key is no secret.
#[must_use]
pub fn certificate() -> Certificate {
    let (certificate, key) = (include_bytes!("certificate.der"), include_bytes!("key.der"));
    Certificate::from_der(certificate.to_vec(), key.to_vec()).with_dtls(&DTLS)
}

fn shared_certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE.get_or_init(|| Arc::new(certificate())).clone()
}
