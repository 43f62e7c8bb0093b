//! Whether first bytes are those of a message. Packets have no magic: what could as well be a text, or records of bytes, is none.

use std::io::Read as _;

use flate2::bufread::DeflateDecoder;

/// What a head looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// A message in binary packets, or in armor.
    Message,
    Armored,
    /// A text in clear with a signature below it.
    SignedText,
    /// A key, or a signature by itself.
    NoMessage,
}

const ARMOR: &[u8] = b"-----BEGIN PGP ";

/// None: it is something else.
pub(crate) fn looks_like(head: &[u8]) -> Option<Looks> {
    if let Some(kind) = head.strip_prefix(ARMOR) {
        return match kind {
            kind if kind.starts_with(b"MESSAGE-----") => Some(Looks::Armored),
            kind if kind.starts_with(b"SIGNED MESSAGE-----") => Some(Looks::SignedText),
            kind if [&b"PUBLIC KEY"[..], b"PRIVATE KEY", b"SIGNATURE-"]
                .iter()
                .any(|begin| kind.starts_with(begin)) =>
            {
                Some(Looks::NoMessage)
            }
            _ => None,
        };
    }
    let (tag, body) = packet(head)?;
    let is_it = match tag {
        1 => is_key_lock(body),
        3 => is_passphrase_lock(body),
        18 => is_encrypted(head, body),
        4 => is_one_pass(body),
        2 => is_signature(body),
        8 => is_compressed(body),
        // `PGP`, which an old version put in front.
        10 => body.get(..3) == Some(b"PGP"),
        _ => false,
    };
    is_it.then_some(Looks::Message)
}

/// The tag of the first packet, and what follows its length.
fn packet(head: &[u8]) -> Option<(u8, &[u8])> {
    let (first, rest) = head.split_first()?;
    let length = |bytes: usize| rest.get(bytes..);
    match first {
        0xc0..=0xff => {
            let body = match rest.first()? {
                0..=191 | 224..=254 => length(1),
                192..=223 => length(2),
                255 => length(5),
            };
            Some((first & 0x3f, body?))
        }
        0x80..=0xbf => {
            let body = match first & 3 {
                0 => length(1),
                1 => length(2),
                2 => length(4),
                _ => length(0),
            };
            Some(((first >> 2) & 0xf, body?))
        }
        _ => None,
    }
}

/// Algorithms that anybody encrypts to.
fn is_encrypting(algorithm: u8) -> bool {
    matches!(algorithm, 1 | 2 | 16 | 18 | 25 | 26 | 35 | 36)
}

fn is_signing(algorithm: u8) -> bool {
    matches!(algorithm, 1 | 3 | 17 | 19 | 22 | 27 | 28 | 30..=34)
}

fn is_hash(algorithm: u8) -> bool {
    matches!(algorithm, 1..=3 | 8..=12 | 14)
}

fn is_key_lock(body: &[u8]) -> bool {
    match body {
        [3, rest @ ..] => rest.get(8).is_some_and(|algorithm| is_encrypting(*algorithm)),
        // Of version 6: how long the fingerprint is, with its version, and then the algorithm.
        [6, 0, algorithm, ..] => is_encrypting(*algorithm),
        [6, length @ (21 | 33), version @ (4 | 6), rest @ ..] => {
            let algorithm = rest.get(usize::from(*length) - 1);
            (*length == 21) == (*version == 4) && algorithm.is_some_and(|algorithm| is_encrypting(*algorithm))
        }
        _ => false,
    }
}

fn is_passphrase_lock(body: &[u8]) -> bool {
    match body {
        [4, 1..=13, 0 | 1 | 3, hash, ..] => is_hash(*hash),
        [4, 1..=13, 4, ..]
        | [5, 7..=13, 1..=3, 0 | 1 | 3 | 4, ..]
        | [6, _, 7..=13, 1..=3, _, 0 | 1 | 3 | 4, ..] => true,
        _ => false,
    }
}

/// Without what would open it. The shortest one has a prefix and a code.
fn is_encrypted(head: &[u8], body: &[u8]) -> bool {
    matches!(head, [0xd2, 41..=u8::MAX, ..]) && matches!(body, [1, ..] | [2, 7..=13, 1..=3, 0..=16, ..])
}

