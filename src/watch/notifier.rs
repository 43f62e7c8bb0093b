//! Hints from the operating system: they make the watch fast, and it never relies on them.
//!
//! Each folder that can hold candidates, or lead to them, is watched by itself: nothing descends into archives, and a limit that is hit
//! costs only the folders beyond it. The handler never blocks: what finds no room becomes one request for a scan.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::counts::Counts;
use super::folder_mark::FolderMark;
use super::limits;
use super::message::{Message, Sign, sign_of_rename};
use crate::durable_fs;
use crate::model::os_text::escaped_path;

/// Where the handler's hints go.
#[derive(Clone)]
pub(super) struct Hints {
    pub(super) inbox: SyncSender<Message>,
    /// Hints were lost: only a scan knows.
    pub(super) lost: Arc<AtomicBool>,
    pub(super) counts: Arc<Counts>,
}

impl Hints {
    fn send(&self, message: Message) {
        if self.inbox.try_send(message).is_err() && !self.lost.swap(true, Ordering::AcqRel) {
            self.counts.events_lost();
        }
    }

    fn scan(&self) {
        self.counts.events_lost();
        self.lost.store(true, Ordering::Release);
        // Only wakes the watch; a full inbox means that it is awake.
        self.inbox.try_send(Message::Wake).ok();
    }

    #[cfg(all(test, unix))]
    pub(super) fn overflow(&self) {
        let event = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        self.handle(Ok(event), &mut None);
    }

    /// `renamed`: the last old name of a rename, with the rename's number where the system gives one; its new name is told next.
    fn handle(&self, event: notify::Result<Event>, renamed: &mut Option<(Option<usize>, PathBuf)>) {
        match event {
            Err(error) => {
                tracing::warn!(error = %error, "file events were lost; the folders are scanned instead");
                self.scan();
            }
            Ok(event) if event.need_rescan() => {
                self.scan();
                if let Some(hint) = limits::tell(limits::EVENTS) {
                    let times = self.counts.now().events_lost;
                    tracing::warn!(
                        times,
                        hint,
                        "the system's queue of file events overflowed; the folders are scanned instead"
                    );
                }
            }
            Ok(event) => {
                let number = event.attrs.tracker();
                if let Some(mut sign) = sign(event.kind) {
                    let from = renamed.take().filter(|(it, _)| *it == number);
                    if let (Sign::MovedIn, Some((_, from)), [to]) = (sign, &from, event.paths.as_slice()) {
                        sign = sign_of_rename(from, to);
                    }
                    if event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::From)) {
                        *renamed = event.paths.first().map(|path| (number, path.clone()));
                    }
                    event.paths.into_iter().for_each(|path| self.send(Message::Hint(path, sign)));
                }
            }
        }
    }
}

/// What the kind of an event means; none for what our own reading causes and what another event tells already.
fn sign(kind: EventKind) -> Option<Sign> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Sign::Closed),
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Create(CreateKind::Any | CreateKind::File | CreateKind::Folder | CreateKind::Other) => {
            Some(Sign::Appeared)
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Sign::MovedIn),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Some(Sign::Gone),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Sign::Written),
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(Sign::Changed),
    }
}

/// The folders that are watched.
#[derive(Default)]
pub(super) struct Notifier {
    watcher: Option<RecommendedWatcher>,
    folders: HashMap<PathBuf, FolderMark>,
    /// Folders whose end may be among the events that were lost: another with the same mark may lie there by now, unwatched.
    doubted: HashSet<PathBuf>,
    /// Folders that can have no events now; the scans look into them.
    without_events: HashSet<PathBuf>,
}

impl Notifier {
    /// Without events (`None`, or where the system has none) everything is left to the scans.
    pub(super) fn new(hints: Option<Hints>) -> Self {
        let mut renamed = None;
        Self::with(hints.map(|hints| move |event| hints.handle(event, &mut renamed)))
    }

