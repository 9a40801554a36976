//! Whole links between a node and a peer on a stack of its own, which does what no node does: the peer hears
//! why its link ends, and then the link ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deltawire::sdp::stream;
use deltawire::signalling::{ClientOptions, SignallingClient};
use deltawire::webrtc::EngineError;
use deltawire::{LinkEnded, Node};
use deltawire_channels::session::{Closed, Event, SessionConfig};
use deltawire_channels::{Peer, Session};
use deltawire_framing::Channel;
use deltawire_framing::control::{CloseCode, Role};
use str0m::change::SdpAnswer;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;

use crate::nodes::{ANY_PORT, End, LOOPBACK, client, down, serve, server, soon, until};

/// A peer that connects: str0m, a socket, and a session of ours.
struct Foreign {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    session: Session,
    /// As long as it is there, nobody closes the session.
    _peer: Peer,
    start: Instant,
    /// By stream.
    channels: [ChannelId; 3],
    open: usize,
    /// How its session ended.
    closed: Option<Closed>,
    /// Whether the node hung up.
    hung_up: bool,
}

impl Foreign {
    /// Connects to a node, as one that has heard that messages may be as long as it likes.
    async fn connect(server: &Node) -> Self {
        let start = Instant::now();
        let socket = UdpSocket::bind(ANY_PORT).await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .set_mtu(str0m::DATAGRAM_MTU_TARGET_MIN..=usize::MAX)
            .set_sctp_max_buffered_amount(1 << 20)
            .build(start);
        rtc.add_local_candidate(Candidate::host(address, Protocol::Udp).unwrap());
        let mut changes = rtc.sdp_api();
        let channels = [0, 1, 2].map(|stream| {
            let negotiated = Some(stream);
            changes
                .add_channel_with_config(ChannelConfig { negotiated, ..ChannelConfig::default() })
        });
        let (offer, pending) = changes.apply().unwrap();
        let answer = server.answer(&offer.to_sdp_string()).await.unwrap();
        assert!(answer.contains("a=max-message-size:16384\r\n"));
        let answer = answer.replace("a=max-message-size:16384", "a=max-message-size:1048576");
        let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let config = SessionConfig::new(Role::Initiator, [3; 16], 7);
        let (session, peer) = Session::new(config, Duration::ZERO).unwrap();
        Self {
            rtc,
            socket,
            address,
            session,
            _peer: peer,
            start,
            channels,
            open: 0,
            closed: None,
            hung_up: false,
        }
    }

    /// An open link, and the node's end of it.
    async fn open(server: &Node) -> (Self, End) {
        let mut foreign = Self::connect(server).await;
        let accepted = tokio::select! {
            accepted = server.accept() => accepted.unwrap(),
            () = foreign.run("a link", |_| false) => unreachable!(),
        };
        (foreign, accepted)
    }

