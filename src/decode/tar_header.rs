//! One block of a tar's header, and the extended headers before it: ustar, GNU, pax, star, and v7 as all of them began.

use std::io;

use tar::Header;

const BLOCK: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// Content that belongs to another volume, or is told by a map of holes.
    Unreadable(&'static str),
    HardLink,
    Folder,
    /// Neither file nor folder: it has no content, whatever size its header tells.
    Special(&'static str),
    /// GNU: the name of the next member, and what it links to.
    LongName,
    LongLink,
    /// pax: about the next member, and about all of them.
    Extended,
    Global,
    /// A volume's label, or a list of a folder's names: its content is not a file's.
    Note,
}

/// The block's type. POSIX: a type that nobody knows is a file.
pub(super) fn kind(block: &[u8]) -> Kind {
    match block.get(156) {
        Some(b'1') => Kind::HardLink,
        Some(b'2') => Kind::Special("symbolic link"),
        Some(b'3') => Kind::Special("character device"),
        Some(b'4') => Kind::Special("block device"),
        Some(b'5') => Kind::Folder,
        Some(b'6') => Kind::Special("FIFO"),
        Some(b'L') => Kind::LongName,
        Some(b'K') => Kind::LongLink,
        // Solaris wrote `X` before POSIX chose `x`.
        Some(b'x' | b'X') => Kind::Extended,
        Some(b'g') => Kind::Global,
        // GNU: a volume's label, a folder's names in an incremental archive. Solaris: the next member's access list.
        Some(b'V' | b'D' | b'A') => Kind::Note,
        Some(b'S') => Kind::Unreadable("it is a sparse file, which is not supported"),
        Some(b'M') => Kind::Unreadable("it is continued from another volume, which is not supported"),
        _ => Kind::File,
    }
}

/// A number: octal digits between blanks, or bytes with the first one's highest bit set. An empty field is 0, as GNU tar and bsdtar
/// read it. None: neither, or a negative one.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let mut value = u64::from(field[0] & 0x7f);
        if field[0] & 0x40 != 0 {
            return None;
        }
        for byte in &field[1..] {
            value = value.checked_mul(256)? | u64::from(*byte);
        }
        return Some(value);
    }
    // A writer whose field before runs over leaves its end here.
    let text = field.strip_prefix(b"\0").unwrap_or(field).trim_ascii_start();
    let digits = text.iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if !matches!(text.get(digits), None | Some(0 | b' ' | b'\t')) {
        return None;
    }
    text[..digits]
        .iter()
        .try_fold(0_u64, |value, digit| value.checked_mul(8)?.checked_add(u64::from(digit - b'0')))
}

/// Whether the sum that the block tells is its own. Some old writers added up signed bytes.
pub(super) fn checksum_is_right(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else { return false };
    let Some(told) = number(&block[148..156]) else { return false };
    let counted = block[..148].iter().chain(&block[156..]);
    let blanks = 8 * u64::from(b' ');
    let sum: u64 = counted.clone().map(|byte| u64::from(*byte)).sum::<u64>() + blanks;
    let signed: i64 = counted.map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + blanks.cast_signed();
    told == sum || i64::try_from(told) == Ok(signed)
}

/// Whether the block begins a member, by its checksum and by `ustar` where it belongs or, in a tar older than that, by numbers where
/// they belong. Text has neither.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else { return false };
    let numbers = [&block[100..108], &block[108..116], &block[116..124], &block[124..136], &block[136..148]];
    let fits = block[257..].starts_with(b"ustar")
        || (block[0] != 0
            && (block[156] == 0 || block[156].is_ascii_alphanumeric())
            && numbers.iter().all(|field| number(field).is_some()));
    fits && checksum_is_right(block)
}

/// What extended headers say of the next member.
#[derive(Default)]
pub(super) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Extensions {
    pub(super) fn learn(&mut self, kind: Kind, data: &[u8]) -> io::Result<()> {
        match kind {
            Kind::LongName => self.path = Some(until_nul(data).to_vec()),
            Kind::LongLink => self.link = Some(until_nul(data).to_vec()),
            _ => self.learn_pax(data, kind == Kind::Global)?,
        }
        Ok(())
    }

    fn learn_pax(&mut self, mut data: &[u8], global: bool) -> io::Result<()> {
        while !data.is_empty() && data[0] != 0 {
            let [key, value, rest] =
                pax_record(data).ok_or_else(|| bad("an extended header is no list of records"))?;
            data = rest;
            match key {
                b"path" | b"linkpath" | b"size" if global => {
                    return Err(bad("a global extended header gives all members one name or size"));
                }
                // An empty value takes back what was said before.
                b"path" => self.path = Some(value.to_vec()).filter(|path| !path.is_empty()),
                b"linkpath" => self.link = Some(value.to_vec()).filter(|path| !path.is_empty()),
                b"size" if value.is_empty() => self.size = None,
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(|| bad("an extended header's size is no number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn kind(&self, block: &[u8]) -> Kind {
        let kind = kind(block);
        if self.sparse && kind == Kind::File {
            Kind::Unreadable("it is a sparse file, which is not supported")
        } else {
            kind
        }
    }

    pub(super) fn path(&mut self, header: &Header) -> Vec<u8> {
        self.path.take().unwrap_or_else(|| header_path(header))
    }

    pub(super) fn link(&mut self, header: &Header) -> Vec<u8> {
        self.link.take().unwrap_or_else(|| until_nul(&header.as_bytes()[157..257]).to_vec())
    }

    pub(super) fn size(&self, header: &Header) -> io::Result<u64> {
        let told = || number(&header.as_bytes()[124..136]).ok_or_else(|| bad("a member's size is no number"));
        self.size.map_or_else(told, Ok)
    }
}

/// `LENGTH KEY=VALUE\n`: the length counts all of it, so that a value may hold any bytes. The key, the value, and what follows.
fn pax_record(data: &[u8]) -> Option<[&[u8]; 3]> {
    let blank = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..blank]).ok()?.parse().ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let pair = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some([&pair[..equals], &pair[equals + 1..], rest])
}

fn header_path(header: &Header) -> Vec<u8> {
    let block = header.as_bytes();
    let name = until_nul(&block[..100]);
    if !block[257..].starts_with(b"ustar\0") {
        return name.to_vec();
    }
    // star keeps times where others have the end of the prefix.
    let prefix_end = if block[508..].starts_with(b"tar\0") { 476 } else { 500 };
    let prefix = until_nul(&block[345..prefix_end]);
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

pub(super) fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn padding_of(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_tar_reads_them() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\0\0\x01\x02", Some(258)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"12x4567\0", None),
            (b"id,amoun", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn a_pax_value_holds_any_bytes() {
        let mut known = Extensions::default();
        known.learn(Kind::Extended, b"20 SCHILY.x=\n1 a=b\n\n13 path=in/a\n").expect("records");
        assert_eq!(known.path.as_deref(), Some(&b"in/a"[..]));
        for broken in [&b"99 path=a\n"[..], b"path=a\n", b"9 path=ab\n", b"7 patha\n", b"-1 a=b\n"] {
            assert!(Extensions::default().learn(Kind::Extended, broken).is_err(), "{broken:?}");
        }
    }
}
