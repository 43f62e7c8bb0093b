//! UTF-16 without a byte order mark, by where its NUL bytes lie: every other byte of what is ASCII in it is one, the first of two in big
//! endian, the second in little endian.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

/// A line feed with its bytes exchanged; no character has this number.
const EXCHANGED_LINE_FEED: &[u8] = "\u{a00}".as_bytes();

/// Which UTF-16 these first bytes seem to be.
pub(super) fn recognise(head: &[u8]) -> Option<&'static Encoding> {
    let (pairs, _) = head.as_chunks::<2>();
    let is_text = |byte: u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
    let little = pairs.iter().filter(|[low, high]| *high == 0 && is_text(*low)).count();
    let big = pairs.iter().filter(|[high, low]| *high == 0 && is_text(*low)).count();
    // U+3000, a space in Chinese and Japanese, has a NUL byte in the other place.
    let (more, fewer, encoding) =
        if little > big { (little, big, UTF_16LE) } else { (big, little, UTF_16BE) };
    (more >= 2 && more >= fewer * 8 && more * 4 >= pairs.len()).then_some(encoding)
}

/// Whether decoded text shows that its bytes were taken in the wrong order.
pub(super) fn is_exchanged(text: &[u8]) -> bool {
    memchr::memmem::find(text, EXCHANGED_LINE_FEED).is_some()
}

pub(super) fn other_order(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16LE { UTF_16BE } else { UTF_16LE }
}

/// How a configuration spells it.
pub(super) fn label(encoding: &'static Encoding) -> &'static str {
    if encoding == UTF_16LE { "utf-16le" } else { "utf-16be" }
}

pub(super) fn is_utf16(encoding: &'static Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}
