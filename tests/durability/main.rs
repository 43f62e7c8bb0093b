//! Promise: no crash, power cut or fault at any system call loses or repeats a record, or strands a source.
//!
//! Method: run a scenario undisturbed and number each system call of the whole process that changes the disk; then run it again for
//! each of them with a crash before it (`SIGKILL`), a power cut (only what was synced is left, or that and some of the rest), or an
//! error returned in its place; restart, and compare outputs, archive, quarantine, ledger and account, and what hooks were told, with the
//! undisturbed run.
//!
//! A usual run tries a few steps of each scenario. `LANDFALL_TEST_TRIES=all` tries each step, a number so many a scenario and kind;
//! `tests/run crash` does so and prints the table. `LANDFALL_TEST_SEED` repeats a choice.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod fault;
mod result;
mod scenario;
mod syscall;
mod tracer;
mod trial;

use trial::{crashes, faults, power_cuts};

macro_rules! promises {
    ($($scenario:ident: $crash:ident, $cut:ident, $fault:ident;)*) => {$(
        #[test]
        fn $crash() {
            crashes(&scenario::$scenario);
        }

        #[test]
        fn $cut() {
            power_cuts(&scenario::$scenario);
        }

        #[test]
        fn $fault() {
            faults(&scenario::$scenario);
        }
    )*};
}

promises! {
    ENCRYPTED_GZIP: a_crash_before_any_step_of_an_encrypted_gzip, a_power_cut_before_any_step_of_an_encrypted_gzip, a_fault_at_any_step_of_an_encrypted_gzip;
    ZIP_BY_ENTRY: a_crash_before_any_step_of_a_zip, a_power_cut_before_any_step_of_a_zip, a_fault_at_any_step_of_a_zip;
    TEN_SMALL_FILES: a_crash_before_any_step_of_ten_files, a_power_cut_before_any_step_of_ten_files, a_fault_at_any_step_of_ten_files;
    ARCHIVE_ELSEWHERE: a_crash_before_any_step_of_an_archive_elsewhere, a_power_cut_before_any_step_of_an_archive_elsewhere, a_fault_at_any_step_of_an_archive_elsewhere;
    QUARANTINED: a_crash_before_any_step_of_a_quarantine, a_power_cut_before_any_step_of_a_quarantine, a_fault_at_any_step_of_a_quarantine;
    DELETED: a_crash_before_any_step_of_a_deletion, a_power_cut_before_any_step_of_a_deletion, a_fault_at_any_step_of_a_deletion;
    KEPT: a_crash_before_any_step_of_a_kept_source, a_power_cut_before_any_step_of_a_kept_source, a_fault_at_any_step_of_a_kept_source;
    RETRIED: a_crash_before_any_step_of_a_retry, a_power_cut_before_any_step_of_a_retry, a_fault_at_any_step_of_a_retry;
    ABORTED: a_crash_before_any_step_of_an_abort, a_power_cut_before_any_step_of_an_abort, a_fault_at_any_step_of_an_abort;
    GIVEN_UP: a_crash_before_any_step_of_an_abandonment, a_power_cut_before_any_step_of_an_abandonment, a_fault_at_any_step_of_an_abandonment;
    RUN_AGAIN: a_crash_before_any_step_of_a_rerun, a_power_cut_before_any_step_of_a_rerun, a_fault_at_any_step_of_a_rerun;
    RECORDS_RETRIED: a_crash_before_any_step_of_a_retry_of_records, a_power_cut_before_any_step_of_a_retry_of_records, a_fault_at_any_step_of_a_retry_of_records;
    HELD: a_crash_before_any_step_of_a_held_job, a_power_cut_before_any_step_of_a_held_job, a_fault_at_any_step_of_a_held_job;
    STORED: a_crash_before_any_step_of_an_output_in_the_store, a_power_cut_before_any_step_of_an_output_in_the_store, a_fault_at_any_step_of_an_output_in_the_store;
    DESTROYED: a_crash_before_any_step_of_a_destroyed_job, a_power_cut_before_any_step_of_a_destroyed_job, a_fault_at_any_step_of_a_destroyed_job;
    FORGOTTEN: a_crash_before_any_step_of_a_forgotten_job, a_power_cut_before_any_step_of_a_forgotten_job, a_fault_at_any_step_of_a_forgotten_job;
    ENCRYPTED_LATER: a_crash_before_any_step_of_the_first_encryption, a_power_cut_before_any_step_of_the_first_encryption, a_fault_at_any_step_of_the_first_encryption;
    ANOTHER_KEY: a_crash_before_any_step_of_a_rekey, a_power_cut_before_any_step_of_a_rekey, a_fault_at_any_step_of_a_rekey;
    TOLD: a_crash_before_any_step_of_telling_hooks, a_power_cut_before_any_step_of_telling_hooks, a_fault_at_any_step_of_telling_hooks;
    AUDITED: a_crash_before_any_step_of_an_audit_trail, a_power_cut_before_any_step_of_an_audit_trail, a_fault_at_any_step_of_an_audit_trail;
    CONSUMED: a_crash_before_any_step_under_a_consumer, a_power_cut_before_any_step_under_a_consumer, a_fault_at_any_step_under_a_consumer;
}

/// What goes wrong with a shadow's own data folder ends the shadow, and no live rule: so no fault is tried.
#[test]
fn a_crash_before_any_step_of_a_shadow() {
    crashes(&scenario::SHADOWED);
}

#[test]
fn a_power_cut_before_any_step_of_a_shadow() {
    power_cuts(&scenario::SHADOWED);
}
