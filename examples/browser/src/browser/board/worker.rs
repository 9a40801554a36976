//! The worker: is a peer on the board, and tells the window what happens there.

use std::time::Duration;

use deltawire::Backoff;
use deltawire::documents::{Documents, DocumentsOptions, keep};
use deltawire::prelude::*;
use futures_channel::mpsc::UnboundedReceiver;
use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt, select_biased};

use crate::board::{Appearance, PATH, Participant, Status, ToWindow, Wish};
use crate::browser::explain;
use crate::browser::worker::{post, sleep};
use crate::service::Error;

/// How often the window is told how it is connected.
const STATUS: Duration = Duration::from_millis(250);

/// Takes part in the board until that is over.
pub(in crate::browser) async fn join(
    origin: &str,
    kind: &str,
    wishes: &mut UnboundedReceiver<Wish>,
) {
    if let Err(error) = take_part(origin, kind, wishes).await {
        tell(&ToWindow::Trouble(error.to_string()));
    }
}

pub(in crate::browser) fn tell(message: &ToWindow) {
    post(&js_sys::Uint8Array::from(&*message.write()));
}

async fn take_part(
    origin: &str,
    kind: &str,
    wishes: &mut UnboundedReceiver<Wish>,
) -> Result<(), Error> {
    // A person who waits for the server is not to wait half a minute more.
    let backoff = Backoff { longest: Duration::from_secs(2), ..Backoff::default() };
    let node = Node::builder().prefer_links(kind.split(',')).backoff(backoff).build()?;
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let mut author = [0; 8];
    node.runtime().random(&mut author)?;
    let mut participant = Participant::join(&documents, u64::from_le_bytes(author), now)?;
    let url = format!("{origin}{PATH}");
    let kept = std::pin::pin!(keep(&node, &url, &documents));
    let attended = std::pin::pin!(attend(&node, &mut participant, wishes));
    match select(kept, attended).await {
        Either::Left((kept, _)) => kept.map_err(|error| explain(error).into()),
        Either::Right((attended, _)) => attended,
    }
}

fn now() -> u64 {
    (js_sys::Date::now() * 1e3) as u64
}

async fn attend(
    node: &Node,
    participant: &mut Participant,
    wishes: &mut UnboundedReceiver<Wish>,
) -> Result<(), Error> {
    let mut appearance = Appearance::default();
    let mut status = Status::default();
    let mut tick = std::pin::pin!(sleep(Duration::ZERO).fuse());
    loop {
        let wish = select_biased! {
            wish = wishes.next() => wish,
            told = participant.next().fuse() => {
                tell(&told?);
                None
            }
            () = tick => {
                tick.set(sleep(STATUS).fuse());
                let mut now = participant.status();
                now.kind = node.peers().first().map(|it| it.link.kind().to_owned()).unwrap_or_default();
                if now != status {
                    tell(&ToWindow::Status(now.clone()));
                    status = now;
                }
                None
            }
        };
        match wish {
            Some(Wish::Perform(signed)) => participant.perform(signed.operation),
            Some(Wish::Undo) => participant.undo(),
            Some(Wish::Appear(next)) if next != appearance => {
                participant.appear(next.clone())?;
                appearance = next;
            }
            _ => {}
        }
    }
}
