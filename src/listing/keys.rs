//! Keys of `OpenPGP` that expire: told ahead, while their owners can still renew them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::key_file;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Rule, Settings};
use crate::model::template::Outline;
use crate::openpgp::{self, Certificate, Lasts, Purpose, SecretKeys};

/// So long ahead.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Files are read again after this: who watches asks each second.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);
const FILE_BYTES_MAX: usize = 1 << 20;
/// Files that one template of a path may stand for.
pub(crate) const FILES_MAX: usize = 1000;

/// A key that expires, or has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiring {
    pub(crate) rule: String,
    /// The key of the rule that names its file.
    pub(crate) place: Vec<String>,
    pub(crate) message: String,
    pub(crate) hint: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Signer,
    Own,
    Recipient,
}

/// A template of a key file's path, and what its keys are for.
#[derive(Clone, PartialEq, Eq)]
struct Named {
    rule: String,
    place: Vec<String>,
    template: String,
    whose: Whose,
}

/// What was found, of which files, and when.
type Looked = (Instant, Vec<Named>, Vec<Expiring>);

/// The last look.
static LAST: Mutex<Option<Looked>> = Mutex::new(None);
/// A mount may hang: one thread looks at a time, and who asks waits for it no longer than this.
static IS_LOOKED: AtomicBool = AtomicBool::new(false);
const WAITS_FOR: Duration = Duration::from_secs(5);

/// Of all rules, as it was within the last minute. Files that cannot be read are told of by others.
pub(crate) fn expiring(settings: &Settings, now: Timestamp) -> Vec<Expiring> {
    let named: Vec<_> = settings.rules.iter().flat_map(named).collect();
    if named.is_empty() {
        return Vec::new();
    }
    let known = last().as_ref().filter(|(_, of, _)| *of == named).map(|(at, _, found)| (*at, found.clone()));
    let is_fresh = known.as_ref().is_some_and(|(at, _)| at.elapsed() < LOOK_AGAIN_AFTER);
    let known = known.map(|(_, found)| found).unwrap_or_default();
    if is_fresh || IS_LOOKED.swap(true, Relaxed) {
        return known;
    }
    let (give, taken) = sync_channel(1);
    let look = move || {
        let found: Vec<_> = named.iter().flat_map(|named| of(named, now)).collect();
        *last() = Some((Instant::now(), named, found.clone()));
        IS_LOOKED.store(false, Relaxed);
        give.send(found).unwrap_or_default(); // nobody waits any more
    };
    if std::thread::Builder::new().name("keys-expire".into()).spawn(look).is_err() {
        IS_LOOKED.store(false, Relaxed);
        return known;
    }
    taken.recv_timeout(WAITS_FOR).unwrap_or(known)
}

fn last() -> MutexGuard<'static, Option<Looked>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of one rule, as it is now.
pub(crate) fn expiring_of(rule: &Rule, now: Timestamp) -> Vec<Expiring> {
    named(rule).iter().flat_map(|named| of(named, now)).collect()
}

fn named(rule: &Rule) -> Vec<Named> {
    let of = |place: Vec<String>, template: &str, whose| Named {
        rule: rule.name.clone(),
        place,
        template: template.to_owned(),
        whose,
    };
    let numbered = |key: &str, templates: &[String], whose| {
        let place = |number: usize| vec!["decode".to_owned(), key.to_owned(), number.to_string()];
        let templates = templates.iter().enumerate();
        templates.map(|(number, template)| of(place(number), template, whose)).collect::<Vec<_>>()
    };
    let mut all = numbered("signers", &rule.decode.signers, Whose::Signer);
    all.extend(numbered("identities", &rule.decode.identities, Whose::Own));
    for (category, output) in &rule.outputs {
        if let Some(file) = output.recipients_file.as_deref().and_then(Path::to_str) {
            let place = ["output", category.as_str(), "recipients_file"].map(str::to_owned).to_vec();
            all.push(of(place, &crate::model::template::escaped(file), Whose::Recipient));
        }
    }
    all
}

fn of(named: &Named, now: Timestamp) -> Vec<Expiring> {
    let mut found = Vec::new();
    for file in files_of(&named.template) {
        let Ok(bytes) = key_file::bytes(&file, FILE_BYTES_MAX) else { continue };
        let purpose = if named.whose == Whose::Signer { Purpose::Sign } else { Purpose::Encrypt };
        for certificate in certificates(named.whose, &bytes) {
            let lasts = certificate.lasts(purpose, now);
            let unsupported = certificate.unsupported(purpose).filter(|_| lasts == Lasts::Unfit);
            let unsupported =
                unsupported.map(|algorithm| format!("is of {algorithm}, which is not supported"));
            let hint = match &unsupported {
                Some(_) => hint_of_kind(named.whose),
                None if lasts == Lasts::Revoked => hint_of_revoked(named.whose).to_owned(),
                None => hint(named.whose, &certificate),
            };
            let Some(end) = unsupported.or_else(|| said(lasts, now)) else { continue };
            let message = format!("the key {} in {} {end}", certificate.name(), escaped_path(&file));
            let (rule, place) = (named.rule.clone(), named.place.clone());
            found.push(Expiring { rule, place, message, hint });
        }
    }
    found
}