    /// Rings for every event that may tell of a change, whatever it is.
    pub(super) fn ringing(ring: impl Fn() + Send + 'static) -> Self {
        Self::with(Some(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| event.need_rescan() || sign(event.kind).is_some()) {
                ring();
            }
        }))
    }

    fn with(handler: Option<impl FnMut(notify::Result<Event>) + Send + 'static>) -> Self {
        let watcher = handler.and_then(|handler| {
            let config = Config::default().with_follow_symlinks(false);
            RecommendedWatcher::new(handler, config)
                .inspect_err(|error| {
                    if let Some(hint) = limits::tell(limits::INSTANCES) {
                        tracing::warn!(error = %error, hint, "there are no file events; the folders are scanned only");
                    }
                })
                .ok()
        });
        Self { watcher, ..Self::default() }
    }

    /// Watches a folder; tells whether it was watched already.
    pub(super) fn watch(&mut self, folder: &Path) -> bool {
        if self.watcher.is_none() {
            self.without_events.insert(folder.to_owned());
            return false;
        }
        durable_fs::note_place(folder);
        let Ok(mark) = FolderMark::of(folder) else { return false };
        let was_watched = self.folders.get(folder) == Some(&mark);
        if was_watched && !self.doubted.contains(folder) {
            return true;
        }
        // Another folder may have taken its place, which the old watch does not see.
        self.unwatch(folder);
        let Some(watcher) = &mut self.watcher else { return false };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.without_events.remove(folder);
                self.folders.insert(folder.to_owned(), mark);
                was_watched
            }
            Err(error) => {
                self.refused(folder, &error);
                false
            }
        }
    }

    /// The first such folder is told, and again the first after there was none.
    fn refused(&mut self, folder: &Path, error: &notify::Error) {
        let is_news = self.without_events.is_empty();
        self.without_events.insert(folder.to_owned());
        let is_limit = matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
        let hint = (is_news && is_limit).then(|| limits::tell(limits::WATCHES)).flatten();
        if is_news && hint.is_some() == is_limit {
            tracing::warn!(
                path = escaped_path(folder), error = %error, hint,
                "no file events for this folder, perhaps for others too; they are scanned only"
            );
        } else {
            tracing::debug!(path = escaped_path(folder), error = %error, "no file events for this folder");
        }
    }

    /// A folder is not watched, on purpose.
    pub(super) fn leave_to_scans(&mut self, folder: &Path) {
        self.forget(folder);
        self.without_events.insert(folder.to_owned());
    }

    /// Folders that are seen, and how many of them without events.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.folders.len() + self.without_events.len(), self.without_events.len())
    }

    /// Watches the nearest folder that exists above one that does not, so that its making is seen; false where something was made
    /// meanwhile, which no event tells of: then it must be looked for again.
    pub(super) fn watch_above(&mut self, missing: &Path) -> bool {
        let Some(above) = missing.parent().and_then(nearest_folder) else { return true };
        self.watch(above);
        nearest_folder(missing) == Some(above)
    }

    /// Events were lost: every folder is watched anew when it is scanned next.
    pub(super) fn doubt_all(&mut self) {
        self.doubted.extend(self.folders.keys().cloned());
    }

    /// Watches a folder no more.
    pub(super) fn forget(&mut self, folder: &Path) {
        self.without_events.remove(folder);
        self.unwatch(folder);
    }

    fn unwatch(&mut self, folder: &Path) {
        self.doubted.remove(folder);
        if self.folders.remove(folder).is_some()
            && let Some(watcher) = &mut self.watcher
        {
            // A folder that is gone has lost its watch by itself.
            watcher.unwatch(folder).ok();
        }
    }

    /// Watches nothing in this folder any more, nor the folder.
    pub(super) fn forget_all_in(&mut self, folder: &Path) {
        self.retain(|other| !other.starts_with(folder));
    }

    /// Watches only those folders any more.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&Path) -> bool) {
        let all = self.folders.keys().chain(&self.without_events);
        let others: Vec<_> = all.filter(|folder| !is_needed(folder)).cloned().collect();
        for folder in others {
            self.forget(&folder);
        }
    }

    /// Whether this is a watched folder.
    pub(super) fn knows(&self, folder: &Path) -> bool {
        self.folders.contains_key(folder)
    }
}

