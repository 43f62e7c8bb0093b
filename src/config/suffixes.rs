//! What the suffixes of a name promise: outputs are compressed and encrypted by them, and what is not done is not promised.

use super::paths::is_separator;

/// Suffixes by which outputs are compressed.
const COMPRESSIONS: [&str; 4] = ["gz", "zst", "bz2", "xz"];
/// The suffix of an encrypted output.
const ENCRYPTION: &str = "age";
/// Suffixes of compression, encryption and archives that nothing here writes.
const NEVER_WRITTEN: &[&str] = &[
    "7z", "aes", "br", "bz", "bzip2", "cab", "cpio", "enc", "gpg", "gzip", "jar", "lz", "lz4", "lzma", "lzo",
    "p7m", "pgp", "rar", "snappy", "sz", "tar", "taz", "tbz", "tbz2", "tgz", "tlz", "txz", "tzst", "z",
    "zip", "zlib", "zstd", "zz",
];

fn is_one_of(suffix: &str, known: &[&str]) -> bool {
    known.iter().any(|known| suffix.eq_ignore_ascii_case(known))
}

fn is_age(suffix: &str) -> bool {
    suffix.eq_ignore_ascii_case(ENCRYPTION)
}

/// The name around its last dot.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or((name, ""))
}

fn file_name(path: &str) -> &str {
    path.rsplit(is_separator).next().unwrap_or(path)
}

/// The name with its suffixes in the order in which they are applied, where it has them in another.
pub(super) fn in_right_order(path: &str) -> Option<String> {
    let name = file_name(path);
    let mut rest = name;
    while let Some((inner, suffix)) = rest.rsplit_once('.') {
        if is_age(suffix) && inner.len() + suffix.len() + 1 < name.len() {
            return Some(format!("{inner}{}.{suffix}", name.get(rest.len()..)?));
        }
        if !is_one_of(suffix, &COMPRESSIONS) {
            return None;
        }
        rest = inner;
    }
    None
}

/// A suffix of an output's name that promises what is not done: compressed once and encrypted once is all that there is.
pub(super) fn not_done(path: &str) -> Option<&str> {
    let mut name = file_name(path);
    for done in [&[ENCRYPTION][..], &COMPRESSIONS] {
        let (inner, suffix) = split(name);
        name = if is_one_of(suffix, done) { inner } else { name };
    }
    Some(split(name).1).filter(|suffix| promises(suffix))
}

/// A suffix of the name of a file that is written as it is, like a marker.
pub(super) fn not_plain(path: &str) -> Option<&str> {
    Some(split(file_name(path)).1).filter(|suffix| promises(suffix))
}

fn promises(suffix: &str) -> bool {
    is_age(suffix) || is_one_of(suffix, &COMPRESSIONS) || is_one_of(suffix, NEVER_WRITTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_stand_in_the_order_in_which_they_are_applied() {
        let right = |path| in_right_order(path);
        assert_eq!(right("/out.d/{stem}.csv.age.gz").as_deref(), Some("{stem}.csv.gz.age"));
        assert_eq!(right("x.AGE.zst.xz").as_deref(), Some("x.zst.xz.AGE"));
        for path in ["x.csv.gz.age", "x.age", "x.gz", "a.age.gz/x.csv", "x.age.csv", "age.gz", ""] {
            assert_eq!(right(path), None, "{path}");
        }
    }

    #[test]
    fn a_name_promises_only_what_is_done() {
        for path in [
            "x",
            "x.csv",
            "x.csv.gz",
            "x.GZ.age",
            "{name}",
            "{stem}.{ext}",
            "a.zip/x.csv",
            "zip",
            "x.zip.csv",
        ] {
            assert_eq!(not_done(path), None, "{path}");
        }
        for (path, suffix) in [
            ("o/x.csv.zip", "zip"),
            ("x.csv.Z", "Z"),
            ("x.lz4", "lz4"),
            ("x.7z", "7z"),
            ("x.csv.gzip", "gzip"),
            ("x.tgz", "tgz"),
            ("x.tar.gz", "tar"),
            ("x.zip.gz.age", "zip"),
            ("x.gz.xz", "gz"),
            ("x.age.age", "age"),
            ("x.csv.gpg", "gpg"),
        ] {
            assert_eq!(not_done(path), Some(suffix), "{path}");
        }
        assert_eq!(not_plain("{stem}.json.gz"), Some("gz"));
        assert_eq!(not_plain("{stem}.csv.gz.done"), None);
    }
}
