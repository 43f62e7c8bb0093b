//! Sources that somebody in this process is about to take away from where they lie: an engine that stands aside reads them by what is open of
//! them. What a live rule claims is told to it before the rename.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock};

use super::lock;
use crate::model::identity::FileIdentity;
use crate::model::job_id::JobId;
use crate::watch::Offer;

/// Files that are open at once. What comes beyond it is gone for who stands aside, and told so.
pub(super) const HELD_MAX: usize = 256;

/// Is told of files, which still lie where they were found, before a live rule's claims rename them.
pub(crate) type TellClaims = Box<dyn Fn(&[(&Path, FileIdentity)]) + Send + Sync>;

/// Files that are remembered beyond their end: the watch may see them only then.
const REMEMBERED_MAX: usize = 4096;

/// Locks for itself.
#[derive(Default)]
pub(super) struct HeldSources {
    files: Mutex<Files>,
    /// Who is told of claims, for the one that claims.
    pub tell: Option<TellClaims>,
    /// Who makes jobs of them, for the one that stands aside.
    pub intake: OnceLock<SyncSender<Vec<Offer>>>,
    /// Each thread that opens files has one, and longer than it wants where it hangs.
    pub openers: Arc<()>,
}

#[derive(Default)]
struct Files {
    open: HashMap<FileIdentity, Held>,
    /// Those of which a row tells.
    remembered: VecDeque<Remembered>,
}

struct Held {
    file: File,
    offer: Offer,
    /// The same content came back to where it lay, and is taken from there again.
    again: Option<Offer>,
}

struct Remembered {
    identity: FileIdentity,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// By a job that reads it, or did.
    Read,
    /// By one that says that it is gone, which is no longer so once it comes again. Its offers that are under way are late.
    Gone { job: JobId, is_back: bool },
}

/// What the end of a job that ends early finds of its file, and what tells of it from then on.
#[derive(Debug, PartialEq)]
pub(super) struct EndedEarly {
    /// It was held: this job tells it as gone until it comes again.
    pub was_held: bool,
    /// It came already, and was taken away: that is to be offered once the row has the job's end.
    pub again: Option<Offer>,
}

/// What became of a file that is to be held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Held,
    /// Its content is being read, or was.
    Known,
    NoRoom,
}

impl Files {
    fn remember(&mut self, identity: FileIdentity, told: Told) {
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(Remembered { identity, told });
    }

    /// Takes the file where it is held. Else it is the caller's to close, without the lock: a close may hang.
    fn hold(&mut self, offer: &Offer, file: &mut Option<File>) -> Hold {
        let identity = offer.identity;
        let is_same = |other: &FileIdentity| *other != identity && other.same_content(&identity);
        if let Some((_, held)) = self.open.iter_mut().find(|(other, _)| is_same(other)) {
            held.again = Some(offer.clone());
            return Hold::Known;
        }
        if self.remembered.iter().any(|other| other.told == Told::Read && is_same(&other.identity)) {
            return Hold::Known;
        }
        if self.open.len() >= HELD_MAX {
            return Hold::NoRoom;
        }
        for other in self.remembered.iter_mut().filter(|other| other.identity == identity) {
            if let Told::Gone { is_back, .. } = &mut other.told {
                *is_back = true; // not everywhere a rename changes something
            }
        }
        if let Some(file) = file.take() {
            self.open.insert(identity, Held { file, offer: offer.clone(), again: None });
        }
        self.remember(identity, Told::Read);
        Hold::Held
    }

    fn knows_renamed(&self, identity: &FileIdentity) -> bool {
        let is_it = |other: &FileIdentity| other != identity && other.same_content(identity);
        let is_read = |other: &Remembered| other.told == Told::Read && is_it(&other.identity);
        self.open.keys().any(is_it) || self.remembered.iter().any(is_read)
    }

    fn is_late(&self, identity: &FileIdentity) -> bool {
        let is_gone = |told| matches!(told, Told::Gone { is_back: false, .. });
        self.remembered.iter().any(|other| other.identity == *identity && is_gone(other.told))
    }

