use std::fmt::Write;

use crate::description::{SCTP_PORT, TRANSPORTS};

/// A session description of this side's, to be written (RFC 8866, RFC 8841).
#[derive(Debug)]
pub struct LocalDescription {
    /// The transport of its section.
    pub transport: &'static str,
    /// The name of its section.
    pub mid: String,
    /// Whether the section is named in a BUNDLE group.
    pub bundled: bool,
    /// `ice-ufrag`.
    pub user_fragment: String,
    /// `ice-pwd`.
    pub password: String,
    /// With its hash function.
    pub fingerprint: String,
    /// Who opens DTLS: `actpass`, `active`, `passive`.
    pub setup: &'static str,
    /// Whether this side leaves connectivity checks to the peer.
    pub ice_lite: bool,
    /// The INIT of SCTP in base 64 (draft-hancke-tsvwg-snap).
    pub sctp_init: Option<String>,
    /// The longest transport message that this side takes, bytes.
    pub max_message_size: u32,
    /// Whether this side's connectivity checks show that its session is there.
    pub checks: bool,
    /// So many bytes may come to this side's socket at once; 0 says nothing of it.
    pub burst: u32,
    /// Each from `candidate:` on.
    pub candidates: Vec<String>,
}

/// What an offer says, as far as it is always the same.
impl Default for LocalDescription {
    fn default() -> Self {
        Self {
            transport: TRANSPORTS[0],
            mid: "0".to_owned(),
            bundled: true,
            user_fragment: String::new(),
            password: String::new(),
            fingerprint: String::new(),
            setup: "actpass",
            ice_lite: false,
            sctp_init: None,
            max_message_size: 0,
            checks: false,
            burst: 0,
            candidates: Vec::new(),
        }
    }
}

impl LocalDescription {
    /// The description.
    pub fn write(&self) -> String {
        let mut text = String::with_capacity(1_024);
        // Writing to a string never fails.
        let _ = self.write_to(&mut text);
        text
    }

    fn write_to(&self, text: &mut String) -> std::fmt::Result {
        // One number for each session (RFC 8866, section 5.2): the user fragment is random.
        let number = self.user_fragment.bytes().fold(0_u64, |number, byte| {
            number.wrapping_mul(31).wrapping_add(u64::from(byte)) & (u64::MAX >> 2)
        });
        write!(text, "v=0\r\no=- {number} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")?;
        if self.bundled {
            write!(text, "a=group:BUNDLE {}\r\n", self.mid)?;
        }
        if self.ice_lite {
            text.push_str("a=ice-lite\r\n");
        }
        let Self { transport, mid, user_fragment, password, fingerprint, setup, .. } = self;
        write!(text, "m=application 9 {transport} webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n")?;
        for candidate in &self.candidates {
            write!(text, "a={candidate}\r\n")?;
        }
        write!(text, "a=ice-ufrag:{user_fragment}\r\na=ice-pwd:{password}\r\n")?;
        write!(
            text,
            "a=ice-options:trickle\r\na=fingerprint:{fingerprint}\r\na=setup:{setup}\r\n"
        )?;
        if !mid.is_empty() {
            write!(text, "a=mid:{mid}\r\n")?;
        }
        let size = self.max_message_size;
        write!(text, "a=sctp-port:{SCTP_PORT}\r\na=max-message-size:{size}\r\n")?;
        if let Some(init) = &self.sctp_init {
            write!(text, "a=sctp-init:{init}\r\n")?;
        }
        if self.checks {
            text.push_str("a=x-deltawire-checks\r\n");
        }
        if self.burst > 0 {
            write!(text, "a=x-deltawire-burst:{}\r\n", self.burst)?;
        }
        Ok(())
    }
}
