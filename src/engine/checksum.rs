//! `ready.checksum`: a digest as senders write it beside a file, and those of the file as it was delivered.

use std::io::{self, Read as _};
use std::path::Path;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::beside_text::as_utf8;
use crate::durable_fs;
use crate::output::hexadecimal;

const READ_BYTES: usize = 256 << 10;
/// A longer file is none with a checksum, or with totals.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 10;

/// Digests that the name of a file with checksums may say, with how many digits each has.
const NAMED: [(&str, &str, usize); 6] = [
    ("sha512", "SHA-512", 128),
    ("sha384", "SHA-384", 96),
    ("sha256", "SHA-256", 64),
    ("sha224", "SHA-224", 56),
    ("sha1", "SHA-1", 40),
    ("md5", "MD5", 32),
];

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
    /// Why it may be another file's, or not all of it: it counts where it fits.
    pub doubt: Option<String>,
}

/// The digest that the name of a file with checksums says: no other is read from it, nor half of it as a shorter one.
#[derive(Clone, Copy)]
struct Named {
    what: &'static str,
    digits: usize,
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

/// Why what lies beside a file cannot be read; it follows "the checksum NAME", or "the totals NAME".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It breaks off: its sender may still write it.
    Half(String),
    Wrong(String),
}

impl Unread {
    pub(super) fn why(self) -> String {
        match self {
            Self::Half(why) | Self::Wrong(why) => why,
        }
    }
}

/// One line of a file with checksums.
struct Line {
    checksum: Checksum,
    name: Option<Vec<u8>>,
    /// Its tool wrote a backslash in a name as two.
    is_escaped: bool,
}

