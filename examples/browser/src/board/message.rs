//! What the window and its worker say to each other of the board: bytes, in the encoding that deltas have.

use super::appearance::Appearance;
use super::bytes::{Malformed, Reader, put_short_text};
use super::operation::Signed;

/// What the window wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Join the board of the server at `origin`, over this kind of link.
    Join {
        /// Such as `http://127.0.0.1:8080`.
        origin: String,
        /// As `NodeBuilder::prefer_links` takes it.
        kind: String,
    },
    /// Do this; its id is the worker's to give.
    Perform(Signed),
    /// Take back the last thing.
    Undo,
    /// Look like this to others; the author is the worker's to say.
    Appear(Appearance),
}

/// How the worker is connected, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The author of this page's operations.
    pub author: u64,
    /// Whether there is a link.
    pub attended: bool,
    /// Whether what others do comes as they do it.
    pub live: bool,
    /// The kind of the link.
    pub kind: String,
    /// Deltas that came, in all.
    pub received: u32,
    /// Deltas that were published, in all.
    pub sent: u32,
    /// Operations that have no place in the document yet.
    pub waiting: u32,
    /// The position behind the last delta.
    pub next: u64,
    /// See [`Replica::digest`](super::Replica::digest).
    pub digest: u64,
}

/// What the worker tells the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWindow {
    /// The worker runs.
    Ready,
    /// An operation has its place. A change of the text is as it was applied.
    Placed {
        /// Its place.
        position: u64,
        /// Microseconds since the Unix epoch.
        time: u64,
        /// It.
        signed: Signed,
    },
    /// A stroke or a clearing of this page's waits for its place.
    Waits(Signed),
    /// It was taken back before it had one, as its number says.
    Dropped(u32),
    /// The board begins anew: everything is told again.
    Reset,
    /// Somebody looks like this.
    Present {
        /// The hub's number of the one.
        writer: u64,
        /// How.
        appearance: Appearance,
    },
    /// Somebody is gone.
    Gone(u64),
    /// Nobody is known to be there.
    Alone,
    /// How it is connected.
    Status(Status),
    /// What goes wrong, for people.
    Trouble(String),
}

fn put_signed(bytes: &mut Vec<u8>, signed: &Signed) {
    bytes.extend(signed.operation.kind().to_le_bytes());
    bytes.extend(signed.write());
}

fn signed(reader: &mut Reader<'_>) -> Result<Signed, Malformed> {
    let kind = reader.u16("a kind")?;
    Signed::read(kind, reader.rest())
}

impl Wish {
    /// Reads what the window posted.
    ///
    /// # Errors
    /// When it is nothing of this kind.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.u8("a wish")? {
            0 => Self::Join {
                origin: reader.short_text("an origin")?.to_owned(),
                kind: reader.short_text("a kind of link")?.to_owned(),
            },
            1 => Self::Perform(signed(&mut reader)?),
            2 => Self::Undo,
            3 => Self::Appear(Appearance::read(reader.rest())?),
            _ => return Err(Malformed("a wish")),
        })
    }

    /// What is posted.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Join { origin, kind } => {
                bytes.push(0);
                put_short_text(&mut bytes, origin, 255);
                put_short_text(&mut bytes, kind, 255);
            }
            Self::Perform(signed) => {
                bytes.push(1);
                put_signed(&mut bytes, signed);
            }
            Self::Undo => bytes.push(2),
            Self::Appear(appearance) => {
                bytes.push(3);
                bytes.extend(appearance.write());
            }
        }
        bytes
    }
}

impl ToWindow {
    /// Reads what the worker posted.
    ///
    /// # Errors
    /// When it is nothing of this kind.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.u8("a message")? {
            0 => Self::Ready,
            1 => Self::Placed {
                position: reader.u64("a position")?,
                time: reader.u64("a time")?,
                signed: signed(&mut reader)?,
            },
            2 => Self::Waits(signed(&mut reader)?),
            3 => Self::Dropped(reader.u32("a number")?),
            4 => Self::Reset,
            5 => Self::Present {
                writer: reader.u64("a writer")?,
                appearance: Appearance::read(reader.rest())?,
            },
            6 => Self::Gone(reader.u64("a writer")?),
            7 => Self::Alone,
            8 => Self::Status(Status {
                author: reader.u64("an author")?,
                attended: reader.u8("a state")? != 0,
                live: reader.u8("a state")? != 0,
                kind: reader.short_text("a kind of link")?.to_owned(),
                received: reader.u32("a count")?,
                sent: reader.u32("a count")?,
                waiting: reader.u32("a count")?,
                next: reader.u64("a position")?,
                digest: reader.u64("a digest")?,
            }),
            9 => Self::Trouble(String::from_utf8_lossy(reader.rest()).into_owned()),
            _ => return Err(Malformed("a message")),
        })
    }

    /// What is posted.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Ready => bytes.push(0),
            Self::Placed { position, time, signed } => {
                bytes.push(1);
                bytes.extend(position.to_le_bytes());
                bytes.extend(time.to_le_bytes());
                put_signed(&mut bytes, signed);
            }
            Self::Waits(signed) => {
                bytes.push(2);
                put_signed(&mut bytes, signed);
            }
            Self::Dropped(number) => {
                bytes.push(3);
                bytes.extend(number.to_le_bytes());
            }
            Self::Reset => bytes.push(4),
            Self::Present { writer, appearance } => {
                bytes.push(5);
                bytes.extend(writer.to_le_bytes());
                bytes.extend(appearance.write());
            }
            Self::Gone(writer) => {
                bytes.push(6);
                bytes.extend(writer.to_le_bytes());
            }
            Self::Alone => bytes.push(7),
            Self::Status(status) => {
                bytes.push(8);
                bytes.extend(status.author.to_le_bytes());
                bytes.extend([u8::from(status.attended), u8::from(status.live)]);
                put_short_text(&mut bytes, &status.kind, 255);
                for count in [status.received, status.sent, status.waiting] {
                    bytes.extend(count.to_le_bytes());
                }
                bytes.extend(status.next.to_le_bytes());
                bytes.extend(status.digest.to_le_bytes());
            }
            Self::Trouble(text) => {
                bytes.push(9);
                bytes.extend(text.as_bytes());
            }
        }
        bytes
    }
}