    /// Hears why the link ends, and that the node hangs up.
    async fn hear_the_end(mut self, why: &str) {
        self.run("a close", |foreign| foreign.closed.is_some()).await;
        match &self.closed {
            Some(Closed::ByPeer { code: CloseCode::OUT_OF_PLACE, reason, .. }) => {
                assert!(reason.contains(why), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        self.run("the end", |foreign| foreign.hung_up).await;
    }

    async fn run(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        soon(what, async {
            let mut buffer = vec![0; 2_048];
            loop {
                let until = self.work().await;
                if done(self) {
                    return;
                }
                tokio::select! {
                    received = self.socket.recv_from(&mut buffer) => {
                        let (len, from) = received.unwrap();
                        let received =
                            Receive::new(Protocol::Udp, from, self.address, &buffer[..len]);
                        let input = Input::Receive(Instant::now(), received.unwrap());
                        self.rtc.handle_input(input).unwrap();
                    }
                    () = tokio::time::sleep_until(until.into()) => {}
                }
            }
        })
        .await;
    }

    /// Does what there is to do now, and says when there will be more.
    async fn work(&mut self) -> Instant {
        let now = Instant::now();
        let time = now - self.start;
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        if self.session.poll_timeout().is_some_and(|at| at <= time) {
            self.session.handle_timeout(time);
        }
        loop {
            while self.open == 3
                && let Some(transmit) = self.session.poll_transmit(1 << 16)
            {
                let number = stream(Role::Initiator, transmit.channel());
                let channel = self.rtc.channel(self.channels[usize::from(number)]);
                assert!(channel.unwrap().write(true, &transmit).unwrap());
            }
            match self.rtc.poll_output().unwrap() {
                Output::Transmit(transmit) => {
                    self.socket.send_to(&transmit.contents, transmit.destination).await.unwrap();
                }
                Output::Event(event) => self.take(event, time),
                Output::Timeout(until) => {
                    let session = self.session.poll_timeout().map(|at| self.start + at);
                    return session.into_iter().chain([until]).min().unwrap();
                }
            }
        }
    }

    fn take(&mut self, event: str0m::Event, now: Duration) {
        match event {
            str0m::Event::ChannelOpen(..) => self.open += 1,
            str0m::Event::ChannelData(data) => {
                let channels = [Channel::Command, Channel::Data];
                let channel = channels.into_iter().find(|channel| {
                    self.channels[usize::from(stream(Role::Acceptor, *channel))] == data.id
                });
                self.session.handle_message(channel.unwrap(), data.data, now);
            }
            str0m::Event::ChannelClose(_) | str0m::Event::Closed => self.hung_up = true,
            _ => {}
        }
        while let Some(event) = self.session.poll_event() {
            if let Event::Closed(closed) = event {
                self.closed = Some(closed);
            }
        }
    }
}

/// The protocol by which channels are opened (RFC 8832) is not in use: all three are negotiated.
#[tokio::test]
async fn a_fourth_channel_ends_the_link_by_name() {
    let server = server();
    let (mut foreign, _end) = Foreign::open(&server).await;
    foreign.rtc.direct_api().create_data_channel(ChannelConfig {
        label: "a fourth".to_owned(),
        ..ChannelConfig::default()
    });
    foreign.hear_the_end("only streams 0, 1 and 2 are in use").await;
    let (_, ended, _) = down(&server).await;
    assert!(matches!(fault(&ended), Some(EngineError::Stream { stream: 3.., .. })), "{ended}");
    until("its place to be free", || server.peers().is_empty()).await;
}

/// A message of so many chunks that only a faulty sender can have made it.
#[tokio::test]
async fn who_breaks_the_rules_of_sctp_is_told_so() {
    let server = server();
    let (mut foreign, _end) = Foreign::open(&server).await;
    let command = foreign.channels[0];
    assert!(foreign.rtc.channel(command).unwrap().write(true, &[7; 400_000]).unwrap());
    foreign.hear_the_end("a message came in more chunks than any needs").await;
    let (_, ended, _) = down(&server).await;
    assert!(matches!(fault(&ended), Some(EngineError::Sctp(_))), "{ended}");
    until("its place to be free", || server.peers().is_empty()).await;
}

/// Who offered may also hang up over HTTP.
#[tokio::test]
async fn a_resource_that_is_deleted_ends_its_link_by_name() {
    let (client, server) = (client(), server());
    let (url, _serving) = serve(&server, ANY_PORT).await;
    let signalling = SignallingClient::new(ClientOptions::default()).unwrap();
    let offer = client.offer(LOOPBACK).unwrap();
    let answered = signalling.offer(&url, offer.sdp().to_owned()).await.unwrap();
    let both = async { tokio::join!(offer.finish(&answered.sdp), server.accept()) };
    let (near, far) = soon("a link", both).await;
    let ((near, near_link), (far, _far_link)) = (near.unwrap(), far.unwrap());
    let resource = answered.resource.unwrap();
    signalling.hang_up(&resource).await.unwrap();
    match soon("its end", near_link.closed()).await {
        LinkEnded::Session(Closed::ByPeer { code: CloseCode::NORMAL, reason, .. }) => {
            assert_eq!(reason, "the peer hung up over signalling");
        }
        other => panic!("{other}"),
    }
    assert_eq!(down(&server).await.1, LinkEnded::HungUp);
    until("both places to be free", || client.peers().is_empty() && server.peers().is_empty())
        .await;
    drop((near, far));
    assert!(signalling.hang_up(&resource).await.is_err(), "the resource is gone");
}

/// What was wrong with the peer's WebRTC, if that ended the link.
fn fault(ended: &LinkEnded) -> Option<&EngineError> {
    match ended {
        LinkEnded::Transport(error) => error.downcast_ref(),
        _ => None,
    }
}
