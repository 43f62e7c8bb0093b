//! What the service's user lacks in the folders of a rule: asked of the system, and tried with a hidden file where no service runs.
//!
//! Only the service's user himself can be asked for: access lists, groups and capabilities are his. Where a service runs, nothing is tried in
//! its folders, and the system is asked alone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::check_about::About;
use super::check_rights::{self, Rights};
use crate::durable_fs::{self, CLAIM_FOLDER, FsError, Need, Refusal};
use crate::model::fault::Fault as _;
use crate::model::os_text::{escaped, escaped_path};
use crate::model::pattern::Pattern;
#[cfg(unix)]
use crate::model::rule::ArchiveOwner;
use crate::model::rule::{Mode, OnSuccess};
use crate::model::shell;
use crate::model::template::fixed_folder;

/// Folders of a pattern that are tried at most, and names that are looked through for them.
const FOLDERS_MAX: usize = 1000;
const NAMES_MAX: usize = 500_000;
/// Trying those of one pattern ends after so long: there may be a slow network behind them.
const TRYING_MAX: Duration = Duration::from_secs(1);
/// Names that are looked through for a file that waits.
const WAITING_LOOKED_AT: usize = 256;
/// Of those that cannot be taken so many are named beside the first.
const WAITING_NAMED: usize = 5;

const NOT_TAKEN: &str = "files cannot be taken from there";
const NOT_INTO: &str = "nothing is taken into it, and its files wait";

/// The present folders that a pattern takes files from.
pub(super) struct Landing {
    pub folders: Vec<PathBuf>,
    /// Those on the way to others that this user may not list.
    closed: Vec<PathBuf>,
    /// There may be others.
    is_cut: bool,
}

impl Landing {
    /// Of very many the first ones.
    pub(super) fn of(pattern: &Pattern) -> Self {
        let mut landing = Self { folders: Vec::new(), closed: Vec::new(), is_cut: false };
        let (mut listings, mut names) = (Vec::new(), 0);
        landing.enter(pattern, pattern.fixed_folder().to_owned(), &mut listings);
        while let Some(listing) = listings.last_mut() {
            let Some(entry) = listing.next() else {
                listings.pop();
                continue;
            };
            names += 1;
            landing.is_cut = names > NAMES_MAX || landing.folders.len() + landing.closed.len() > FOLDERS_MAX;
            if landing.is_cut {
                landing.folders.truncate(FOLDERS_MAX);
                break;
            }
            let Ok(entry) = entry else { continue };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && pattern.could_match_below(&entry.path()) {
                landing.enter(pattern, entry.path(), &mut listings);
            }
        }
        landing
    }

    /// No folder fits, as far as can be seen.
    pub(super) fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.closed.is_empty()
    }

    fn enter(&mut self, pattern: &Pattern, folder: PathBuf, listings: &mut Vec<fs::ReadDir>) {
        let is_landing = pattern.could_match_in(&folder);
        match fs::read_dir(&folder) {
            Ok(listing) => listings.push(listing),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_landing => {
                self.closed.push(folder);
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => {}
        }
        if is_landing {
            self.folders.push(folder);
        }
    }
}

/// Something that the service's user lacks at a place.
struct Lack {
    at: PathBuf,
    what: String,
    then: &'static str,
    how: String,
}

impl Lack {
    fn of_refusal(refusal: Refusal, then: &'static str) -> Self {
        Self { at: refusal.at, what: refusal.what, then, how: refusal.how }
    }

    fn of_error(at: &Path, error: &FsError, hint: Option<String>, then: &'static str) -> Self {
        if error.source.kind() == io::ErrorKind::AlreadyExists {
            let what = format!("what lies at {} is not the service's", escaped_path(&error.path));
            let how =
                "look at what it is, and move it away: `check` makes its own file by that name".to_owned();
            return Self { at: at.to_owned(), what, then: "nothing can be tried there", how };
        }
        let what = format!("{error}: {}", error.source);
        Self { at: at.to_owned(), what, then, how: hint.unwrap_or_default() }
    }
}

/// What is lacking in several folders, the like ones together.
#[derive(Default)]
struct Lacks {
    /// By what is to be done, without the place.
    alike: BTreeMap<String, (PathBuf, Lack, usize)>,
}

impl Lacks {
    fn add(&mut self, folder: &Path, lack: Lack) {
        let place = [shell::word(&lack.at), escaped_path(&lack.at)];
        let alike = place.iter().fold(lack.how.clone(), |how, place| how.replace(place.as_str(), "\0"));
        self.alike.entry(alike).or_insert_with(|| (folder.to_owned(), lack, 0)).2 += 1;
    }
}

