use std::num::NonZero;
use std::time::Duration;

use deltawire::prelude::*;
use deltawire::signalling::{Rate, SignallingOptions, SignallingServer};

/// A node that echoes, and where it is found.
pub(crate) async fn start() -> anyhow::Result<(Node, String)> {
    // All visitors have one address.
    let limits = NodeLimits {
        max_pending: 256,
        max_pending_per_address: 256,
        max_per_address: 1_024,
        ..NodeLimits::default()
    };
    let node = Node::builder().node_limits(limits).listen(([127, 0, 0, 1], 0).into()).build()?;
    let rate = Rate { burst: NonZero::<u16>::MAX, refill: Duration::from_micros(1) };
    let options = SignallingOptions { rate, ..SignallingOptions::default() };
    let server = SignallingServer::bind(([127, 0, 0, 1], 0).into(), node.router(options)).await?;
    let url = format!("http://{}/webrtc", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    tokio::spawn({
        let node = node.clone();
        async move {
            while let Some((Peer { command, send, receive }, _)) = node.accept().await {
                // Who left in the middle ends them with an error.
                tokio::spawn(echo(command.receive, command.send));
                tokio::spawn(echo(receive, send));
            }
        }
    });
    Ok((node, url))
}

async fn echo(mut receive: Receiver, mut send: Sender) -> anyhow::Result<()> {
    while let Ok(frame) = receive.next().await {
        let delta = frame.delta()?;
        let mut grant = send.reserve(delta.payload().len()).await?;
        grant.payload_mut().copy_from_slice(delta.payload());
        grant.commit(DeltaFields::new(delta.doc_id()), delta.payload().len())?;
    }
    Ok(())
}
