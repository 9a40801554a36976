//! Reads a document up to where it is, as slowly as the client takes it.

use std::time::Duration;

use bytes::Bytes;
use deltawire_framing::DocId;
use deltawire_framing::documents::Why;
use deltawire_hub::store::{GapReason, Head, Read};
use deltawire_hub::{Deliver, Hub, Place};

use super::Counted;
use super::encoder::{Encoder, Format};

/// Bytes that are read at a time.
const TURN: usize = 64 << 10;

/// How long the disk may take to bring something back.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Reading {
    hub: Hub,
    document: DocId,
    deliver: Deliver,
    encoder: Encoder,
    at: Place,
    left: u64,
    over: bool,
    counted: Counted,
}

/// The position behind the last delta that readers may see.
pub(super) fn visible(head: &Head, deliver: Deliver) -> u64 {
    match deliver {
        Deliver::Stored => head.durable.0,
        Deliver::Appended => head.next.0,
    }
}

impl Reading {
    pub(super) fn new(
        hub: Hub,
        document: DocId,
        deliver: Deliver,
        format: Format,
        at: Place,
        limit: u64,
        counted: Counted,
    ) -> Self {
        let encoder = Encoder::new(format, Some(at));
        Self { hub, document, deliver, encoder, at, left: limit, over: false, counted }
    }

    /// The next part of the answer.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let mut wait = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        loop {
            if let Some(bytes) = self.encoder.take() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            if self.step() {
                continue;
            }
            // It comes from the disk.
            if waited >= PATIENCE {
                tracing::warn!(document = %self.document, "the disk did not bring back what was read");
                self.over = true;
                continue;
            }
            tokio::time::sleep(wait).await;
            waited += wait;
            wait = (wait * 2).min(Duration::from_millis(50));
        }
    }

    /// Reads on. `false` if it has to wait for the disk.
    fn step(&mut self) -> bool {
        let head = self.hub.head(&self.document);
        let Some(head) = head else {
            // It was deleted meanwhile.
            self.encoder.gap(Why::NewEpoch, Place { epoch: 0, position: 1 }, 0, 0);
            self.over = true;
            return true;
        };
        let end = visible(&head, self.deliver);
        if head.epoch.0 != self.at.epoch {
            let to = Place { epoch: head.epoch.0, position: head.first.0 };
            self.encoder.gap(Why::NewEpoch, to, 0, 0);
            self.over = true;
            return true;
        }
        if self.at.position >= end {
            self.encoder.live(self.at);
            self.over = true;
            return true;
        }
        match self.hub.read(&self.document, self.at.position, TURN) {
            Read::Run(run) if run.epoch != head.epoch => {}
            Read::Run(run) => {
                for record in run.records {
                    if self.left == 0 || record.position.0 >= end {
                        break;
                    }
                    let place = Place { epoch: run.epoch.0, position: record.position.0 };
                    self.counted.delta(record.frame.len());
                    self.encoder.delta(place, record.frame);
                    self.at.position = place.position.saturating_add(1);
                    self.left -= 1;
                }
                if self.left > 0 {
                    // Behind those that were rejected.
                    self.at.position = self.at.position.max(run.next.0.min(end));
                }
                if self.left == 0 && self.at.position < end {
                    self.encoder.more();
                    self.over = true;
                }
            }
            Read::Gap(gap) => {
                let why = match gap.why {
                    GapReason::Snapshot => Why::Snapshot,
                    _ => Why::Expired,
                };
                let to = Place { epoch: self.at.epoch, position: gap.to.0 };
                let skipped = to.position.saturating_sub(self.at.position);
                self.encoder.gap(why, to, skipped, gap.bytes);
                if to.position <= self.at.position {
                    self.over = true;
                }
                self.at = to;
            }
            Read::Cold(_) => return false,
            Read::AtHead | Read::Unknown => {
                self.encoder.live(self.at);
                self.over = true;
            }
        }
        true
    }
}
