//! Layers by content: only magic numbers that ordinary text cannot begin with by accident.

use super::tar_header::is_header;
use crate::model::rule::Layer;

/// So many first bytes tell everything; fewer only where the content is shorter.
pub(super) const SNIFF_BYTES: usize = 512;

/// What first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// A layer to take off.
    Layer(Layer),
    /// A format that is known and not read.
    Refused(&'static str),
    /// Text, or something nobody here knows.
    Plain,
}

const REFUSED: &[(&[u8], &str)] = &[
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
    // A page or the footer follows, not text.
    (b"PAR1\x15", "Parquet"),
    (b"Obj\x01", "Avro"),
    (b"%PDF-", "PDF"),
    (b"-----BEGIN PGP MESSAGE-----", "OpenPGP"),
    (b"-----BEGIN PGP SIGNED MESSAGE-----", "OpenPGP"),
    (b"\x04\x22\x4d\x18", "an lz4 frame"),
    (b"\x1f\x9d", "compress (.Z) data"),
    (b"LZIP\x01", "lzip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet or office document"),
];

const AGE: &[u8] = b"age-encryption.org/v1";
const AGE_ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// The word for a layer in messages.
pub(super) fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Age => "age",
        Layer::Gzip => "gzip",
        Layer::Zstd => "zstd",
        Layer::Bzip2 => "bzip2",
        Layer::Xz => "xz",
        Layer::Zip => "zip",
        Layer::Tar => "tar",
    }
}

/// The word for what was found.
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
    if let Some((_, what)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Sniffed::Refused(what);
    }
    if head.starts_with(b"ORC") && head.get(3).is_some_and(|byte| *byte < b' ') {
        return Sniffed::Refused("ORC");
    }
    if is_openpgp(head) { Sniffed::Refused("OpenPGP") } else { Sniffed::Plain }
}

fn layer_of(head: &[u8]) -> Option<Layer> {
    if begins(head, AGE, 8) || begins(head, AGE_ARMOR, 14) {
        Some(Layer::Age)
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

/// Binary `OpenPGP`: a packet header with a session key, a symmetric key or encrypted data of a plausible version.
fn is_openpgp(head: &[u8]) -> bool {
    match head {
        // New format, tag 1 (public-key session key), version 3 or 6.
        [0xc1, first, second, third, ..] => {
            let version = if *first < 192 { *second } else { *third };
            matches!(version, 3 | 6)
        }
        // Old format, tag 1, version 3; length in two bytes or one.
        [0x85, _, _, 3, ..]
        | [0x84, _, 3, ..]
        // Tag 3 (symmetric-key session key), version 4 to 6, a known cipher.
        | [0x8c, _, 4, 1..=13, ..]
        | [0xc3, 0..=191, 4..=6, 1..=13, ..]
        // Tag 18 (encrypted and integrity protected), version 1 or 2.
        | [0xd2, 0..=191, 1 | 2, ..]
        | [0xd2, 192..=223, _, 1 | 2, ..] => true,
        _ => false,
    }
}

/// Whether these first bytes of a file begin a format that proves its own end (gzip, zip, age, zstd, xz, bzip2).
pub fn proves_its_end(first_bytes: &[u8]) -> bool {
    match layer_of(first_bytes) {
        // tar may be cut at a member's end without a trace in what is there; it is waited for.
        Some(Layer::Tar) | None => false,
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
        assert_eq!(sniff(b"ORC\x08\x03"), Sniffed::Refused("ORC"));
        assert_eq!(sniff(b"\x85\x01\x0c\x03rest"), Sniffed::Refused("OpenPGP"));
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
