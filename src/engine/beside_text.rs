//! The text of what senders write beside a file, a checksum or totals, as UTF-8 without a byte order mark: in Windows PowerShell `>` writes
//! UTF-16.

use std::borrow::Cow;

/// A character that is cut off, and one that is none, stands for nothing that is looked for.
pub(super) fn as_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    let unit: fn([u8; 2]) -> u16 = match text.get(..2) {
        Some([0xFF, 0xFE]) => u16::from_le_bytes,
        Some([0xFE, 0xFF]) => u16::from_be_bytes,
        _ => return Cow::Borrowed(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)),
    };
    let units = text.get(2..).unwrap_or_default().as_chunks::<2>().0.iter().map(|two| unit(*two));
    let read = char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER));
    Cow::Owned(read.collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_in_every_encoding_that_its_mark_tells() {
        const TEXT: &str = "0123  z\u{e4}hler-\u{1f4b6}.csv\r\n";
        let units = || std::iter::once(0xFEFF).chain(TEXT.encode_utf16());
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        let marked = [b"\xef\xbb\xbf", TEXT.as_bytes()].concat();
        for text in [little.as_slice(), &big, &marked, TEXT.as_bytes()] {
            assert_eq!(as_utf8(text), TEXT.as_bytes());
        }
        // What is written yet has half a character, or half a mark.
        assert_eq!(as_utf8(&little[..little.len() - 1]), &TEXT.as_bytes()[..TEXT.len() - 1]);
        assert_eq!(as_utf8(b"\xFF"), b"\xFF".as_slice());
        assert_eq!(as_utf8(b"\xFF\xFE"), b"".as_slice());
        assert_eq!(as_utf8(b""), b"".as_slice());
    }
}
