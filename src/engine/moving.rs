//! Moving a claimed source, and what belongs to it, to where its row says.
//!
//! The row has the new name durably before anything is moved: a restart finds the source on either side of the rename. Where that name is
//! taken meanwhile, another one is chosen and made durable first. Over file systems the row also has which file is the copy, before that gets
//! the name: several jobs may have planned one name, and their sources may be alike.

use std::path::{Path, PathBuf};

use super::disk_space::DiskSpace;
use super::free_name::free_name;
use super::source;
use super::trouble::Trouble;
use crate::durable_fs::{self, FolderRound, Moved, Moving, Presence};
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::ArchiveOwner;
use crate::store::Store;

/// Chooses names in `folder` for what belongs to the source.
pub(super) fn plan_companions(folder: &Path, job: &mut Job) {
    for companion in &mut job.source.companions {
        companion.retired_to = free_name(folder, companion.path.as_path(), 0).ok().map(OsText::from);
        companion.copied_as = None; // that was on the way to another name
    }
}

/// Moves the claimed source to `job.retired_to`; where that name is taken meanwhile, `choose` gives another, which is durable
/// before it is used. A source that is gone was moved before a crash. Not durable before [`sync_moved`].
pub(super) fn move_source(
    store: &Store,
    disk_space: &DiskSpace,
    job: &mut Job,
    owner: ArchiveOwner,
    choose: impl Fn(&Job) -> Result<PathBuf, Trouble>,
) -> Result<(), Trouble> {
    let Some(claimed) = job.source.claimed.clone() else { return Ok(()) };
    if !job.source.is_copied && durable_fs::has_other_names(claimed.as_path())? {
        let (id, path) = (job.id, &job.source.path);
        tracing::warn!(job = %id, %path, "the source has a second name somewhere, by which it could be changed: a copy of it is kept");
        job.source.is_copied = true;
        store.change().job(job).apply()?;
    }
    loop {
        let Some(target) = job.retired_to.clone() else {
            job.retired_to = Some(choose(job)?.into());
            store.change().job(job).apply()?;
            store.sync()?;
            continue;
        };
        let folder = durable_fs::parent_of(target.as_path());
        durable_fs::make_folder(folder, false)?;
        let may_copy = |bytes| disk_space.check_copy(folder, bytes);
        let how = Moving {
            always_copies: job.source.is_copied,
            copied_as: job.source.copied_as,
            keeps_owner: owner == ArchiveOwner::Sender,
            may_copy: &may_copy,
        };
        match durable_fs::move_by(claimed.as_path(), target.as_path(), how)? {
            Moved::Done => return Ok(()),
            Moved::Missing => return was_moved(job, &claimed, &target),
            Moved::NameTaken => (job.retired_to, job.source.copied_as) = (None, None),
            Moved::Copied(copy) => {
                job.source.copied_as = Some(copy);
                store.change().job(job).apply()?;
                store.sync()?;
            }
        }
    }
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

/// Moves a source's companions to where its row says, in the folder where it went; those that are gone were moved before a crash, or
/// belong to a newer source. Not durable before [`sync_moved`].
pub(super) fn move_companions(
    store: &Store,
    disk_space: &DiskSpace,
    job: &mut Job,
    owner: ArchiveOwner,
    folder: &Path,
) -> Result<(), Trouble> {
    for position in 0..job.source.companions.len() {
        let may_copy = |bytes| disk_space.check_copy(folder, bytes);
        while let Some(companion) = job.source.companions.get(position).cloned()
            && let Some(claimed) = companion.claimed
        {
            let how = Moving {
                always_copies: companion.is_copied,
                copied_as: companion.copied_as,
                keeps_owner: owner == ArchiveOwner::Sender,
                may_copy: &may_copy,
            };
            let moved = match &companion.retired_to {
                Some(target) => durable_fs::move_by(claimed.as_path(), target.as_path(), how)?,
                None => Moved::NameTaken,
            };
            let (retired_to, copied_as) = match moved {
                Moved::Done | Moved::Missing => break,
                Moved::Copied(copy) => (companion.retired_to, Some(copy)),
                Moved::NameTaken => (Some(free_name(folder, companion.path.as_path(), 0)?.into()), None),
            };
            if let Some(companion) = job.source.companions.get_mut(position) {
                (companion.retired_to, companion.copied_as) = (retired_to, copied_as);
            }
            store.change().job(job).apply()?;
            store.sync()?;
        }
    }
    Ok(())
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
    use crate::model::fault::FaultKind;

    fn moved(world: &World, job: &mut Job) -> Result<(), Trouble> {
        let folder = world.path("went");
        let choose = |job: &Job| free_name(&folder, job.source.path.as_path(), 0);
        move_source(
            &world.shared.store,
            &world.shared.resources.disk_space,
            job,
            ArchiveOwner::Service,
            choose,
        )
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
            let shared = &world.shared;
            let (store, disk_space) = (&shared.store, &shared.resources.disk_space);
            move_source(store, disk_space, job, ArchiveOwner::Service, choose).expect("moves");
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
}
