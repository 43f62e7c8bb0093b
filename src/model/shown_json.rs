//! JSON as others read it: what is not [shown raw](is_shown_raw) stands as `\uXXXX`.
//!
//! Names from outside are in it, and people look at it: in a terminal, in an editor, in a search. Whoever parses it gets the same text.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::os_text::is_shown_raw;

/// Writes a value on one line.
pub fn to_writer(to: impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(to, Shown(CompactFormatter)))
}

/// Writes a value on lines of its own, indented.
pub fn to_writer_pretty(to: impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(to, Shown(PrettyFormatter::new())))
}

/// A value on one line.
pub fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    to_writer(&mut text, value)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A value on lines of its own, indented.
pub fn to_vec_pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    to_writer_pretty(&mut text, value)?;
    Ok(text)
}

/// Writes as another formatter does, but for what is within strings.
struct Shown<F>(F);

impl<F: Formatter> Formatter for Shown<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| !is_shown_raw(*c)) {
            let (before, behind) = rest.split_at(at);
            self.0.write_string_fragment(to, before)?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(to, "\\u{unit:04x}")?;
            }
            rest = behind.get(hidden.len_utf8()..).unwrap_or_default();
        }
        self.0.write_string_fragment(to, rest)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_array(to)
    }
    fn end_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_array(to)
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(to, first)
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_array_value(to)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_object(to)
    }
    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_object(to)
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(to, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_object_value(to)
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_object_value(to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_turns_text_around_or_is_not_seen_is_escaped() {
        let name = "pay\u{202e}vsc.\u{9b}2J\u{200b}\u{e0041}ä\n";
        let written = to_string(&[name]).expect("JSON");
        assert_eq!(written, r#"["pay\u202evsc.\u009b2J\u200b\udb40\udc41ä\n"]"#);
        assert_eq!(serde_json::from_str::<[String; 1]>(&written).expect("JSON"), [name]);
    }

    proptest! {
        #[test]
        fn it_reads_back_as_it_was_and_shows_nothing_raw(text in any::<String>(), more in any::<Vec<String>>()) {
            let value = serde_json::json!({ &text: [1, { "more": more }], "empty": [] });
            for written in [to_string(&value).expect("JSON").into_bytes(), to_vec_pretty(&value).expect("JSON")] {
                prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&written).expect("JSON"), &value);
                let written = String::from_utf8(written).expect("UTF-8");
                prop_assert!(written.chars().all(|c| c == '\n' || is_shown_raw(c)));
            }
        }
    }
}
