use core::fmt;

#[cfg(not(target_arch = "wasm32"))]
use serde::{Deserialize, Serialize};

/// What kinds of links a node offers where its signalling is, and what opens one: what a `POST` there is answered
/// with that has no offer and accepts `application/json`. Members and kinds that are not known are passed over.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Serialize, Deserialize))]
pub struct OfferedLinks {
    /// Lets in who opens a link with it, once and for 30 s: `?ticket=` behind the link's address. `None` where nothing
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
    /// Where it is opened. Default: the address that was asked, with the scheme that such links have.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub url: Option<String>,
    /// In place of `url`, of the host that was asked: the port where it is opened, and under which path.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub port: Option<u16>,
    /// The path beside [`port`](Self::port), which begins with `/`.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub path: Option<String>,
    /// The SHA-256 of each certificate that may be seen there, 64 hexadecimal digits; none where an authority vouches
    /// for it.
    #[cfg_attr(not(target_arch = "wasm32"), serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub certificate_hashes: Vec<String>,
}

impl OfferedLink {
    /// Of this kind, at the address that was asked.
    #[must_use]
    pub fn here(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            url: None,
            port: None,
            path: None,
            certificate_hashes: Vec::new(),
        }
    }

    /// Of this kind, at another port of the host that was asked, where certificates of these hashes are seen.
    #[must_use]
    pub fn at_port(
        kind: &str,
        port: u16,
        path: &str,
        certificate_hashes: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            port: Some(port),
            path: Some(path.to_owned()),
            certificate_hashes: certificate_hashes.into_iter().collect(),
            ..Self::here(kind)
        }
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
    let mut offered = OfferedLinks { ticket, links: Vec::new() };
    for link in links.iter() {
        let link: Object = link.dyn_into().ok()?;
        let port = Reflect::get(&link, &"port".into()).ok()?;
        let mut read = OfferedLink {
            url: text(&link, "url")?,
            path: text(&link, "path")?,
            ..OfferedLink::here(&text(&link, "kind")??)
        };
        if !port.is_undefined() {
            let number = port.as_f64().filter(|port| port.fract() == 0.0 && *port <= 65_535.0)?;
            read.port = Some(if number >= 0.0 { number as u16 } else { return None });
        }
        let hashes = Reflect::get(&link, &"certificate_hashes".into()).ok()?;
        if !hashes.is_undefined() {
            for hash in hashes.dyn_into::<Array>().ok()?.iter() {
                read.certificate_hashes.push(hash.as_string()?);
            }
        }
        offered.links.push(read);
    }
    Some(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn what_is_not_known_is_passed_over_and_what_is_no_document_refused() {
        let json = br#"{"new":1,"links":[{"kind":"a","x":[]},{"kind":"b","url":"c:"},
            {"kind":"d","port":4000,"path":"/e","certificate_hashes":["00","ff"]}]}"#;
        let offered = OfferedLinks::from_json(json).unwrap();
        let b = OfferedLink { url: Some("c:".to_owned()), ..OfferedLink::here("b") };
        let d = OfferedLink::at_port("d", 4000, "/e", ["00".to_owned(), "ff".to_owned()]);
        let links = vec![OfferedLink::here("a"), b, d];
        assert_eq!(offered, OfferedLinks { ticket: None, links });
        assert_eq!(OfferedLinks::from_json(b"{}"), Some(OfferedLinks::default()));
        for other in [
            &b""[..],
            b"[",
            br#"{"links":{}}"#,
            br#"{"links":[{}]}"#,
            br#"{"links":[{"kind":1}]}"#,
            br#"{"links":[{"kind":"a","port":"1"}]}"#,
            br#"{"links":[{"kind":"a","port":65536}]}"#,
            br#"{"links":[{"kind":"a","port":-1}]}"#,
            br#"{"links":[{"kind":"a","port":1.5}]}"#,
            br#"{"links":[{"kind":"a","certificate_hashes":[1]}]}"#,
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
