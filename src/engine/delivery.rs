//! Is it a resend? Judged once the source is read to its end, in the moment before it is published.
//!
//! ```text
//!  account balanced -> judged -> archive name -> outputs synced -> [ judged again -> names -> intent with the delivery's rows ] -> published
//!                        |                                           one job of all at a time
//!                        `- refused: quarantine; held: waits for `landfall retry`
//! ```
//!
//! What is published before is what has an intent: from there the only way is forward, and the rows by which a later delivery finds it
//! are written with the intent, all or none. So of two equal files at once the one that comes first into the brackets is new, no crash
//! lets a later one look new, and a job that goes on after a restart is not judged again: it never meets itself.
//!
//! Deliveries of one key are not even loaded before the earlier ones are decided (see `delivery_order`): revisions follow the claims.

use std::collections::HashMap;

use super::shared::Shared;
use super::trouble::{Reaction, Trouble};
use crate::model::delivery::{Delivery, Resend, SameContent, SameKey};
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::model::template::{Template, Variables};
use crate::store::{Earlier, Published};
use crate::telemetry::events;

/// What this job's delivery is; an error where it is not to be published as it is.
pub(super) fn judge(shared: &Shared, rule: &Rule, job: &Job) -> Result<Delivery, Trouble> {
    if job.retries.is_some() {
        return Ok(job.delivery.clone()); // it is a part of the one of its parent
    }
    let Delivery { key_approved, content_approved, .. } = job.delivery;
    let mut delivery = Delivery { key_approved, content_approved, ..Delivery::default() };
    let Some(wanted) = &rule.delivery else { return Ok(delivery) };
    let key = key_template(rule).map(|template| key_of(rule, job, template)).transpose()?;
    // An empty file repeats nothing: a sender with nothing to say sends one every day.
    let hash = job.content_hash.as_deref().filter(|_| job.bytes_decoded > 0);
    let Published { same_content, same_key } = published(shared, rule, hash, key.as_ref(), job.id)?;
    delivery.duplicate_of = same_content.as_ref().map(|earlier| earlier.job);
    if let (Some(earlier), SameContent::Refuse, false) =
        (&same_content, wanted.same_content, content_approved)
    {
        return Err(refused(earlier));
    }
    let Some(key) = key else { return Ok(delivery) };
    if let Some((revision, last)) = same_key {
        delivery.revision = revision.saturating_add(1);
        match wanted.same_key {
            SameKey::Hold if !key_approved => return Err(held(&key, &last)),
            // Claimed after this one, and ahead of it: this one failed meanwhile, or an operator took that one first.
            SameKey::Correction if last.job > job.id && !key_approved => return Err(outdated(&key, &last)),
            SameKey::Hold | SameKey::Correction => delivery.corrects = Some(last.job),
            SameKey::Take => {}
        }
    }
    delivery.key = Some(key);
    Ok(delivery)
}

/// What was published before; of a dry run, also what its earlier files would have published.
fn published(
    shared: &Shared,
    rule: &Rule,
    hash: Option<&str>,
    key: Option<&OsText>,
    asking: JobId,
) -> Result<Published, Trouble> {
    let here = shared.store.published(&rule.name, hash, key, asking)?;
    let Some(published_elsewhere) = &shared.publishing.deliveries.published_elsewhere else {
        return Ok(here);
    };
    let real = published_elsewhere(&rule.name, hash, key).map_err(Trouble::from_error)?;
    Ok(Published {
        same_content: real.same_content.or(here.same_content),
        same_key: here.same_key.or(real.same_key),
    })
}

/// An earlier delivery of this job's key that is not decided yet: it comes first.
pub(super) fn earlier(shared: &Shared, rule: &Rule, job: &Job) -> Result<Option<Job>, Trouble> {
    let Some(template) = key_template(rule).filter(|_| job.retries.is_none()) else { return Ok(None) };
    shared.enter_delivery(job, key_of(rule, job, template)?);
    if job.delivery.goes_ahead {
        return Ok(None);
    }
    while let Some(first) = shared.publishing.deliveries.first_before(job.id) {
        match shared.store.job(first)?.filter(Job::is_undecided) {
            Some(first) => return Ok(Some(first)),
            None => shared.delivery_decided(first),
        }
    }
    Ok(None)
}

/// A job has its place among the deliveries of its key. One without a key that can be rendered has none, and is told when it is loaded.
pub(super) fn enter(shared: &Shared, rule: &Rule, job: &Job) {
    let template = key_template(rule).filter(|_| job.retries.is_none());
    if let Some(key) = template.and_then(|template| key_of(rule, job, template).ok()) {
        shared.enter_delivery(job, key);
    }
}

/// Unfinished jobs, in the order of their claims, stand as they stood before a restart. One whose rule the store has lost is told when it is
/// loaded.
pub(super) fn enter_recovered(shared: &Shared, jobs: &[Job]) -> Result<(), Trouble> {
    let mut rules = HashMap::new();
    for job in jobs.iter().filter(|job| job.is_undecided()) {
        if !rules.contains_key(&job.rule_hash) {
            rules.insert(&job.rule_hash, shared.store.rule(&job.rule_hash)?);
        }
        if let Some(Some(rule)) = rules.get(&job.rule_hash) {
            enter(shared, rule, job);
        }
    }
    Ok(())
}

