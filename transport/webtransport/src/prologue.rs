//! What a client says over HTTP/3 before its link, and beside it.

use std::sync::Arc;

use web_transport_proto::Settings;

use crate::head::StreamKind;
use crate::tagged::{Piece, Tagged};
use crate::{Denied, PrologueError, Request, Rules};

/// The longest request that is taken, bytes of its fields: a browser's has about 300.
pub const MAX_HEADERS: u64 = 8 << 10;

/// The longest settings that are taken, bytes: a browser's have about 50.
pub const MAX_SETTINGS: u64 = 1 << 10;

/// The longest capsule that closes a session, bytes: a code and a reason of up to 1,024 (draft-ietf-webtrans-http3, section 5).
pub const MAX_CAPSULE: u64 = 1_028;

/// Bytes of what says nothing that are passed over on each stream that is HTTP/3's: what is not known, tables of fields
/// that are not used, what stands behind a request. None of them are held.
pub const MAX_SKIPPED: u64 = 16 << 10;

/// Types of frames (RFC 9114, section 7.2).
const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
const SETTINGS: u64 = 0x04;
/// The type of the capsule that closes a session.
const CLOSE_SESSION: u64 = 0x2843;

/// A stream of a client's that is HTTP/3's, and no link's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// That of the request: the first bidirectional one.
    Request,
    /// That of settings.
    Control,
    /// That of the client's table of fields.
    QpackEncoder,
    /// That of what it says of the server's table.
    QpackDecoder,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Control => "control",
            Self::QpackEncoder => "QPACK encoder",
            Self::QpackDecoder => "QPACK decoder",
        }
    }

    /// The part that such a stream is, if it is one.
    #[must_use]
    pub fn of(kind: StreamKind) -> Option<Self> {
        match kind {
            StreamKind::Control => Some(Self::Control),
            StreamKind::QpackEncoder => Some(Self::QpackEncoder),
            StreamKind::QpackDecoder => Some(Self::QpackDecoder),
            StreamKind::Link(_) | StreamKind::Unknown => None,
        }
    }
}

/// Reads what a client says before its link: settings and the request, in any order; and after that, whether it closes
/// the session.
///
/// [`open`](Self::open) says that a stream began, [`feed`](Self::feed) what came on it, [`finish`](Self::finish) that
/// nothing more does. An error ends the connection, with its [`code`](PrologueError::code). It holds at most
/// [`MAX_HEADERS`] + [`MAX_SETTINGS`] of what came.
#[derive(Debug)]
pub struct Prologue {
    rules: Arc<Rules>,
    control: Control,
    request: Asking,
    /// Bytes that were passed over, by stream.
    skipped: [u64; 4],
    /// Those that were opened, by stream.
    opened: [bool; 4],
    closed: bool,
}

/// What comes on the stream of settings.
#[derive(Debug, Default)]
struct Control {
    frames: Tagged,
    /// Whether those of the frame that comes are kept.
    keeps: bool,
    settings: Held,
    /// Whether they came.
    came: bool,
}

/// What comes on the stream of the request.
#[derive(Debug, Default)]
struct Asking {
    frames: Tagged,
    in_data: bool,
    fields: Held,
    /// Once it came, until it was taken.
    request: Option<Request>,
    came: bool,
    capsules: Tagged,
    closes: bool,
}

/// A frame that is kept, as it came.
#[derive(Debug, Default)]
struct Held(Vec<u8>);

impl Held {
    /// A frame of so many bytes begins: `len` was checked.
    fn begin(&mut self, kind: u64, len: u64) {
        self.0.reserve_exact(usize::try_from(len).unwrap_or_default().saturating_add(9));
        // Types that are kept take a byte.
        self.0.push(u8::try_from(kind).unwrap_or_default());
        // In eight bytes, as any number may be written.
        self.0.extend_from_slice(&(len | 0b11 << 62).to_be_bytes());
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Prologue {
    /// Of a client of a server that has such rules.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            control: Control::default(),
            request: Asking::default(),
            skipped: [0; 4],
            opened: [false; 4],
            closed: false,
        }
    }

    /// A stream began.
    ///
    /// # Errors
    ///
    /// When it is there already.
    pub fn open(&mut self, part: Part) -> Result<(), PrologueError> {
        match self.opened.get_mut(part as usize) {
            Some(opened @ false) => {
                *opened = true;
                Ok(())
            }
            _ => Err(PrologueError::Twice { stream: part.name() }),
        }
    }

    /// These bytes came on a stream, behind those that came before.
    ///
    /// # Errors
    ///
    /// When the client broke a rule.
    pub fn feed(&mut self, part: Part, bytes: &[u8]) -> Result<(), PrologueError> {
        match part {
            Part::Control => self.feed_control(bytes),
            Part::Request => self.feed_request(bytes),
            Part::QpackEncoder | Part::QpackDecoder => self.skip(part, bytes.len() as u64),
        }
    }

    /// Nothing more comes on a stream, in order or not.
    ///
    /// # Errors
    ///
    /// When it must stay open, or ended in the middle of a request.
    pub fn finish(&mut self, part: Part) -> Result<(), PrologueError> {
        if part == Part::Request && self.request.came {
            self.closed = true;
            return Ok(());
        }
        Err(PrologueError::Closed { stream: part.name() })
    }

