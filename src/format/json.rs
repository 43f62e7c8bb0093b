//! JSON records read where they lie: checked once, then values are found as spans of the text.
//!
//! Values are never rebuilt, so numbers keep every digit and objects the order of their keys. A key that stands twice means
//! one thing to one reader and another to the next: whoever needs its value is told.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use serde::de::IgnoredAny;

use crate::model::step::{RecordError, Value};

/// A key of an object with its value, as they are written (the key without its quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

pub(crate) fn check(text: &[u8]) -> Result<(), RecordError> {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => Err(RecordError::new(format!("not JSON: {error}"))),
    }
}

/// The first members of a checked text that is an object, `max` of them; nothing for other values. Whether these are all.
///
/// A member takes many times the bytes that it is written in, so that an object is no measure for what may be kept of it.
pub(crate) fn members(text: &[u8], max: usize, found: &mut Vec<Member>) -> bool {
    found.clear();
    members_within(text, &mut |member| {
        if found.len() == max {
            return ControlFlow::Break(());
        }
        found.push(member);
        ControlFlow::Continue(())
    })
    .is_continue()
}

/// Shows each member of a checked text that is an object, until told to break off: its key in quotes, as it is written, and its value.
pub(crate) fn each_member<'t>(
    text: &'t [u8],
    show: &mut dyn FnMut(&'t [u8], &'t [u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    members_within(text, &mut |member| {
        let key = text.get(member.key.start.saturating_sub(1)..member.key.end.saturating_add(1));
        show(key.unwrap_or_default(), text.get(member.value).unwrap_or_default())
    })
}

fn members_within(text: &[u8], found: &mut dyn FnMut(Member) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut at = skip_blanks(text, 0);
    if text.get(at) != Some(&b'{') {
        return ControlFlow::Continue(());
    }
    at = skip_blanks(text, at + 1);
    while text.get(at) == Some(&b'"') {
        let key_end = string_end(text, at);
        let value = skip_blanks(text, skip_blanks(text, key_end).saturating_add(1));
        let end = value_end(text, value);
        found(Member { key: at + 1..key_end.saturating_sub(1), value: value..end })?;
        let separator = skip_blanks(text, end);
        if text.get(separator) != Some(&b',') {
            break;
        }
        at = skip_blanks(text, separator + 1);
    }
    ControlFlow::Continue(())
}

/// A key that is asked for stands twice in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twice;

/// The text of a member of the object `text` by its name; of a name that stands twice the last.
pub(crate) fn member<'t>(text: &'t [u8], members: &[Member], name: &str) -> Option<&'t [u8]> {
    let member = members.iter().rev().find(|member| is_key(text, member, name))?;
    text.get(member.value.clone())
}

fn is_key(text: &[u8], member: &Member, name: &str) -> bool {
    let raw = text.get(member.key.clone()).unwrap_or_default();
    if memchr::memchr(b'\\', raw).is_none() {
        return raw == name.as_bytes();
    }
    let quoted = text.get(member.key.start.saturating_sub(1)..member.key.end.saturating_add(1));
    quoted.is_some_and(|quoted| serde_json::from_slice::<String>(quoted).is_ok_and(|key| key == name))
}

/// Follows a dotted path from an object, whose members may be known: the value's text as it is written.
pub(crate) fn at_path<'t>(
    text: &'t [u8],
    known: Option<&[Member]>,
    path: &[String],
) -> Result<Option<&'t [u8]>, Twice> {
    let (Some(known), Some((first, rest))) = (known, path.split_first()) else {
        return follow(Some(text), path);
    };
    let mut found = known.iter().filter(|member| is_key(text, member, first));
    let value = found.next().and_then(|member| text.get(member.value.clone()));
    if found.next().is_some() { Err(Twice) } else { follow(value, rest) }
}

/// Follows a path from a value, looking through each object on the way.
fn follow<'t>(from: Option<&'t [u8]>, path: &[String]) -> Result<Option<&'t [u8]>, Twice> {
    let mut value = from;
    for name in path {
        let Some(object) = value else { return Ok(None) };
        let (mut inner, mut is_twice) = (None, false);
        let ended = members_within(object, &mut |member| {
            if !is_key(object, &member, name) {
                return ControlFlow::Continue(());
            }
            is_twice = inner.replace(member.value).is_some();
            if is_twice { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if ended.is_break() {
            return Err(Twice);
        }
        value = inner.and_then(|range| object.get(range));
    }
    Ok(value)
}

/// The text of a string in quotes, as it is written.
pub(crate) fn text_of(quoted: &[u8]) -> Option<Cow<'_, str>> {
    match quoted {
        [b'"', inner @ .., b'"'] if memchr::memchr(b'\\', inner).is_none() => {
            std::str::from_utf8(inner).ok().map(Cow::Borrowed)
        }
        quoted => serde_json::from_slice::<String>(quoted).ok().map(Cow::Owned),
    }
}

pub(crate) fn value_of(raw: Option<&[u8]>) -> Value<'_> {
    match raw {
        None | Some(b"null") => Value::Missing,
        Some([b'"', inner @ .., b'"']) if memchr::memchr(b'\\', inner).is_none() => {
            Value::Text(Cow::Borrowed(inner))
        }
        Some(raw) if raw.first() == Some(&b'"') => match serde_json::from_slice::<String>(raw) {
            Ok(text) => Value::Text(Cow::Owned(text.into_bytes())),
            Err(_) => Value::Json(raw),
        },
        Some(raw) => Value::Json(raw),
    }
}

