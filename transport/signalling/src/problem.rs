use core::fmt::{self, Write};

use serde::{Deserialize, Serialize};

/// What went wrong with a request, as a document (RFC 9457). Members that it does not name are
/// passed over, and missing ones take their defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names the kind of problem, for programs: a URI. `about:blank`, the default, says no more
    /// than the status; this module's own start with [`Problem::NAMESPACE`].
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The kind of problem in a few words. Default: empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The status of the answer that carried it. Default: 0.
    #[serde(default)]
    pub status: u16,
    /// What is wrong with this very request, and what to do about it. Default: empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Problem {
    /// How the kinds that say more than a status begin: `too-many-pending`, `too-many-peers`,
    /// `too-many-of-address`, `too-many-connections`, `too-many-candidates`, `shutting-down`, `no-channels`, `unsupported`, `malformed`,
    /// `unknown-resource`.
    pub const NAMESPACE: &str = "urn:deltawire:signalling:";

    /// Reads a document, if it is one.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and a number always can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn blank() -> String {
    "about:blank".to_owned()
}

/// The first that is there of detail, title and kind: its first 500 characters, without control
/// characters.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [&self.detail, &self.title, &self.kind];
        let text = texts.into_iter().find(|text| !text.is_empty()).map_or("", String::as_str);
        let mut shown = text.chars().filter(|character| !character.is_control()).take(500);
        shown.try_for_each(|character| f.write_char(character))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let problem = Problem {
            kind: format!("{}too-many-peers", Problem::NAMESPACE),
            title: "Service Unavailable".to_owned(),
            status: 503,
            detail: "8 peers are connected".to_owned(),
        };
        let json = problem.to_json();
        assert!(json.starts_with(r#"{"type":"urn:deltawire:signalling:too-many-peers","title":"#));
        assert_eq!(Problem::from_json(json.as_bytes()), Some(problem));
    }

    #[test]
    fn all_members_may_be_missing() {
        let problem = Problem::from_json(br#"{"instance":"/x"}"#).unwrap();
        assert_eq!((problem.kind.as_str(), problem.status), ("about:blank", 0));
        assert_eq!(problem.to_string(), "about:blank");
        for other in [&b""[..], b"\"x\"", b"\xff", br#"{"status":"400"}"#, br#"{"status":70000}"#] {
            assert_eq!(Problem::from_json(other), None);
        }
    }
}