fn certificates(whose: Whose, bytes: &[u8]) -> Vec<Certificate> {
    match whose {
        _ if !openpgp::holds_keys(bytes) => Vec::new(),
        Whose::Own => SecretKeys::read(bytes).map(|keys| keys.certificates()).unwrap_or_default(),
        Whose::Signer | Whose::Recipient => openpgp::certificates(bytes).unwrap_or_default(),
    }
}

fn said(lasts: Lasts, now: Timestamp) -> Option<String> {
    match lasts {
        Lasts::Until(end) if end.duration_since(now) < AHEAD => {
            Some(format!("expires on {}", end.strftime("%F")))
        }
        Lasts::Ever | Lasts::Until(_) => None,
        Lasts::Lapsed(end) => Some(format!("expired on {}", end.strftime("%F"))),
        Lasts::Revoked => Some("is revoked".to_owned()),
        Lasts::Unfit => Some("has no part for what it is named for".to_owned()),
    }
}

/// Of a key whose algorithm cannot be used.
fn hint_of_kind(whose: Whose) -> String {
    let who = match whose {
        Whose::Own => "make a key of another kind, give the senders its public one",
        Whose::Signer | Whose::Recipient => "ask its owner for a key of another kind",
    };
    format!(
        "{who}, and put it into that file: Curve25519, NIST curves and RSA can be used (`gpg --quick-generate-key NAME default default`)"
    )
}

/// No date brings it back.
fn hint_of_revoked(whose: Whose) -> &'static str {
    match whose {
        Whose::Own => {
            "senders cannot encrypt to it any more: make another, give them its public key, and add its file; this one still opens what was sent before"
        }
        Whose::Signer | Whose::Recipient => {
            "it never counts again: ask its owner for the key in its place, and put that into the file"
        }
    }
}

fn hint(whose: Whose, certificate: &Certificate) -> String {
    let name = certificate.name();
    match whose {
        Whose::Signer => {
            "ask its owner for the renewed key, and put it into that file: what a key signed that has expired is held"
                .to_owned()
        }
        Whose::Own => format!(
            "senders cannot encrypt to it then: `gpg --quick-set-expire {name} 2y` renews it (and its parts with `'*'` behind), and each sender needs the public key again"
        ),
        Whose::Recipient => {
            "ask its owner for the renewed key, and put it into that file: nothing is encrypted to one that has expired, and jobs are held"
                .to_owned()
        }
    }
}

/// The files that a template may mean, whatever its variables are.
pub(crate) fn files_of(template: &str) -> Vec<PathBuf> {
    /// In place of a variable; no path has it.
    const ANY: &str = "\0";
    let Ok(outline) = Outline::parse(template) else { return Vec::new() };
    let text = outline.literals().join(ANY);
    let mut found = vec![PathBuf::new()];
    for part in Path::new(&text).components() {
        let name = part.as_os_str().to_string_lossy();
        found = if name.contains(ANY) {
            let parts: Vec<_> = name.split(ANY).collect();
            found.iter().flat_map(|folder| fitting(folder, &parts)).collect()
        } else {
            found.into_iter().map(|folder| folder.join(part)).collect()
        };
        found.truncate(FILES_MAX);
    }
    found
}

fn fitting(folder: &Path, literals: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX);
    let mut fitting: Vec<_> = entries
        .filter(|entry| fits(&entry.file_name().to_string_lossy(), literals))
        .map(|entry| entry.path())
        .collect();
    fitting.sort();
    fitting
}

/// Whether a name has these texts, the first at its beginning and the last at its end.
fn fits(name: &str, literals: &[&str]) -> bool {
    let [first, middle @ .., last] = literals else { return literals == [name] };
    let Some(rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    let mut rest = rest;
    middle.iter().all(|text| {
        let Some(at) = rest.find(text) else { return false };
        rest = rest.get(at + text.len()..).unwrap_or_default();
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_template_are_those_that_it_may_mean() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["acme", "globex"] {
            std::fs::create_dir(at(name)).expect("made");
            std::fs::write(at(name).join("pub.asc"), "").expect("written");
            std::fs::write(at(&format!("{name}.pub.asc")), "").expect("written");
        }
        let files = |template: &str| {
            let template =
                format!("{}/{template}", crate::model::template::escaped(&folder.path().to_string_lossy()));
            let relative = |file: PathBuf| file.strip_prefix(folder.path()).expect("within").to_owned();
            files_of(&template).into_iter().map(relative).collect::<Vec<_>>()
        };
        assert_eq!(files("acme.pub.asc"), [Path::new("acme.pub.asc")]);
        assert_eq!(files("{sender}.pub.asc"), ["acme.pub.asc", "globex.pub.asc"].map(PathBuf::from));
        assert_eq!(files("{sender}/{kind}.asc"), ["acme/pub.asc", "globex/pub.asc"].map(PathBuf::from));
        assert!(files("{sender}.age").is_empty());
    }
}
