//! What a session needs of a connection: see [`MessageTransport`](deltawire_link::MessageTransport).

use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{Output, TransportError};

use super::Stack;
use crate::messages::Outgoing;
use crate::writer::Writer;
use crate::{CLOSED, COMMAND_ROOM};

impl Stack {
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        self.now = self.at(now);
        self.connection.handle_timeout(self.now);
        if let Some(messages) = &mut self.messages_out {
            messages.handle_timeout(&mut self.connection, self.now);
        }
    }

    pub(crate) fn poll_output(&mut self) -> Result<Output, TransportError> {
        match self.next() {
            Ok(Some(output)) => Ok(output),
            Ok(None) => {
                let given_up = self.messages_out.as_ref().and_then(Outgoing::next_timeout);
                let at = self
                    .connection
                    .poll_timeout()
                    .into_iter()
                    .chain(given_up)
                    .chain(self.goes_beyond_at())
                    .min();
                Ok(Output::Timeout(at.map(|at| at.saturating_duration_since(self.start))))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    pub(crate) fn write(
        &mut self,
        channel: Channel,
        message: &[u8],
    ) -> Result<bool, TransportError> {
        let window = self.window();
        let Self { connection, command_out, data_out, messages_out, .. } = self;
        // One window is for all streams: what deltas have filled is not to keep commands waiting.
        let (writer, room) = match channel {
            Channel::Command => (command_out, COMMAND_ROOM),
            Channel::Data => (data_out, 0),
        };
        let Some(writer) = writer else { return Ok(false) };
        connection.set_send_window(window + room);
        if let (Channel::Data, Some(messages)) = (channel, messages_out) {
            messages.write(connection, message, self.now);
            return Ok(true);
        }
        match writer.write_message(connection, message) {
            Ok(()) => Ok(true),
            Err(error) => Err(self.fail(error)),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        let writers = [&self.command_out, &self.data_out].into_iter().flatten();
        let alone = self.messages_out.as_ref().map(Outgoing::waiting);
        writers.map(Writer::waiting).chain(alone).sum()
    }

    pub(crate) fn take_progress(&mut self) -> bool {
        self.progress.take()
    }

    pub(crate) fn finish(&mut self) -> bool {
        self.finishing = true;
        self.closed || self.finish_streams()
    }

    pub(crate) fn close(&mut self) {
        self.close_with(CLOSED, "");
    }

    pub(crate) fn take_heard(&mut self) -> bool {
        // Those of packets that proved to be the peer's.
        let frames = self.connection.stats().frame_rx;
        let frames = frames.acks + frames.ping + frames.stream;
        std::mem::replace(&mut self.frames, frames) != frames
    }
}
