//! Names as characters, so that names that are not Unicode can be matched too.
//!
//! The glob crate matches `str` only. What is no Unicode in a name becomes one character each in a private-use range;
//! characters of that range that are really in a name are taken apart the same way, so that no two names become equal.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

/// [`to_chars`], without a copy of the usual names.
pub(crate) fn as_chars(name: &OsStr) -> Cow<'_, str> {
    match name.to_str() {
        Some(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(to_chars(name)),
    }
}

/// The name as characters; [`from_chars`] is its inverse.
#[cfg(unix)]
pub(crate) fn to_chars(name: &OsStr) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_stand_in(c) {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push(stand_in(u16::from(byte))));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push(stand_in(u16::from(*byte))));
    }
    text
}

/// The name that [`to_chars`] made these characters of.
#[cfg(unix)]
pub(crate) fn from_chars(text: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(FIRST_STAND_IN)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(bytes)
}

/// The name as characters; [`from_chars`] is its inverse.
#[cfg(windows)]
pub(crate) fn to_chars(name: &OsStr) -> String {
    use std::os::windows::ffi::OsStrExt as _;
    let mut text = String::with_capacity(name.len());
    for unit in char::decode_utf16(name.encode_wide()) {
        match unit {
            Ok(c) if is_stand_in(c) => {
                c.encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|unit| text.push(stand_in(unit - FIRST_SURROGATE)));
            }
            Ok(c) => text.push(c),
            Err(lone) => text.push(stand_in(lone.unpaired_surrogate() - FIRST_SURROGATE)),
        }
    }
    text
}

/// The name that [`to_chars`] made these characters of.
#[cfg(windows)]
pub(crate) fn from_chars(text: &str) -> OsString {
    use std::os::windows::ffi::OsStringExt as _;
    let mut wide = Vec::with_capacity(text.len());
    for c in text.chars() {
        if is_stand_in(c) {
            let unit = u16::try_from(u32::from(c) - FIRST_STAND_IN).unwrap_or_default();
            wide.push(unit + FIRST_SURROGATE);
        } else {
            wide.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
    OsString::from_wide(&wide)
}

/// First of the characters that stand for what is no Unicode: at the end of the last private-use plane.
#[cfg(unix)]
const FIRST_STAND_IN: u32 = 0x0010_FE00;
#[cfg(unix)]
const STAND_INS: u32 = 0x100;
#[cfg(windows)]
const FIRST_STAND_IN: u32 = 0x0010_F000;
#[cfg(windows)]
const STAND_INS: u32 = 0x800;
#[cfg(windows)]
const FIRST_SURROGATE: u16 = 0xD800;

fn is_stand_in(c: char) -> bool {
    u32::from(c).wrapping_sub(FIRST_STAND_IN) < STAND_INS
}

fn stand_in(value: u16) -> char {
    char::from_u32(FIRST_STAND_IN + u32::from(value)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt as _;

    proptest! {
        #[test]
        fn every_name_comes_back_exactly(bytes: Vec<u8>) {
            let name = OsString::from_vec(bytes);
            prop_assert_eq!(from_chars(&to_chars(&name)), name);
        }
    }

    #[test]
    fn a_private_use_character_is_not_taken_for_the_byte_it_could_stand_for() {
        let real = OsString::from("\u{10FEFF}");
        let byte = OsString::from_vec(vec![0xFF]);
        assert_ne!(to_chars(&real), to_chars(&byte));
        assert_eq!(from_chars(&to_chars(&real)), real);
    }
}
