//! Moving a claimed source, and what belongs to it, to where its row says.
//!
//! The row has the new name durably before anything is moved: a restart finds the source on either side of the rename. Where that name is
//! taken meanwhile, another one is chosen and made durable first. Over file systems the row also has which file is the copy, before that gets
//! the name: several jobs may have planned one name, and their sources may be alike.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

use super::disk_space::DiskSpace;
use super::free_name::free_name;
use super::source;
use super::trouble::Trouble;
use crate::durable_fs::{self, Copied, FolderRound, FsError, Moved, Moving, OpenTo, Presence};
use crate::model::fault::FaultKind;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::ArchiveOwner;
use crate::store::Store;

/// How often a file is copied for one name. A copy that is not known again then would be made for ever.
const COPIES_MAX: u32 = 2;

/// Chooses names in `folder` for what belongs to the source.
pub(super) fn plan_companions(folder: &Path, job: &mut Job) {
    for companion in &mut job.source.companions {
        companion.retire_to(free_name(folder, companion.path.as_path(), 0).ok().map(OsText::from));
    }
}

/// Moves files of jobs to where their rows say.
pub(super) struct Mover<'a> {
    store: &'a Store,
    disk_space: &'a DiskSpace,
    owner: ArchiveOwner,
    move_by: fn(&Path, &Path, Moving<'_>) -> Result<Moved, FsError>,
}

/// A file of a job.
#[derive(Clone, Copy)]
enum Part {
    Source,
    Companion(usize),
}

/// Where it is, and where it goes.
struct Leg {
    claimed: OsText,
    retired_to: Option<OsText>,
    is_copied: bool,
    copied_as: Option<FileIdentity>,
}

/// What became of it.
enum Arrived {
    Here,
    /// It was not there to be moved.
    Missing(Leg),
}

/// The copies that are made of a file for one name.
#[derive(Default)]
struct Copies {
    made: Option<Copied>,
    count: u32,
}

/// Senders get to what stays theirs.
pub(crate) fn archive_opens_to(owner: ArchiveOwner) -> OpenTo {
    if owner == ArchiveOwner::Sender { OpenTo::All } else { OpenTo::Group }
}

impl<'a> Mover<'a> {
    pub(super) fn new(store: &'a Store, disk_space: &'a DiskSpace, owner: ArchiveOwner) -> Self {
        Self { store, disk_space, owner, move_by: durable_fs::move_by }
    }

    /// Of folders that are made.
    pub(super) fn opens_to(&self) -> OpenTo {
        archive_opens_to(self.owner)
    }

    /// Moves the claimed source to `job.retired_to`; where that name is taken meanwhile, `choose` gives another, which is durable
    /// before it is used. A source that is gone was moved before a crash. Not durable before [`sync_moved`].
    pub(super) fn move_source(
        &self,
        job: &mut Job,
        choose: impl Fn(&Job) -> Result<PathBuf, Trouble>,
    ) -> Result<(), Trouble> {
        let Some(claimed) = &job.source.claimed else { return Ok(()) };
        if !job.source.is_copied && durable_fs::has_other_names(claimed.as_path())? {
            let (id, path) = (job.id, &job.source.path);
            tracing::warn!(job = %id, %path, "the source has a second name somewhere, by which it could be changed: a copy of it is kept");
            job.source.is_copied = true;
            self.store.change().job(job).apply()?;
        }
        match self.go(job, Part::Source, choose)? {
            Arrived::Missing(Leg { claimed, retired_to: Some(target), .. }) => {
                was_moved(job, &claimed, &target)
            }
            _ => Ok(()),
        }
    }

    /// Moves a source's companions to where its row says, in the folder where it went; those that are gone were moved before a crash, or
    /// belong to a newer source. Not durable before [`sync_moved`].
    pub(super) fn move_companions(&self, job: &mut Job, folder: &Path) -> Result<(), Trouble> {
        for position in 0..job.source.companions.len() {
            let choose = |job: &Job| {
                let companion = job.source.companions.get(position);
                let path = companion.map_or(job.source_path(), |companion| &companion.path);
                free_name(folder, path.as_path(), 0)
            };
            self.go(job, Part::Companion(position), choose)?;
        }
        Ok(())
    }