fn is_one_pass(body: &[u8]) -> bool {
    match body {
        [3, 0 | 1, hash, algorithm, rest @ ..] => {
            let next = rest.get(9).is_none_or(|next| next & 0x80 != 0);
            is_hash(*hash) && is_signing(*algorithm) && matches!(rest.get(8), Some(0 | 1)) && next
        }
        [6, 0 | 1, hash, algorithm, 16 | 24 | 32, ..] => is_hash(*hash) && is_signing(*algorithm),
        _ => false,
    }
}

fn is_signature(body: &[u8]) -> bool {
    match body {
        // It says when it was made, or first by whom.
        [4, 0 | 1, algorithm, hash, 0, 6..=u8::MAX, 5, 2 | 0x82, ..]
        | [4, 0 | 1, algorithm, hash, 0, 6..=u8::MAX, 22 | 34, 33 | 0xa1, ..] => {
            is_hash(*hash) && is_signing(*algorithm)
        }
        [3, 5, 0 | 1, rest @ ..] => {
            let algorithms = (rest.get(12), rest.get(13));
            matches!(algorithms, (Some(algorithm), Some(hash)) if is_signing(*algorithm) && is_hash(*hash))
        }
        _ => false,
    }
}

/// By what comes out of it: a packet that may be in a message.
fn is_compressed(body: &[u8]) -> bool {
    match body {
        [1, deflated @ ..] => {
            let mut begin = [0; 1];
            DeflateDecoder::new(deflated).read_exact(&mut begin).is_ok() && is_inner(begin[0])
        }
        [2, first, second, ..] => first & 0xf == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0,
        [3, b'B', b'Z', b'h', b'1'..=b'9', ..] => true,
        _ => false,
    }
}

/// A signature, announced or whole, content, or compressed once more.
fn is_inner(first: u8) -> bool {
    match first {
        0x80..=0xbf => matches!((first >> 2) & 0xf, 2 | 4 | 8 | 11),
        0xc0.. => matches!(first & 0x3f, 2 | 4 | 8 | 11),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gnupg_writes_is_recognised() {
        let key_lock = [&[0x85, 0x01, 0x0c, 3][..], &[0xab; 8], &[1, 8, 0]].concat();
        let new_key_lock = [&[0xc1, 0xc0, 0x4c, 3][..], &[0xab; 8], &[18]].concat();
        let one_pass = [&[0x90, 0x0d, 3, 0, 10, 22][..], &[0xab; 8], &[1, 0xcb]].concat();
        for head in [
            &key_lock[..],
            &new_key_lock,
            &one_pass,
            &[0x8c, 0x0d, 4, 9, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0xff],
            &[0x88, 0x75, 4, 0, 22, 8, 0, 29, 22, 33, 4, 1, 2],
            &[0xa3, 2, 0x78, 0x9c, 1],
            &[0xa3, 3, b'B', b'Z', b'h', b'6', b'1'],
            &[0xa3, 1, 0x9b, 0xc0, 0xcb],
        ] {
            assert_eq!(looks_like(head), Some(Looks::Message), "{head:02x?}");
        }
        assert_eq!(looks_like(b"-----BEGIN PGP MESSAGE-----\n"), Some(Looks::Armored));
        assert_eq!(looks_like(b"-----BEGIN PGP SIGNED MESSAGE-----\n"), Some(Looks::SignedText));
        assert_eq!(looks_like(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), Some(Looks::NoMessage));
    }

    /// In any of the usual encodings: what begins a line of ordinary text is no packet.
    #[test]
    fn text_is_no_message() {
        let words = [
            "\u{c4}pfel",
            "\u{c1}\u{3}x",
            "\u{85}\u{1}",
            "£1",
            "£\u{1}",
            "Ëb\u{1}x",
            "Ò\u{2}\u{1}",
            "-----BEGIN PGP",
        ];
        for word in words {
            let latin: Vec<u8> = word.chars().map(|c| c as u8).chain(*b",1\n2,3\n4,5,6,7\n").collect();
            assert_eq!(looks_like(&latin), None, "{latin:02x?}");
            assert_eq!(looks_like(word.as_bytes()), None, "{word}");
        }
    }

    /// Of a thousand times a thousand random beginnings hardly one: 16 fields with two bytes of sense are one in 65,000.
    #[test]
    fn random_bytes_are_hardly_ever_one() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let found = (0..200_000).filter(|_| {
            let head: Vec<u8> = (0..64).map(|_| next()).collect();
            looks_like(&head).is_some()
        });
        assert!(found.count() < 10);
    }
}