impl Checksum {
    /// The digits alone, `DIGITS  NAME` (`sha256sum`, `md5sum`), `SHA256 (NAME) = DIGITS` (BSD), or the table that PowerShell's `Get-FileHash`
    /// prints. Of several lines the one that names the
    /// file; of one line the name is not asked where it fits: many senders rename after they have counted. `template` is the rule's for its own name.
    pub(super) fn parse(text: &[u8], file: &[u8], template: &str) -> Result<Self, Unread> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Unread::Wrong(format!("has more than {FILE_BYTES_MAX} bytes")));
        }
        let text = &*as_utf8(text);
        let lines: Vec<&[u8]> = text
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#") && !is_heading(line))
            .collect();
        let is_ended = text.ends_with(b"\n");
        let named = Named::by(template);
        match lines.as_slice() {
            [] => Err(Unread::Half("is empty".to_owned())),
            [line] => match Line::read(line, named) {
                Ok(line) => Ok(Self { doubt: line.doubt(file, is_ended), ..line.checksum }),
                Err(why) if !is_ended && may_go_on(line, named) => Err(Unread::Half(why)),
                Err(why) => Err(Unread::Wrong(why)),
            },
            [before @ .., last] => {
                let whole = if is_ended { lines.as_slice() } else { before };
                if let Some(found) = Self::of_this(whole, file, named)? {
                    return Ok(found);
                }
                if let Some(found) = Self::of_this(&[last], file, named)? {
                    return Ok(Self { doubt: Some(NO_LINE_END.to_owned()), ..found });
                }
                let with = named.map_or_else(String::new, |named| format!("with a {} ", named.what));
                let none = format!("has several lines, and none {with}for this file");
                // The end of a line is none of them all: others may follow, also behind those that say nothing.
                Err(Unread::Half(match named_in(&lines, named) {
                    None if is_ended => format!("{none} yet: it names none"),
                    None => format!("{none}; its last one has no end yet"),
                    Some(others) => format!("{none} yet: it names {others}"),
                }))
            }
        }
    }

    /// From the lines that name a file; those that have its whole name count before those that have it in a folder.
    fn of_this(lines: &[&[u8]], file: &[u8], named: Option<Named>) -> Result<Option<Self>, Unread> {
        let read: Vec<_> = lines.iter().filter_map(|line| Line::read(line, named).ok()).collect();
        let mut ours: Vec<_> = read.iter().filter(|line| line.name.as_deref() == Some(file)).collect();
        if ours.is_empty() {
            ours = read.iter().filter(|line| line.names(file)).collect();
        }
        for kind in [DigestKind::Sha256, DigestKind::Md5] {
            let mut of_kind = ours.iter().map(|line| &line.checksum).filter(|it| it.kind == kind);
            let Some(first) = of_kind.next() else { continue };
            if of_kind.any(|other| !other.digits.eq_ignore_ascii_case(&first.digits)) {
                let why = format!("has several lines for this file, with different {}", kind.name());
                return Err(Unread::Wrong(why));
            }
            return Ok(Some(first.clone()));
        }
        Ok(None)
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

impl DigestKind {
    fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 => 64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// As BSD's tools and OpenSSL call it: `SHA256`, `SHA2-256`.
    fn labelled(label: &str) -> Option<Self> {
        match label.replace('-', "").to_ascii_uppercase().as_str() {
            "MD5" => Some(Self::Md5),
            "SHA256" | "SHA2256" => Some(Self::Sha256),
            _ => None,
        }
    }
}

impl Named {
    /// By a template like `{name}.sha256` or `{stem}.SHA256SUMS`; none where it says nothing, or two things.
    fn by(template: &str) -> Option<Self> {
        let own = template.replace("{name}", "").replace("{stem}", "");
        let plain: String = own.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_lowercase().replace("sha2256", "sha256");
        let mut said = NAMED.into_iter().filter(|(word, ..)| plain.contains(word));
        let (_, what, digits) = said.next()?;
        said.next().is_none().then_some(Self { what, digits })
    }
}

impl Line {
    /// What is wrong with it follows the name of its file.
    fn read(line: &[u8], named: Option<Named>) -> Result<Self, String> {
        let (line, is_escaped) = line.strip_prefix(b"\\").map_or((line, false), |line| (line, true));
        let first = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let (digits, kind, name) = if is_hexadecimal(first) {
            (first, None, gnu_name(line.get(first.len()..).unwrap_or_default()))
        } else {
            let row = table_parts(line);
            let (label, name, digits) = row
                .or_else(|| bsd_parts(line).map(|(label, name, digits)| (label, Some(name), digits)))
                .ok_or(NO_DIGITS)?;
            let label = String::from_utf8_lossy(label);
            let unknown = || format!("has a {}, and SHA-256 or MD5 is wanted", label.escape_debug());
            (digits, Some(DigestKind::labelled(&label).ok_or_else(unknown)?), name)
        };
        if !is_hexadecimal(digits) {
            return Err(NO_DIGITS.to_owned());
        }
        let by_length =
            [DigestKind::Sha256, DigestKind::Md5].into_iter().find(|it| it.digits() == digits.len());
        let is_wanted = |it: &DigestKind| {
            kind.is_none_or(|kind| kind == *it) && named.is_none_or(|named| named.digits == it.digits())
        };
        let kind = by_length.filter(is_wanted).ok_or_else(|| {
            let wanted = match (kind.filter(|kind| kind.digits() != digits.len()), named) {
                (Some(kind), _) => format!("{} has {}", kind.name(), kind.digits()),
                (None, Some(named)) if named.digits == digits.len() => {
                    return format!("has a {}, and SHA-256 or MD5 is wanted", named.what);
                }
                (None, Some(named)) => format!("its name says {}, which has {}", named.what, named.digits),
                (None, None) => "neither SHA-256 (64) nor MD5 (32)".to_owned(),
            };
            format!("has {} hexadecimal digits: {wanted}", digits.len())
        })?;
        let name = name.map(|name| if is_escaped { unescaped(name) } else { name.to_vec() });
        let digits = String::from_utf8_lossy(digits).into_owned();
        Ok(Self { checksum: Checksum { kind, digits, doubt: None }, name, is_escaped })
    }

    /// Why it may be about another file, where it stands alone.
    fn doubt(&self, file: &[u8], is_ended: bool) -> Option<String> {
        match &self.name {
            Some(name) if !self.names(file) => {
                Some(format!("has no line for this file yet: it names {}", shown(name)))
            }
            _ => (!is_ended).then(|| NO_LINE_END.to_owned()),
        }
    }

    /// Whether it is about a file of this name, wherever that lay.
    fn names(&self, file: &[u8]) -> bool {
        let Some(name) = &self.name else { return false };
        let last = |is_separator: fn(&u8) -> bool| name.rsplit(is_separator).next().unwrap_or_default();
        // On Windows a backslash is a separator; where it was written as two, it is none.
        let is_it = |named: &[u8]| named == file || named.trim_ascii() == file;
        is_it(last(|byte| *byte == b'/'))
            || !self.is_escaped && is_it(last(|byte| matches!(byte, b'/' | b'\\')))
    }
}

/// Names that are told, of those that a file with checksums has.
const NAMES_TOLD_MAX: usize = 5;
const NAME_CHARS_MAX: usize = 100;

fn shown(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let cut: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("\"{}\"", cut.escape_debug())
}

/// Which files these lines are about, if any.
fn named_in(lines: &[&[u8]], named: Option<Named>) -> Option<String> {
    let read = lines.iter().filter_map(|line| Line::read(line, named).ok());
    let all: Vec<_> = read.filter_map(|line| line.name).collect();
    let told: Vec<_> = all.iter().take(NAMES_TOLD_MAX).map(|name| shown(name)).collect();
    let more = all.len().saturating_sub(told.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!told.is_empty()).then(|| format!("{}{more}", told.join(", ")))
}

pub(super) const NO_LINE_END: &str = "does not fit this file, and its last line has no end yet";

const NO_DIGITS: &str = "holds no hexadecimal digits where they are looked for";

fn is_hexadecimal(text: &[u8]) -> bool {
    text.len() >= 8 && text.iter().all(u8::is_ascii_hexdigit)
}

/// What stands behind the digits: two blanks, or one and the mark of binary mode, before the name; by hand it may be any blanks.
fn gnu_name(behind: &[u8]) -> Option<&[u8]> {
    let name = behind.strip_prefix(b"  ").or_else(|| behind.strip_prefix(b" *"));
    let name = name.unwrap_or_else(|| behind.trim_ascii_start());
    (!name.is_empty()).then_some(name)
}

/// Label, name and digits of `SHA256 (NAME) = DIGITS`; OpenSSL writes it without the blanks.
fn bsd_parts(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let equals = line.iter().rposition(|byte| *byte == b'=')?;
    let named = line.get(open + 1..equals)?.trim_ascii_end().strip_suffix(b")")?;
    Some((line.get(..open)?.trim_ascii(), named, line.get(equals + 1..)?.trim_ascii()))
}

type Row<'t> = (&'t [u8], Option<&'t [u8]>, &'t [u8]);

