//! Finding in the ledger: which source became which job, and what came out of it.
//!
//! The ledger remembers every source that was ever claimed, longer than the jobs themselves: outputs are known as long as the job is.

use super::door::{Answers, Found, Refusal, Sought};
use crate::model::job::{Job, PublishedOutput};
use crate::store::{LedgerRow, Store, StoreError};

/// All that fit, the oldest first; rows are read as they are asked for.
pub(super) fn find<'a>(store: &'a Store, sought: &Sought) -> Answers<'a, Found> {
    let sought = sought.clone();
    let until_ms = sought.until.and_then(|until| u64::try_from(until.as_millisecond()).ok());
    // Ids sort by the time of the claim.
    let rows = store.ledger_since(sought.since).take_while(move |row| {
        row.as_ref().map_or(true, |row| until_ms.is_none_or(|until| row.job.unix_ms() <= until))
    });
    let found = rows.filter_map(move |row| row.and_then(|row| look(store, &sought, row)).transpose());
    Box::new(found.map(|found| found.map_err(|error| Refusal::from_fault(&error))))
}

fn look(store: &Store, sought: &Sought, row: LedgerRow) -> Result<Option<Found>, StoreError> {
    let Sought { source, output, hash, rule, since, until } = sought;
    let is_of_time =
        since.is_none_or(|since| row.claimed_at >= since) && until.is_none_or(|until| row.claimed_at < until);
    let may_fit = is_of_time && rule.as_ref().is_none_or(|rule| *rule == row.rule);
    if !may_fit {
        return Ok(None);
    }
    let fits_row = output.is_none()
        && source.as_ref().is_none_or(|source| source.fits(&row.path.to_string()))
        && hash.as_ref().is_none_or(|hash| row.content_hash.as_ref().is_some_and(|of| hash.fits(of)));
    let job = store.job(row.job)?;
    let fits = fits_row || job.as_ref().is_some_and(|job| fits_job(sought, &row, job));
    Ok(fits.then(|| Found { row, job: job.map(Box::new) }))
}

fn fits_job(sought: &Sought, row: &LedgerRow, job: &Job) -> bool {
    let Sought { source, output, hash, .. } = sought;
    let lies = job.retired_to.iter().chain(job.source.claimed.as_ref()).chain([&row.path]);
    let has_source =
        source.as_ref().is_none_or(|source| lies.into_iter().any(|path| source.fits(&path.to_string())));
    let has_output = |fits: &dyn Fn(&PublishedOutput) -> bool| job.outputs.iter().any(fits);
    has_source
        && output.as_ref().is_none_or(|output| has_output(&|of| output.fits(&of.path.to_string())))
        && hash.as_ref().is_none_or(|hash| {
            row.content_hash.as_ref().is_some_and(|of| hash.fits(of))
                || has_output(&|of| of.sha256.as_ref().is_some_and(|of| hash.fits(of)))
        })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock;
    use crate::engine::tests::World;
    use crate::model::category::Category;
    use crate::model::job_id::JobId;
    use crate::store::LedgerOutcome;

    fn ids(world: &World, sought: &Sought) -> Vec<JobId> {
        find(&world.shared.store, sought).map(|found| found.expect("is read").row.job).collect()
    }

    /// Two sources; the second one's job is not listed any more.
    fn world() -> (World, JobId, JobId) {
        let world = World::new();
        let mut job = world.job();
        job.retired_to = Some("/archive/pay.txt".into());
        job.content_hash = Some("blake3:ABCD12".to_owned());
        job.outputs = vec![PublishedOutput {
            category: Category::main(),
            entry: None,
            path: "/out/pay.main".into(),
            records: 3,
            bytes: 6,
            sha256: Some("ff00".to_owned()),
        }];
        let other = LedgerRow {
            job: job.id.successor(),
            path: "/in/forgotten.txt".into(),
            content_hash: Some("blake3:ee".to_owned()),
            ..LedgerRow::of(&job, LedgerOutcome::Completed)
        };
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        let store = &world.shared.store;
        store.change().job(&job).ledger(&row, false).ledger(&other, false).apply().expect("writes");
        (world, job.id, other.job)
    }

    #[test]
    fn a_source_is_found_by_where_it_lay_and_by_where_it_lies() {
        let (world, job, other) = world();
        let by = |source: &str| {
            ids(&world, &Sought { source: Some(source.to_owned().into()), ..Sought::default() })
        };
        assert_eq!((by("pay.txt"), by("/archive/*"), by("*.txt")), (vec![job], vec![job], vec![job, other]));
        assert_eq!(by("forgotten.txt"), [other], "its job is not listed any more");
        assert_eq!(by("pay"), []);
    }

    #[test]
    fn a_job_is_found_by_its_output_as_long_as_it_is_known_and_by_either_hash() {
        let (world, job, other) = world();
        let output = Sought { output: Some("pay.main".to_owned().into()), ..Sought::default() };
        assert_eq!(ids(&world, &output), [job]);
        let by = |hash: &str| {
            ids(&world, &Sought { hash: Some(hash.parse().expect("is one")), ..Sought::default() })
        };
        assert_eq!(
            (by("blake3:abcd"), by("abcd12"), by("FF0"), by("sha256:ff")),
            (vec![job], vec![job], vec![job], vec![job])
        );
        assert_eq!((by("sha256:abcd"), by("ee"), by("abcd123")), (vec![], vec![other], vec![]));
        let both = Sought { hash: Some("ee".parse().expect("is one")), ..output };
        assert_eq!(ids(&world, &both), [], "all that is named must fit");
    }

    #[test]
    fn times_and_rules_narrow_it_and_nothing_named_finds_all() {
        let (world, job, other) = world();
        let all = Sought::default();
        assert_eq!(ids(&world, &all), [job, other]);
        let later = Some(clock::now() + jiff::SignedDuration::from_hours(1));
        assert_eq!(ids(&world, &Sought { since: later, ..all.clone() }), []);
        assert_eq!(ids(&world, &Sought { until: later, ..all.clone() }), [job, other]);
        assert_eq!(ids(&world, &Sought { until: Some(Timestamp::UNIX_EPOCH), ..all.clone() }), []);
        assert_eq!(ids(&world, &Sought { rule: Some("other".to_owned()), ..all }), []);
    }
}
