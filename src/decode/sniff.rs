//! Layers by content: only magic numbers that ordinary text cannot begin with by accident.

use super::enc;
use super::error::{SIGNED_TEXT, WIDE_PGP};
use super::tar_header::is_header;
use crate::model::rule::Layer;
use crate::openpgp::{Looks, NO_MESSAGE, looks_like};

/// So many first bytes tell everything; fewer only where the content is shorter.
pub(super) const SNIFF_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    Layer(Layer),
    /// A format that is known and not read.
    Refused(&'static str),
    /// Text, or something nobody here knows.
    Plain,
}

const REFUSED: &[(&[u8], &str)] = &[
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"MSCF\0\0\0\0", "a cabinet file (.cab)"),
    (b"!<arch>\n", "an ar archive"),
    (b"!<thin>\n", "an ar archive"),
    (b"\x60\xea", "ARJ"),
    (b"xar!\0", "xar"),
    (b"PK\x07\x08", "a part of a split zip"),
    (b"-----BEGIN PKCS7-----", "PKCS #7 (S/MIME)"),
    (b"-----BEGIN CMS-----", "PKCS #7 (S/MIME)"),
    (b"$ANSIBLE_VAULT;", "an Ansible vault"),
    (b"\x04\x22\x4d\x18", "an lz4 frame"),
    (b"\x02\x21\x4c\x18", "an lz4 frame"),
    (b"\x1f\x9d", "compress (.Z) data"),
    (b"\x1f\xa0", "compress (.Z) data"),
    (b"\x1f\x1e", "pack (.z) data"),
    (b"LZIP\x01", "lzip"),
    (b"LZIP\0", "lzip"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"SQLite format 3\0", "an SQLite database"),
    // A page or the footer follows, not text.
    (b"PAR1\x15", "Parquet"),
    (b"ARROW1\0\0", "Arrow"),
    (b"Obj\x01", "Avro"),
    (b"%PDF-", "PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet or office document"),
];

const AGE: &[u8] = b"age-encryption.org/v1";
const AGE_ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

pub(super) fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Age => "age",
        Layer::Enc => "enc",
        Layer::Gzip => "gzip",
        Layer::Zstd => "zstd",
        Layer::Bzip2 => "bzip2",
        Layer::Xz => "xz",
        Layer::Zip => "zip",
        Layer::Tar => "tar",
        Layer::Pgp => "pgp",
    }
}

pub(super) fn found_name(sniffed: Sniffed, head: &[u8]) -> &'static str {
    match sniffed {
        Sniffed::Layer(layer) => layer_name(layer),
        Sniffed::Refused(what) => what,
        Sniffed::Plain if head.is_empty() => "nothing",
        Sniffed::Plain => "something else",
    }
}

/// Looks at the first [`SNIFF_BYTES`] bytes (fewer: the whole content).
pub(super) fn sniff(head: &[u8]) -> Sniffed {
    if let Some(layer) = layer_of(head) {
        return if layer == Layer::Zip && is_office(head) {
            Sniffed::Refused("a spreadsheet or office document")
        } else {
            Sniffed::Layer(layer)
        };
    }
    if let Some(what) = refused(head) {
        return Sniffed::Refused(what);
    }
    if head.starts_with(b"ORC") && head.get(3).is_some_and(|byte| *byte < b' ') {
        return Sniffed::Refused("ORC");
    }
    Sniffed::Plain
}

/// How many bytes of white space and byte order marks stand in front: senders who paste, and tools that mean well, put them
/// before what is packed or encrypted.
pub(super) fn blank_lead(head: &[u8]) -> usize {
    let mut rest = head;
    if let [0xff, 0xfe, after @ ..] | [0xfe, 0xff, after @ ..] = head {
        rest = after;
    }
    while let Some(after) = rest.strip_prefix(b"\xef\xbb\xbf").or_else(|| {
        rest.split_first()
            .filter(|(byte, _)| byte.is_ascii_whitespace() || **byte == 0x0b)
            .map(|(_, after)| after)
    }) {
        rest = after;
    }
    head.len() - rest.len()
}

/// Whether a text that begins so would not be read as text.
pub(crate) fn looks_packed(head: &[u8]) -> bool {
    let rest = head.get(blank_lead(head)..).unwrap_or_default();
    sniff(head) != Sniffed::Plain || rest.len() < head.len() && sniff_behind(rest) != Sniffed::Plain
}

