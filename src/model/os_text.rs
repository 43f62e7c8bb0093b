//! Names from the file system: bytes are kept, and shown escaped.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name or path as the operating system gave it; it need not be UTF-8.
///
/// Serialized as a plain string where it is UTF-8 (Windows: UTF-16), else as `{ "bytes": [..] }` (Windows: `{ "wide": [..] }`),
/// so that it always comes back exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OsText(OsString);

impl OsText {
    /// Wraps a name.
    pub(crate) fn new(text: impl Into<OsString>) -> Self {
        Self(text.into())
    }

    /// The name as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The name as the operating system has it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The name as text, if it is Unicode.
    pub fn to_str(&self) -> Option<&str> {
        self.0.to_str()
    }

    /// At most so many bytes of the name's beginning; where something is cut off, what is not Unicode is replaced.
    #[must_use]
    pub(crate) fn shortened(&self, bytes_max: usize) -> Self {
        if self.0.len() <= bytes_max {
            return self.clone();
        }
        let text = self.0.to_string_lossy();
        let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Self::from(text.get(..end).unwrap_or_default())
    }
}

impl From<&OsStr> for OsText {
    fn from(name: &OsStr) -> Self {
        Self(name.to_owned())
    }
}

impl From<PathBuf> for OsText {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string())
    }
}

impl From<&Path> for OsText {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().to_owned())
    }
}

impl From<&str> for OsText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for OsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escaped(&self.0))
    }
}

/// Whether a character is shown as it is. Not so what moves the cursor, turns the direction of text around, or is not seen at all:
/// with these one name passes for another (Unicode's categories Cc and Cf, and its separators of lines and paragraphs).
pub(crate) fn is_shown_raw(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A name as it is shown: what is not [shown raw](is_shown_raw) and whatever is not Unicode as `\xHH`, a backslash doubled on Unix.
pub(crate) fn escaped(name: &OsStr) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if !is_shown_raw(c) {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|b| push_escape(&mut shown, b));
            } else if c == '\\' && cfg!(unix) {
                shown.push_str("\\\\");
            } else {
                shown.push(c);
            }
        }
        chunk.invalid().iter().for_each(|b| push_escape(&mut shown, *b));
    }
    shown
}

/// What a program said, in one line: what is not [shown raw](is_shown_raw) is escaped, and its lines stand behind bars.
pub(crate) fn said(text: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut line = String::with_capacity(text.len());
    for chunk in text.trim_ascii().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => line.push_str(" | "),
                '\r' => {}
                '\t' => line.push(' '),
                c if is_shown_raw(c) => line.push(c),
                c => line.extend(c.escape_unicode()),
            }
        }
        for byte in chunk.invalid() {
            write!(line, "\\x{byte:02x}").ok(); // a string takes everything
        }
    }
    line
}

/// A path as it is shown; see [`escaped`].
pub(crate) fn escaped_path(path: &Path) -> String {
    escaped(path.as_os_str())
}

fn push_escape(shown: &mut String, byte: u8) {
    use fmt::Write as _;
    // Writing to a string cannot fail.
    write!(shown, "\\x{byte:02x}").ok();
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Bytes { bytes: Vec<u8> },
    Wide { wide: Vec<u16> },
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => raw(&self.0).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Stored::deserialize(deserializer)? {
            Stored::Text(text) => Ok(Self(text.into())),
            other => from_raw(other).map(Self).ok_or_else(|| {
                serde::de::Error::custom(
                    "this name was written on another operating system and is not Unicode",
                )
            }),
        }
    }
}

/// For `#[serde(with)]`: a path serialized as [`OsText`] is. serde's own way fails where a path is not Unicode.
pub(crate) mod path {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::OsText;

    /// As [`OsText`].
    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        OsText::from(path).serialize(serializer)
    }

    /// As [`OsText`].
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(OsText::deserialize(deserializer)?.as_path().to_owned())
    }
}

#[cfg(unix)]
fn raw(name: &OsStr) -> Stored {
    use std::os::unix::ffi::OsStrExt as _;
    Stored::Bytes { bytes: name.as_bytes().to_vec() }
}

#[cfg(unix)]
fn from_raw(stored: Stored) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt as _;
    match stored {
        Stored::Bytes { bytes } => Some(OsString::from_vec(bytes)),
        Stored::Text(_) | Stored::Wide { .. } => None,
    }
}

#[cfg(windows)]
fn raw(name: &OsStr) -> Stored {
    use std::os::windows::ffi::OsStrExt as _;
    Stored::Wide { wide: name.encode_wide().collect() }
}

#[cfg(windows)]
fn from_raw(stored: Stored) -> Option<OsString> {
    use std::os::windows::ffi::OsStringExt as _;
    match stored {
        Stored::Wide { wide } => Some(OsString::from_wide(&wide)),
        Stored::Text(_) | Stored::Bytes { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_turns_text_around_or_is_not_seen_is_shown_raw() {
        let name = "pay\u{202e}gpj.exe\u{200b}\u{2066}\u{9b}31m\u{feff}\u{ad}\u{2028}\u{e0041}";
        let shown = escaped(OsStr::new(name));
        assert!(shown.is_ascii() && shown.starts_with("pay\\xe2\\x80\\xaegpj.exe"), "{shown}");
        assert_eq!(escaped(OsStr::new("Zürich 東京 😀")), "Zürich 東京 😀");
    }

    #[test]
    fn a_unicode_name_is_stored_as_plain_text() {
        let name = OsText::from("päy.csv");
        let json = serde_json::to_string(&name).expect("serializes");
        assert_eq!(json, "\"päy.csv\"");
        assert_eq!(serde_json::from_str::<OsText>(&json).expect("reads back"), name);
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        let name = OsText::from("päy.csv");
        assert_eq!(name.shortened(8), name);
        assert_eq!(name.shortened(3), OsText::from("pä"));
        assert_eq!(name.shortened(2), OsText::from("p"));
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_comes_back_exactly_and_is_shown_escaped() {
        use std::os::unix::ffi::OsStringExt as _;
        let name = OsText::new(OsString::from_vec(b"a\xff\nb\\".to_vec()));
        let json = serde_json::to_string(&name).expect("serializes");
        assert_eq!(serde_json::from_str::<OsText>(&json).expect("reads back"), name);
        assert_eq!(name.to_string(), r"a\xff\x0ab\\");
    }
}
