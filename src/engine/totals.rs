//! `ready.totals` and `ready.checksum`: what the sender says is in the file, compared before anything is published.
//!
//! `bytes` and `sha256` are of the file as it was delivered, packed or not: that is what a sender can know. `records` are those that
//! were cut from it, of all entries, header and skipped lines not counted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::beside_text::as_utf8;
use super::checksum::{Checksum, DigestKind, Digests, FILE_BYTES_MAX, NO_LINE_END, Unread, Wanted};
use super::given_back::Unfit;
use super::trouble::{Reaction, Trouble};
use crate::durable_fs::{self, FsError};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::nearest::nearest;
use crate::model::os_text::{OsText, escaped};
use crate::model::rule::Rule;
use crate::watch::companion;

/// What is read of it.
const KEYS: [&str; 3] = ["records", "bytes", "sha256"];
/// Characters shown of what a sender wrote, at most.
const SHOWN_CHARS_MAX: usize = 60;

/// What a file with totals holds; other keys may stand beside these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Totals {
    records: Option<u64>,
    bytes: Option<u64>,
    sha256: Option<String>,
}

/// What a sender says of a file, in its totals and in its checksum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    totals: Totals,
    /// With what all of its file holds, hashed.
    checksum: Option<(Checksum, blake3::Hash)>,
}

/// The same, with what was measured of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    said: Said,
    found: Digests,
}

/// What the sender says of a job's source; nothing where its rule asks for nothing.
///
/// What cannot be read may still be being written: the file is given back to wait, once.
pub(super) fn read(rule: &Rule, job: &Job) -> Result<Said, Trouble> {
    let mut said = Said::default();
    if let Some(template) = &rule.ready.totals {
        let (name, text) = text_of(template, job, "totals")?;
        said.totals = parse(&text).map_err(|why| {
            let hint = "a file with totals is JSON like {\"records\": 10, \"bytes\": 812, \"sha256\": \"…\"}, with at least one of the three";
            early(format!("the totals {name}, which lie beside the file, {}", why.why()), hint)
        })?;
    }
    if let Some(template) = &rule.ready.checksum {
        let (name, text) = text_of(template, job, "checksum")?;
        let file = job.source.path.as_path().file_name().unwrap_or_default();
        let found = Checksum::parse(&text, file.as_encoded_bytes(), template).map_err(|why| {
            let hint = "a file with a checksum is what `sha256sum FILE` or `md5sum FILE` prints, or the digits alone";
            early(format!("the checksum {name}, which lies beside the file, {}", why.why()), hint)
        })?;
        said.checksum = Some((found, blake3::hash(&text)));
    }
    Ok(said)
}

/// What lacks of totals or a checksum that their sender seems to write still; `key` is the rule's for it, with the template of its name; `file` the name of
/// the file that waits.
pub(super) fn breaks_off((key, template): (&str, &str), text: &[u8], file: &OsStr) -> Option<String> {
    let read = match key {
        "totals" => parse(text).map(drop),
        _ => Checksum::parse(text, file.as_encoded_bytes(), template).map(drop),
    };
    match read {
        Err(Unread::Half(why)) => Some(why),
        Ok(()) | Err(Unread::Wrong(_)) => None,
    }
}

/// The name and the text of what lies beside a job's source.
fn text_of(template: &str, job: &Job, what: &str) -> Result<(String, Vec<u8>), Trouble> {
    let name = companion::path(template, job.source.path.as_path());
    let path = name.map(OsText::from).unwrap_or_default();
    let companion = job.source.companions.iter().find(|companion| companion.path == path);
    let Some(companion) = companion else {
        let hint = "its sender must put it beside the file; the file waits for it";
        return Err(early(format!("the {what} {path} {} not there", are(what)), hint));
    };
    // That of a job that is run again lies in the archive.
    let place = companion.claimed.as_ref().or(companion.retired_to.as_ref()).unwrap_or(&companion.path);
    let text = read_bounded(place.as_path()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let hint = format!("put it back, or send the file and its {what} again");
            early(format!("the {what} {place} {} gone", are(what)), &hint)
        }
        _ => FsError::new("read what its sender says of it", place.as_path(), error).into(),
    })?;
    // They go with the file, back or to quarantine: only the name stays right.
    Ok((escaped(companion.path.as_path().file_name().unwrap_or_default()), text))
}

fn are(what: &str) -> &'static str {
    if what == "totals" { "are" } else { "is" }
}

fn early(message: String, hint: &str) -> Trouble {
    Trouble::new(FaultKind::Input, message, Some(hint)).with(Reaction::GiveBack)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    durable_fs::open_source(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn parse(text: &[u8]) -> Result<Totals, Unread> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Unread::Wrong(format!("have more than {FILE_BYTES_MAX} bytes")));
    }
    let text = &*as_utf8(text);
    let totals: Totals = serde_json::from_slice(text).map_err(|error| what_is_wrong(text, &error))?;
    if totals == Totals::default() {
        return Err(Unread::Wrong(what_lacks(text)));
    }
    let is_digest = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match totals.sha256.as_ref().filter(|text| !is_digest(text)) {
        Some(_) => Err(Unread::Wrong("have a sha256 that is not 64 hexadecimal digits".to_owned())),
        None => Ok(totals),
    }
}

