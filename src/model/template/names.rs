//! File names taken apart: `pay.csv.gz.age` is the stem `pay`, the data's suffix `csv`, and what it is packed in.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::harmless::{COMPONENT_BYTES_MAX, bytes_of, name_of};

/// Suffixes of compression, encryption and archives, in lower case.
const PACKED_SUFFIXES: [&[u8]; 19] = [
    b"gz", b"gzip", b"zst", b"zstd", b"bz2", b"bzip2", b"xz", b"age", b"enc", b"pgp", b"gpg", b"asc", b"zip",
    b"tar", b"tgz", b"tzst", b"tbz2", b"tbz", b"txz",
];

/// A longer last part of a name is text with a dot in it, not a suffix.
const DATA_SUFFIX_BYTES_MAX: usize = 10;

pub(super) struct Split<'a> {
    pub stem: &'a [u8],
    pub ext: &'a [u8],
}

/// A data suffix is short, of letters and digits, and not a number: `pay.001` and `pay.002` keep different stems.
pub(super) fn split(name: &[u8]) -> Split<'_> {
    let data = unpacked(name);
    match last_dot(data) {
        Some((stem, ext)) if is_data_suffix(ext) => Split { stem, ext },
        _ => Split { stem: data, ext: &[] },
    }
}

fn is_data_suffix(ext: &[u8]) -> bool {
    (1..=DATA_SUFFIX_BYTES_MAX).contains(&ext.len())
        && ext.iter().all(u8::is_ascii_alphanumeric)
        && !ext.iter().all(u8::is_ascii_digit)
}

fn unpacked(mut name: &[u8]) -> &[u8] {
    while let Some((stem, ext)) = last_dot(name) {
        if !PACKED_SUFFIXES.iter().any(|known| ext.eq_ignore_ascii_case(known)) {
            break;
        }
        name = stem;
    }
    name
}

/// Around the last dot, unless nothing stands before it.
fn last_dot(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let place = name.iter().rposition(|b| *b == b'.').filter(|place| *place > 0)?;
    Some((name.get(..place)?, name.get(place + 1..)?))
}

/// What `{stem}` stands for, for a file of this name.
pub(crate) fn stem(name: &OsStr) -> OsString {
    name_of(split(&bytes_of(name)).stem.to_vec())
}

/// A path without the suffixes of compression, encryption and archives that stand in its name before this end of it.
pub(crate) fn without_known_suffixes_before(path: &Path, end: &str) -> PathBuf {
    let Some(name) = path.file_name().map(bytes_of) else { return path.to_path_buf() };
    let Some(data) = name.strip_suffix(end.as_bytes()) else { return path.to_path_buf() };
    path.with_file_name(name_of([unpacked(data), end.as_bytes()].concat()))
}

/// The path of an output without the suffix that says that it is encrypted. `.asc` stays: a text may well be called so.
pub(crate) fn unencrypted(path: &str) -> &str {
    let is_encryption =
        |suffix: &str| ["age", "pgp", "gpg"].iter().any(|known| suffix.eq_ignore_ascii_case(known));
    path.rsplit_once('.').filter(|(_, suffix)| is_encryption(suffix)).map_or(path, |(inner, _)| inner)
}

/// The path with `-number` before all suffixes of its name: `pay-1.csv.gz`.
pub(crate) fn numbered(path: &Path, number: u64) -> PathBuf {
    marked(path, &format!("-{number}"))
}

/// The path with this mark there.
pub(crate) fn marked(path: &Path, mark: &str) -> PathBuf {
    let name = bytes_of(path.file_name().unwrap_or_default());
    let (stem, suffixes) = name.split_at(split(&name).stem.len());
    let mark = mark.as_bytes();
    let room = COMPONENT_BYTES_MAX.saturating_sub(mark.len() + suffixes.len());
    let stem = stem.get(..room).unwrap_or(stem);
    path.with_file_name(name_of([stem, mark, suffixes].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_stem_its_data_suffix_and_what_it_is_packed_in() {
        for (name, stem, ext) in [
            ("pay.csv.gz.age", "pay", "csv"),
            ("pay.csv", "pay", "csv"),
            ("PAY.CSV.GZ", "PAY", "CSV"),
            ("pay", "pay", ""),
            ("pay.tar.gz", "pay", ""),
            ("pay.tgz", "pay", ""),
            ("2026.01.31-pay.csv.zst", "2026.01.31-pay", "csv"),
            ("pay.001", "pay.001", ""),
            ("pay.001.gz", "pay.001", ""),
            (".gz", ".gz", ""),
            ("a.b-c.gz", "a.b-c", ""),
            ("", "", ""),
        ] {
            let split = split(name.as_bytes());
            assert_eq!((split.stem, split.ext), (stem.as_bytes(), ext.as_bytes()), "{name}");
            assert_eq!(super::stem(name.as_ref()), stem);
        }
        assert_eq!(numbered(Path::new("/o/pay.csv.gz"), 1), Path::new("/o/pay-1.csv.gz"));
        assert_eq!(numbered(Path::new("/o/pay"), 12), Path::new("/o/pay-12"));
        let before = |path: &str, end: &str| without_known_suffixes_before(Path::new(path), end);
        assert_eq!(before("/o/pay.csv.gz.age", ""), Path::new("/o/pay.csv"));
        assert_eq!(before("/o/pay.csv.zip.gz.age", ".gz.age"), Path::new("/o/pay.csv.gz.age"));
        assert_eq!(before("/o/.gz", ""), Path::new("/o/.gz"));
        assert_eq!(
            ["/o/x.gz.GPG", "/o/x.age", "/o/x.asc", "/o/x"].map(unencrypted),
            ["/o/x.gz", "/o/x", "/o/x.asc", "/o/x"]
        );
    }
}