/// What stands behind white space or a byte order mark. Only signs of several bytes: two of them are found in any binary data.
pub(super) fn sniff_behind(rest: &[u8]) -> Sniffed {
    match layer_of(rest) {
        Some(Layer::Pgp) if !rest.starts_with(b"-") => Sniffed::Plain,
        Some(Layer::Gzip) if !rest.starts_with(b"\x1f\x8b\x08") => Sniffed::Plain,
        Some(layer) => Sniffed::Layer(layer),
        None if rest.starts_with(b"\x60\xea") || rest.starts_with(b"\x1f") => Sniffed::Plain,
        None => refused(rest).map_or(Sniffed::Plain, Sniffed::Refused),
    }
}

/// Armor that a shell wrote in UTF-16.
pub(super) fn wide_armor(head: &[u8]) -> Option<&'static str> {
    for first in [0, 1] {
        let other = head.iter().skip(1 - first).step_by(2);
        if head.len() < 16 || !other.clone().skip(1).take(100).all(|byte| *byte == 0) {
            continue;
        }
        let narrow: Vec<u8> = head.iter().skip(first).step_by(2).copied().collect();
        // The mark's bytes are one in each half.
        let text = narrow.strip_prefix(b"\xff").or_else(|| narrow.strip_prefix(b"\xfe")).unwrap_or(&narrow);
        let text = text.trim_ascii_start();
        if text.starts_with(AGE_ARMOR) || text.starts_with(AGE) {
            return Some("age armor in UTF-16");
        }
        if text.starts_with(b"-----BEGIN PGP ") {
            return Some(WIDE_PGP);
        }
    }
    None
}

fn refused(head: &[u8]) -> Option<&'static str> {
    match looks_like(head) {
        Some(Looks::SignedText) => return Some(SIGNED_TEXT),
        Some(Looks::NoMessage) => return Some(NO_MESSAGE),
        Some(Looks::Message | Looks::Armored) | None => {}
    }
    if let Some((_, what)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(what);
    }
    if is_lzma(head) {
        Some("LZMA without a container (.lzma)")
    } else if is_cpio(head) {
        Some("cpio")
    } else if matches!(head, [0x22..=0x27, 0xb5, 0x2f, 0xfd, ..]) {
        Some("zstd of a format before 1.0")
    } else if head.starts_with(b"Salted__") && head.get(8..16).is_some_and(|salt| !salt.is_ascii()) {
        Some("data that `openssl enc` encrypted")
    } else {
        None
    }
}

/// The properties 5d, a dictionary of 2^n or 2^n + 2^(n-1), and a plausible size, as xz(1) recognises it, which has no magic.
fn is_lzma(head: &[u8]) -> bool {
    let Some((b"\x5d", dictionary)) = head.split_first_chunk() else { return false };
    let (Some(dictionary), Some(size)) =
        (dictionary.first_chunk(), head.get(5..).and_then(<[u8]>::first_chunk))
    else {
        return false;
    };
    let (dictionary, size) = (u32::from_le_bytes(*dictionary), u64::from_le_bytes(*size));
    let is_power = dictionary.is_power_of_two() || dictionary == u32::MAX;
    let is_between = dictionary % 3 == 0 && (dictionary / 3).is_power_of_two();
    dictionary >= 4096 && (is_power || is_between) && (size == u64::MAX || size < 1 << 38)
}

/// Its magic alone could begin a text: a name that ends in NUL is where the header says.
fn is_cpio(head: &[u8]) -> bool {
    let number = |at: std::ops::Range<usize>, radix| {
        let digits = std::str::from_utf8(head.get(at)?).ok()?;
        usize::from_str_radix(digits, radix).ok()
    };
    let name = match head {
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => number(94..102, 16).map(|bytes| (110, bytes)),
        [b'0', b'7', b'0', b'7', b'0', b'7', ..] => number(59..65, 8).map(|bytes| (76, bytes)),
        [0xc7, 0x71, ..] => head.get(20..22).map(|b| (26, usize::from(b[0]) | usize::from(b[1]) << 8)),
        [0x71, 0xc7, ..] => head.get(20..22).map(|b| (26, usize::from(b[1]) | usize::from(b[0]) << 8)),
        _ => None,
    };
    // A name that does not fit into the head is not looked at.
    name.is_some_and(|(at, bytes)| bytes > 1 && head.get(at + bytes - 1) == Some(&0))
}

fn layer_of(head: &[u8]) -> Option<Layer> {
    if begins(head, AGE, 8) || begins(head, AGE_ARMOR, 14) {
        Some(Layer::Age)
    } else if enc::is_header(head) {
        Some(Layer::Enc)
    } else if head.starts_with(b"\x1f\x8b") {
        Some(Layer::Gzip)
    } else if begins(head, ZSTD, 2) || is_skippable(head) {
        Some(Layer::Zstd)
    } else if begins(head, XZ, 2) {
        Some(Layer::Xz)
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") || head == b"PK\x03" {
        Some(Layer::Zip)
    } else if is_bzip2(head) {
        Some(Layer::Bzip2)
    } else if is_header(head) || is_empty_tar(head) {
        Some(Layer::Tar)
    } else if matches!(looks_like(head), Some(Looks::Message | Looks::Armored)) {
        Some(Layer::Pgp)
    } else {
        None
    }
}

