use core::fmt;

#[cfg(not(target_arch = "wasm32"))]
use serde::{Deserialize, Serialize};

/// What kinds of links a node offers where its signalling is, and what opens one: what a `POST` there is answered
/// with that has no offer and accepts `application/json`. Members and kinds that are not known are passed over.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Serialize, Deserialize))]
pub struct OfferedLinks {
    /// Lets in who opens a link with it, for 30 s and once by each kind: `?ticket=` behind the link's address, or over QUIC
    /// `ticket ` and it in place of a token. `None` where nothing
    /// is asked for, or there are too many.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub ticket: Option<String>,
    /// The links.
    #[cfg_attr(not(target_arch = "wasm32"), serde(default))]
    pub links: Vec<OfferedLink>,
}

/// A kind of link that a node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Serialize, Deserialize))]
pub struct OfferedLink {
    /// Its name: see [`Link::kind`](deltawire_link::Link::kind).
    pub kind: String,
    /// Where it is opened. Default: the address that was asked, with the scheme that such links have. Without a host
    /// (`wt://:4000/path`) it is at the host that was asked.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub url: Option<String>,
}

impl OfferedLink {
    /// Of this kind, at the address that was asked.
    #[must_use]
    pub fn here(kind: &str) -> Self {
        Self { kind: kind.to_owned(), url: None }
    }

    /// Of this kind, at this address.
    #[must_use]
    pub fn at(kind: &str, url: String) -> Self {
        Self { kind: kind.to_owned(), url: Some(url) }
    }
}

impl OfferedLinks {
    /// What a server offers that takes offers of WebRTC and nothing else.
    #[must_use]
    pub fn webrtc() -> Self {
        Self { ticket: None, links: vec![OfferedLink::here("webrtc")] }
    }

    /// Reads them, if that is what it is.
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
        // Strings always can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Without the ticket: who has it is let in.
impl fmt::Debug for OfferedLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferedLinks").field("links", &self.links).finish_non_exhaustive()
    }
}

/// A browser has a parser, which need not be loaded.
#[cfg(target_arch = "wasm32")]
fn read_by_browser(json: &[u8]) -> Option<OfferedLinks> {
    use js_sys::{Array, JSON, Object, Reflect};
    use wasm_bindgen::{JsCast, JsValue};

    let text = |of: &JsValue, name: &str| match Reflect::get(of, &name.into()).ok()? {
        missing if missing.is_undefined() || missing.is_null() => Some(None),
        value => value.as_string().map(Some),
    };
    let document: Object = JSON::parse(core::str::from_utf8(json).ok()?).ok()?.dyn_into().ok()?;
    let ticket = text(&document, "ticket")?;
    let links = match Reflect::get(&document, &"links".into()).ok()? {
        missing if missing.is_undefined() => Array::new(),
        links => links.dyn_into().ok()?,
    };
    let link = |link: JsValue| {
        let link: Object = link.dyn_into().ok()?;
        Some(OfferedLink { kind: text(&link, "kind")??, url: text(&link, "url")? })
    };
    Some(OfferedLinks { ticket, links: links.iter().map(link).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn what_is_not_known_is_passed_over_and_what_is_no_document_refused() {
        let json = br#"{"new":1,"links":[{"kind":"a","x":[]},{"kind":"b","url":"c:"}]}"#;
        let offered = OfferedLinks::from_json(json).unwrap();
        let b = OfferedLink { kind: "b".to_owned(), url: Some("c:".to_owned()) };
        assert_eq!(offered, OfferedLinks { ticket: None, links: vec![OfferedLink::here("a"), b] });
        assert_eq!(OfferedLinks::from_json(b"{}"), Some(OfferedLinks::default()));
        for other in [
            &b""[..],
            b"[",
            br#"{"links":{}}"#,
            br#"{"links":[{}]}"#,
            br#"{"links":[{"kind":1}]}"#,
            br#"{"ticket":1}"#,
        ] {
            assert_eq!(OfferedLinks::from_json(other), None);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn what_is_written_can_be_read_and_a_ticket_is_not_shown() {
        let mut offered = OfferedLinks::webrtc();
        assert_eq!(offered.to_json(), r#"{"links":[{"kind":"webrtc"}]}"#);
        offered.ticket = Some("secret".to_owned());
        assert_eq!(OfferedLinks::from_json(offered.to_json().as_bytes()), Some(offered.clone()));
        assert!(!format!("{offered:?}").contains("secret"));
    }
}
