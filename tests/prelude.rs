//! The prelude beside the names of an application.

/// Names that applications have for things of their own.
mod application {
    #[derive(Debug, PartialEq)]
    pub(crate) enum Kind {
        Insert,
    }
    pub(crate) struct Channel(pub(crate) &'static str);
    pub(crate) struct Command(pub(crate) Kind);
    pub(crate) struct Delta(pub(crate) u32);
    pub(crate) struct Frame(pub(crate) u32);
    pub(crate) struct Record(pub(crate) u32);
}

use application::*;
use deltawire::prelude::*;

#[test]
fn an_applications_names_stay_its_own() {
    let (Command(kind), Channel(name)) = (Command(Kind::Insert), Channel("general"));
    let (Delta(delta), Frame(frame), Record(record)) = (Delta(1), Frame(2), Record(3));
    assert_eq!((kind, name, delta + frame + record), (Kind::Insert, "general", 6));
}

/// What a program needs to name that sets a node up and serves its peers.
async fn serve(builder: NodeBuilder) -> Result<(), Box<dyn std::error::Error>> {
    let node: Node = builder.limits(Limits::default()).build()?;
    let accepted: Option<(Peer, Link)> = node.accept().await;
    let Some((Peer { mut send, mut receive, .. }, link)) = accepted else { return Ok(()) };
    let doc_id: DocId = receive.next().await?.delta()?.doc_id();
    let sent: Result<(), SendError> = send.send(DeltaFields::new(doc_id), b"").await;
    sent?;
    link.close(CloseCode::NORMAL, "");
    let (_ended, _lost): (LinkEnded, Undelivered) = (link.closed().await, link.undelivered());
    let _event: NodeEvent = node.event().await;
    Ok(())
}

#[test]
fn a_program_needs_no_other_import() {
    let _ = serve;
    let best_effort = Delivery { order: Order::Unordered, reliability: Reliability::Reliable };
    assert_ne!(best_effort, Delivery::default());
}
