//! The watching threads, one for the rules of each file system, so that one that hangs keeps only its own files from being seen; and the
//! intakes that take their offers, one for each set of file systems that a rule uses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::lock;
use super::trouble::Trouble;
use crate::model::file_known::FileSeen;
use crate::model::files_in_view::FilesInView;
use crate::model::rule::Rule;
use crate::model::watch_counts::WatchCounts;
use crate::watch::{Answer, Offer, Patience, Watch};

/// Where an intake is given offers.
pub(super) type Intake = SyncSender<Vec<Offer>>;

/// By the names of their file systems.
pub(super) type Intakes = HashMap<Arc<str>, Intake>;

/// Starts one more intake.
pub(super) type BeginIntake = Arc<dyn Fn() -> Result<Intake, Trouble> + Send + Sync>;

/// All of them. The lock is held for no call that may hang.
#[derive(Default)]
pub(super) struct Watches {
    watching: Mutex<Watching>,
    /// What was to be watched is not, such as for want of a thread: it is tried again.
    is_owed: AtomicBool,
}

/// A rule with the name of its file systems.
type Under = (Arc<Rule>, Option<Arc<str>>);

/// A watch, and what it was given.
pub(super) struct Watched {
    pub watch: Arc<Watch>,
    /// Below which the files of its rules lie.
    pub folders: Vec<PathBuf>,
    pub under: Vec<Under>,
}

impl Watched {
    /// Whether it has these rules already; those that an exchange left are the same in memory.
    pub(super) fn is_under(&self, rules: &[Under]) -> bool {
        let is_same = |(own, other): (&Under, &Under)| Arc::ptr_eq(&own.0, &other.0) && own.1 == other.1;
        self.under.len() == rules.len() && self.under.iter().zip(rules).all(is_same)
    }
}

/// None of either where nothing is watched (`ingest`).
#[derive(Default)]
pub(super) struct Watching {
    pub watches: Vec<Watched>,
    pub intakes: Intakes,
    pub begin_intake: Option<BeginIntake>,
}

