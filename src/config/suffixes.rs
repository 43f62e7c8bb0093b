//! What the suffixes of a name promise: outputs are compressed and encrypted by them, and what is not done is not promised.

use super::paths::is_separator;

/// Suffixes by which outputs are compressed.
const COMPRESSIONS: [&str; 4] = ["gz", "zst", "bz2", "xz"];
/// Suffixes of encrypted outputs. `asc` is one, too, where there are recipients: a text may well be called so.
const ENCRYPTIONS: [&str; 3] = ["age", "pgp", "gpg"];
const ARMOR: &str = "asc";
/// Suffixes of compression, encryption and archives that nothing here writes.
const NEVER_WRITTEN: &[&str] = &[
    "7z", "aes", "br", "bz", "bzip2", "cab", "cpio", "enc", "gzip", "jar", "lz", "lz4", "lzma", "lzo", "p7m",
    "rar", "snappy", "sz", "tar", "taz", "tbz", "tbz2", "tgz", "tlz", "txz", "tzst", "z", "zip", "zlib",
    "zstd", "zz",
];

fn is_one_of(suffix: &str, known: &[&str]) -> bool {
    known.iter().any(|known| suffix.eq_ignore_ascii_case(known))
}

fn encrypts(suffix: &str) -> bool {
    is_one_of(suffix, &ENCRYPTIONS)
}

/// Which kind of recipients the suffix of an encrypted output's name promises: `age`, or those of `OpenPGP`.
pub(super) fn promised(path: &str, has_recipients: bool) -> Option<Promised> {
    match split(file_name(path)).1 {
        suffix if suffix.eq_ignore_ascii_case("age") => Some(Promised::Age),
        suffix if encrypts(suffix) || has_recipients && suffix.eq_ignore_ascii_case(ARMOR) => {
            Some(Promised::OpenPgp)
        }
        _ => None,
    }
}

/// How an output is encrypted, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promised {
    Age,
    OpenPgp,
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
        if encrypts(suffix) && inner.len() + suffix.len() + 1 < name.len() {
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
    for done in [&["age", "pgp", "gpg", ARMOR][..], &COMPRESSIONS] {
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
    encrypts(suffix) || is_one_of(suffix, &COMPRESSIONS) || is_one_of(suffix, NEVER_WRITTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_stand_in_the_order_in_which_they_are_applied() {
        let right = |path| in_right_order(path);
        assert_eq!(right("/out.d/{stem}.csv.age.gz").as_deref(), Some("{stem}.csv.gz.age"));
        assert_eq!(right("x.AGE.zst.xz").as_deref(), Some("x.zst.xz.AGE"));
        assert_eq!(right("x.csv.gpg.gz").as_deref(), Some("x.csv.gz.gpg"));
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
            "x.csv.gpg",
            "x.csv.xz.asc",
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
            ("x.gpg.age", "gpg"),
            ("x.csv.7z.asc", "7z"),
        ] {
            assert_eq!(not_done(path), Some(suffix), "{path}");
        }
        assert_eq!(not_plain("{stem}.json.gz"), Some("gz"));
        assert_eq!(not_plain("{stem}.csv.gz.done"), None);
    }
}