/// Whether it begins with the magic, or is a cut-off beginning of it of at least `min` bytes.
fn begins(head: &[u8], magic: &[u8], min: usize) -> bool {
    head.starts_with(magic) || (head.len() >= min && magic.starts_with(head))
}

fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn is_bzip2(head: &[u8]) -> bool {
    let [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] = head else { return false };
    begins(block, b"\x31\x41\x59\x26\x53\x59", 3) || begins(block, b"\x17\x72\x45\x38\x50\x90", 1)
}

/// Nothing but an end marker. Text has no zeros.
pub(super) fn is_empty_tar(head: &[u8]) -> bool {
    head.len() == SNIFF_BYTES && head.iter().all(|byte| *byte == 0)
}

/// An office document's first member is `[Content_Types].xml` (or lies in `_rels/`).
fn is_office(head: &[u8]) -> bool {
    let Some(name) = head.get(30..) else { return false };
    [&b"[Content_Types].xml"[..], b"_rels/.rels", b"docProps/", b"xl/", b"mimetypeapplication/vnd"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Whether these first bytes of a file begin a format that proves its own end (gzip, zip, age, OpenPGP, zstd, xz, bzip2).
pub(crate) fn proves_its_end(first_bytes: &[u8]) -> bool {
    match layer_of(first_bytes) {
        // tar may be cut at a member's end without a trace in what is there; it is waited for.
        Some(Layer::Tar) | None => false,
        Some(Layer::Enc) => enc::is_proved(first_bytes),
        // Packets begin with bytes that other files may begin with, too: to a rule for binary records they are records.
        Some(Layer::Pgp) => looks_like(first_bytes) == Some(Looks::Armored),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_format_is_recognised_by_name() {
        for (magic, what) in REFUSED {
            assert_eq!(sniff(magic), Sniffed::Refused(what));
        }
        let lzma = b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0";
        assert_eq!(sniff(lzma), Sniffed::Refused("LZMA without a container (.lzma)"));
        assert_eq!(sniff(b"ORC\x08\x03"), Sniffed::Refused("ORC"));
        assert_eq!(sniff(b"-----BEGIN PGP SIGNED MESSAGE-----\n"), Sniffed::Refused(SIGNED_TEXT));
        assert_eq!(sniff(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), Sniffed::Refused(NO_MESSAGE));
        let mut xlsx = b"PK\x03\x04".to_vec();
        xlsx.resize(30, 0);
        xlsx.extend_from_slice(b"[Content_Types].xml");
        assert_eq!(sniff(&xlsx), Sniffed::Refused("a spreadsheet or office document"));
    }

    #[test]
    fn ordinary_text_is_plain() {
        for text in [
            "",
            "id,amount\n1,2\n",
            "BZh",
            "BZh9,x\n",
            "PK,id\n",
            "ORC,1\n",
            "PAR1,id\n",
            "age\n",
            "(",
            "Objekt",
            "LZIP,1",
            "!<arch>,1",
            "]\n[1]\n",
            "070707,id,amount,and more columns than fit into the header of such an archive, all of it text\n",
            "07070100000000000000000000000000000000000000000000000000000000000000000000000000000000000000060000000012345",
            "Salted__ is a word\n",
            "PK",
        ] {
            assert_eq!(sniff(text.as_bytes()), Sniffed::Plain, "{text:?}");
        }
    }

    #[test]
    fn a_cut_off_magic_is_still_the_layer() {
        assert_eq!(sniff(b"\x1f\x8b"), Sniffed::Layer(Layer::Gzip));
        assert_eq!(sniff(b"\x28\xb5"), Sniffed::Layer(Layer::Zstd));
        assert_eq!(sniff(b"\xfd7z"), Sniffed::Layer(Layer::Xz));
        assert_eq!(sniff(b"BZh91AY"), Sniffed::Layer(Layer::Bzip2));
        assert_eq!(sniff(b"age-encryption"), Sniffed::Layer(Layer::Age));
    }

    #[test]
    fn only_formats_with_an_end_of_their_own_prove_it() {
        assert!(proves_its_end(b"\x1f\x8b\x08"));
        assert!(proves_its_end(b"PK\x03\x04"));
        assert!(!proves_its_end(b"id,amount\n"));
        assert!(!proves_its_end(b""));
    }
}
