use super::excerpt;

/// Candidates on their way after the offer: the body of a `PATCH` (RFC 8840, section 9).
///
/// ```
/// use deltawire_signalling::SdpFragment;
///
/// let fragment = SdpFragment {
///     username_fragment: "EsAw".to_owned(),
///     password: "P2uYro0UCOQ4zxjKXaWCBui1".to_owned(),
///     candidates: vec!["candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host".to_owned()],
///     end_of_candidates: true,
/// };
/// assert_eq!(SdpFragment::parse(&fragment.to_text()?)?, fragment);
/// # Ok::<(), deltawire_signalling::SdpFragmentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpFragment {
    /// `ice-ufrag` of the side whose candidates they are: 4 to 256 letters, digits, `+`, `/`.
    pub username_fragment: String,
    /// `ice-pwd` of that side: 22 to 256 of the same characters.
    pub password: String,
    /// Each as `candidate:…`, without `a=` before it: printable ASCII, at most
    /// [`MAX_CANDIDATE_LEN`](Self::MAX_CANDIDATE_LEN) bytes. At most
    /// [`MAX_CANDIDATES`](Self::MAX_CANDIDATES).
    pub candidates: Vec<String>,
    /// Whether no more will come.
    pub end_of_candidates: bool,
}

/// What is wrong with a [`SdpFragment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpFragmentError {
    /// A line breaks a rule.
    #[error("line {line}: {field} is \"{}\", {expected}", excerpt(.value))]
    Malformed {
        /// The line, from 1. Of a fragment that is to be written: 0 for a credential, else the
        /// candidate, from 1.
        line: usize,
        /// What breaks the rule.
        field: &'static str,
        /// What was found there; its first 64 characters are shown. Never a password.
        value: String,
        /// The rule.
        expected: &'static str,
    },
    /// A line that has to be there is not.
    #[error("{field} is missing: the fragment must have a line a={field}:…")]
    Missing {
        /// `ice-ufrag` or `ice-pwd`.
        field: &'static str,
    },
    /// More candidates than a fragment may have: send the others in another.
    #[error("line {line}: more than {limit} candidates, send the others in another fragment")]
    TooManyCandidates {
        /// The line, from 1, of the first that is too many; of a fragment that is to be written,
        /// the candidate.
        line: usize,
        /// How many are allowed.
        limit: usize,
    },
}

impl SdpFragment {
    /// How many candidates a fragment may have.
    pub const MAX_CANDIDATES: usize = 64;

    /// The longest candidate, bytes.
    pub const MAX_CANDIDATE_LEN: usize = 512;

    /// Reads a fragment. Lines end with LF or CRLF. Of lines that it does not know only the form
    /// is looked at, and all candidates count, whatever section they stand in: a peer has one
    /// transport.
    pub fn parse(text: &str) -> Result<Self, SdpFragmentError> {
        let (mut username_fragment, mut password) = (None, None);
        let (mut candidates, mut end_of_candidates) = (Vec::new(), false);
        for (index, line) in text.split('\n').enumerate() {
            let (number, line) = (index + 1, line.strip_suffix('\r').unwrap_or(line));
            if line.is_empty() {
                continue;
            }
            let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1)
            else {
                let expected = "must be a letter, = and a value";
                return Err(malformed(number, "a line", line, expected));
            };
            if kind != "a" {
                continue;
            }
            match value.split_once(':').unwrap_or((value, "")) {
                ("candidate", _) => {
                    if candidates.len() == Self::MAX_CANDIDATES {
                        return Err(too_many(number));
                    }
                    check_candidate(number, value)?;
                    candidates.push(value.to_owned());
                }
                ("ice-ufrag", value) => USERNAME.take(number, value, &mut username_fragment)?,
                ("ice-pwd", value) => PASSWORD.take(number, value, &mut password)?,
                ("end-of-candidates", _) => end_of_candidates = true,
                _ => {}
            }
        }
        Ok(Self {
            username_fragment: username_fragment
                .ok_or(SdpFragmentError::Missing { field: USERNAME.field })?,
            password: password.ok_or(SdpFragmentError::Missing { field: PASSWORD.field })?,
            candidates,
            end_of_candidates,
        })
    }

    /// The fragment as it is sent, for the one section that an offer of data channels has.
    pub fn to_text(&self) -> Result<String, SdpFragmentError> {
        USERNAME.check(0, &self.username_fragment)?;
        PASSWORD.check(0, &self.password)?;
        let mut text = format!(
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            self.username_fragment, self.password
        );
        for (index, candidate) in self.candidates.iter().enumerate() {
            if index == Self::MAX_CANDIDATES {
                return Err(too_many(index + 1));
            }
            check_candidate(index + 1, candidate)?;
            text.extend(["a=", candidate, "\r\n"]);
        }
        if self.end_of_candidates {
            text.push_str("a=end-of-candidates\r\n");
        }
        Ok(text)
    }
}

/// The rules for one of the two credentials.
struct Credential {
    field: &'static str,
    min: usize,
    expected: &'static str,
    secret: bool,
}

const USERNAME: Credential = Credential {
    field: "ice-ufrag",
    min: 4,
    expected: "must be 4 to 256 letters, digits, + and /",
    secret: false,
};

const PASSWORD: Credential = Credential {
    field: "ice-pwd",
    min: 22,
    expected: "must be 22 to 256 letters, digits, + and /",
    secret: true,
};