/// Label, name and digits of a row of the table that `Get-FileHash` prints. A name that found no room there ends in dots, and is none.
fn table_parts(line: &[u8]) -> Option<Row<'_>> {
    let (label, behind) = first_word(line);
    let (digits, name) = first_word(behind);
    let is_row = is_hexadecimal(digits) && label.iter().all(u8::is_ascii_alphanumeric);
    let is_whole = !name.is_empty() && !name.ends_with(b"...") && !name.ends_with("\u{2026}".as_bytes());
    is_row.then_some((label, is_whole.then_some(name), digits))
}

fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    (word, behind.trim_ascii())
}

/// The first two lines of such a table.
fn is_heading(line: &[u8]) -> bool {
    let is_rule = |word: &[u8]| !word.is_empty() && word.iter().all(|byte| *byte == b'-');
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    first == b"Algorithm" && words.next() == Some(b"Hash") || is_rule(first) && words.all(is_rule)
}

/// The name that `sha256sum` wrote with `\\`, `\n` and `\r` for a backslash and line ends in it.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut bytes = name.iter();
    let mut plain = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        plain.push(match (byte, if *byte == b'\\' { bytes.next() } else { None }) {
            (_, Some(b'n')) => b'\n',
            (_, Some(b'r')) => b'\r',
            (_, Some(other)) => *other,
            (byte, None) => *byte,
        });
    }
    plain
}