/// The nearest folder that exists, this one or above.
fn nearest_folder(path: &Path) -> Option<&Path> {
    durable_fs::note_place(path);
    path.ancestors().find(|above| fs::metadata(above).is_ok_and(|it| it.is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, RemoveKind};

    #[test]
    fn our_own_reading_makes_no_hints() {
        assert_eq!(sign(EventKind::Access(AccessKind::Open(AccessMode::Any))), None);
        assert_eq!(sign(EventKind::Access(AccessKind::Close(AccessMode::Read))), None);
        assert_eq!(sign(EventKind::Access(AccessKind::Close(AccessMode::Write))), Some(Sign::Closed));
        assert_eq!(sign(EventKind::Modify(ModifyKind::Data(DataChange::Any))), Some(Sign::Written));
        assert_eq!(sign(EventKind::Remove(RemoveKind::File)), Some(Sign::Gone));
    }

    #[test]
    fn a_rename_from_a_hidden_name_beside_it_proves_no_more_than_a_close() {
        let (inbox, messages) = std::sync::mpsc::sync_channel(8);
        let hints = Hints { inbox, lost: Arc::default(), counts: Arc::default() };
        let mut renamed = None;
        let mut rename = |from: &str, to: &str, numbers: (usize, usize)| {
            for (mode, path, number) in [(RenameMode::From, from, numbers.0), (RenameMode::To, to, numbers.1)]
            {
                let event =
                    Event::new(EventKind::Modify(ModifyKind::Name(mode))).add_path(PathBuf::from(path));
                hints.handle(Ok(event.set_tracker(number)), &mut renamed);
            }
            let signs: Vec<_> = messages.try_iter().collect();
            let [_, Message::Hint(_, sign)] = signs.as_slice() else { panic!("two hints") };
            *sign
        };
        assert_eq!(rename("in/.a.csv.Xd3f2k", "in/a.csv", (1, 1)), Sign::Closed);
        assert_eq!(rename("in/a.csv.part", "in/a.csv", (2, 2)), Sign::MovedIn);
        assert_eq!(rename("in/.tmp/a.csv", "in/a.csv", (3, 3)), Sign::MovedIn);
        assert_eq!(rename("in/.b", "in/a.csv", (4, 5)), Sign::MovedIn, "of two renames");
    }

    #[test]
    fn a_folder_that_was_made_just_before_the_one_above_it_is_watched_is_looked_for_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut notifier = Notifier::new(None);
        assert!(notifier.watch_above(&folder.path().join("a/b")));
        assert!(!notifier.watch_above(folder.path()));
    }

    /// Each is watched by itself: nothing relies on a system that descends.
    #[test]
    fn folders_that_lay_in_each_other_before_the_watch_all_tell_of_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folders = ["", "a", "a/b", "a/b/c"].map(|name| folder.path().join(name));
        for folder in &folders {
            fs::create_dir_all(folder).expect("makes");
        }
        let (inbox, messages) = std::sync::mpsc::sync_channel(64);
        let mut notifier = Notifier::new(Some(Hints { inbox, lost: Arc::default(), counts: Arc::default() }));
        for folder in &folders {
            notifier.watch(folder);
        }
        assert_eq!(notifier.counts(), (4, 0));
        for folder in folders {
            let file = folder.join("x.csv");
            fs::write(&file, "x").expect("writes");
            let tells = || messages.recv_timeout(std::time::Duration::from_secs(20)).expect("an event");
            while !matches!(tells(), Message::Hint(path, _) if path == file) {}
        }
    }

    #[test]
    fn hints_that_find_no_room_and_events_without_a_path_ask_for_a_scan() {
        let (inbox, _messages) = std::sync::mpsc::sync_channel(1);
        let hints = Hints { inbox, lost: Arc::default(), counts: Arc::default() };
        let event = || Ok(Event::new(EventKind::Create(CreateKind::File)).add_path(PathBuf::from("a")));
        hints.handle(event(), &mut None);
        assert!(!hints.lost.swap(false, Ordering::AcqRel));
        hints.handle(event(), &mut None);
        assert!(hints.lost.swap(false, Ordering::AcqRel), "the inbox was full");
        hints.handle(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), &mut None);
        assert!(hints.lost.load(Ordering::Acquire));
    }
}