/// The same as the parser says, in the words of whoever wrote the file.
fn what_is_wrong(text: &[u8], error: &serde_json::Error) -> Unread {
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(_) if text.trim_ascii().is_empty() => return Unread::Half("are empty".to_owned()),
        Err(_) if error.is_eof() || is_within_a_number(text) => {
            return Unread::Half("are JSON that breaks off".to_owned());
        }
        Err(error) => {
            return Unread::Wrong(format!("are not JSON: line {}, column {}", error.line(), error.column()));
        }
    };
    let Some(told) = value.as_object() else { return Unread::Wrong("are no JSON object".to_owned()) };
    for (key, value) in KEYS.iter().filter_map(|key| Some((key, told.get(*key)?))) {
        let is_it = value.is_null() || if *key == "sha256" { value.is_string() } else { value.is_u64() };
        if !is_it {
            return Unread::Wrong(is_not(key, value));
        }
    }
    Unread::Wrong("have one key twice".to_owned())
}

/// The parser calls `1.` wrong, whatever may follow.
fn is_within_a_number(text: &[u8]) -> bool {
    let longer = [text, b"0"].concat();
    let error = serde_json::from_slice::<Value>(&longer).err();
    text.last().is_some_and(|last| b"-+.eE".contains(last)) && error.is_some_and(|error| error.is_eof())
}

/// That a key has another value than is wanted.
fn is_not(key: &str, value: &Value) -> String {
    let shown: String = value.to_string().chars().take(SHOWN_CHARS_MAX).collect();
    let wanted =
        if key == "sha256" { "64 hexadecimal digits in quotes" } else { "a whole number without quotes" };
    format!("have {shown} for {key}, which is {wanted}")
}

/// Why totals say nothing: a key is there without a value, or none is.
fn what_lacks(text: &[u8]) -> String {
    let told = serde_json::from_slice::<BTreeMap<String, Value>>(text).unwrap_or_default();
    if let Some((key, value)) = KEYS.iter().find_map(|key| told.get_key_value(*key)) {
        return is_not(key, value);
    }
    format!("say nothing: they have none of records, bytes and sha256{}", meant(&told))
}

/// The keys that are meant by others, if any is near.
fn meant(told: &BTreeMap<String, Value>) -> String {
    let near = told.keys().filter_map(|key| {
        let meant = nearest(key, KEYS)?;
        Some(format!("; did `{}` mean `{meant}`?", key.chars().take(SHOWN_CHARS_MAX).collect::<String>()))
    });
    near.take(KEYS.len()).collect()
}

/// Measures of the source what the sender tells and reading did not. None: it was stopped.
pub(super) fn measure(
    said: Said,
    job: &Job,
    stopping: &dyn Fn() -> bool,
) -> Result<Option<Announced>, Trouble> {
    let kind = said.checksum.as_ref().map(|(checksum, _)| checksum.kind);
    let wanted = Wanted {
        sha256: said.totals.sha256.is_some() || kind == Some(DigestKind::Sha256),
        md5: kind == Some(DigestKind::Md5),
    };
    let path = job.source_path().as_path();
    let found = wanted.measure(path, stopping).map_err(|error| FsError::new("read", path, error))?;
    Ok(found.map(|found| Announced { said, found }))
}

impl Announced {
    /// An error that says all that differs. Less than announced may be an upload that is still under way: then it is given back, once.
    pub(super) fn compare(&self, job: &Job) -> Result<(), Trouble> {
        let found = Totals {
            records: Some(job.account.records_in),
            bytes: Some(job.source.identity.size),
            sha256: self.found.sha256.clone(),
        };
        let (totals, checksum) = (&self.said.totals, &self.said.checksum);
        let differing = totals.differing(&found);
        if differing.is_empty() {
            let Some((checksum, text)) = checksum else { return Ok(()) };
            return checksum.difference(&self.found).map_or(Ok(()), |difference| {
                let reaction = checksum.doubt.as_ref().map_or(Reaction::GiveBack, |doubt| {
                    Reaction::GiveBackUnfit(Box::new(Unfit {
                        text: *text,
                        is_unended: doubt == NO_LINE_END,
                        why: format!("{doubt} ({difference})"),
                    }))
                });
                let doubt = checksum
                    .doubt
                    .as_ref()
                    .map_or_else(String::new, |doubt| format!("; the checksum {doubt}"));
                let message = format!("the file is not what its checksum says: {difference}{doubt}");
                let hint = mend(job, "a checksum that fits it");
                Err(Trouble::new(FaultKind::Input, message, Some(&hint)).with(reaction))
            });
        }
        let message = format!("the file is not what its totals say: {}", differing.join("; "));
        let hint = mend(job, "totals that fit it");
        let trouble = Trouble::new(FaultKind::Input, message, Some(&hint));
        Err(if totals.announce_more(&found) { trouble.with(Reaction::GiveBack) } else { trouble })
    }
}

