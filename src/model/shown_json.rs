//! JSON as others read it: what is not [shown raw](is_shown_raw) stands as `\uXXXX`.
//!
//! Names from outside are in it, and people look at it: in a terminal, in an editor, in a search. Whoever parses it gets the same text.

use std::fmt::Write as _;

use serde::Serialize;

use super::os_text::is_shown_raw;

/// A value on one line.
pub(crate) fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(shown)
}

/// A value on lines of its own, indented.
pub(crate) fn to_string_pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(shown)
}

/// JSON has such characters only within strings; its own line ends are left.
fn shown(json: String) -> String {
    let is_hidden = |c: char| c != '\n' && !is_shown_raw(c);
    if !json.contains(is_hidden) {
        return json;
    }
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                write!(shown, "\\u{unit:04x}").ok();
            }
        } else {
            shown.push(c);
        }
    }
    shown
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
            for written in [to_string(&value).expect("JSON"), to_string_pretty(&value).expect("JSON")] {
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written).expect("JSON"), &value);
                prop_assert!(written.chars().all(|c| c == '\n' || is_shown_raw(c)));
            }
        }
    }
}
