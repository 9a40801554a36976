//! Reads session descriptions of data channels (RFC 8866, RFC 8841) in place.
//!
//! What a stranger sends is read here and nowhere else: the stack gets the few values that a link
//! needs, so that what else a description holds, and how much of it, costs nothing.

use deltawire_framing::control::Hello;

use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::grammar::{self, Broken, Candidate, Credential, PASSWORD, USER_FRAGMENT};

/// The longest session description that is read, bytes.
pub const MAX_DESCRIPTION_LEN: usize = 64 << 10;

/// Candidates that a peer may name in its description and trickle after it, together.
pub const MAX_CANDIDATES: usize = 64;

/// The longest `sctp-init` that is read, bytes.
pub const MAX_SCTP_INIT_LEN: usize = 1_024;

/// What is taken for the peer's limit when its description names none (RFC 8841, section 6.1).
pub const UNSTATED_MAX_MESSAGE_SIZE: usize = 65_536;

/// What every message of a session's fits in.
const MIN_MAX_MESSAGE_SIZE: usize = Hello::MIN_FRAME_LEN as usize;
const _: () = assert!(MIN_MAX_MESSAGE_SIZE == 80, "the texts below say 80");

/// The port of SCTP, which means nothing within DTLS: all have the same.
pub(crate) const SCTP_PORT: &str = "5000";

/// Transports of data channels (RFC 8841, section 4.1, and its drafts).
pub(crate) const TRANSPORTS: [&str; 3] = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"];

/// The one kind of section that is of use (RFC 8841, section 4).
const DATA_SECTION: &str = "must be one section, of data channels (m=application … \
                            webrtc-datachannel)";

/// What is wrong with a session description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// It breaks the format.
    #[error("malformed session description: {field} is {value:?}, {expected} (line {line})")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What breaks a rule: a line's type, an attribute.
        field: &'static str,
        /// What was found there, at most 65 characters. Never a password.
        value: String,
        /// The rule: "must be …".
        expected: &'static str,
    },
    /// A line that has to be there is not.
    #[error("the session description has no {field}")]
    Missing {
        /// The attribute.
        field: &'static str,
    },
    /// It has no data channels, or refuses them.
    #[error("the session description has no data channels (m=application … webrtc-datachannel)")]
    NoChannels,
    /// It asks for what this side cannot do.
    #[error("unsupported session description: {field} is {value:?}, {expected}")]
    Unsupported {
        /// What cannot be done: a line's type, an attribute.
        field: &'static str,
        /// What was found there, at most 65 characters.
        value: String,
        /// What can be done: "must be …".
        expected: &'static str,
    },
    /// Something is longer than is read.
    #[error("{field} of {len} bytes, at most {limit} are read")]
    TooLong {
        /// What: the session description, an attribute.
        field: &'static str,
        /// How long it is, bytes.
        len: usize,
        /// How long it may be, bytes.
        limit: usize,
    },
    /// It names too many candidates.
    #[error("more than {limit} candidates in a session description")]
    TooManyCandidates {
        /// How many are taken: [`MAX_CANDIDATES`].
        limit: usize,
    },
}

/// Who opens DTLS (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Either may.
    ActPass,
    /// Who says so.
    Active,
    /// The other.
    Passive,
}

/// A description, read in place.
#[derive(Debug, PartialEq, Eq)]
pub struct Description<'a> {
    /// The transport of its section, as it has to be repeated in an answer.
    pub transport: &'static str,
    /// The name of its section.
    pub mid: &'a str,
    /// Whether the section is named in a BUNDLE group.
    pub bundled: bool,
    /// `ice-ufrag`.
    pub user_fragment: &'a str,
    /// `ice-pwd`.
    pub password: &'a str,
    /// Of the peer's certificate.
    pub fingerprints: Fingerprints,
    /// Who opens DTLS.
    pub setup: Setup,
    /// Whether the peer leaves connectivity checks to this side.
    pub ice_lite: bool,
    /// The INIT of SCTP in base 64 (draft-hancke-tsvwg-snap).
    pub sctp_init: Option<&'a str>,
    /// The longest transport message that the peer takes, bytes.
    pub max_message_size: usize,
    /// Whether the peer's connectivity checks show that its session is there.
    pub checks: bool,
    /// So many bytes may come to the peer's socket at once, as it says itself; 0 if it does not.
    pub burst: u32,
    /// At most [`MAX_CANDIDATES`], each from `candidate:` on.
    pub candidates: Vec<&'a str>,
    /// How many it names, with those that are passed over.
    pub named: usize,
}

