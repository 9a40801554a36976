//! Two nodes by SCTP over loopback UDP, with defaults: WebRTC's SCTP without ICE and DTLS. Nothing is encrypted.

use anyhow::Context;
use deltawire::{Admission, Node};
use hdrhistogram::Histogram;

use crate::deltawire_pair::{self, End, LOOPBACK};
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::plan::{LIMIT, Measured};

pub(crate) fn one_way(plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    let (flow, _) = deltawire_pair::run(false, LIMIT, async {
        deltawire_pair::one_way_over(connect(plan.size, links).await?, plan).await
    })?;
    Ok(flow.into())
}

pub(crate) fn ping_pong(plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        deltawire_pair::ping_pong_over(connect(0, links).await?, plan).await
    })
}

pub(crate) async fn connect(size: usize, links: &Links) -> anyhow::Result<[End; 2]> {
    let limits = deltawire_pair::limits(size);
    let acceptor = Node::builder()
        .limits(limits)
        .accept_sctp((LOOPBACK, 0).into(), Admission::anyone())
        .build()?;
    let address = acceptor.sctp_address().context("it listens nowhere")?;
    let initiator = Node::builder().limits(limits).build()?;
    let (peer, link) = initiator.connect(&format!("sctp://{address}")).await?;
    links.watch("initiator", &link);
    let alice = End { peer, link };
    let (peer, link) = acceptor.accept().await.context("the acceptor shut down")?;
    links.watch("acceptor", &link);
    Ok([alice, End { peer, link }])
}
