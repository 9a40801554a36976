//! Links between two pages that meet in a room: no message goes by the server.

use std::pin::pin;

use deltawire::NodeBuilder;
use deltawire::prelude::*;
use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use wasm_bindgen_futures::spawn_local;

use super::checks::{SIZES, add, patient};
use super::explain;
use super::message::{Report, ToPage, ToWorker};
use super::worker::{counters, measure, now, show, state};
use crate::exercise::{self, Check};
use crate::service::{self, Error};

fn builder() -> NodeBuilder {
    Node::builder().limits(service::limits())
}

/// Accepts in a room until the page is gone. Whatever is typed closes the links that there are.
pub(super) async fn accept(room: &str, wanted: &mut mpsc::UnboundedReceiver<ToWorker>) {
    let node = match builder().build() {
        Ok(node) => node,
        Err(error) => return state(&explain(error), false),
    };
    let (accepting, room) = (node.clone(), room.to_owned());
    spawn_local(async move {
        if let Err(error) = accepting.accept_in_room(&room).await {
            state(&explain(error), false);
        }
    });
    state("accepting", false);
    loop {
        match select(pin!(node.accept()), wanted.next()).await {
            Either::Left((Some((peer, link)), _)) => {
                state(&format!("connected over {}", link.kind()), true);
                spawn_local(async move {
                    // Its end says more.
                    let _ = service::serve(peer).await;
                    state(&link.closed().await.to_string(), false);
                });
            }
            Either::Right((Some(_), _)) => {
                for peer in node.peers() {
                    peer.link.close(CloseCode::NORMAL, "said so");
                }
            }
            Either::Left((None, _)) | Either::Right((None, _)) => return,
        }
    }
}

/// Connects to who accepts in a room, tries the link, and reports. Whatever is typed then closes it.
pub(super) async fn meet(room: &str, wanted: &mut mpsc::UnboundedReceiver<ToWorker>) {
    let mut report = Report { kind: "webrtc".to_owned(), ..Report::default() };
    let link = match over_a_link(room, &mut report).await {
        Ok(link) => Some(link),
        Err(error) => {
            add(&mut report, Check::new("the pages connect", Err(error)));
            None
        }
    };
    show(&ToPage::Report(report));
    let Some((_peer, link)) = link else { return };
    if let Either::Right(_) = select(pin!(link.closed()), wanted.next()).await {
        link.close(CloseCode::NORMAL, "said so");
    }
    state(&link.closed().await.to_string(), false);
}

async fn over_a_link(room: &str, report: &mut Report) -> Result<(Peer, Link), Error> {
    let node = builder().build().map_err(explain)?;
    let started = now();
    let (mut peer, link) =
        patient(async { Ok(node.connect(room).await.map_err(explain)?) }).await?;
    let after = format!("over {} after {:.0?}", link.kind(), now() - started);
    add(report, Check::new("the pages connect", Ok(after)));
    let peer_of = &mut peer;
    let result = patient(exercise::shout(peer_of, "from page to page")).await;
    add(report, Check::new("a text goes there and back", result));
    let result = patient(exercise::sizes(peer_of, &SIZES)).await;
    add(report, Check::new("sizes from 1 B to 4 MiB", result));
    let result = patient(exercise::mixed(peer_of, 2_000)).await;
    add(report, Check::new("2,000 messages on all channels", result));
    report.round_trips = patient(exercise::round_trips(peer_of, 1 << 10, 500, now)).await?;
    report.rates = patient(measure(peer_of, 4 << 20)).await?;
    report.counters = counters(&link);
    Ok((peer, link))
}
