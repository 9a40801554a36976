//! Writes session descriptions of data channels (RFC 8866, RFC 8841).

use std::fmt::Write;

use super::description::{SCTP_PORT, TRANSPORTS};

/// What a description of this side's says.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) transport: &'static str,
    pub(crate) mid: String,
    pub(crate) bundled: bool,
    pub(crate) user_fragment: String,
    pub(crate) password: String,
    /// With its hash function.
    pub(crate) fingerprint: String,
    pub(crate) setup: &'static str,
    pub(crate) ice_lite: bool,
    pub(crate) sctp_init: Option<String>,
    pub(crate) max_message_size: u32,
    pub(crate) checks: bool,
    /// Each from `candidate:` on.
    pub(crate) candidates: Vec<String>,
}

/// What an offer says, as far as it is always the same.
impl Default for Own {
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
            candidates: Vec::new(),
        }
    }
}

impl Own {
    /// The description.
    pub(crate) fn write(&self) -> String {
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
        Ok(())
    }
}
