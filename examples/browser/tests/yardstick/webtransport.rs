//! Sessions of WebTransport by wtransport, on quinn, as anybody would have them.

use std::fmt::Write;

use deltawire::framing::Channel;
use deltawire_browser_demo::service::Error;
use wtransport::endpoint::IncomingSession;
use wtransport::{Endpoint, Identity, RecvStream, SendStream, ServerConfig};

use crate::application::Application;
use crate::peer;

/// Longest message, bytes: streams take them whole.
const LONGEST: usize = 1 << 20;
/// Bytes that are read at a time, and that wait to be written.
const CHUNK: usize = 64 << 10;

/// Accepts sessions from now on, and says where: behind the # is the certificate's hash.
pub(crate) fn listen() -> Result<String, Error> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let certificates = identity.certificate_chain().as_slice();
    let hash = certificates.first().ok_or("there is no certificate")?.hash();
    let (socket, _) = peer::socket()?;
    let config = ServerConfig::builder().with_bind_socket(socket).with_identity(identity);
    let endpoint = Endpoint::server(config.build())?;
    let mut address = format!("https://{}/#", endpoint.local_addr()?);
    for byte in hash.as_ref() {
        write!(address, "{byte:02x}")?;
    }
    crate::spawn(async move {
        loop {
            crate::spawn(serve(endpoint.accept().await));
        }
    });
    Ok(address)
}

async fn serve(session: IncomingSession) -> Result<(), Error> {
    let connection = session.await?.accept().await?;
    let (command_out, command_in) = connection.accept_bi().await?;
    let data_in = connection.accept_uni().await?;
    let data_out = connection.open_uni().await?.await?;
    // Or bulk that waits in the stack would go first.
    command_out.set_priority(1);
    let mut command_in = Incoming::new(Channel::Command, command_in);
    let mut data_in = Incoming::new(Channel::Data, data_in);
    let mut command_out = Outgoing::new(command_out);
    let mut data_out = Outgoing::new(data_out);
    let mut application = Application::new(LONGEST);
    loop {
        while let Some((channel, message)) = application.next() {
            let is_command = channel == Channel::Command;
            let out = if is_command { &mut command_out } else { &mut data_out };
            if out.is_full() {
                break;
            }
            let len = message.len();
            out.add(message);
            application.sent(len);
        }
        // Of those that are not done nothing was read or written.
        tokio::select! {
            read = command_in.read() => {
                let read = read?;
                command_in.handle(read, &mut application);
            }
            read = data_in.read() => {
                let read = read?;
                data_in.handle(read, &mut application);
            }
            written = command_out.write(), if command_out.waits() => written?,
            written = data_out.write(), if data_out.waits() => written?,
        }
    }
}

/// Messages that come on a stream, each with its length in front.
struct Incoming {
    channel: Channel,
    stream: RecvStream,
    place: Vec<u8>,
    /// What came of messages that are not whole.
    held: Vec<u8>,
}

impl Incoming {
    fn new(channel: Channel, stream: RecvStream) -> Self {
        Self { channel, stream, place: vec![0; CHUNK], held: Vec::new() }
    }

    async fn read(&mut self) -> Result<usize, Error> {
        let read = self.stream.read(&mut self.place).await?;
        read.ok_or_else(|| "the page ended a stream".into())
    }

    fn handle(&mut self, read: usize, application: &mut Application) {
        self.held.extend_from_slice(&self.place[..read]);
        let mut rest = &self.held[..];
        while let Some((length, behind)) = rest.split_first_chunk() {
            let Some(split) = behind.split_at_checked(u32::from_le_bytes(*length) as usize) else {
                break;
            };
            application.handle(self.channel, split.0);
            rest = split.1;
        }
        let handled = self.held.len() - rest.len();
        self.held.drain(..handled);
    }
}

/// Messages that go on a stream.
struct Outgoing {
    stream: SendStream,
    bytes: Vec<u8>,
    /// How many of them went.
    written: usize,
}

impl Outgoing {
    fn new(stream: SendStream) -> Self {
        Self { stream, bytes: Vec::new(), written: 0 }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK
    }

    fn waits(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn add(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(&(message.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(message);
    }

    async fn write(&mut self) -> Result<(), Error> {
        self.written += self.stream.write(&self.bytes[self.written..]).await?;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
        Ok(())
    }
}