    /// No job reads it any more.
    fn drop_read(&mut self, identity: &FileIdentity) -> Option<Held> {
        let is_it = |other: &Remembered| other.told == Told::Read && other.identity.same_content(identity);
        self.remembered.retain(|other| !is_it(other));
        self.open.remove(identity)
    }
}

impl HeldSources {
    /// Holds a file for a job that is to be made of it.
    pub(super) fn hold(&self, offer: &Offer, file: File) -> Hold {
        let mut file = Some(file);
        let hold = lock(&self.files).hold(offer, &mut file);
        drop(file); // without the lock
        hold
    }

    /// This job is going to tell of a file that nobody reads. False: another one does already, and no job was made of it since.
    pub(super) fn tell_gone(&self, identity: &FileIdentity, job: JobId) -> bool {
        let mut files = lock(&self.files);
        let known = files.remembered.iter_mut().filter(|other| other.identity.same_content(identity));
        let told = known.map(|other| &mut other.told).find(|told| **told != Told::Read);
        if let Some(Told::Gone { is_back, .. }) = told {
            *is_back = false;
            return false;
        }
        files.remember(*identity, Told::Gone { job, is_back: false });
        true
    }

    /// Whether an offer of it comes to nothing: it is read, or was, as it was before a rename; or it comes late, of a file that was taken away
    /// and is told as gone, or to come again.
    pub(super) fn is_told(&self, identity: &FileIdentity) -> bool {
        let files = lock(&self.files);
        files.knows_renamed(identity) || files.is_late(identity)
    }

    /// Lets go of what is held, if it is told without.
    pub(super) fn forget_told(&self, identity: &FileIdentity) -> bool {
        let mut files = lock(&self.files);
        let is_told = files.knows_renamed(identity) || files.is_late(identity);
        let held = if is_told { files.open.remove(identity) } else { None };
        drop(files);
        drop(held); // without the lock: a close may hang
        is_told
    }

    /// The job that told a file as gone of which there is a job again.
    pub(super) fn came_again(&self, identity: &FileIdentity) -> Option<JobId> {
        let mut files = lock(&self.files);
        let told = files.remembered.iter().enumerate().find_map(|(at, other)| match other.told {
            Told::Gone { job, .. } if other.identity.same_content(identity) => Some((at, job)),
            _ => None,
        });
        let (at, job) = told?;
        files.remembered.remove(at);
        Some(job)
    }

    pub(super) fn has(&self, identity: &FileIdentity) -> bool {
        lock(&self.files).open.contains_key(identity)
    }

    /// Whether a row tells of it, or will, as it was or renamed: a rename changes its ctime, and for a moment the file has its old name.
    pub(super) fn knows(&self, identity: &FileIdentity) -> bool {
        let files = lock(&self.files);
        let mut known = files.open.keys().chain(files.remembered.iter().map(|other| &other.identity));
        known.any(|other| other.same_content(identity))
    }

