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

    fn hold(&mut self, offer: &Offer, file: File) -> Hold {
        let identity = offer.identity;
        let is_same = |other: &FileIdentity| *other != identity && other.same_content(&identity);
        if let Some((_, held)) = self.open.iter_mut().find(|(other, _)| is_same(other)) {
            held.again = Some(offer.clone());
            return Hold::Known;
        }
        if self.remembered.iter().any(|other| other.told == Told::Read && is_same(&other.identity)) {
            return Hold::Known;
        }
        for other in self.remembered.iter_mut().filter(|other| other.identity == identity) {
            if let Told::Gone { is_back, .. } = &mut other.told {
                *is_back = true; // not everywhere a rename changes something
            }
        }
        if self.open.len() >= HELD_MAX {
            return Hold::NoRoom;
        }
        self.open.insert(identity, Held { file, offer: offer.clone(), again: None });
        self.remember(identity, Told::Read);
        Hold::Held
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
        lock(&self.files).hold(offer, file)
    }

    /// This job tells of a file that nobody reads.
    pub(super) fn remember_gone(&self, identity: &FileIdentity, job: JobId) {
        lock(&self.files).remember(*identity, Told::Gone { job, is_back: false });
    }

    /// Whether an offer of it comes late: it was taken away, and told as gone, or to come again.
    pub(super) fn is_late(&self, identity: &FileIdentity) -> bool {
        let is_gone = |told| matches!(told, Told::Gone { is_back: false, .. });
        lock(&self.files).remembered.iter().any(|other| other.identity == *identity && is_gone(other.told))
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
        lock(&self.files).remembered.iter().any(|other| other.identity.same_content(identity))
    }

    /// Whether its content is read, or was, under an identity that is another by its rename alone.
    pub(super) fn knows_renamed(&self, identity: &FileIdentity) -> bool {
        let is_it = |other: &Remembered| {
            other.told == Told::Read && other.identity != *identity && other.identity.same_content(identity)
        };
        lock(&self.files).remembered.iter().any(is_it)
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

    /// Its job ends early, and tells it as gone until it comes again: before its row says so, else late offers of it would be taken. Where it
    /// came already, and was taken away, that is to be offered once the row does.
    pub(super) fn give_back(&self, identity: &FileIdentity, job: JobId) -> Option<Offer> {
        let mut files = lock(&self.files);
        let Held { file, again, .. } = files.drop_read(identity)?;
        files.remember(*identity, Told::Gone { job, is_back: false });
        again.filter(|again| files.hold(again, file) == Hold::Held)
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
        assert!(held.knows(&offer.identity) && !held.knows_renamed(&offer.identity));
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
        held.remember_gone(&first.identity, job());
        let again = renamed(&first);
        assert!(held.knows(&again.identity) && !held.knows_renamed(&again.identity));
        assert!(held.is_late(&first.identity) && !held.is_late(&again.identity));
        assert_eq!(held.hold(&again, opened(&world)), Hold::Held);
        assert_eq!((held.came_again(&again.identity), held.came_again(&again.identity)), (Some(job()), None));
        held.remember_gone(&first.identity, job());
        held.forget_unread(&again.identity);
        assert_eq!(held.hold(&first, opened(&world)), Hold::Held);
        assert!(!held.is_late(&first.identity), "it is there again, and looks as it was");
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
        assert_eq!(held.give_back(&first.identity, job()), Some(again.clone()));
        assert_eq!(held.held_since(&first.identity), None);
        assert!(held.is_told_gone_by(job()) && held.offer(again.clone()));
        assert_eq!(offers.try_recv().expect("is offered"), std::slice::from_ref(&again));
        assert!(held.has(&again.identity) && !held.has(&first.identity));
        assert!(!held.knows_renamed(&again.identity), "nobody takes it for one that was read");
        held.forget(&again.identity);
        assert_eq!(held.hold(&renamed(&again), opened(&world)), Hold::Known, "it was read to its end");
    }
}