    /// Takes the client's request, once: when it and the settings have come. Refuses what the rules do not let be.
    pub fn take_request(&mut self) -> Option<Result<Request, Denied>> {
        if !self.control.came {
            return None;
        }
        let request = self.request.request.take()?;
        Some(self.rules.check(&request).map(|()| request))
    }

    /// Whether the client has closed the session.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Passes over so many bytes.
    fn skip(&mut self, part: Part, len: u64) -> Result<(), PrologueError> {
        let Some(skipped) = self.skipped.get_mut(part as usize) else { return Ok(()) };
        *skipped = skipped.saturating_add(len);
        if *skipped <= MAX_SKIPPED {
            return Ok(());
        }
        Err(PrologueError::Skipped { stream: part.name(), len: *skipped, max: MAX_SKIPPED })
    }

    fn feed_control(&mut self, mut bytes: &[u8]) -> Result<(), PrologueError> {
        const STREAM: &str = "control";
        while let Some(piece) = self.control.frames.next(&mut bytes) {
            match piece {
                Piece::Begins { kind: SETTINGS, len } if !self.control.came => {
                    check("settings", len, MAX_SETTINGS)?;
                    self.control.settings.begin(SETTINGS, len);
                    self.control.keeps = true;
                }
                Piece::Begins { kind, .. } if !self.control.came => {
                    let expected = "and settings come first";
                    return Err(PrologueError::Frame { stream: STREAM, kind, expected });
                }
                Piece::Begins { kind: kind @ (SETTINGS | DATA | HEADERS), .. } => {
                    let expected = "where it does not belong";
                    return Err(PrologueError::Frame { stream: STREAM, kind, expected });
                }
                // A frame costs something even if it has nothing in it.
                Piece::Begins { .. } => self.skip(Part::Control, 2)?,
                Piece::Bytes(bytes) if self.control.keeps => {
                    self.control.settings.0.extend_from_slice(bytes);
                }
                Piece::Bytes(bytes) => self.skip(Part::Control, bytes.len() as u64)?,
                Piece::Ends if self.control.keeps => {
                    self.control.keeps = false;
                    self.control.came = true;
                    // Behind the type of the stream, as they stand.
                    let mut whole = vec![0];
                    whole.extend(self.control.settings.take());
                    // What a client does, it says by its request: newer drafts want no setting of it.
                    Settings::decode(&mut &whole[..])
                        .map_err(|error| PrologueError::Settings { reason: error.to_string() })?;
                }
                Piece::Ends => {}
            }
        }
        Ok(())
    }

    fn feed_request(&mut self, mut bytes: &[u8]) -> Result<(), PrologueError> {
        const STREAM: &str = "request";
        while let Some(piece) = self.request.frames.next(&mut bytes) {
            match piece {
                Piece::Begins { kind: HEADERS, len } if !self.request.came => {
                    check("a request", len, MAX_HEADERS)?;
                    self.request.fields.begin(HEADERS, len);
                }
                Piece::Begins { kind: DATA, .. } if self.request.came => {
                    self.skip(Part::Request, 2)?;
                    self.request.in_data = true;
                }
                Piece::Begins { kind: kind @ (DATA | HEADERS | SETTINGS), .. } => {
                    let expected = "where it does not belong";
                    return Err(PrologueError::Frame { stream: STREAM, kind, expected });
                }
                Piece::Begins { .. } => self.skip(Part::Request, 2)?,
                Piece::Bytes(bytes) if !self.request.fields.0.is_empty() => {
                    self.request.fields.0.extend_from_slice(bytes);
                }
                Piece::Bytes(bytes) if self.request.in_data => self.feed_capsules(bytes)?,
                Piece::Bytes(bytes) => self.skip(Part::Request, bytes.len() as u64)?,
                Piece::Ends if !self.request.fields.0.is_empty() => {
                    let frame = self.request.fields.take();
                    self.request.came = true;
                    self.request.request = Some(Request::read(&frame)?);
                }
                Piece::Ends => self.request.in_data = false,
            }
        }
        Ok(())
    }

    /// Of capsules, only that one was there counts, and that it closes the session: why, nobody asks.
    fn feed_capsules(&mut self, mut bytes: &[u8]) -> Result<(), PrologueError> {
        while let Some(piece) = self.request.capsules.next(&mut bytes) {
            match piece {
                Piece::Begins { kind: CLOSE_SESSION, len } => {
                    check("a capsule that closes the session", len, MAX_CAPSULE)?;
                    self.request.closes = true;
                }
                Piece::Begins { .. } => self.skip(Part::Request, 2)?,
                Piece::Bytes(_) if self.request.closes => {}
                Piece::Bytes(bytes) => self.skip(Part::Request, bytes.len() as u64)?,
                Piece::Ends => self.closed |= self.request.closes,
            }
        }
        Ok(())
    }
}

fn check(field: &'static str, len: u64, max: u64) -> Result<(), PrologueError> {
    if len <= max { Ok(()) } else { Err(PrologueError::TooLong { field, len, max }) }
}

#[cfg(test)]
mod tests;