impl Credential {
    fn check(&self, line: usize, value: &str) -> Result<(), SdpFragmentError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
        if (self.min..=256).contains(&value.len()) && value.bytes().all(allowed) {
            return Ok(());
        }
        Err(self.error(line, value, self.expected))
    }

    /// Keeps the value, unless another is there.
    fn take(
        &self,
        line: usize,
        value: &str,
        place: &mut Option<String>,
    ) -> Result<(), SdpFragmentError> {
        self.check(line, value)?;
        match place {
            Some(before) if before != value => {
                Err(self.error(line, value, "must be the same in every section"))
            }
            _ => {
                *place = Some(value.to_owned());
                Ok(())
            }
        }
    }

    fn error(&self, line: usize, value: &str, expected: &'static str) -> SdpFragmentError {
        let length;
        let shown = if self.secret {
            length = format!("{} bytes", value.len());
            &length
        } else {
            value
        };
        malformed(line, self.field, shown, expected)
    }
}

fn check_candidate(line: usize, candidate: &str) -> Result<(), SdpFragmentError> {
    let error = |expected| Err(malformed(line, "candidate", candidate, expected));
    if candidate.len() > SdpFragment::MAX_CANDIDATE_LEN {
        return error("must be at most 512 bytes");
    }
    if !candidate.starts_with("candidate:") {
        return error("must start with candidate:");
    }
    if !candidate.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return error("must be printable ASCII");
    }
    Ok(())
}

fn too_many(line: usize) -> SdpFragmentError {
    SdpFragmentError::TooManyCandidates { line, limit: SdpFragment::MAX_CANDIDATES }
}

/// An error that keeps no more of the value than is shown.
fn malformed(
    line: usize,
    field: &'static str,
    value: &str,
    expected: &'static str,
) -> SdpFragmentError {
    let value = value.chars().take(65).collect();
    SdpFragmentError::Malformed { line, field, value, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATE: &str = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host";

    fn fragment(candidates: usize) -> SdpFragment {
        SdpFragment {
            username_fragment: "EsAw".to_owned(),
            password: "P2uYro0UCOQ4zxjKXaWCBui1".to_owned(),
            candidates: vec![CANDIDATE.to_owned(); candidates],
            end_of_candidates: candidates == 0,
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for candidates in [0, 1, SdpFragment::MAX_CANDIDATES] {
            let fragment = fragment(candidates);
            assert_eq!(SdpFragment::parse(&fragment.to_text().unwrap()), Ok(fragment));
        }
        assert_eq!(
            fragment(1).to_text().unwrap(),
            format!(
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
                 a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na={CANDIDATE}\r\n"
            )
        );
    }

    /// RFC 9725, section 4.3.2, with the candidates of two sections.
    #[test]
    fn fragments_of_others_are_read() {
        let text = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\n\
                    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
                    a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
                    a=candidate:1 1 udp 1 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
                    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:1\n\
                    a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n\
                    a=candidate:2 1 udp 1 2001:db8::1 61765 typ host\na=end-of-candidates\n\n";
        let read = SdpFragment::parse(text).unwrap();
        assert_eq!(read.candidates.len(), 2);
        assert_eq!(read.candidates[1], "candidate:2 1 udp 1 2001:db8::1 61765 typ host");
        assert!(read.end_of_candidates);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let credentials = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
        let long = format!("{credentials}a=candidate:{}", "1".repeat(512));
        for (text, line, field) in [
            ("hello", 1, "a line"),
            ("aa=1", 1, "a line"),
            ("\r\n=x", 2, "a line"),
            ("a=ice-ufrag:abc", 1, "ice-ufrag"),
            ("a=ice-ufrag:abc d", 1, "ice-ufrag"),
            ("a=ice-ufrag:abcd\na=ice-ufrag:abce", 2, "ice-ufrag"),
            ("m=x\na=ice-pwd:short", 2, "ice-pwd"),
            ("a=ice-pwd", 1, "ice-pwd"),
            (&long, 3, "candidate"),
            (&format!("{credentials}a=candidate"), 3, "candidate"),
            (&format!("{credentials}a=candidate:a\u{e9}"), 3, "candidate"),
            (&format!("{credentials}a=candidate:a\rb"), 3, "candidate"),
        ] {
            match SdpFragment::parse(text).unwrap_err() {
                SdpFragmentError::Malformed { line: at, field: about, value, .. } => {
                    assert_eq!((at, about), (line, field), "{text}");
                    assert!(value.len() <= 65 && !value.contains("short"), "{value}");
                }
                other => panic!("{other}"),
            }
        }
        for (text, field) in [("", "ice-ufrag"), ("a=ice-ufrag:EsAw", "ice-pwd")] {
            assert_eq!(SdpFragment::parse(text), Err(SdpFragmentError::Missing { field }));
        }
    }

    #[test]
    fn candidates_are_bounded() {
        let mut text = fragment(64).to_text().unwrap();
        text.push_str(&format!("a={CANDIDATE}\r\n"));
        assert_eq!(
            SdpFragment::parse(&text),
            Err(SdpFragmentError::TooManyCandidates { line: 69, limit: 64 })
        );
        assert_eq!(
            fragment(65).to_text(),
            Err(SdpFragmentError::TooManyCandidates { line: 65, limit: 64 })
        );
    }

    #[test]
    fn nothing_is_written_that_would_start_another_line() {
        for candidate in ["candidate:1\r\na=x", "candidate:1\n", "a=candidate:1", "", "candidate"] {
            let mut fragment = fragment(1);
            fragment.candidates.push(candidate.to_owned());
            match fragment.to_text() {
                Err(SdpFragmentError::Malformed { line: 2, field: "candidate", .. }) => {}
                other => panic!("{candidate:?}: {other:?}"),
            }
        }
        let injected = SdpFragment { username_fragment: "abcd\r\na=x".to_owned(), ..fragment(0) };
        assert!(matches!(injected.to_text(), Err(SdpFragmentError::Malformed { line: 0, .. })));
    }
}