/// What was read so far. Of what may stand for the session and in its section, the section's counts.
#[derive(Default)]
struct Reader<'a> {
    /// The section of data channels: its line, and what it says.
    section: Option<(bool, &'static str)>,
    /// Another section.
    other: Option<&'a str>,
    group: &'a str,
    mid: Option<&'a str>,
    user_fragment: Place<&'a str>,
    password: Place<&'a str>,
    fingerprints: [Fingerprints; 2],
    /// A fingerprint of a kind that is not read.
    weak: Option<&'a str>,
    setup: Place<Setup>,
    ice_lite: bool,
    sctp_init: Option<&'a str>,
    max_message_size: Option<usize>,
    checks: bool,
    burst: u32,
    candidates: Vec<&'a str>,
    named: usize,
}

/// A value for the session, and one for the section.
type Place<T> = [Option<T>; 2];

impl<'a> Description<'a> {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// [`DescriptionError`] names the line, the field and the value.
    pub fn read(text: &'a str) -> Result<Self, DescriptionError> {
        if text.len() > MAX_DESCRIPTION_LEN {
            let (field, len) = ("a session description", text.len());
            return Err(DescriptionError::TooLong { field, len, limit: MAX_DESCRIPTION_LEN });
        }
        let mut reader = Reader::default();
        let mut begun = false;
        for (number, line) in grammar::lines(text) {
            let (kind, value) = line.map_err(|broken| malformed(number, broken))?;
            if !begun && (kind, value) != ("v", "0") {
                break;
            }
            begun = true;
            match kind {
                "m" => reader.begin(value),
                "a" => reader.attribute(number, value)?,
                _ => {}
            }
        }
        if !begun {
            let (field, value) = ("the first line", text.lines().next().unwrap_or_default());
            return Err(malformed(1, Broken { field, value, expected: "must be v=0" }));
        }
        reader.finish()
    }
}

impl<'a> Reader<'a> {
    fn begin(&mut self, value: &'a str) {
        let mut words = value.split_ascii_whitespace();
        let mut next = || words.next().unwrap_or_default();
        let (kind, port, transport, format) = (next(), next(), next(), next());
        let transport = TRANSPORTS.into_iter().find(|known| *known == transport);
        match transport {
            Some(transport)
                if kind == "application"
                    && format == "webrtc-datachannel"
                    && self.section.is_none() =>
            {
                self.section = Some((port != "0", transport));
            }
            _ => {
                self.other.get_or_insert(value);
            }
        }
    }

