//! `ready.checksum`: a digest as senders write it beside a file, and those of the file as it was delivered.

use std::io::{self, Read as _};
use std::path::Path;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::durable_fs;
use crate::output::hexadecimal;

const READ_BYTES: usize = 256 << 10;

/// Which digest; told by how many digits it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DigestKind {
    Md5,
    Sha256,
}

/// What a file with a checksum says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    pub kind: DigestKind,
    /// Hexadecimal.
    digits: String,
}

/// Which digests are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub sha256: bool,
    pub md5: bool,
}

/// The digests of a file, hexadecimal, as far as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digests {
    pub sha256: Option<String>,
    md5: Option<String>,
}

impl Checksum {
    /// The digits alone, `DIGITS  NAME` (`sha256sum`, `md5sum`), or `SHA256 (NAME) = DIGITS` (BSD). Of several lines the one that names the
    /// file; of one line the name is not asked: many senders rename after they have counted. What is wrong follows "the checksum NAME".
    pub(super) fn parse(text: &[u8], file: &[u8]) -> Result<Self, String> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let lines: Vec<&[u8]> = text
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
            .collect();
        let line = match lines.as_slice() {
            [] => return Err("is empty".to_owned()),
            [line] => line,
            several => several
                .iter()
                .find(|line| names(line, file))
                .ok_or("has several lines, and none for this file")?,
        };
        let word =
            |text: &[u8]| String::from_utf8_lossy(text.trim_ascii()).trim_start_matches('\\').to_owned();
        let first = word(line.split(u8::is_ascii_whitespace).next().unwrap_or_default());
        let last = word(line.rsplit(|byte| *byte == b'=').next().unwrap_or_default());
        let digits = [first, last].into_iter().find(|digits| is_hexadecimal(digits));
        let digits = digits.ok_or("holds no hexadecimal digits where they are looked for")?;
        let kind = match digits.len() {
            32 => DigestKind::Md5,
            64 => DigestKind::Sha256,
            other => {
                return Err(format!("has {other} hexadecimal digits: neither SHA-256 (64) nor MD5 (32)"));
            }
        };
        Ok(Self { kind, digits })
    }

    /// What a file is instead.
    pub(super) fn difference(&self, found: &Digests) -> Option<String> {
        let (name, found) = match self.kind {
            DigestKind::Md5 => ("md5", found.md5.as_ref()?),
            DigestKind::Sha256 => ("sha256", found.sha256.as_ref()?),
        };
        let differs = !self.digits.eq_ignore_ascii_case(found);
        differs.then(|| format!("{name}: {} announced, {found} found", self.digits))
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a line is about this file, wherever that lay.
fn names(line: &[u8], file: &[u8]) -> bool {
    let bsd = line.iter().position(|byte| *byte == b'(').zip(line.iter().rposition(|byte| *byte == b')'));
    let gnu = line.iter().position(u8::is_ascii_whitespace);
    let named = match (bsd, gnu) {
        (Some((open, close)), _) if line.contains(&b'=') => line.get(open + 1..close),
        (_, Some(end)) => line.get(end..).map(<[u8]>::trim_ascii_start),
        _ => None,
    };
    let named = named.unwrap_or_default();
    let named = named.strip_prefix(b"*").unwrap_or(named);
    named.rsplit(|byte| *byte == b'/' || *byte == b'\\').next() == Some(file)
}

impl Wanted {
    /// Reads the file where anything is asked for. None: it was stopped.
    pub(super) fn measure(self, path: &Path, stopping: &dyn Fn() -> bool) -> io::Result<Option<Digests>> {
        if !self.sha256 && !self.md5 {
            return Ok(Some(Digests::default()));
        }
        let mut file = durable_fs::open_source(path)?;
        let (mut sha256, mut md5) = (self.sha256.then(Sha256::new), self.md5.then(Md5::new));
        let mut buffer = vec![0; READ_BYTES];
        while !stopping() {
            match file.read(&mut buffer) {
                Ok(0) => {
                    return Ok(Some(Digests {
                        sha256: sha256.map(|hasher| hexadecimal(&hasher.finalize())),
                        md5: md5.map(|hasher| hexadecimal(&hasher.finalize())),
                    }));
                }
                Ok(count) => {
                    let read = buffer.get(..count).unwrap_or_default();
                    if let Some(hasher) = &mut sha256 {
                        hasher.update(read);
                    }
                    if let Some(hasher) = &mut md5 {
                        hasher.update(read);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_read_in_every_way_that_senders_write_it() {
        let (md5, sha256) = ("0123456789abcdef".repeat(2), "0123456789ABCDEF".repeat(4));
        for (text, kind) in [
            (md5.clone(), DigestKind::Md5),
            (format!("{sha256}\r\n"), DigestKind::Sha256),
            (format!("{sha256}  pay.csv\n"), DigestKind::Sha256),
            (format!("{md5} *away/elsewhere.csv\n"), DigestKind::Md5),
            (format!("SHA256 (pay.csv) = {sha256}\n"), DigestKind::Sha256),
            (format!("{}  other.csv\n{md5}  out/pay.csv\n", "f".repeat(32)), DigestKind::Md5),
            (format!("MD5 (other) = {}\nMD5 (pay.csv) = {md5}\n", "f".repeat(32)), DigestKind::Md5),
        ] {
            let read =
                Checksum::parse(text.as_bytes(), b"pay.csv").unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(read.kind, kind, "{text}");
            assert!(read.digits.to_lowercase().starts_with("0123456789abcdef"), "{text}: {read:?}");
        }
        for (text, why) in [
            (String::new(), "is empty"),
            ("hello".to_owned(), "no hexadecimal digits"),
            ("a".repeat(40), "neither SHA-256"),
            (format!("{md5}  a\n{md5}  b\n"), "none for this file"),
        ] {
            let said = Checksum::parse(text.as_bytes(), b"pay.csv").expect_err(&text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