impl About<'_> {
    /// What the files of a pattern need in the folders where they land.
    pub(super) fn landing(&mut self, key: &[&str], pattern: &Pattern, text: &str, landing: &Landing) {
        let (mut lacks, begun, mut tried) = (Lacks::default(), Instant::now(), 0);
        // No link of a sender's is followed.
        durable_fs::add_landing_root(pattern.fixed_folder());
        for folder in &landing.closed {
            tried += 1;
            if let Some(lack) = refused(folder, Need::List, "folders below it are not seen") {
                lacks.add(folder, lack);
            }
        }
        for folder in &landing.folders {
            let has_time = begun.elapsed() < TRYING_MAX;
            tried += usize::from(has_time);
            if let Some(lack) = self.lack_in_landing(folder, pattern, has_time) {
                lacks.add(folder, lack);
            }
        }
        let all = landing.folders.len() + landing.closed.len();
        let hint = "the service says of each file why it waits: `landfall jobs`";
        if landing.is_cut {
            let message =
                format!("{} of the folders of this pattern were looked at: there are more", grouped(all));
            self.note(key, message, hint);
        } else if tried < all && self.rights == Rights::Tried {
            let message = format!(
                "{} of {} folders were tried within a second; of the others the system was asked what this user may",
                grouped(tried),
                grouped(all)
            );
            self.note(key, message, hint);
        }
        for (folder, lack, count) in lacks.alike.into_values() {
            let others = match count {
                1 => self.likewise_waiting(&folder, pattern, &lack),
                _ => Vec::new(),
            };
            let (mut what, mut how) = (lack.what, lack.how);
            if !others.is_empty() {
                let named = others.get(..others.len().min(WAITING_NAMED)).unwrap_or_default();
                let shown: Vec<_> = named.iter().filter_map(|file| file.file_name()).map(escaped).collect();
                let words: Vec<_> = named.iter().map(|file| shell::word(file)).collect();
                let first = shell::word(&lack.at);
                how = how.replace(&first, &format!("{first} {}", words.join(" ")));
                let more = match others.len() - named.len() {
                    0 => String::new(),
                    more => {
                        how = format!("{how}; and likewise for the others");
                        format!(" and {more} more")
                    }
                };
                what = format!("{what}, nor {}{more}", shown.join(", "));
            } else if count > 1 {
                let is_landing = pattern.could_match_in(&folder);
                let glob = glob_of(text).filter(|_| is_landing).zip(lack.at.strip_prefix(&folder).ok());
                how = match glob {
                    Some((glob, rest)) => {
                        let everywhere = if rest.as_os_str().is_empty() {
                            glob
                        } else {
                            format!("{glob}/{}", rest.display())
                        };
                        how.replace(&shell::word(&lack.at), &everywhere)
                    }
                    None => format!("{how}; and likewise for the others"),
                };
                what = format!(
                    "{} of {} folders: {what}, and likewise in the others",
                    grouped(count),
                    grouped(all)
                );
            }
            self.warn(key, format!("{what}: {}", lack.then), &how);
        }
    }

    fn only_reads(&self) -> bool {
        self.rule.mode == Mode::Shadow || self.rule.source.on_success == OnSuccess::Keep
    }

    fn lack_in_landing(&self, folder: &Path, pattern: &Pattern, has_time: bool) -> Option<Lack> {
        let claims = match &self.rule.source.claim_dir {
            Some(claims) => claims.clone(),
            None => folder.join(CLAIM_FOLDER),
        };
        let is_beside = self.rule.source.claim_dir.is_none() && !self.only_reads();
        let quarantine =
            (is_beside && self.rule.source.quarantine_dir.is_none()).then(|| claims.join("quarantine"));
        let mut own = is_beside.then_some(&claims).into_iter().chain(&quarantine);
        if let Some(lack) = own.find_map(|own| self.lack_of_own(own)) {
            return Some(lack);
        }
        if self.rights == Rights::Others {
            let user = check_rights::service_user(&self.settings.service.data_dir);
            let is_closed = !self.only_reads()
                && fs::metadata(folder).is_ok_and(|found| check_rights::is_closed_to(&found, user));
            return is_closed.then(|| Lack {
                at: folder.to_owned(),
                what: format!("the service's user may not write in {}", escaped_path(folder)),
                then: NOT_TAKEN,
                how: "let this user write there, as a member of the folder's group, say".to_owned(),
            });
        }
        let need = if self.only_reads() { Need::List } else { Need::Take };
        if let Some(lack) = refused(folder, need, NOT_TAKEN) {
            return Some(lack);
        }
        if self.rights == Rights::Tried && need == Need::Take && has_time {
            // A claim folder whose own parent is not there yet is tried with the other targets.
            let claimed = if durable_fs::parent_of(&claims).is_dir() {
                durable_fs::try_claiming(folder, &claims)
            } else {
                durable_fs::try_making(folder)
            };
            if let Err(error) = claimed {
                let hint = durable_fs::hint_of_claim(folder, &claims, &error);
                return Some(Lack::of_error(&error.path, &error, hint, NOT_TAKEN));
            }
        }
        let mut files = waiting(folder, pattern).take(if has_time { WAITING_LOOKED_AT } else { 1 });
        files.find_map(|file| self.lack_of_waiting(&file))
    }

    /// The other files of a folder that cannot be taken, where one cannot.
    fn likewise_waiting(&self, folder: &Path, pattern: &Pattern, first: &Lack) -> Vec<PathBuf> {
        if pattern.matches(&first.at).is_none() {
            return Vec::new();
        }
        let others = waiting(folder, pattern).filter(|file| *file != first.at);
        others.filter(|file| self.lack_of_waiting(file).is_some()).collect()
    }

    fn lack_of_waiting(&self, file: &Path) -> Option<Lack> {
        let of = |refusal| Lack::of_refusal(refusal, "it cannot be taken");
        let closed = || durable_fs::closed_file(file).filter(|_| !self.only_reads());
        let lack = durable_fs::refusal(file, Need::Read).or_else(closed).map(of);
        if lack.is_some() || self.rights != Rights::Tried {
            return lack;
        }
        match durable_fs::open_source(file) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let error = FsError::new("read", file, error);
                Some(Lack::of_error(file, &error, error.hint(), "it cannot be taken"))
            }
            _ => None,
        }
    }

    /// A folder that only the service's user may write in: nothing is put into another one.
    fn lack_of_own(&self, folder: &Path) -> Option<Lack> {
        let found = fs::symlink_metadata(folder).ok()?; // it is made when it is needed
        if !found.is_dir() {
            // A sender can put a link there. A command that changes rights would follow it.
            return Some(Lack {
                at: folder.to_owned(),
                what: format!("{} is a symbolic link, or no folder", escaped_path(folder)),
                then: NOT_INTO,
                how: "move what lies there to another place, and find who put it there".to_owned(),
            });
        }
        let user = check_rights::service_user(&self.settings.service.data_dir);
        let what = check_rights::not_own(&found, user)?;
        let is_foreign = check_rights::access(&found).is_some_and(|(_, owner, _)| owner != user);
        let how = durable_fs::how_to_own(folder, &check_rights::user_word(user), is_foreign);
        Some(Lack {
            at: folder.to_owned(),
            what: format!("{} {what}", escaped_path(folder)),
            then: NOT_INTO,
            how,
        })
    }

    pub(super) fn own_folder(&mut self, key: &[&str], folder: &Path) {
        if let Some(lack) = self.lack_of_own(folder) {
            self.warn(key, format!("{}: {}", lack.what, lack.then), &lack.how);
        }
    }

    /// Whoever of several may write into a landing folder can put links into what is claimed there, or take away what another sent. Of a
    /// folder that only one sender writes in, what he does there is his own loss.
    #[cfg(target_os = "linux")]
    pub(super) fn shared_by_senders(&mut self, key: &[&str], folders: &[PathBuf]) {
        if self.rule.source.claim_dir.is_some() || self.only_reads() {
            return;
        }
        let user = check_rights::service_user(&self.settings.service.data_dir);
        let group = check_rights::service_group(&self.settings.service.data_dir, user);
        let is_shared = |folder: &&PathBuf| {
            durable_fs::writers(folder).is_ok_and(|writers| check_rights::are_several(&writers, user, group))
        };
        let shared: Vec<&PathBuf> = folders.iter().filter(is_shared).collect();
        let Some(first) = shared.first() else { return };
        let more = match shared.len() - 1 {
            0 => String::new(),
            more => format!(" and {} more", grouped(more)),
        };
        let message = format!(
            "several users other than the service's may write in {}{more}, where claimed files are kept too",
            escaped_path(first)
        );
        let by_mount = durable_fs::mount_for_us_alone(first);
        let hint = by_mount.as_deref().unwrap_or(
            "set `source.claim_dir` and `source.quarantine_dir` to folders on the same file system that only the service's user may write in",
        );
        self.warn(key, message, hint);
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn shared_by_senders(&mut self, _: &[&str], _: &[PathBuf]) {}

    /// Where outputs, archive and claims go. Of a shadow nothing is tried there: it touches nothing before it is live.
    pub(super) fn targets(&mut self, landing: &[PathBuf]) {
        if self.rights == Rights::Others {
            return;
        }
        let is_shadow = self.rule.mode == Mode::Shadow;
        if is_shadow {
            self.rights = Rights::Asked;
        }
        let source = &self.rule.source;
        let mode_of = |key: &[&str]| {
            let category = key.get(1).filter(|_| key.first() == Some(&"output"));
            category
                .and_then(|name| self.rule.outputs.iter().find(|(category, _)| category.as_str() == *name))
        };
        let mut folders: Vec<(Vec<&str>, PathBuf, Option<u32>)> = self
            .products()
            .into_iter()
            .map(|(key, text)| {
                let mode = mode_of(&key).map(|(_, output)| output.mode);
                (key, fixed_folder(text), mode)
            })
            .collect();
        let archive = source.archive_dir.as_deref().map(|folder| fixed_folder(&format!("{folder}/")));
        let own = [
            ("archive_dir", archive.clone()),
            ("claim_dir", source.claim_dir.clone()),
            ("quarantine_dir", source.quarantine_dir.clone()),
        ];
        folders
            .extend(own.into_iter().filter_map(|(key, folder)| Some((vec!["source", key], folder?, None))));
        let (mut told, mut made) = (Vec::new(), Vec::new());
        for (key, folder, mode) in folders {
            let then = if is_shadow {
                "once the rule is live, what is to go there waits"
            } else {
                "what is to go there waits"
            };
            match self.lack_in_target(&folder, mode, then) {
                Some(lack) if told.contains(&lack.what) => {}
                Some(lack) => {
                    self.warn(&key, format!("{}: {}", lack.what, lack.then), &lack.how);
                    told.push(lack.what);
                }
                None if !folder.is_dir() && !made.contains(&folder) => made.push(folder),
                None => {}
            }
        }
        if !made.is_empty() && !is_shadow {
            let shown: Vec<String> = made.iter().map(|folder| escaped_path(folder)).collect();
            let hint =
                "make them yourself where they are to belong to others or to have another mode than 0750";
            self.note(&["output"], format!("made when they are needed: {}", shown.join(", ")), hint);
        }
        if let Some(archive) = archive.filter(|_| told.is_empty()) {
            self.archive_elsewhere(&archive, landing);
        }
    }

    /// False: it may not be listed, which is told.
    pub(super) fn may_list(&mut self, key: &[&str], folder: &Path) -> bool {
        let lack =
            refused(folder, Need::List, "its files are not seen").filter(|_| self.rights != Rights::Others);
        if let Some(lack) = &lack {
            self.warn(key, format!("{}: {}", lack.what, lack.then), &lack.how);
        }
        lack.is_none()
    }

    fn lack_in_target(&mut self, folder: &Path, mode: Option<u32>, then: &'static str) -> Option<Lack> {
        if let Some(lack) = refused(folder, Need::Write, then) {
            let is_made =
                lack.at != folder && fs::metadata(folder).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
            let prefix =
                if is_made { format!("{} cannot be made: ", escaped_path(folder)) } else { String::new() };
            return Some(Lack { what: format!("{prefix}{}", lack.what), ..lack });
        }
        let nearest = durable_fs::nearest_folder(folder)?;
        let in_the_way = folder
            .ancestors()
            .take_while(|ancestor| *ancestor != nearest)
            .find(|way| way.symlink_metadata().is_ok());
        if let Some(way) = in_the_way {
            let what = format!("{} is no folder", escaped_path(way));
            return Some(Lack {
                at: way.to_owned(),
                what,
                then,
                how: "move away what lies there".to_owned(),
            });
        }
        if self.rights != Rights::Tried {
            return None;
        }
        let wanted = durable_fs::Wanted { mode: mode.unwrap_or(0o640), ..durable_fs::Wanted::default() };
        match durable_fs::try_keeping(nearest, wanted) {
            Err(error) => Some(Lack::of_error(nearest, &error, error.hint(), then)),
            Ok(unkept) => {
                let found = unkept.iter().find_map(|unkept| match unkept {
                    durable_fs::Unkept::Mode(found) => Some(*found),
                    _ => None,
                });
                if let (Some(found), Some(mode)) = (found, mode) {
                    let message = format!(
                        "files in {} get mode {found:04o}, not {mode:04o}: its file system, or its mount's options, keep no other",
                        escaped_path(nearest)
                    );
                    self.note(
                        &["output"],
                        message,
                        "name a folder on another file system where that matters",
                    );
                }
                None
            }
        }
    }

    /// Sources that go to another file system are copied: for that there must be room, and they may lose whose they are.
    fn archive_elsewhere(&mut self, archive: &Path, landing: &[PathBuf]) {
        const KEY: [&str; 2] = ["source", "archive_dir"];
        let Some(nearest) = durable_fs::nearest_folder(archive) else { return };
        let from = self
            .rule
            .source
            .claim_dir
            .as_deref()
            .and_then(durable_fs::nearest_folder)
            .or(landing.first().map(PathBuf::as_path));
        let Some(from) = from.filter(|from| durable_fs::are_on_one_file_system(from, nearest) == Some(false))
        else {
            return;
        };
        let Ok(space) = durable_fs::space_at(nearest) else { return };
        let free = crate::model::amount::bytes(space.free);
        let shown = escaped_path(archive);
        let kept_free = self.settings.service.free_min.of(space.total);
        if space.total > 0 && space.free < kept_free {
            let message = format!(
                "{shown} lies on another file system than the sources: they are copied to it, and it has {free} free, less than the {} of \
                 `service.free_min`",
                crate::model::amount::bytes(kept_free)
            );
            self.warn(&KEY, message, "make room there: until then no file of this rule is taken");
            return;
        }
        let unkept = if self.rights == Rights::Tried { self.unkept_in(nearest, from) } else { String::new() };
        let message = format!(
            "{shown} lies on another file system than the sources: they are copied to it, which takes time; {free} are free there{unkept}"
        );
        self.note(&KEY, message, "name a folder on the sources' file system, and they are renamed");
    }

    /// What a source would not keep in the archive: tried with the owner of a landing folder.
    #[cfg(unix)]
    fn unkept_in(&self, nearest: &Path, from: &Path) -> String {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(found) = fs::metadata(from) else { return String::new() };
        let wanted = durable_fs::Wanted {
            user: (self.rule.source.archive_owner == ArchiveOwner::Sender).then(|| found.uid()),
            group: Some(found.gid()),
            mode: 0o640,
        };
        let unkept = durable_fs::try_keeping(nearest, wanted).unwrap_or_default();
        let lost: Vec<&str> = unkept
            .iter()
            .map(|unkept| match unkept {
                durable_fs::Unkept::User => "owner (this user has no CAP_CHOWN)",
                durable_fs::Unkept::Group => "group (this user is not in it, and has no CAP_CHOWN)",
                durable_fs::Unkept::Mode(_) => "mode",
                durable_fs::Unkept::Time => "time",
            })
            .collect();
        if lost.is_empty() {
            String::new()
        } else {
            format!("; they do not keep their {} there", lost.join(", "))
        }
    }

    #[cfg(not(unix))]
    fn unkept_in(&self, _: &Path, _: &Path) -> String {
        String::new()
    }
}

