//! Text encodings: any bytes in any encoding are its characters, or an error; the same whatever the sizes of reads.
//!
//! Input: encoding, what becomes of bad bytes, two sizes of reads, and the bytes.

use encoding_rs::{Encoding, UTF_8};

use super::Input;
use super::decoding::{Entries, decode_by, rule};
use super::packing::pack;
use crate::decode::DecodeError;
use crate::model::rule::{Decode, Layer, OnBadEncoding};

const ENCODINGS: [&str; 14] = [
    "utf-8",
    "utf-16le",
    "utf-16be",
    "windows-1252",
    "iso-8859-2",
    "shift_jis",
    "euc-jp",
    "iso-2022-jp",
    "gb18030",
    "big5",
    "euc-kr",
    "koi8-u",
    "macintosh",
    "x-user-defined",
];

pub(super) fn check(data: &[u8]) {
    let mut input = Input(data);
    let encoding = input.one_of(&ENCODINGS);
    let on_bad = input.one_of(&[OnBadEncoding::Fail, OnBadEncoding::Replace, OnBadEncoding::Raw]);
    let reads = [1 + input.byte() as usize, 1 + input.byte() as usize];
    let bytes = input.0;
    // Spelled out, so that nothing else is recognised in it.
    let rule = Decode {
        layers: vec![Layer::Gzip],
        encoding: encoding.to_owned(),
        on_bad_encoding: on_bad,
        ..rule()
    };
    let stored = pack(Layer::Gzip, bytes);
    let expected = expected(bytes, encoding, on_bad);
    assert_text(&decode_by(&stored, &rule, &[4 << 10]), expected.as_deref(), encoding);
    assert_text(&decode_by(&stored, &rule, &reads), expected.as_deref(), encoding);
}

/// What the encoding's own crate makes of the whole; none where it is an error.
fn expected(bytes: &[u8], label: &str, on_bad: OnBadEncoding) -> Option<Vec<u8>> {
    if on_bad == OnBadEncoding::Raw {
        return Some(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).to_vec());
    }
    let encoding = Encoding::for_label(label.as_bytes()).unwrap_or(UTF_8);
    let (text, _, bad) = encoding.decode(bytes);
    let is_refused = text.contains('\0') || (bad && on_bad == OnBadEncoding::Fail);
    (!is_refused).then(|| text.into_owned().into_bytes())
}

fn assert_text(decoded: &Result<Entries, DecodeError>, expected: Option<&[u8]>, encoding: &str) {
    match (decoded, expected) {
        (Ok(entries), Some(text)) => {
            assert!(entries.len() == 1 && entries[0].1 == text, "other text comes out of {encoding}");
        }
        (Err(_), None) => {}
        (Ok(_), None) => panic!("what is no {encoding} text is taken for it"),
        (Err(error), Some(_)) => panic!("text in {encoding} is refused: {error}"),
    }
}
