//! The parts of a request: the document that its path names, and its query.

use std::borrow::Cow;

use deltawire_framing::DocId;

use super::problem::{Problem, excerpt};

/// The document that a path names.
pub(super) fn document(text: &str) -> Result<DocId, Problem> {
    parse_document(text).ok_or_else(|| {
        let expected = "a UUID, such as 00112233-4455-6677-8899-aabbccddeeff";
        Problem::invalid("document", text, expected)
    })
}

/// Reads a UUID: 32 hexadecimal digits, with or without the four hyphens.
pub(super) fn parse_document(text: &str) -> Option<DocId> {
    let digits: Cow<'_, str> = match text.len() {
        32 => text.into(),
        36 => {
            let hyphens = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-');
            if !hyphens.map(|(index, _)| index).eq([8, 13, 18, 23]) {
                return None;
            }
            text.replace('-', "").into()
        }
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(DocId(number.to_be_bytes()))
}

/// A request's query: each key once, and only keys that are known.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*key) {
                let expected = format!("one of {}", known.join(", "));
                return Err(Problem::invalid("query", &key, &expected));
            }
            if pairs.iter().any(|(other, _)| *other == *key) {
                return Err(Problem::invalid("query", &key, "there once only"));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, key: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
        match number.flatten().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(Problem::invalid(key, &excerpt(text), &format!("a number, {least} to {most}")))
            }
        }
    }

    /// Whether a key is there: as `key`, `key=` or `key=true`.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.text(key) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(Problem::invalid(key, other, "true or false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_uuids_and_nothing_else() {
        let id = DocId(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
        for text in ["00112233-4455-6677-8899-aabbccddeeff", "00112233445566778899AABBCCDDEEFF"] {
            assert_eq!(parse_document(text), Some(id), "{text}");
        }
        assert_eq!(parse_document(&id.to_string()), Some(id));
        for text in [
            "",
            "x",
            "+0112233445566778899aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddeef",
            "0011223-34455-6677-8899-aabbccddeeff",
            "--------------------------------",
            "éééééééééééééééé",
            "0112233-4455-6677-8899-aabbccddéeff",
        ] {
            assert_eq!(parse_document(text), None, "{text}");
        }
    }

    #[test]
    fn a_query_has_known_keys_once() {
        let query = Query::parse(Some("from=5&follow"), &["from", "follow"]).unwrap();
        assert_eq!(query.number("from", 1, 9).unwrap(), Some(5));
        assert!(query.number("from", 1, 4).is_err());
        assert!(query.flag("follow").unwrap());
        for wrong in ["form=5", "from=1&from=2", "%ff=1", "&x"] {
            assert!(Query::parse(Some(wrong), &["from"]).is_err(), "{wrong}");
        }
        for number in ["-1", "+1", "1e3", "", "99999999999999999999", "0x1"] {
            let query = Query::parse(Some(&format!("from={number}")), &["from"]);
            // A plus sign is a space.
            assert!(query.unwrap().number("from", 0, u64::MAX).is_err(), "{number}");
        }
    }
}