fn refused(at: &Path, need: Need, then: &'static str) -> Option<Lack> {
    Some(Lack::of_refusal(durable_fs::refusal(at, need)?, then))
}

/// Files that the pattern takes, among the first names.
fn waiting(folder: &Path, pattern: &Pattern) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(WAITING_LOOKED_AT).filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| entry.path()).filter(|path| pattern.matches(path).is_some())
}

/// The folders of a pattern as a shell finds them; none where it would find others, or needs quotes.
fn glob_of(pattern: &str) -> Option<String> {
    let (folder, _) = pattern.rsplit_once('/')?;
    let mut glob = String::with_capacity(folder.len());
    let mut is_name = false;
    for c in folder.chars() {
        match c {
            '{' if !is_name => {
                is_name = true;
                glob.push('*');
            }
            '}' if is_name => is_name = false,
            _ if is_name && (c.is_ascii_alphanumeric() || c == '_') => {}
            _ if !is_name && (c.is_ascii_alphanumeric() || "/._-*".contains(c)) => glob.push(c),
            _ => return None,
        }
    }
    (glob.starts_with('/') && !glob.contains("**")).then_some(glob)
}

/// `1,000`.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_pattern_are_told_as_a_shell_finds_them_or_not_at_all() {
        assert_eq!(glob_of("/srv/{sender}/inbox/*.csv").as_deref(), Some("/srv/*/inbox"));
        assert_eq!(glob_of("/srv/sftp/*/in/{a}-{b}/x").as_deref(), Some("/srv/sftp/*/in/*-*"));
        for other in ["/srv/**/x", "/srv/a b/*", "/srv/{a,b}/*", "in/*", "/srv/[ab]/*"] {
            assert_eq!(glob_of(other), None, "{other}");
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
