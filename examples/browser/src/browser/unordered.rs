//! Tries deltas that may overtake each other, and get lost.

use std::collections::BTreeSet;
use std::time::Duration;

use deltawire::channels::Reliability;
use deltawire::prelude::*;
use futures_util::future::{Either, join, select};

use super::explain;
use super::message::Server;
use super::worker::{now, sleep};
use crate::exercise::DOCUMENT;
use crate::service::{self, Error};
use crate::unordered::{delivery, path};

const COUNT: u64 = 3_000;
const LENS: [usize; 10] = [8, 64, 8, 1_000, 8, 1_400, 8, 9_000, 8, 40_000];
/// So long nothing comes when nothing more will.
const QUIET: Duration = Duration::from_secs(2);

/// Has the server send many deltas back: each comes whole, none twice, and all of them if `all`.
pub(super) async fn check(
    server: &Server,
    name: &str,
    reliability: Reliability,
    all: bool,
) -> Result<String, Error> {
    let may_be_late = !all && matches!(reliability, Reliability::MaxLifetime(_));
    let way = delivery(reliability);
    let builder = Node::builder().limits(service::limits()).delivery(way, way);
    let node = builder.prefer_links([server.kind.as_str()]).build()?;
    let connected = node.connect(&format!("{}{}", server.origin, path(name))).await;
    let (mut peer, link) = connected.map_err(explain)?;
    if link.kind() != server.kind {
        return Err(link.kind().into());
    }
    let Peer { send, receive, .. } = &mut peer;
    let sending = async {
        for number in 0..COUNT {
            let len = LENS[number as usize % LENS.len()];
            let mut grant = send.reserve(len).await?;
            let payload = grant.payload_mut();
            payload.fill(number as u8);
            payload[..8].copy_from_slice(&number.to_le_bytes());
            grant.commit(DeltaFields::new(DOCUMENT), len)?;
        }
        Ok::<_, Error>(())
    };
    let mut missing: BTreeSet<_> = (0..COUNT).collect();
    let receiving = async {
        while !missing.is_empty() {
            let next = std::pin::pin!(receive.next());
            let frame = match select(next, std::pin::pin!(sleep(QUIET))).await {
                Either::Left((frame, _)) => frame?,
                Either::Right(_) => break,
            };
            let delta = frame.delta()?;
            let (number, rest) = delta.payload().split_first_chunk().ok_or("it is cut")?;
            let number = u64::from_le_bytes(*number);
            let whole = rest.len() + 8 == LENS[number as usize % LENS.len()];
            if !whole || rest.iter().any(|byte| *byte != number as u8) || !missing.remove(&number) {
                return Err(format!("number {number} came wrong, or twice").into());
            }
        }
        Ok::<_, Error>(())
    };
    let (sent, received) = join(sending, receiving).await;
    sent?;
    received?;
    let came = COUNT - missing.len() as u64;
    // On a machine that is busy all may be late; else some of the short ones come, which go in datagrams if any do.
    let short = |number: &u64| LENS[*number as usize % LENS.len()] == 8;
    let some = (0..COUNT).filter(short).any(|number| !missing.contains(&number));
    if (all && came < COUNT) || !(some || may_be_late) {
        return Err(format!("{came} of {COUNT} came").into());
    }
    // Commands are not lost.
    let Peer { command, .. } = &mut peer;
    command.send.send(DeltaFields::new(DOCUMENT), b"still there").await?;
    let answer = command.receive.next().await?;
    if answer.delta()?.payload() != b"still there" {
        return Err("another command came".into());
    }
    let begin = now();
    link.close(CloseCode::NORMAL, "done");
    let ended = link.closed().await;
    let took = now() - begin;
    // Not before a time-out, which is 5 s.
    if took > Duration::from_secs(4) {
        return Err(format!("{ended} after {took:?}").into());
    }
    Ok(format!("{came} of {COUNT} came"))
}