    fn go(
        &self,
        job: &mut Job,
        part: Part,
        choose: impl Fn(&Job) -> Result<PathBuf, Trouble>,
    ) -> Result<Arrived, Trouble> {
        let mut copies = Copies::default();
        while let Some(leg) = part.leg(job) {
            let Some(target) = &leg.retired_to else {
                let chosen = choose(job)?;
                part.retire_to(job, Some(chosen.into()));
                self.write_down(job)?;
                continue;
            };
            match self.try_move(&leg, target.as_path(), &copies)? {
                Moved::Done => break,
                Moved::Missing => return Ok(Arrived::Missing(leg)),
                Moved::NameTaken => {
                    part.retire_to(job, None);
                    copies = Copies::default();
                }
                Moved::Copied(made) => {
                    copies = Copies { made: Some(made), count: copies.count + 1 };
                    part.note_copy(job, made.copy);
                    self.write_down(job)?;
                }
            }
        }
        Ok(Arrived::Here)
    }

    fn try_move(&self, leg: &Leg, target: &Path, copies: &Copies) -> Result<Moved, Trouble> {
        let folder = durable_fs::parent_of(target);
        durable_fs::make_folder(folder, self.opens_to())?;
        let is_unknown = Cell::new(false);
        let may_copy = |bytes| {
            is_unknown.set(copies.count >= COPIES_MAX);
            if is_unknown.get() {
                return Err(io::Error::other("its copy is not known again"));
            }
            self.disk_space.check_copy(folder, bytes)
        };
        let how = Moving {
            always_copies: leg.is_copied,
            copied_as: leg.copied_as,
            made: copies.made,
            keeps_owner: self.owner == ArchiveOwner::Sender,
            may_copy: &may_copy,
        };
        (self.move_by)(leg.claimed.as_path(), target, how)
            .map_err(|error| if is_unknown.get() { unknown_copy(&leg.claimed, folder) } else { error.into() })
    }

    fn write_down(&self, job: &Job) -> Result<(), Trouble> {
        self.store.change().job(job).apply()?;
        Ok(self.store.sync()?)
    }
}

impl Part {
    fn leg(self, job: &Job) -> Option<Leg> {
        let source = &job.source;
        match self {
            Self::Source => Some(Leg {
                claimed: source.claimed.clone()?,
                retired_to: job.retired_to.clone(),
                is_copied: source.is_copied,
                copied_as: source.copied_as,
            }),
            Self::Companion(position) => source.companions.get(position).and_then(|companion| {
                Some(Leg {
                    claimed: companion.claimed.clone()?,
                    retired_to: companion.retired_to.clone(),
                    is_copied: companion.is_copied,
                    copied_as: companion.copied_as,
                })
            }),
        }
    }

    fn retire_to(self, job: &mut Job, target: Option<OsText>) {
        match self {
            Self::Source => job.retire_to(target),
            Self::Companion(position) => {
                if let Some(companion) = job.source.companions.get_mut(position) {
                    companion.retire_to(target);
                }
            }
        }
    }

    fn note_copy(self, job: &mut Job, copy: FileIdentity) {
        match self {
            Self::Source => job.source.note_copy(copy),
            Self::Companion(position) => {
                if let Some(companion) = job.source.companions.get_mut(position) {
                    companion.note_copy(copy);
                }
            }
        }
    }
}

/// Where a file has another number and another time at each look, no copy can be told from another's after a crash.
fn unknown_copy(claimed: &OsText, folder: &Path) -> Trouble {
    let folder = OsText::from(folder);
    let message = format!(
        "{claimed} was copied into {folder} {COPIES_MAX} times, and the copy was another file each time it was looked at"
    );
    let hint = format!(
        "see that the file system of {folder} gives a file the same inode number and time at each look (FUSE: `use_ino`; SMB: not \
         `noserverino`); the job goes on by itself"
    );
    Trouble::new(FaultKind::Storage, message, Some(&hint))
}

