//! `deltawire echo`.

use deltawire_channels::{Peer, Receiver, SendError, Sender};
use deltawire_framing::{DeltaFields, Kind};
use serde_json::json;

use crate::arguments::Listen;
use crate::end::End;
use crate::link;
use crate::output::Output;

/// Sends every message back until the link is over.
async fn back(mut receive: Receiver, mut send: Sender) -> Result<(), SendError> {
    while let Ok(message) = receive.next().await {
        match (message.kind(), message.delta()) {
            (Kind::Delta, Ok(delta)) => {
                let fields = DeltaFields::new(delta.doc_id());
                send.send(fields, delta.payload()).await?;
            }
            (Kind::Opaque, _) => send.send_opaque(message.body()).await?,
            // What belongs to documents or bulk is nothing to send back.
            _ => {}
        }
    }
    Ok(())
}

/// Sends back whatever peers send, until Ctrl+C.
pub(crate) async fn echo(
    task: &Listen,
    options: &link::Options,
    output: &Output,
) -> Result<(), End> {
    let node = link::server(task.listen, options, output).await?;
    while let Some((Peer { command, send, receive }, link)) = node.accept().await {
        let text = format!("{} is connected", link.id());
        output.say("connected", &text, json!({ "link": link.id().0, "kind": link.kind() }));
        tokio::spawn(back(command.receive, command.send));
        tokio::spawn(back(receive, send));
        let output = output.clone();
        tokio::spawn(async move {
            let ended = link.closed().await.to_string();
            output.say("ended", &format!("{}: {ended}", link.id()), json!({ "why": ended }));
        });
    }
    Ok(())
}
