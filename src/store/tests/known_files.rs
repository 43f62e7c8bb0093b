//! Files that were taken: those that stay where they lie, and other names of those that went.

use std::path::Path;

use super::*;
use crate::durable_fs;
use crate::store::{KeptFile, OtherNames};

/// A file of this content, and the row of a kept one that it would be.
fn kept(folder: &Path, name: &str, number: u64) -> LedgerRow {
    let path = folder.join(name);
    let identity = durable_fs::identity_at(&path).expect("looks").expect("it was written");
    LedgerRow {
        path: path.as_path().into(),
        identity,
        kept_as: durable_fs::kept_as(&path, &identity),
        ..ledger_row(number)
    }
}

fn ended(outcome: LedgerOutcome, row: LedgerRow) -> LedgerRow {
    LedgerRow { outcome, ..row }
}

/// As it would be with other rights, without setting any.
fn touched(row: &LedgerRow) -> FileIdentity {
    FileIdentity { ctime_ns: row.identity.ctime_ns - 1, ..row.identity }
}

fn world() -> (tempfile::TempDir, Store) {
    let folder = folder();
    std::fs::write(folder.path().join("a"), "1\n").expect("writes");
    (folder, Store::in_memory())
}

fn of(store: &Store, row: &LedgerRow) -> KeptFile {
    store.kept_by(&row.path, &row.identity, true).expect("reads")
}

#[test]
fn a_kept_file_with_another_ctime_is_known_as_it_is_by_its_bytes_and_no_more_as_it_was() {
    let (folder, store) = world();
    let now = kept(folder.path(), "a", 1);
    let before = LedgerRow { identity: touched(&now), ..ended(LedgerOutcome::Completed, now.clone()) };
    store.change().ledger(&before, true).apply().expect("writes");
    assert_eq!(store.kept_by(&now.path, &now.identity, false).expect("reads"), KeptFile::ByItsBytes);
    assert_eq!(of(&store, &now), KeptFile::Of(id(1)));
    assert_eq!(store.kept_by(&now.path, &now.identity, false).expect("reads"), KeptFile::Of(id(1)));
    assert_eq!(store.ledger(id(1)).expect("reads").map(|row| row.identity), Some(now.identity));
    assert_eq!(store.kept_jobs().count(), 1, "its row as it was is gone");
}

#[test]
fn a_row_that_was_changed_since_it_was_compared_is_not_written_over() {
    let (folder, store) = world();
    let compared = ended(LedgerOutcome::Claimed, kept(folder.path(), "a", 1));
    let gone_on = ended(LedgerOutcome::GivenBack, compared.clone());
    store.change().ledger(&gone_on, false).apply().expect("writes");
    let now = LedgerRow { identity: touched(&compared), ..compared.clone() };
    store.change().kept_again(&compared, now.clone()).apply().expect("writes");
    assert_eq!(store.ledger(id(1)).expect("reads"), Some(gone_on.clone()));
    assert_eq!((store.kept_jobs().count(), of(&store, &now)), (0, KeptFile::None));
    // Of what is asked for together the later word counts.
    store
        .change()
        .kept_again(&gone_on, now.clone())
        .forget_kept(id(1), &now.path, &now.identity)
        .apply()
        .expect("writes");
    assert_eq!(store.kept_jobs().count(), 0);
    store
        .change()
        .forget_kept(id(1), &now.path, &now.identity)
        .kept_again(&now, compared.clone())
        .apply()
        .expect("writes");
    assert_eq!((store.kept_jobs().count(), of(&store, &compared)), (1, KeptFile::Of(id(1))));
}

/// Goal: a job that failed with a file is not what became of it where another one has published it.
#[test]
fn of_two_jobs_of_a_kept_file_the_one_that_published_it_has_it_whichever_was_first() {
    for (failed, published) in [(1, 2), (2, 1)] {
        let (folder, store) = world();
        let now = kept(folder.path(), "a", failed);
        let earlier = |more: i128| FileIdentity { ctime_ns: now.identity.ctime_ns - more, ..now.identity };
        let failed = LedgerRow { identity: earlier(2), ..ended(LedgerOutcome::Failed, now.clone()) };
        let elsewhere = folder.path().join("b"); // by which name it was published
        let done = LedgerRow {
            job: id(published),
            path: elsewhere.into(),
            identity: earlier(1),
            ..ended(LedgerOutcome::Completed, now.clone())
        };
        store.change().ledger(&failed, true).ledger(&done, true).apply().expect("writes");
        assert_eq!(of(&store, &now), KeptFile::Of(id(published)));
        let row = store.ledger(id(published)).expect("reads").expect("is there");
        assert_eq!((&row.path, row.identity), (&now.path, now.identity), "it lies here now");
    }
}