/// A source that is gone from its claimed name was moved before a crash: it lies under its new name, or somebody took it from there.
/// Where its folder is away, nothing can be said yet.
fn was_moved(job: &Job, claimed: &OsText, target: &OsText) -> Result<(), Trouble> {
    // What cannot be looked at is out of reach: then nothing can be said yet.
    if durable_fs::kind_at(target.as_path()).is_ok_and(|kind| kind.is_some()) {
        return Ok(());
    }
    let is_gone_there =
        durable_fs::presence(target.as_path()).is_ok_and(|seen| matches!(seen, Presence::Gone(_)));
    if is_gone_there && source::is_gone(job, source::ask_folder(claimed)?) {
        tracing::warn!(source = %target, "somebody took the source away after it was moved");
        return Ok(());
    }
    let message = format!("the source lies neither at {claimed} nor at {target}");
    let hint = "mount the file system it lies on; the job goes on by itself";
    Err(Trouble::not_mounted(message, hint))
}

/// Makes durable where a source and its companions went. For all jobs of a batch before [`sync_left`]: a claim folder may be that of others
/// of them, and no source that arrived may be gone from both.
pub(super) fn sync_arrived(job: &Job, round: &mut FolderRound) -> Result<(), Trouble> {
    let went = job.retired_to.as_ref().filter(|_| job.source.claimed.is_some());
    Ok(went.map_or(Ok(()), |target| round.sync(durable_fs::parent_of(target.as_path())))?)
}

/// Makes durable that a source and its companions left their claim folder: else a power cut could bring them back.
pub(super) fn sync_left(job: &Job, round: &mut FolderRound) -> Result<(), Trouble> {
    let claimed = job.source.claimed.as_ref();
    Ok(claimed.map_or(Ok(()), |claimed| round.sync(durable_fs::parent_of(claimed.as_path())))?)
}

