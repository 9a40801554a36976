//! What a file may be called.

use core::fmt;
use std::sync::Arc;

use deltawire_framing::bulk::MAX_NAME_LEN;

/// The name of a file, without a folder: never a path. One that a peer gave can be put behind any folder.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(Arc<str>);

/// Why a file cannot be called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is none.
    #[error("a file has a name")]
    Empty,
    /// It is longer than 255 bytes.
    #[error("a name has {len} bytes, at most {most} are allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// How many it may have.
        most: usize,
    },
    /// It begins with a dot: hidden, the folder itself, or the one above.
    #[error("a name does not begin with a dot")]
    Dot,
    /// A separator of folders, a control character, or another that some systems take for something else.
    #[error("a name does not have the character {0:?}")]
    Character(char),
    /// Windows takes it for a device, or cuts its end off.
    #[error("a name is none that Windows takes for something else")]
    Windows,
    /// Files that a transfer works in are called so.
    #[error("a name does not end in {0}: files that a transfer works in are called so")]
    Reserved(&'static str),
}

/// What files are called that a transfer works in, behind the name of what they become.
pub const PART: &str = ".part";

/// What the state of a transfer is called, behind the name of what its file becomes.
pub const STATE: &str = ".part-state";

/// The longest name that leaves room for files beside it with longer names, which may have 255 bytes.
#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
pub(crate) const MAX_STEM: usize = MAX_NAME_LEN - STATE.len() - 1;

/// What Windows takes for devices, with any extension.
const DEVICES: [&str; 8] = ["con", "prn", "aux", "nul", "conin$", "conout$", "com", "lpt"];

impl FileName {
    /// A name, if a file may be called so.
    ///
    /// # Errors
    /// Names the rule that it breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong { len: name.len(), most: MAX_NAME_LEN });
        }
        if name.starts_with('.') {
            return Err(NameError::Dot);
        }
        let foreign = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c) || is_invisible(c);
        if let Some(character) = name.chars().find(|c| foreign(*c)) {
            return Err(NameError::Character(character));
        }
        if name.ends_with([' ', '.']) || is_device(name) {
            return Err(NameError::Windows);
        }
        for reserved in [PART, STATE] {
            let end = name.len().checked_sub(reserved.len()).and_then(|at| name.get(at..));
            if end.is_some_and(|end| end.eq_ignore_ascii_case(reserved)) {
                return Err(NameError::Reserved(reserved));
            }
        }
        Ok(Self(name.into()))
    }

    /// It.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that turn what follows around, or are not seen: a name is what one reads.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    DEVICES.iter().any(|device| match stem.strip_prefix(device) {
        Some("") => !matches!(*device, "com" | "lpt"),
        Some(number) => {
            matches!(*device, "com" | "lpt")
                && (number.len() == 1 && number.as_bytes().iter().all(u8::is_ascii_digit)
                    || matches!(number, "¹" | "²" | "³"))
        }
        None => false,
    })
}

#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
impl FileName {
    /// `name (1).ext`; with 0 the name itself.
    pub(crate) fn numbered(&self, number: u32) -> String {
        let name = self.as_str();
        if number == 0 {
            return name.to_owned();
        }
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => format!("{stem} ({number}).{extension}"),
            _ => format!("{name} ({number})"),
        }
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl TryFrom<&str> for FileName {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths() {
        for name in ["a", "naïve.bin", "a b.tar.gz", "console", "comma.txt", "com10", "part"] {
            assert_eq!(FileName::new(name).unwrap().as_str(), name);
        }
        let long = "n".repeat(255);
        assert!(FileName::new(&long).is_ok());
        for (name, error) in [
            ("", NameError::Empty),
            (&*"n".repeat(256), NameError::TooLong { len: 256, most: 255 }),
            // Bytes count, not characters.
            (&*"ü".repeat(128), NameError::TooLong { len: 256, most: 255 }),
            (".", NameError::Dot),
            ("..", NameError::Dot),
            (".bashrc", NameError::Dot),
            ("a/b", NameError::Character('/')),
            ("/etc/passwd", NameError::Character('/')),
            ("a\\b", NameError::Character('\\')),
            ("c:", NameError::Character(':')),
            ("a\0b", NameError::Character('\0')),
            ("a\nb", NameError::Character('\n')),
            ("a\u{202e}txt.exe", NameError::Character('\u{202e}')),
            ("nul", NameError::Windows),
            ("NUL.txt", NameError::Windows),
            ("Com1.log", NameError::Windows),
            ("lpt9", NameError::Windows),
            ("com¹", NameError::Windows),
            ("conout$", NameError::Windows),
            ("aux .c", NameError::Windows),
            ("a ", NameError::Windows),
            ("a.", NameError::Windows),
            ("a.part", NameError::Reserved(PART)),
            ("a.PART-state", NameError::Reserved(STATE)),
        ] {
            assert_eq!(FileName::new(name), Err(error), "{name:?}");
        }
    }
}