/// How to go on. What stays where it lies is another file once it is mended.
fn mend(job: &Job, what: &str) -> String {
    if job.source.claimed.is_some() {
        format!("send the file again, or {what}; mended in quarantine, `landfall retry` takes both")
    } else {
        format!(
            "send the file again, which makes it a new one; or put {what} beside it, then `landfall retry`"
        )
    }
}

impl Totals {
    fn differing(&self, found: &Self) -> Vec<String> {
        let count = |what: &str, said: Option<u64>, found: Option<u64>| {
            let (said, found) = (said?, found?);
            (said != found).then(|| format!("{what}: {said} announced, {found} found"))
        };
        let sha256 = self.sha256.as_ref().zip(found.sha256.as_ref());
        let sha256 = sha256
            .filter(|(said, found)| !said.eq_ignore_ascii_case(found))
            .map(|(said, found)| format!("sha256: {said} announced, {found} found"));
        let counts =
            [count("records", self.records, found.records), count("bytes", self.bytes, found.bytes), sha256];
        counts.into_iter().flatten().collect()
    }

    /// Whether the rest may still come: by bytes if they say, else by records; a digest alone tells nothing of it.
    fn announce_more(&self, found: &Self) -> bool {
        match (self.bytes, self.records) {
            (Some(bytes), _) => Some(bytes) > found.bytes,
            (None, Some(records)) => Some(records) > found.records,
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(records: u64, bytes: u64) -> Totals {
        Totals { records: Some(records), bytes: Some(bytes), sha256: None }
    }

    #[test]
    fn any_of_the_three_is_enough_and_none_is_not() {
        assert_eq!(
            parse(b"{\"records\": 2, \"sender\": \"acme\"}").map(|totals| totals.records),
            Ok(Some(2))
        );
        assert!(parse(b"\xef\xbb\xbf{\"bytes\": 0}").is_ok());
        for (text, why) in [
            ("", "are empty"),
            ("{\"records\": 2", "breaks off"),
            ("records=2", "are not JSON: line 1, column 1"),
            ("{\"records\": -2}", "have -2 for records, which is a whole number without quotes"),
            ("{\"records\": \"2\"}", "have \"2\" for records, which is a whole number"),
            ("{\"bytes\": 1.5}", "have 1.5 for bytes"),
            ("{\"bytes\": 1, \"bytes\": 2}", "one key twice"),
            ("[]", "are no JSON object"),
            ("{\"sha256\": 1}", "have 1 for sha256, which is 64 hexadecimal digits in quotes"),
            ("{\"records\": null}", "have null for records, which is a whole number"),
            ("{}", "say nothing"),
            ("{\"recrods\": 1}", "did `recrods` mean `records`?"),
            ("{\"SHA256\": \"\"}", "did `SHA256` mean `sha256`?"),
            ("{\"sha256\": \"abc\"}", "64 hexadecimal"),
        ] {
            let said = parse(text.as_bytes()).expect_err(text).why();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(parse(&vec![b' '; 1 << 20]).expect_err("too long").why().contains("more than"));
    }

    #[test]
    fn the_beginning_of_totals_is_waited_for() {
        let key = ("totals", "{name}.ctl");
        let whole = "{\"records\": 120, \"sha256\": \"\\u0061b\", \"x\": [1.5, true, null]}";
        for length in 0..whole.len() {
            let half = &whole.as_bytes()[..length];
            assert!(breaks_off(key, half, OsStr::new("pay")).is_some(), "{}", &whole[..length]);
        }
        assert_eq!(breaks_off(key, whole.as_bytes(), OsStr::new("pay")), None);
    }

    #[test]
    fn all_that_differs_is_named() {
        let said = Totals { sha256: Some("A".repeat(64)), ..totals(3, 10) };
        let found = |digest: &str| Totals { sha256: Some(digest.repeat(64)), ..totals(2, 10) };
        assert_eq!(said.differing(&found("a")), ["records: 3 announced, 2 found"]);
        assert_eq!(said.differing(&found("b")).len(), 2);
    }

    #[test]
    fn only_what_is_less_than_announced_may_still_be_coming() {
        assert!(totals(3, 10).announce_more(&totals(3, 9)));
        assert!(!totals(3, 10).announce_more(&totals(2, 10)));
        assert!(!totals(3, 10).announce_more(&totals(2, 11)));
        assert!(Totals { records: Some(3), ..Totals::default() }.announce_more(&totals(2, 10)));
        assert!(Totals { sha256: Some("a".repeat(64)), ..Totals::default() }.announce_more(&totals(2, 10)));
    }
}