/// [`sync_arrived`] and [`sync_left`] for a job by itself.
pub(super) fn sync_moved(job: &Job) -> Result<(), Trouble> {
    let mut round = FolderRound::default();
    sync_arrived(job, &mut round)?;
    sync_left(job, &mut round)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};
    use crate::engine::trouble::Reaction;
    use crate::model::job::Companion;

    fn mover(world: &World) -> Mover<'_> {
        let shared = &world.shared;
        Mover::new(&shared.store, &shared.resources.disk_space, ArchiveOwner::Service)
    }

    fn moved(world: &World, job: &mut Job) -> Result<(), Trouble> {
        let folder = world.path("went");
        let choose = |job: &Job| free_name(&folder, job.source.path.as_path(), 0);
        mover(world).move_source(job, choose)
    }

    #[test]
    fn where_the_planned_name_is_taken_meanwhile_another_one_is_in_the_row_before_the_move() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        job.retired_to = Some(world.path("went/pay.txt").into());
        std::fs::create_dir(world.path("went")).expect("makes");
        std::fs::write(world.path("went/pay.txt"), "somebody else's").expect("writes");
        moved(&world, &mut job).expect("moves");
        assert_eq!(std::fs::read_to_string(world.path("went/pay.txt-1")).expect("is there"), "1\n");
        assert_eq!(world.row(&job).expect("is there").retired_to, Some(world.path("went/pay.txt-1").into()));
        assert_eq!(std::fs::read_to_string(world.path("went/pay.txt")).expect("is there"), "somebody else's");
    }

    #[test]
    fn a_move_that_a_crash_came_after_is_done_and_one_whose_folder_is_away_waits() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        moved(&world, &mut job).expect("moves");
        moved(&world, &mut job).expect("was moved");
        durable_fs::remove_file(&world.path("went/pay.txt")).expect("somebody takes it");
        moved(&world, &mut job).expect("was taken away after it was moved");
        durable_fs::rename_replace(&world.path("in/.landfall"), &world.path("away")).expect("unmounts");
        let trouble = moved(&world, &mut job).expect_err("nothing can be said yet");
        assert_eq!(trouble.error.kind, FaultKind::Storage);
    }

    #[test]
    fn a_source_with_a_second_name_is_copied_so_that_nobody_changes_it_by_that() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        std::fs::hard_link(world.claimed(), world.path("second")).expect("links");
        moved(&world, &mut job).expect("moves");
        std::fs::write(world.path("second"), "changed").expect("writes");
        assert_eq!(std::fs::read_to_string(world.path("went/pay.txt")).expect("is there"), "1\n");
        assert!(world.row(&job).is_some_and(|row| row.source.is_copied) && !is_there(&world.claimed()));
    }

    /// Goal: of files that are alike, and planned for one name, each is archived by itself.
    #[test]
    fn sources_that_are_alike_do_not_become_one_file_over_file_systems() {
        let world = World::new();
        let went = world.path("went");
        let mut jobs = [world.job(), world.second_job("b.txt")];
        std::fs::create_dir_all(world.path("in/.landfall")).expect("makes");
        for job in &mut jobs {
            let claimed = world.path("in/.landfall").join(job.id.to_string());
            std::fs::write(&claimed, "alike").expect("writes");
            let file = std::fs::File::options().write(true).open(&claimed).expect("opens");
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("sets it");
            job.source.claimed = Some(claimed.into());
            // As over file systems.
            job.source.is_copied = true;
            job.retired_to = Some(went.join("pay.txt").into());
        }
        let choose = |job: &Job| {
            free_name(&went, Path::new("pay.txt"), 0).inspect(|_| assert!(job.source.copied_as.is_none()))
        };
        for job in &mut jobs {
            mover(&world).move_source(job, choose).expect("moves");
        }
        let [one, other] = jobs.map(|job| (world.row(&job).expect("is there").retired_to, job.retired_to));
        assert_eq!((&one.0, &other.0), (&one.1, &other.1), "the rows say it");
        assert_eq!(
            (one.1, other.1),
            (Some(went.join("pay.txt").into()), Some(went.join("pay.txt-1").into()))
        );
        let files = std::fs::read_dir(&went).expect("is listed").count();
        assert_eq!(files, 2, "one to each");
    }

    /// A file system where what was looked at is another file at the next look.
    fn odd(from: &Path, to: &Path, how: Moving<'_>) -> Result<Moved, FsError> {
        let another = |copy: FileIdentity| FileIdentity { inode: !copy.inode, mtime_ns: 0, ..copy };
        durable_fs::move_by(from, to, Moving { copied_as: how.copied_as.map(another), ..how })
    }

    #[test]
    fn a_file_whose_copy_is_another_at_each_look_is_not_copied_for_ever_and_keeps_its_source() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        let marker = world.path("in/.landfall/marker");
        std::fs::write(&marker, "done").expect("writes");
        job.source.is_copied = true;
        let identity = durable_fs::identity_at(&marker).expect("looks").expect("is there");
        let mut companion = Companion::found(world.path("in/pay.txt.done"), identity);
        (companion.claimed, companion.is_copied) = (Some(marker.clone().into()), true);
        job.source.companions = vec![companion];
        let went = world.path("went");
        let odd = Mover { move_by: odd, ..mover(&world) };
        let choose = |job: &Job| free_name(&went, job.source.path.as_path(), 0);
        let of_source = odd.move_source(&mut job, choose).expect_err("nothing is known again");
        let of_companion = odd.move_companions(&mut job, &went).expect_err("nothing is known again");
        for (trouble, file) in [(of_source, world.claimed()), (of_companion, marker)] {
            let (error, said) = (&trouble.error, trouble.error.to_string());
            assert_eq!(
                (error.kind, trouble.reaction),
                (FaultKind::Storage, Reaction::ByKind),
                "it is tried again"
            );
            assert!(said.contains(&*file.to_string_lossy()) && said.contains("2 times"), "{said}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("went")), "{error:?}");
            assert!(is_there(&file));
        }
        assert_eq!(std::fs::read_dir(&went).expect("is listed").count(), 0, "nothing half is left");
        let choose = |job: &Job| free_name(&went, job.source.path.as_path(), 0);
        mover(&world).move_source(&mut job, choose).expect("once it is mounted otherwise");
        mover(&world).move_companions(&mut job, &went).expect("so does that");
        assert_eq!(std::fs::read_dir(&went).expect("is listed").count(), 2);
    }
}