impl Watches {
    pub(super) fn lock(&self) -> MutexGuard<'_, Watching> {
        lock(&self.watching)
    }

    /// Whether something is not watched that is to be; from now on it is as `owed` says.
    pub(super) fn set_owed(&self, owed: bool) -> bool {
        self.is_owed.swap(owed, Ordering::AcqRel)
    }

    /// As they are now.
    pub(super) fn all(&self) -> Vec<Arc<Watch>> {
        self.lock().watches.iter().map(|watched| Arc::clone(&watched.watch)).collect()
    }

    /// Tells the watch that sees this file, if there is one, what became of it.
    pub(super) fn answer(&self, path: &Path, answer: Answer) {
        let depth = |folders: &[PathBuf]| {
            let above = folders.iter().filter(|folder| path.starts_with(folder));
            above.map(|folder| folder.components().count()).max()
        };
        let watching = self.lock();
        let nearest =
            watching.watches.iter().filter_map(|watched| Some((depth(&watched.folders)?, &watched.watch)));
        if let Some((_, watch)) = nearest.max_by_key(|(depth, _)| *depth) {
            watch.answer(path, answer);
        }
    }

    /// Offers what was answered with [`Answer::Later`] again, now.
    pub(super) fn hasten(&self) {
        self.lock().watches.iter().for_each(|watched| watched.watch.hasten());
    }

    /// See [`Watch::seen`]; `patience` is for all together.
    pub(super) fn seen(&self, path: &Path, patience: Duration) -> Option<FileSeen> {
        let patience = Patience::from(patience);
        self.all().iter().find_map(|watch| watch.seen(path, patience))
    }

    /// What all of them count.
    pub(super) fn counts(&self) -> WatchCounts {
        self.all().iter().map(|watch| watch.counts()).fold(WatchCounts::default(), WatchCounts::plus)
    }

    /// See [`Watch::in_view`].
    pub(super) fn in_view(&self) -> FilesInView {
        self.all().iter().map(|watch| watch.in_view()).fold(FilesInView::default(), FilesInView::plus)
    }

    /// See [`Watch::waiting`]; `patience` is for all together, and so is the time for those that are busy.
    pub(super) fn waiting(&self, patience: Duration, files_max: Option<usize>) -> Vec<(PathBuf, String)> {
        self.waiting_for(patience.into(), files_max)
    }

    fn waiting_for(&self, patience: Patience, files_max: Option<usize>) -> Vec<(PathBuf, String)> {
        let mut waiting: Vec<_> =
            self.all().iter().flat_map(|watch| watch.waiting(patience, files_max)).collect();
        waiting.sort();
        waiting
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::engine::tests::World;
    use crate::model::identity::FileIdentity;

    /// Longer than any machine needs.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

    /// A watch of this folder, with its offers.
    pub(crate) fn watch_of(world: &World, folder: &str) -> (Watch, Receiver<Vec<Offer>>) {
        watch_asking(world, folder, |_, _| false)
    }

    /// The same; its thread asks this whether a file is kept.
    fn watch_asking(
        world: &World,
        folder: &str,
        is_kept: fn(&Path, &FileIdentity) -> bool,
    ) -> (Watch, Receiver<Vec<Offer>>) {
        let mut rule = Rule {
            paths: vec![world.path(folder).join("*").to_string_lossy().into_owned()].into(),
            ..(*world.rule()).clone()
        };
        rule.ready.stable_for = Duration::from_millis(50);
        let (sender, offers) = sync_channel(4);
        let watch = Watch::start(
            vec![Arc::new(rule)],
            Duration::from_hours(1),
            sender,
            crate::watch::Known::kept(is_kept),
            crate::watch::Content::NOTHING,
        );
        (watch.expect("starts"), offers)
    }

    /// Whether one of these watches was told this of the file.
    fn was_told(watches: &Watches, path: &Path, why: &str) -> bool {
        watches.waiting(PATIENCE, None).iter().any(|(file, reason)| file == path && reason.contains(why))
    }

    /// Goal: who asks is not kept waiting for each busy watch anew, and is told of the idle ones all the same.
    #[test]
    fn busy_watches_are_waited_for_together_and_an_idle_one_behind_them_is_heard() {
        static BUSY: Mutex<()> = Mutex::new(());
        const BUSY_FOR: Duration = Duration::from_secs(2);
        let kept_busy = BUSY.lock().expect("nobody has it");
        let world = World::new();
        let watches = Watches::default();
        let waits = |path: &Path, _: &FileIdentity| {
            if path.ends_with("pay.txt") {
                drop(BUSY.lock());
            }
            false
        };
        let mut offers = Vec::new();
        for (folder, name) in
            [("in/a", "pay.txt"), ("in/b", "pay.txt"), ("in/c", "pay.txt"), ("in/d", "idle.txt")]
        {
            std::fs::create_dir(world.path(folder)).expect("makes");
            std::fs::write(world.path(folder).join(name), "1\n").expect("writes");
            let (watch, offered) = watch_asking(&world, folder, waits);
            if name == "idle.txt" {
                offered.recv_timeout(PATIENCE).expect("is offered");
            }
            offers.push(offered);
            let folders = vec![world.path(folder)];
            watches.lock().watches.push(Watched { watch: watch.into(), folders, under: Vec::new() });
        }
        let begun = std::time::Instant::now();
        let waiting = watches.waiting_for(Patience::new(10 * BUSY_FOR, BUSY_FOR), None);
        let took = begun.elapsed();
        drop(kept_busy);
        let busy = waiting.iter().filter(|(_, reason)| reason.contains("the watch is busy")).count();
        assert_eq!((busy, waiting.len()), (3, 4), "{waiting:?}");
        assert!((BUSY_FOR..2 * BUSY_FOR).contains(&took), "{took:?}");
        watches.all().iter().for_each(|watch| watch.ask_to_stop());
    }

    #[test]
    fn an_answer_goes_to_the_watch_whose_folder_is_nearest_above_the_file() {
        let world = World::new();
        std::fs::create_dir(world.path("in/deep")).expect("makes");
        let path = world.path("in/deep/pay.txt");
        std::fs::write(&path, "1\n").expect("writes");
        let (outer, _) = watch_of(&world, "in");
        let (inner, offers) = watch_of(&world, "in/deep");
        let watches = Watches::default();
        let nearest_first = [(inner, vec![world.path("in/deep")]), (outer, vec![world.path("in")])];
        let entry =
            |(watch, folders): (Watch, _)| Watched { watch: watch.into(), folders, under: Vec::new() };
        watches.lock().watches.extend(nearest_first.map(entry));
        assert_eq!(offers.recv_timeout(PATIENCE).expect("an offer")[0].path, path);
        assert!(!was_told(&watches, &path, "no room"));
        watches.answer(&path, Answer::Later("no room".to_owned()));
        assert!(was_told(&watches, &path, "no room"), "{:?}", watches.waiting(PATIENCE, None));
        watches.hasten();
        assert_eq!(offers.recv_timeout(PATIENCE).expect("it is offered again")[0].path, path);
        watches.answer(&world.path("elsewhere/pay.txt"), Answer::Taken); // nobody's
        watches.all().iter().for_each(|watch| watch.ask_to_stop());
    }
}
