//! What the yardstick's server does with messages: without any format, their lengths say what they
//! are.

use std::collections::VecDeque;

use deltawire::framing::Channel;

/// Longest message of a transport that has messages, bytes: what is longer goes in several.
pub(crate) const FRAME: usize = 16 << 10;

/// Up to this length messages are sent back.
pub(crate) const ECHO: usize = 64;

/// One peer's.
pub(crate) struct Application {
    /// Bytes of long messages that came.
    counted: u64,
    answers: VecDeque<(Channel, Vec<u8>)>,
    bulk: Bulk,
}

/// What was asked for and not sent yet.
struct Bulk {
    zeros: Vec<u8>,
    /// Bytes of each message.
    size: usize,
    /// Bytes of all of them.
    left: usize,
}

impl Application {
    /// One whose messages are not longer than this.
    pub(crate) fn new(longest: usize) -> Self {
        let bulk = Bulk { zeros: vec![0; longest], size: longest, left: 0 };
        Self { counted: 0, answers: VecDeque::new(), bulk }
    }

    /// On the command channel 8 bytes ask for messages: how long, and how many. On the data channel 1
    /// byte asks how many bytes came before it. Other short messages go back, long ones are counted.
    pub(crate) fn handle(&mut self, channel: Channel, message: &[u8]) {
        match (channel, message.len()) {
            (Channel::Command, 8) => {
                let number =
                    |at| message[at..].first_chunk().map_or(0, |it| u32::from_le_bytes(*it));
                self.bulk.size = number(0).max(1) as usize;
                self.bulk.left = self.bulk.size * number(4) as usize;
            }
            (Channel::Data, 1) => {
                let counted = std::mem::take(&mut self.counted);
                self.answers.push_back((channel, counted.to_le_bytes().to_vec()));
            }
            (_, ..=ECHO) => self.answers.push_back((channel, message.to_vec())),
            (_, len) => self.counted += len as u64,
        }
    }

    /// What is to be sent next.
    pub(crate) fn next(&self) -> Option<(Channel, &[u8])> {
        if let Some((channel, answer)) = self.answers.front() {
            return Some((*channel, answer));
        }
        let Bulk { zeros, size, left } = &self.bulk;
        // One that goes in several ends with a shorter one if it has to.
        let left_of_message = (left + size - 1) % size + 1;
        (*left > 0).then(|| (Channel::Data, &zeros[..left_of_message.min(zeros.len())]))
    }

    /// It was sent.
    pub(crate) fn sent(&mut self, len: usize) {
        if self.answers.pop_front().is_none() {
            self.bulk.left -= len;
        }
    }
}