    /// The file, from its beginning, if it is held. One reader at a time: they share their place.
    pub(super) fn open(&self, identity: &FileIdentity) -> Option<io::Result<File>> {
        let file = lock(&self.files).open.get(identity)?.file.try_clone();
        Some(file.and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        }))
    }

    /// Its job ended, and tells of it.
    pub(super) fn forget(&self, identity: &FileIdentity) {
        let held = lock(&self.files).open.remove(identity);
        drop(held); // without the lock: a close may hang
    }

    /// No job was made of it, so that nothing tells of it.
    pub(super) fn forget_unread(&self, identity: &FileIdentity) {
        let held = lock(&self.files).drop_read(identity);
        drop(held);
    }

    /// Its job ends early. Decided at once, and before its row says so: what is held is told as gone by this job until it comes again, else
    /// late offers of it would be taken; so is what it found to be gone (`is_gone`), or who opened it just before would tell of it, too.
    pub(super) fn end_early(&self, identity: &FileIdentity, job: JobId, is_gone: bool) -> EndedEarly {
        let mut files = lock(&self.files);
        let Some(Held { file, again, .. }) = files.drop_read(identity) else {
            if is_gone && self.intake.get().is_some() {
                files.remember(*identity, Told::Gone { job, is_back: false });
            }
            return EndedEarly { was_held: false, again: None };
        };
        files.remember(*identity, Told::Gone { job, is_back: false });
        let mut file = Some(file);
        let again = again.filter(|again| files.hold(again, &mut file) == Hold::Held);
        drop(files);
        drop(file); // without the lock
        EndedEarly { was_held: true, again }
    }

    /// What was held for a job that had let go of it by then, as it was before: is it to be offered once more? Who offered it found it to be
    /// that job's.
    pub(super) fn held_since(&self, identity: &FileIdentity) -> Option<Offer> {
        lock(&self.files).open.get(identity).map(|held| held.offer.clone())
    }

    /// Whether nothing came again of what this job tells as gone.
    pub(super) fn is_told_gone_by(&self, id: JobId) -> bool {
        let is_it = |told| matches!(told, Told::Gone { job, .. } if job == id);
        lock(&self.files).remembered.iter().any(|other| is_it(other.told))
    }

    /// Whether a job is going to be made of it.
    pub(super) fn offer(&self, offer: Offer) -> bool {
        self.intake.get().is_some_and(|intake| intake.try_send(vec![offer]).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::durable_fs;
    use crate::engine::tests::World;

    fn job() -> JobId {
        JobId::from_parts(1, 1)
    }

    fn offer(world: &World) -> Offer {
        let identity = durable_fs::identity_at(&world.source()).expect("looks").expect("a file");
        Offer::going(&world.rule(), &world.source(), identity, std::collections::BTreeMap::new())
    }

    /// The same as it is after renames.
    fn renamed(offer: &Offer) -> Offer {
        let identity = FileIdentity { ctime_ns: offer.identity.ctime_ns + 1, ..offer.identity };
        Offer { identity, ..offer.clone() }
    }

    fn opened(world: &World) -> File {
        File::open(world.source()).expect("opens")
    }

    #[test]
    fn what_is_held_is_read_from_its_beginning_each_time_also_when_its_name_is_gone() {
        let world = World::new();
        let (held, offer) = (HeldSources::default(), offer(&world));
        assert!(held.open(&offer.identity).is_none());
        assert_eq!(held.hold(&offer, opened(&world)), Hold::Held);
        let whole = std::fs::read_to_string(world.source()).expect("reads");
        durable_fs::remove_file(&world.source()).expect("removes");
        for _ in 0..2 {
            let mut text = String::new();
            let mut file = held.open(&offer.identity).expect("is held").expect("opens");
            file.read_to_string(&mut text).expect("reads");
            assert_eq!(text, whole);
        }
        assert!(held.knows(&offer.identity) && !held.is_told(&offer.identity));
        held.forget(&offer.identity);
        assert!(!held.has(&offer.identity) && held.knows(&offer.identity), "the watch may see it only now");
    }

    #[test]
    fn a_file_without_a_job_is_known_no_more_and_one_that_is_told_as_gone_may_be_read_when_it_comes_again() {
        let world = World::new();
        let (held, first) = (HeldSources::default(), offer(&world));
        held.hold(&first, opened(&world));
        held.forget_unread(&first.identity);
        assert!(!held.has(&first.identity) && !held.knows(&first.identity));
        assert!(held.tell_gone(&first.identity, job()));
        let again = renamed(&first);
        assert!(!held.tell_gone(&again.identity, JobId::from_parts(2, 2)), "another job tells of it");
        assert!(
            held.knows(&again.identity) && held.is_told(&first.identity) && !held.is_told(&again.identity)
        );
        assert_eq!(held.hold(&again, opened(&world)), Hold::Held);
        assert_eq!((held.came_again(&again.identity), held.came_again(&again.identity)), (Some(job()), None));
        assert!(held.tell_gone(&first.identity, job()));
        held.forget_unread(&again.identity);
        assert_eq!(held.hold(&first, opened(&world)), Hold::Held);
        assert!(!held.forget_told(&first.identity), "it is there again, and looks as it was");
        assert!(held.has(&first.identity));
    }

    #[test]
    fn a_file_that_comes_back_while_it_is_read_is_read_again_where_it_ended_early_and_else_once() {
        let world = World::new();
        let held = HeldSources::default();
        let (intake, offers) = sync_channel(1);
        held.intake.set(intake).expect("there is none");
        let first = offer(&world);
        let again = renamed(&first);
        held.hold(&first, opened(&world));
        assert_eq!(held.hold(&again, opened(&world)), Hold::Known, "the same content");
        assert_eq!(held.held_since(&first.identity), Some(first.clone()));
        let ended = held.end_early(&first.identity, job(), false);
        assert_eq!(ended, EndedEarly { was_held: true, again: Some(again.clone()) });
        assert_eq!(held.held_since(&first.identity), None);
        assert!(held.is_told_gone_by(job()) && held.offer(again.clone()));
        assert_eq!(offers.try_recv().expect("is offered"), std::slice::from_ref(&again));
        assert!(held.has(&again.identity) && !held.has(&first.identity));
        assert!(!held.is_told(&again.identity), "nobody takes it for one that was read");
        held.forget(&again.identity);
        assert_eq!(held.hold(&renamed(&again), opened(&world)), Hold::Known, "it was read to its end");
    }

    #[test]
    fn what_a_job_found_to_be_gone_it_tells_until_it_is_held_and_only_beside_who_claims() {
        let world = World::new();
        let first = offer(&world);
        let held = HeldSources::default();
        assert!(!held.end_early(&first.identity, job(), true).was_held);
        assert!(!held.is_told(&first.identity), "nobody claims beside this one: it may come again as it was");
        held.intake.set(sync_channel(1).0).expect("there is none");
        assert!(!held.end_early(&first.identity, job(), true).was_held);
        assert!(held.is_told(&first.identity));
        assert_eq!(held.hold(&first, opened(&world)), Hold::Held);
        assert_eq!(held.came_again(&first.identity), Some(job()));
    }

    #[test]
    fn a_file_that_is_not_held_is_closed_by_who_has_no_lock() {
        let world = World::new();
        let (mut files, offer) = (Files::default(), offer(&world));
        let mut held = Some(opened(&world));
        assert_eq!((files.hold(&offer, &mut held), held.is_none()), (Hold::Held, true));
        let mut known = Some(opened(&world));
        assert_eq!((files.hold(&renamed(&offer), &mut known), known.is_some()), (Hold::Known, true));
        for inode in 1..HELD_MAX as u64 {
            let identity = FileIdentity { inode, device: 0, ..offer.identity };
            assert_eq!(
                files.hold(&Offer { identity, ..offer.clone() }, &mut Some(opened(&world))),
                Hold::Held
            );
        }
        let identity = FileIdentity { inode: 0, device: 0, ..offer.identity };
        let mut further = Some(opened(&world));
        let offer = Offer { identity, ..offer };
        assert_eq!((files.hold(&offer, &mut further), further.is_some()), (Hold::NoRoom, true));
    }

    #[test]
    fn a_file_that_finds_no_room_is_told_as_gone_once() {
        let world = World::new();
        let (held, first) = (HeldSources::default(), offer(&world));
        assert!(held.tell_gone(&first.identity, job()));
        for inode in 0..HELD_MAX as u64 {
            let identity = FileIdentity { inode, device: 0, ..first.identity };
            assert_eq!(held.hold(&Offer { identity, ..first.clone() }, opened(&world)), Hold::Held);
        }
        assert_eq!(held.hold(&first, opened(&world)), Hold::NoRoom);
        assert!(!held.tell_gone(&first.identity, JobId::from_parts(2, 2)));
    }
}
