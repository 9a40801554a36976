//! WebSockets by tungstenite, as anybody would have them.

use std::future::poll_fn;
use std::net::Ipv4Addr;

use deltawire::framing::Channel;
use deltawire_browser_demo::service::Error;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::application::{Application, ECHO, FRAME};

/// After so many bytes of long messages the page hears that they came, as its browser does not tell it when there is room.
const ACKNOWLEDGED: u32 = 64 << 10;

/// Accepts WebSockets from now on, and says where.
pub(crate) async fn listen() -> Result<String, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("ws://{}/", listener.local_addr()?);
    crate::spawn(async move {
        loop {
            crate::spawn(serve(listener.accept().await?.0));
        }
    });
    Ok(address)
}

async fn serve(stream: TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let (mut sink, mut stream) = accept_async(stream).await?.split();
    let mut application = Application::new(FRAME);
    let (mut came, mut flushed) = (0, true);
    loop {
        let writes = came >= ACKNOWLEDGED || application.next().is_some();
        // What is written goes in large pieces, and at once where no more follows.
        let room = poll_fn(|context| match writes {
            true => sink.poll_ready_unpin(context),
            false => sink.poll_flush_unpin(context),
        });
        tokio::select! {
            message = stream.next() => match message.transpose()? {
                Some(Message::Binary(message)) => {
                    if message.len() > ECHO {
                        came += message.len() as u32;
                    }
                    application.handle(channel(&message), &message);
                }
                // Others the stack answers.
                Some(_) => {}
                None => return Ok(()),
            },
            ready = room, if writes || !flushed => {
                ready?;
                flushed = !writes;
                if came >= ACKNOWLEDGED {
                    let count = std::mem::take(&mut came).to_le_bytes();
                    sink.start_send_unpin(binary(&count))?;
                } else if let Some((_, message)) = application.next() {
                    let len = message.len();
                    sink.start_send_unpin(binary(message))?;
                    application.sent(len);
                }
            }
        }
    }
}

/// There is one socket for both: of short messages those of 8 bytes are commands alone.
fn channel(message: &[u8]) -> Channel {
    if message.len() == 8 { Channel::Command } else { Channel::Data }
}

fn binary(message: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(message))
}