/// Appends text as a JSON string; U+FFFD for what is not UTF-8. Nothing of what is UTF-8 is held twice.
pub(crate) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    // Memory takes everything.
    serde_json::to_writer(out, String::from_utf8_lossy(text).as_ref()).unwrap_or_default();
}

fn skip_blanks(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len())
}

/// One past the closing quote of the string whose opening quote is at `from`.
fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// One past the value that begins at `from`; without recursion, so that no depth of nesting matters.
fn value_end(text: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0u64);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    /// Looked for as a reader does that keeps no more than `kept` members.
    fn find<'t>(text: &'t [u8], kept: usize, path: &[String]) -> Result<Option<&'t [u8]>, Twice> {
        let mut known = Vec::new();
        let is_all = members(text, kept, &mut known);
        at_path(text, is_all.then_some(&known), path)
    }

    fn at<'t>(text: &'t [u8], dotted: &str) -> Option<&'t [u8]> {
        let found = [0, 2, 9].map(|kept| find(text, kept, &path(dotted)).expect("each key once"));
        assert!(found.iter().all(|value| *value == found[0]), "{found:?}");
        found[0]
    }

    #[test]
    fn values_are_found_as_they_are_written() {
        let text = br#" { "a" : 1.50 , "b":{"c":[1,{"d":"}"}], "e\u0041":"x\"y"},"n":null, "big":12345678901234567890123 } "#;
        assert_eq!(at(text, "a"), Some(&b"1.50"[..]));
        assert_eq!(at(text, "b.c"), Some(&br#"[1,{"d":"}"}]"#[..]));
        assert_eq!(at(text, "b.eA"), Some(&br#""x\"y""#[..]));
        assert_eq!(at(text, "big"), Some(&b"12345678901234567890123"[..]));
        assert_eq!(at(text, "b.c.d"), None);
        assert_eq!(at(text, "zz"), None);
        assert_eq!(at(b"[1]", "a"), None);
        assert_eq!(at(b"{}", "a"), None);
    }

    #[test]
    fn values_are_text_json_or_missing() {
        assert_eq!(value_of(Some(b"null")), Value::Missing);
        assert_eq!(value_of(Some(b"\"x\"")), Value::Text(b"x"[..].into()));
        assert_eq!(value_of(Some(br#""x\n""#)), Value::Text(b"x\n"[..].into()));
        assert_eq!(value_of(Some(b"1")), Value::Json(b"1"));
    }

    #[test]
    fn a_key_that_stands_twice_has_no_value() {
        let texts: [&[u8]; 3] =
            [br#"{"a":1,"a":{"b":2}}"#, br#"{"a":{"b":1,"b":1}}"#, br#"{"\u0061":{},"b":3,"a":{"b":2}}"#];
        for text in texts {
            for kept in [0, 9] {
                assert_eq!(find(text, kept, &path("a.b")), Err(Twice));
            }
        }
        assert_eq!(at(br#"{"x":1,"x":2,"a":{"b":2}}"#, "a.b"), Some(&b"2"[..]), "nobody asked for x");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned(bytes in prop::collection::vec(prop::sample::select(b"{}[]\"\\:, a1".to_vec()), 0..40)) {
            for kept in [0, 9] {
                find(&bytes, kept, &path("a.a")).ok();
            }
        }

        #[test]
        fn any_bytes_are_written_as_a_string(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut out = Vec::new();
            write_string(&bytes, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn what_is_written_is_found(key in "[a-z\"\\\\ ]{1,5}", text in "\\PC{0,8}", number in any::<i64>()) {
            let json = serde_json::json!({ "x": [1, {"y": "]"}], &key: { "t": text, "n": number } });
            let written = serde_json::to_vec(&json).expect("JSON");
            for kept in [0, 9] {
                let t = find(&written, kept, &[key.clone(), "t".into()]).expect("once");
                prop_assert_eq!(value_of(t), Value::Text(text.as_bytes().into()));
                let n = find(&written, kept, &[key.clone(), "n".into()]).expect("once");
                let expected = number.to_string();
                prop_assert_eq!(n, Some(expected.as_bytes()));
            }
        }
    }
}