    fn attribute(&mut self, number: usize, value: &'a str) -> Result<(), DescriptionError> {
        // What belongs to a section of another kind is not looked at.
        if self.other.is_some() {
            return Ok(());
        }
        let level = usize::from(self.section.is_some());
        let (name, content) = value.split_once(':').unwrap_or((value, ""));
        let broken =
            |field, expected| malformed(number, Broken { field, value: content, expected });
        match name {
            "group" if content.starts_with("BUNDLE") => self.group = content,
            "ice-lite" => self.ice_lite = true,
            "ice-ufrag" => USER_FRAGMENT.take(number, content, &mut self.user_fragment[level])?,
            "ice-pwd" => PASSWORD.take(number, content, &mut self.password[level])?,
            "fingerprint" => match content.split_once(' ') {
                Some((function, digits)) => match Fingerprint::read(function, digits) {
                    Ok(Some(fingerprint)) => {
                        if !self.fingerprints[level].add(fingerprint) {
                            return Err(broken("fingerprint", "must be one of at most four"));
                        }
                    }
                    Ok(None) => self.weak = Some(content),
                    Err(expected) => return Err(broken("fingerprint", expected)),
                },
                None => return Err(broken("fingerprint", "must be a hash function and its value")),
            },
            "setup" => {
                self.setup[level] = Some(match content {
                    "actpass" => Setup::ActPass,
                    "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    _ => return Err(broken("setup", "must be actpass, active or passive")),
                });
            }
            "candidate" => {
                if self.named == MAX_CANDIDATES {
                    return Err(DescriptionError::TooManyCandidates { limit: MAX_CANDIDATES });
                }
                self.named += 1;
                let read = Candidate::read(value).map_err(|broken| malformed(number, broken))?;
                if let Candidate::Usable(candidate) = read {
                    self.candidates.push(candidate);
                }
            }
            _ if level == 0 => {}
            "mid" => {
                let is_token = content.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_token || !(1..=64).contains(&content.len()) {
                    return Err(broken("mid", "must be 1 to 64 printable characters"));
                }
                self.mid = Some(content);
            }
            "sctp-init" if content.len() > MAX_SCTP_INIT_LEN => {
                let (field, len) = ("sctp-init", content.len());
                return Err(DescriptionError::TooLong { field, len, limit: MAX_SCTP_INIT_LEN });
            }
            "sctp-init" => self.sctp_init = Some(content),
            "sctp-port" if content.trim() != SCTP_PORT => {
                return Err(unsupported("sctp-port", content, "must be 5000"));
            }
            "max-message-size" => match content.trim().parse() {
                Ok(0) => self.max_message_size = Some(usize::MAX),
                Ok(size) if size >= MIN_MAX_MESSAGE_SIZE => self.max_message_size = Some(size),
                Ok(_) => {
                    let expected = "must be 0 or at least 80";
                    return Err(unsupported("max-message-size", content, expected));
                }
                Err(_) => return Err(broken("max-message-size", "must be a number of bytes")),
            },
            "x-deltawire-checks" => self.checks = true,
            "x-deltawire-burst" => match content.trim().parse() {
                Ok(bytes) => self.burst = bytes,
                Err(_) => return Err(broken("x-deltawire-burst", "must be a number of bytes")),
            },
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Description<'a>, DescriptionError> {
        let missing = |field| DescriptionError::Missing { field };
        // Port 0 is a section that was refused.
        let Some((true, transport)) = self.section else {
            return Err(DescriptionError::NoChannels);
        };
        if let Some(other) = self.other {
            return Err(unsupported("m", other, DATA_SECTION));
        }
        let mid = self.mid.unwrap_or_default();
        // What the section says counts, if it says anything.
        let [session, section] = self.fingerprints;
        let fingerprints = if section.is_empty() { session } else { section };
        if fingerprints.is_empty() {
            let expected = "must be sha-224, sha-256, sha-384 or sha-512";
            let weak = self.weak.map(|weak| unsupported("fingerprint", weak, expected));
            return Err(weak.unwrap_or(missing("fingerprint")));
        }
        Ok(Description {
            transport,
            mid,
            bundled: self.group.split_ascii_whitespace().skip(1).any(|named| named == mid),
            user_fragment: last(self.user_fragment).ok_or(missing(USER_FRAGMENT.field))?,
            password: last(self.password).ok_or(missing(PASSWORD.field))?,
            fingerprints,
            // RFC 4145, section 4.
            setup: last(self.setup).unwrap_or(Setup::Active),
            ice_lite: self.ice_lite,
            sctp_init: self.sctp_init,
            max_message_size: self.max_message_size.unwrap_or(UNSTATED_MAX_MESSAGE_SIZE),
            checks: self.checks,
            burst: self.burst,
            candidates: self.candidates,
            named: self.named,
        })
    }
}

fn last<T>([session, section]: Place<T>) -> Option<T> {
    section.or(session)
}

impl Credential {
    /// Keeps the value, unless another is there.
    fn take<'a>(
        &self,
        line: usize,
        value: &'a str,
        place: &mut Option<&'a str>,
    ) -> Result<(), DescriptionError> {
        self.check(value).map_err(|broken| malformed(line, broken))?;
        match *place {
            Some(before) if before != value => {
                Err(malformed(line, self.broken(value, "must be the same each time")))
            }
            _ => {
                *place = Some(value);
                Ok(())
            }
        }
    }
}

fn malformed(line: usize, Broken { field, value, expected }: Broken<'_>) -> DescriptionError {
    DescriptionError::Malformed { line, field, value: shown(value), expected }
}

fn unsupported(field: &'static str, value: &str, expected: &'static str) -> DescriptionError {
    DescriptionError::Unsupported { field, value: shown(value), expected }
}

/// No more of a value than is shown, and that it is more.
fn shown(value: &str) -> String {
    value.chars().take(65).collect()
}

/// Reads a description, for fuzzing: no text makes it panic, and what it keeps is bounded.
#[doc(hidden)]
pub fn read_description(text: &str) -> bool {
    let Ok(read) = Description::read(text) else { return false };
    assert!(read.candidates.len() <= read.named && read.named <= MAX_CANDIDATES);
    assert!(read.candidates.iter().all(|line| line.len() <= grammar::MAX_CANDIDATE_LEN));
    assert!(read.user_fragment.len() <= 256 && read.password.len() <= 256);
    assert!(read.sctp_init.is_none_or(|init| init.len() <= MAX_SCTP_INIT_LEN));
    assert!(read.max_message_size >= MIN_MAX_MESSAGE_SIZE);
    true
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
