use core::fmt::{self, Write};

#[cfg(not(target_arch = "wasm32"))]
use serde::{Deserialize, Serialize};

/// What went wrong with a request, as a document (RFC 9457). Members that it does not name are
/// passed over, and missing ones take their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Serialize, Deserialize))]
pub struct Problem {
    /// Names the kind of problem, for programs: a URI. `about:blank`, the default, says no more
    /// than the status; this module's own start with [`Problem::NAMESPACE`].
    #[cfg_attr(not(target_arch = "wasm32"), serde(rename = "type", default = "blank"))]
    pub kind: String,
    /// The kind of problem in a few words. Default: empty.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "String::is_empty")
    )]
    pub title: String,
    /// The status of the answer that carried it. Default: 0.
    #[cfg_attr(not(target_arch = "wasm32"), serde(default))]
    pub status: u16,
    /// What is wrong with this very request, and what to do about it. Default: empty.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "String::is_empty")
    )]
    pub detail: String,
}

impl Problem {
    /// How the kinds that say more than a status begin: `too-many-pending`, `too-many-peers`,
    /// `too-many-of-address`, `too-many-connections`, `too-many-candidates`, `shutting-down`, `no-channels`, `unsupported`, `malformed`,
    /// `unknown-resource`; of rooms `nobody-accepts`, `not-answered`, `not-taken`, `room-full`.
    pub const NAMESPACE: &str = "urn:deltawire:signalling:";

    /// Reads a document, if it is one.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        #[cfg(not(target_arch = "wasm32"))]
        return serde_json::from_slice(json).ok();
        #[cfg(target_arch = "wasm32")]
        read_by_browser(json)
    }

    /// The document. Not in a browser.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and a number always can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A browser has a parser, which need not be loaded.
#[cfg(target_arch = "wasm32")]
fn read_by_browser(json: &[u8]) -> Option<Problem> {
    use js_sys::{JSON, Object, Reflect};
    use wasm_bindgen::JsCast;

    let document: Object = JSON::parse(std::str::from_utf8(json).ok()?).ok()?.dyn_into().ok()?;
    let member = |name: &str| Reflect::get(&document, &name.into()).ok();
    let text = |name: &str, default: &str| match member(name)? {
        missing if missing.is_undefined() => Some(default.to_owned()),
        value => value.as_string(),
    };
    let status = match member("status")? {
        missing if missing.is_undefined() => 0.0,
        value => value.as_f64()?,
    };
    let is_status = status.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&status);
    Some(Problem {
        kind: text("type", &blank())?,
        title: text("title", "")?,
        status: is_status.then_some(status as u16)?,
        detail: text("detail", "")?,
    })
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

    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

    #[cfg(not(target_arch = "wasm32"))]
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

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn all_members_may_be_missing() {
        let problem = Problem::from_json(br#"{"instance":"/x"}"#).unwrap();
        assert_eq!((problem.kind.as_str(), problem.status), ("about:blank", 0));
        assert_eq!(problem.to_string(), "about:blank");
        for other in
            [&b""[..], b"\"x\"", b"\xff", br#"{"status":"400"}"#, br#"{"status":70000}"#, b"[1]x"]
        {
            assert_eq!(Problem::from_json(other), None);
        }
    }
}
