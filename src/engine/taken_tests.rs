//! Which file is whose, whatever name it has.

use super::*;
use crate::clock;
use crate::engine::tests::World;
use crate::model::job_state::JobEvent;
use crate::store::LedgerRow;

fn of_which(world: &World, link: &Path) -> Option<JobId> {
    let identity = durable_fs::identity_at(link).expect("looks").expect("a file");
    let found = world.shared.claims.taken.unfinished(&world.shared.store, link, &identity, 2, None);
    found.expect("asks").map(|taken| taken.job)
}

fn link(world: &World, name: &str) -> std::path::PathBuf {
    let link = world.path(name);
    std::fs::hard_link(world.source(), &link).expect("links");
    link
}

#[test]
fn a_name_is_that_of_a_job_before_its_row_is_written_and_no_more_once_the_row_is_dropped() {
    let world = World::new();
    let (job, link) = (world.job(), link(&world, "in/second.txt"));
    let (store, taken) = (&world.shared.store, &world.shared.claims.taken);
    assert_eq!(of_which(&world, &link), None);
    taken.enter(&job);
    assert_eq!(of_which(&world, &link), Some(job.id));
    store.change().unclaim(job.id).apply().expect("drops");
    assert_eq!(of_which(&world, &link), None, "nobody is at it");
    taken.begin(&job);
    assert_eq!(of_which(&world, &link), Some(job.id), "it is being claimed");
    taken.leave(&job);
    assert_eq!(of_which(&world, &link), None);
}

/// As after a remount of sshfs: there its number is another, and it is the same file by its path, size and time.
#[test]
fn a_file_that_is_read_where_it_lies_is_its_jobs_by_its_path_whatever_its_number_is() {
    let world = World::new();
    let (mut job, taken) = (world.job(), &world.shared.claims.taken);
    (job.source.claimed, job.source.claim_folder) = (None, None);
    world.shared.save(&job).expect("writes");
    taken.enter(&job);
    let jobs_like = |path: &Path, inode| {
        let like = lock(&taken.0).like(path, inode);
        like.into_iter().map(|(job, _)| job).collect::<Vec<_>>()
    };
    let inode = job.source.identity.inode;
    assert_eq!(jobs_like(&world.source(), inode), [job.id], "once");
    assert_eq!(jobs_like(&world.source(), inode + 1), [job.id]);
    assert_eq!(jobs_like(&world.path("in/other.txt"), inode + 1), []);
    // Where numbers last, another number is another file.
    let there = durable_fs::identity_at(&world.source()).expect("looks").expect("a file");
    let another = FileIdentity { inode: there.inode + 1, ..there };
    let found = taken.unfinished(&world.shared.store, &world.source(), &another, 1, None).expect("asks");
    assert!(found.is_none(), "{found:?}");
    taken.leave(&job);
    assert_eq!(jobs_like(&world.source(), inode + 1), []);
}

#[test]
fn a_job_whose_source_was_exchanged_is_known_by_the_new_one() {
    let world = World::new();
    let (mut job, old) = (world.job(), link(&world, "in/old.txt"));
    world.shared.claims.taken.enter(&job);
    durable_fs::remove_file(&world.source()).expect("removes");
    std::fs::write(world.source(), "2\n").expect("writes");
    let (new, claimed) = (link(&world, "in/new.txt"), world.claimed());
    world.rename();
    let identity = durable_fs::identity_at(&claimed).expect("looks").expect("a file");
    world.shared.claims.taken.exchange(&mut job, identity);
    assert_eq!((of_which(&world, &old), of_which(&world, &new)), (None, Some(job.id)));
    world.shared.claims.taken.leave(&job);
    assert_eq!(of_which(&world, &new), None);
}

#[test]
fn other_names_of_a_source_that_somebody_removed_are_known_once_its_outputs_may_be_out() {
    let world = World::new();
    let (mut job, link) = (world.job(), link(&world, "in/second.txt"));
    world.rename();
    durable_fs::remove_file(&world.claimed()).expect("removes");
    job.take(JobEvent::Started, clock::now(), "").expect("starts");
    let store = &world.shared.store;
    assert!(!note_other_names(store, &job).expect("looks"), "nothing is out");
    job.take(JobEvent::AccountBalanced, clock::now(), "").expect("is publishing");
    assert!(note_other_names(store, &job).expect("looks"));
    let left = durable_fs::identity_at(&link).expect("looks").expect("a file");
    assert_eq!(store.other_names(&left).expect("reads").map(|row| row.job), Some(job.id));
}

/// Goal: an operator who has a published file once more, and fails with it, frees no other name of it.
#[test]
fn other_names_of_a_published_file_stay_that_jobs_when_another_one_fails_with_it() {
    let world = World::new();
    let (mut failing, link) = (world.job(), link(&world, "in/second.txt"));
    let (store, identity) = (&world.shared.store, failing.source.identity);
    world.rename();
    let error = Trouble::new(crate::model::fault::FaultKind::Input, "not what the rule expects", None).error;
    failing.fail(error).expect("fails");
    let known = |job: JobId, born_ns| OtherNames { job, born_ns, head: None };
    let (earlier, born) = (JobId::from_parts(1, 7), durable_fs::born_ns(&link));
    for (outcome, born_ns, is_its) in [
        (LedgerOutcome::Completed, born, true),
        (LedgerOutcome::Completed, None, true),
        (LedgerOutcome::Aborted, born, true),
        (LedgerOutcome::Completed, Some(7), born.is_none()), // another file of its number
        (LedgerOutcome::Failed, born, false),
    ] {
        let row = LedgerRow { job: earlier, ..LedgerRow::of(&failing, outcome) };
        store
            .change()
            .ledger(&row, false)
            .other_names(&identity, &known(earlier, born_ns))
            .apply()
            .expect("writes");
        note_other_names(store, &failing).expect("looks");
        let of = if is_its { earlier } else { failing.id };
        assert_eq!(store.other_names(&identity).expect("reads").map(|row| row.job), Some(of), "{outcome:?}");
    }
}

/// Where numbers are dealt anew, size and time may be those of another file.
#[test]
fn a_file_that_begins_otherwise_is_no_other_name_of_one_that_is_told_by_its_beginning() {
    let world = World::new();
    let (job, store) = (world.job(), &world.shared.store);
    let row = LedgerRow::of(&job, LedgerOutcome::Completed);
    for (begins, is_it) in [("1\n", true), ("2\n", false)] {
        std::fs::write(world.path("other"), begins).expect("writes");
        let other =
            OtherNames { head: durable_fs::head_digest(&world.path("other")), ..OtherNames::unseen(job.id) };
        assert!(other.head.is_some());
        store.change().ledger(&row, false).other_names(&job.source.identity, &other).apply().expect("writes");
        let found = TakenFiles::done(store, &world.source(), &job.source.identity, || None).expect("asks");
        assert_eq!(found.is_some(), is_it);
    }
}

#[test]
fn a_source_that_a_crash_left_moved_has_no_other_names_for_that() {
    let world = World::new();
    let mut job = world.job();
    for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published] {
        job.take(event, clock::now(), "").expect("goes on");
    }
    let archived = world.path("out/pay.txt");
    durable_fs::rename_no_replace(&world.source(), &archived).expect("moves");
    job.retired_to = Some(archived.as_path().into());
    assert!(!note_other_names(&world.shared.store, &job).expect("looks"));
    std::fs::hard_link(&archived, world.path("in/second.txt")).expect("links");
    assert!(note_other_names(&world.shared.store, &job).expect("looks"));
}