/// Whether a line without an end, which says nothing yet, may be the beginning of one that does.
fn may_go_on(line: &[u8], named: Option<Named>) -> bool {
    const TABLE: &[u8] = b"Algorithm";
    if TABLE.starts_with(line) || line.starts_with(TABLE) {
        return true;
    }
    let line = line.strip_prefix(b"\\").unwrap_or(line);
    let digits_max = named.map_or(64, |named| named.digits);
    if line.len() < digits_max && line.iter().all(u8::is_ascii_hexdigit) {
        return true;
    }
    let label = line.split(|byte| matches!(byte, b' ' | b'(')).next().unwrap_or_default();
    let label = String::from_utf8_lossy(label).to_ascii_uppercase();
    let is_label = DigestKind::labelled(&label).is_some()
        || label.len() == line.len()
            && ["MD5", "SHA256", "SHA2-256"].iter().any(|whole| whole.starts_with(&label));
    let digits = bsd_parts(line).map(|(_, _, digits)| digits);
    is_label && digits.is_none_or(|digits| digits.len() < 64 && digits.iter().all(u8::is_ascii_hexdigit))
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
            let read = Checksum::parse(text.as_bytes(), b"pay.csv", "{name}.sum")
                .unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!(read.kind, kind, "{text}");
            assert!(read.digits.to_lowercase().starts_with("0123456789abcdef"), "{text}: {read:?}");
        }
        for (text, why) in [
            ("hello\n".to_owned(), "no hexadecimal digits"),
            (format!("{}\n", "a".repeat(40)), "neither SHA-256"),
            (format!("SHA512/256 (pay.csv) = {sha256}\n"), "has a SHA512/256"),
            (format!("SHA3-256(pay.csv)= {sha256}"), "has a SHA3-256"),
            (format!("SHA256 (pay.csv) = {md5}\n"), "has 32 hexadecimal digits: SHA-256 has 64"),
            (format!("{md5}  pay.csv\n{}  pay.csv\n", "f".repeat(32)), "different MD5"),
            (format!("{sha256}  a/pay.csv\n{}  b/pay.csv\n", "f".repeat(64)), "different SHA-256"),
        ] {
            let said = Checksum::parse(text.as_bytes(), b"pay.csv", "{name}.sum").expect_err(&text);
            assert!(matches!(&said, Unread::Wrong(said) if said.contains(why)), "{text}: {said:?}");
        }
    }

    /// What it prints where `path` has the room that it has.
    fn table(digits: &str, path: &str) -> String {
        let hash = "Hash";
        format!(
            "\r\nAlgorithm       {hash:71}Path\r\n---------       {:71}----\r\nSHA256          {digits:71}{path}\r\n\r\n\r\n",
            "----"
        )
    }

    #[test]
    fn the_table_of_powershell_is_read_in_the_encoding_that_it_is_written_in() {
        let (ours, others) = ("0123456789ABCDEF".repeat(4), "f".repeat(64));
        for (text, doubt) in [
            (table(&ours, "C:\\upload\\pay.csv"), false),
            (table(&ours, "C:\\uplo..."), false),
            (table(&ours, ""), false),
            (table(&ours, "C:\\upload\\other.csv"), true),
            (table(&others, "C:\\x") + &table(&ours, "C:\\upload\\pay.csv"), false),
        ] {
            let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
            for text in [text.as_bytes(), &wide] {
                let read = Checksum::parse(text, b"pay.csv", "{name}.sha256").expect("is one");
                assert_eq!((read.digits.as_str(), read.doubt.is_some()), (ours.as_str(), doubt), "{read:?}");
            }
        }
        let sha1 = table(&"a".repeat(40), "C:\\pay.csv").replace("SHA256", "SHA1  ");
        let said = Checksum::parse(sha1.as_bytes(), b"pay.csv", "{name}.sum").expect_err("is none");
        assert!(matches!(&said, Unread::Wrong(said) if said.contains("has a SHA1")), "{said:?}");
    }

    /// What is signed, say, begins with lines of its own.
    #[test]
    fn several_lines_that_say_nothing_of_the_file_are_waited_for_whatever_they_are() {
        let (digits, other) = ("a".repeat(32), "b".repeat(64));
        for (text, why) in [
            (format!("{digits}\n{digits}\n"), "none for this file yet: it names none"),
            ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n".to_owned(), "names none"),
            (format!("{other}  x.csv\n{other}  y.csv\n"), "it names \"x.csv\", \"y.csv\""),
            (table(&other, "C:\\x") + &table(&other, "C:\\y"), "it names \"C:"),
        ] {
            let said = Checksum::parse(text.as_bytes(), b"pay.csv", "{name}.sum").expect_err(&text);
            assert!(matches!(&said, Unread::Half(said) if said.contains(why)), "{text}: {said:?}");
        }
    }

    #[test]
    fn of_several_lines_the_one_with_the_whole_name_counts_and_the_better_digest() {
        let (md5, sha256, other) = ("a".repeat(32), "b".repeat(64), "c".repeat(64));
        for text in [
            format!("{sha256}  pay.csv\n{other}  old/pay.csv\n"),
            format!("MD5 (pay.csv) = {md5}\nSHA256 (pay.csv) = {sha256}\n"),
            format!("# by hand\n{other} *x\r\n{sha256} *out\\pay.csv\r\n"),
            format!("{other}  x\n{sha256}   pay.csv\n{}\tpay.csv", sha256.to_uppercase()),
        ] {
            let read = Checksum::parse(text.as_bytes(), b"pay.csv", "{name}.sum")
                .unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!(read.digits.to_lowercase(), sha256, "{text}");
        }
        let text = format!("{other}  pay.csv\n\\{sha256}  a\\\\b\\nc\n");
        assert_eq!(
            Checksum::parse(text.as_bytes(), b"a\\b\nc", "{name}.sum").expect("is one").digits,
            sha256
        );
        assert!(
            Checksum::parse(text.as_bytes(), b"b\nc", "{name}.sum").is_err(),
            "written as two it is no separator"
        );
    }

    /// Wherever it was cut, it is waited for, or says already what it says in the end; or half a SHA-256 looks like an MD5.
    #[test]
    fn the_beginning_of_what_a_tool_writes_is_waited_for() {
        let sha256 = "0123456789abcdef".repeat(4);
        for whole in [
            format!("{sha256}  pay.csv\n"),
            format!("SHA256 (pay.csv) = {sha256}\n"),
            format!("SHA2-256(pay.csv)= {sha256}\n"),
            format!("{}  other\n{sha256} *pay.csv\n", "f".repeat(64)),
            format!("\\{sha256}  pay\\ncsv\n"),
            table(&sha256, "C:\\pay.csv"),
        ] {
            for length in 0..whole.len() {
                let half = &whole[..length];
                match Checksum::parse(half.as_bytes(), b"pay.csv", "{name}.sum") {
                    Ok(read) => assert!(
                        read.digits == sha256
                            || half.trim_start_matches('\\').len() == 32
                            || half.starts_with('f'),
                        "{half}"
                    ),
                    Err(said) => assert!(matches!(said, Unread::Half(_)), "{half}: {said:?}"),
                }
            }
        }
    }

    /// Half of a SHA-256 is as long as an MD5: the name of what it stands in tells them apart.
    #[test]
    fn of_what_says_its_digest_in_its_name_no_other_is_read_and_half_of_it_is_waited_for() {
        let sha256 = "0123456789abcdef".repeat(4);
        for template in ["{name}.sha256", "{stem}.SHA-256", "{name}.SHA256SUMS", "sha2-256_{name}.txt"] {
            for whole in
                [format!("{sha256}  md5.csv\n"), format!("{}  x\n{sha256}  md5.csv\n", "f".repeat(64))]
            {
                for length in 0..whole.len() {
                    let half = &whole[..length];
                    match Checksum::parse(half.as_bytes(), b"md5.csv", template) {
                        Ok(read) => assert!(read.digits == sha256 || half.starts_with('f'), "{half}"),
                        Err(said) => assert!(matches!(said, Unread::Half(_)), "{template}: {half}: {said:?}"),
                    }
                }
                let half = Checksum::parse(&whole.as_bytes()[..32], b"md5.csv", template);
                let why = "has 32 hexadecimal digits: its name says SHA-256, which has 64";
                assert_eq!(half, Err(Unread::Half(why.to_owned())), "{template}");
            }
            let ended = format!("{}\n", &sha256[..32]);
            let said = Checksum::parse(ended.as_bytes(), b"md5.csv", template);
            assert!(matches!(said, Err(Unread::Wrong(_))), "{template}: {said:?}");
        }
        let md5 = &sha256[..32];
        for (text, template, kind) in [
            (md5, "{name}.md5", Some(DigestKind::Md5)),
            (md5, "{name}.sum", Some(DigestKind::Md5)),
            (md5, "{name}.md5.sha256", Some(DigestKind::Md5)), // it says two things
            (sha256.as_str(), "{name}.md5", None),
            (sha256.as_str(), "{name}.sha512", None),
        ] {
            let read = Checksum::parse(text.as_bytes(), b"sha256.csv", template);
            assert_eq!(read.map(|read| read.kind).ok(), kind, "{template}");
        }
        for (template, digits, is_half) in [
            ("{name}.sha512", 64, true),
            ("{name}.sha512", 128, false),
            ("{name}.sha1", 32, true),
            ("{name}.sha1", 40, false),
            ("{name}.md5", 40, false),
        ] {
            let said = Checksum::parse("a".repeat(digits).as_bytes(), b"x", template).expect_err(template);
            assert_eq!(matches!(said, Unread::Half(_)), is_half, "{template}: {said:?}");
        }
    }
}