/// Goal: numbers of devices may be others after every mount.
#[test]
fn a_kept_file_that_was_renamed_while_nobody_looked_is_known_though_its_device_has_another_number() {
    let (folder, store) = world();
    let now = ended(LedgerOutcome::Completed, kept(folder.path(), "a", 1));
    let identity = FileIdentity { device: now.identity.device + 1, ..touched(&now) };
    let mut cases = vec![(folder.path().join("b"), true)]; // nothing lies there any more
    if cfg!(target_os = "linux") {
        cases.push(("/proc/b".into(), false)); // another file system, which may be a copy
    }
    for (path, is_it) in cases {
        let before = LedgerRow { path: path.as_path().into(), identity, ..now.clone() };
        store.change().ledger(&before, true).apply().expect("writes");
        assert_eq!(of(&store, &now), if is_it { KeptFile::Of(id(1)) } else { KeptFile::None });
        let row = store.ledger(id(1)).expect("reads").expect("is there");
        assert_eq!((row.path == now.path, row.identity == now.identity), (is_it, is_it), "{row:#?}");
        store.change().forget_kept(id(1), &row.path, &row.identity).apply().expect("writes");
        assert_eq!(store.kept_jobs().count(), 0, "with whatever device");
    }
}

fn job_of_other_names(store: &Store) -> Option<JobId> {
    store.other_names(&identity(1)).expect("reads").map(|row| row.job)
}

/// Goal: nothing is kept for ever of a job that was retried with another file than it failed with.
#[test]
fn other_names_of_a_file_are_forgotten_once_the_ledger_has_no_row_of_the_job_that_took_it() {
    let store = Store::in_memory();
    let row = LedgerRow { job: id(1), ..ledger_row(1) };
    let mended = LedgerRow { identity: identity(2), ..row.clone() };
    let of = OtherNames::unseen(id(1));
    store.change().ledger(&row, false).other_names(&identity(1), &of).apply().expect("writes");
    store.change().ledger(&mended, false).apply().expect("writes");
    assert_eq!(store.forget_names_of_nobody().expect("forgets"), 0);
    assert_eq!(job_of_other_names(&store), Some(id(1)), "the first file is still none to be taken");
    store.change().forget_ledger(&mended).apply().expect("writes");
    assert_eq!(job_of_other_names(&store), Some(id(1)), "its row does not lead there");
    assert_eq!(store.forget_names_of_nobody().expect("forgets"), 1);
    assert_eq!(job_of_other_names(&store), None);
}

#[test]
fn other_names_of_a_file_are_those_of_the_last_job_that_says_so_until_its_row_is_forgotten() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(job_of_other_names(&store), None);
    for number in [1, 2] {
        let other = OtherNames { born_ns: Some(7), ..OtherNames::unseen(id(number)) };
        store.change().other_names(&identity(1), &other).apply().expect("writes");
        store.sync().expect("is durable");
    }
    drop(store);
    let store = open(folder.path());
    let mounted_anew = FileIdentity { device: 9, ctime_ns: 9, ..identity(1) };
    assert_eq!(store.other_names(&mounted_anew).expect("reads").map(|row| row.job), Some(id(2)));
    for another in [FileIdentity { size: 9, ..identity(1) }, FileIdentity { mtime_ns: 9, ..identity(1) }] {
        assert_eq!(store.other_names(&another).expect("reads"), None);
    }
    let row = |number| LedgerRow { job: id(number), ..ledger_row(1) };
    store.change().ledger(&row(1), false).ledger(&row(2), false).apply().expect("writes");
    store.change().forget_ledger(&row(1)).apply().expect("writes");
    assert_eq!(job_of_other_names(&store), Some(id(2)), "it is the other job's");
    store.change().forget_ledger(&row(2)).apply().expect("writes");
    assert_eq!(job_of_other_names(&store), None);
}
