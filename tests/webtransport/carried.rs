//! Messages over the streams of a session: what a browser's worker has, natively.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use deltawire::TransportError;
use deltawire::link::{Capabilities, Delivers, InFlight, MessageTransport, Output};
use deltawire_channels::TransportMessage;
use deltawire_framing::Channel;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::browser::Session;

const MAX_MESSAGE_LEN: usize = 16 << 10;
const MAX_IN_FLIGHT: usize = 128 << 10;

/// A session, as what carries a link.
pub(crate) struct Carried {
    shared: Arc<Mutex<Shared>>,
    /// Streams and what is to be written on them, by channel.
    writers: [mpsc::UnboundedSender<Vec<u8>>; 2],
    session: Session,
    /// What moves its streams.
    tasks: Vec<AbortHandle>,
    told_open: bool,
    delivers: Delivers,
}

#[derive(Default)]
struct Shared {
    came: VecDeque<(Channel, TransportMessage)>,
    in_flight: usize,
    over: bool,
    told_over: bool,
    /// Whether nothing more is said, though the connection lives on.
    silent: bool,
    driver: Option<Waker>,
}

impl Shared {
    fn wake(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }
}

impl Carried {
    pub(crate) async fn over(session: Session) -> Self {
        let (commands, answers, deltas) = session.streams().await;
        let from_server = session.deltas_of_server().await;
        let shared = Arc::<Mutex<Shared>>::default();
        let mut tasks = vec![
            tokio::spawn(read(answers, Channel::Command, shared.clone())).abort_handle(),
            tokio::spawn(read(from_server, Channel::Data, shared.clone())).abort_handle(),
        ];
        let writers = [commands, deltas].map(|stream| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tasks.push(tokio::spawn(write(stream, receiver, shared.clone())).abort_handle());
            sender
        });
        let connection = session.browser.connection.clone();
        let ends = shared.clone();
        tokio::spawn(async move {
            connection.closed().await;
            let mut ends = ends.lock().unwrap();
            ends.over = true;
            ends.wake();
        });
        Self { shared, writers, session, tasks, told_open: false, delivers: Delivers::InOrder }
    }

    /// The same with deltas that go by themselves, in datagrams if they are to and fit.
    pub(crate) async fn unordered(session: Session, in_datagrams: bool) -> Self {
        let connection = session.browser.connection.clone();
        let mut carried = Self::over(session).await;
        carried.delivers = Delivers::Unordered;
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = &carried.shared;
        tokio::spawn(write_alone(connection.clone(), receiver, in_datagrams, shared.clone()));
        tokio::spawn(read_alone(connection.clone(), shared.clone()));
        tokio::spawn(read_datagrams(connection, shared.clone()));
        // The stream stays, and says nothing.
        let [_, deltas] = &mut carried.writers;
        std::mem::forget(std::mem::replace(deltas, sender));
        carried
    }

    /// What makes it take and say nothing more on its streams, while the connection lives on.
    pub(crate) fn leave(&self) -> impl FnOnce() + use<> {
        let tasks = self.tasks.clone();
        move || tasks.iter().for_each(AbortHandle::abort)
    }

    /// What makes it say nothing more.
    pub(crate) fn silence(&self) -> impl FnOnce() + use<> {
        let shared = self.shared.clone();
        move || shared.lock().unwrap().silent = true
    }
}

async fn read(mut stream: RecvStream, channel: Channel, shared: Arc<Mutex<Shared>>) {
    let mut len = [0; 4];
    while stream.read_exact(&mut len).await.is_ok() {
        let mut message = vec![0; u32::from_le_bytes(len) as usize];
        if stream.read_exact(&mut message).await.is_err() {
            return;
        }
        let mut shared = shared.lock().unwrap();
        shared.came.push_back((channel, message.into()));
        shared.wake();
    }
}

async fn write(
    mut stream: SendStream,
    mut messages: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Arc<Mutex<Shared>>,
) {
    while let Some(message) = messages.recv().await {
        let len = u32::try_from(message.len()).unwrap().to_le_bytes();
        let written = stream.write_all(&[&len[..], &message].concat()).await;
        let mut shared = shared.lock().unwrap();
        shared.in_flight -= message.len();
        shared.wake();
        if written.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

async fn write_alone(
    connection: Connection,
    mut messages: mpsc::UnboundedReceiver<Vec<u8>>,
    in_datagrams: bool,
    shared: Arc<Mutex<Shared>>,
) {
    while let Some(message) = messages.recv().await {
        let fits = connection.max_datagram_size().is_some_and(|most| message.len() < most);
        if in_datagrams && fits {
            let datagram = [&[0][..], &message].concat();
            if connection.send_datagram_wait(datagram.into()).await.is_err() {
                return;
            }
        } else {
            let Ok(mut stream) = connection.open_uni().await else { return };
            let bytes = [&[0x40, 0x54, 0, 3][..], &message].concat();
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
            let _ = stream.finish();
        }
        let mut shared = shared.lock().unwrap();
        shared.in_flight -= message.len();
        shared.wake();
    }
}

async fn read_alone(connection: Connection, shared: Arc<Mutex<Shared>>) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let Ok(message) = stream.read_to_end(1 << 20).await else { return };
            let message = message.strip_prefix(&[0x40, 0x54, 0, 3]).unwrap().to_vec();
            let mut shared = shared.lock().unwrap();
            shared.came.push_back((Channel::Data, message.into()));
            shared.wake();
        });
    }
}

async fn read_datagrams(connection: Connection, shared: Arc<Mutex<Shared>>) {
    while let Ok(datagram) = connection.read_datagram().await {
        let message = datagram.strip_prefix(&[0]).unwrap().to_vec();
        let mut shared = shared.lock().unwrap();
        shared.came.push_back((Channel::Data, message.into()));
        shared.wake();
    }
}

impl MessageTransport for Carried {
    fn capabilities(&self) -> Capabilities {
        let in_flight = InFlight::HandedOn { max: MAX_IN_FLIGHT };
        let mut capabilities = Capabilities::new(MAX_MESSAGE_LEN, in_flight);
        capabilities.kind = "webtransport";
        capabilities.wakes = true;
        capabilities.delivers = self.delivers;
        capabilities
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !std::mem::replace(&mut self.told_open, true) {
            return Ok(Output::Open);
        }
        let mut shared = self.shared.lock().unwrap();
        if let Some((channel, message)) = shared.came.pop_front() {
            return Ok(Output::Message(channel, message));
        }
        if shared.over && !std::mem::replace(&mut shared.told_over, true) {
            return Ok(Output::Closed);
        }
        Ok(Output::Timeout(None))
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        let mut shared = self.shared.lock().unwrap();
        if shared.silent {
            return Ok(true);
        }
        shared.in_flight += message.len();
        let [commands, deltas] = &self.writers;
        let writer = if channel == Channel::Command { commands } else { deltas };
        let _ = writer.send(message.to_vec());
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        let shared = self.shared.lock().unwrap();
        if shared.over { 0 } else { shared.in_flight }
    }

    fn attach(&mut self, driver: &Waker) {
        self.shared.lock().unwrap().driver = Some(driver.clone());
    }

    fn close(&mut self) {
        // H3_NO_ERROR, as a browser does.
        if !self.shared.lock().unwrap().silent {
            self.session.browser.connection.close(0x100_u32.into(), b"");
        }
    }
}