/// Nobody waits for what is decided, whoever forgot to say so.
pub(super) fn look_at_the_first(shared: &Shared) -> Result<(), Trouble> {
    for id in shared.publishing.deliveries.awaited() {
        if !shared.store.job(id)?.is_some_and(|job| job.is_undecided()) {
            shared.delivery_decided(id);
        }
    }
    Ok(())
}

/// Leaves a job until the earlier delivery is decided. Its row is as the store has it: nothing of it was begun.
pub(super) fn wait_for(shared: &Shared, id: JobId, earlier: &Job) -> Result<(), Trouble> {
    let Some(mut job) = shared.store.job(id)? else { return Ok(()) };
    let detail = format!(
        "an earlier delivery of its key, job {} ({}), comes first; `landfall retry` takes this one ahead of it, which is then not published without your word",
        earlier.id, earlier.source.path
    );
    let behind = Some(earlier.id);
    let waiting = Some(Waiting { waits_for: WaitsFor::Delivery, until: None, detail, behind });
    if job.waiting != waiting {
        job.waiting = waiting;
        shared.save(&job)?;
        events::waits_for_delivery(&job, earlier.id);
    }
    Ok(())
}

fn key_template(rule: &Rule) -> Option<&str> {
    rule.delivery.as_ref()?.key.as_deref()
}

fn key_of(rule: &Rule, job: &Job, template: &str) -> Result<OsText, Trouble> {
    let rendered =
        Template::of_job(template, job).and_then(|template| template.render_text(&Variables::of(rule, job)));
    rendered.map_err(|mistake| Trouble::mistake(rule, "delivery.key", &mistake))
}

fn refused(earlier: &Earlier) -> Trouble {
    let of = earlier.job;
    let message = format!("this content was published before, by job {of}{}", source_of(earlier));
    let hint = "nothing of it is published again; `landfall retry` takes it all the same";
    Trouble::new(FaultKind::Input, message, Some(hint)).with(Reaction::Resend(Resend::Refused { of }))
}

fn held(key: &OsText, last: &Earlier) -> Trouble {
    let message =
        format!("the delivery \"{key}\" was published before, by job {}{}", last.job, source_of(last));
    let hint = "`landfall retry` takes it as a correction; until then it is not published, and its source stays claimed";
    Trouble::new(FaultKind::Config, message, Some(hint)).with(Reaction::Resend(Resend::Held))
}

fn outdated(key: &OsText, last: &Earlier) -> Trouble {
    let message = format!(
        "a later delivery of \"{key}\" is published already, by job {}{}: this one would take its place",
        last.job,
        source_of(last)
    );
    let hint =
        "`landfall retry` publishes it all the same, as the newest; until then its source stays claimed";
    Trouble::new(FaultKind::Config, message, Some(hint)).with(Reaction::Resend(Resend::Held))
}

/// The source that a job was made from, as far as the ledger still knows.
fn source_of(earlier: &Earlier) -> String {
    earlier.source.as_ref().map_or_else(String::new, |path| format!(" ({path})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    const KEYED: &str =
        "source = { on_success = \"delete\" }\ndelivery = { key = \"{stem}\", same_key = \"KIND\" }\n";

    fn world(same_key: &str) -> World {
        World::with(&KEYED.replace("KIND", same_key))
    }

    /// What the second delivery of a key is, once the first is published.
    fn second(same_key: &str, approved: bool) -> Result<Delivery, Trouble> {
        let world = world(same_key);
        let (mut first, mut second) = (world.job(), world.second_job("pay.csv"));
        let rule = &*world.rule();
        first.delivery = judge(&world.shared, rule, &first).expect("it is new");
        assert_eq!((first.delivery.revision, first.delivery.corrects), (Delivery::default().revision, None));
        world.shared.store.change().job(&first).delivery(&first).apply().expect("is published");
        second.delivery.key_approved = approved;
        judge(&world.shared, rule, &second)
    }

    #[test]
    fn a_second_delivery_of_a_key_is_what_the_rule_says() {
        let correction = second("correction", false).expect("it corrects the first");
        assert!(correction.corrects.is_some() && correction.revision == 2, "{correction:?}");
        let held = second("hold", false).expect_err("an operator decides");
        assert_eq!(held.reaction, Reaction::Resend(Resend::Held));
        let approved = second("hold", true).expect("an operator has decided");
        assert!(approved.corrects.is_some(), "{approved:?}");
    }

    #[test]
    fn of_two_deliveries_of_a_key_the_one_that_was_claimed_first_comes_first() {
        let world = world("correction");
        let (first, second) = (world.job(), world.second_job("pay.csv"));
        let rule = &*world.rule();
        enter_recovered(&world.shared, &[first.clone(), second.clone()]).expect("stand in line");
        assert!(earlier(&world.shared, rule, &first).expect("is told").is_none());
        let before = earlier(&world.shared, rule, &second).expect("is told").expect("the first");
        assert_eq!(before.id, first.id);
        wait_for(&world.shared, second.id, &before).expect("waits");
        let waiting = world.row(&second).and_then(|row| row.waiting).expect("it waits");
        assert_eq!(waiting.waits_for, WaitsFor::Delivery);
        world.shared.store.change().unclaim(first.id).apply().expect("it is gone, and nobody said so");
        assert!(earlier(&world.shared, rule, &second).expect("is told").is_none());
    }
}
