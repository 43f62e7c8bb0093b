//! Jobs of sources that are about to go from where they lie: see [`super::held`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::gone::{TOO_MANY, job_of, note_gone, offer_held};
use super::handle::Engine;
use super::held::Hold;
use super::shared::Shared;
use super::trouble::Trouble;
use super::{intake, threads};
use crate::durable_fs;
use crate::watch::Offer;

/// Who claims files waits so long for a batch of them to be opened: its folder may hang.
const OPENS_WITHIN: Duration = Duration::from_millis(500);
/// Threads that open files at once, those that hang counted.
const OPENERS_MAX: usize = 16;

impl Engine {
    /// Takes files that are about to go from where they lie. A folder that hangs holds up the caller for a moment, and nobody else.
    pub(crate) fn take_open(&self, going: Vec<Offer>) {
        let Some(shared) = self.stages().filter(|shared| !shared.stop.is_asked()) else { return };
        let opener = Arc::clone(&shared.claims.held.openers);
        if Arc::strong_count(&opener) > OPENERS_MAX + 1 {
            return going.iter().for_each(|offer| note_gone(shared, offer, "read: folders hang"));
        }
        let count = going.len();
        let opening = Arc::clone(shared);
        let open = move |offer: &Offer, is_late: &AtomicBool| take_one(&opening, offer, is_late);
        if !each_within(OPENS_WITHIN, going, open, opener) {
            tracing::warn!(
                files = count,
                "files that a live rule claims do not open in time: shadow rules may not read them"
            );
        }
    }
}

/// Does something with each of these on a thread of its own, and waits for them, but not longer than this: then the flag is set. False: it
/// goes on, or there is no thread. The guard is dropped once it is over.
fn each_within<G: Send + 'static>(
    patience: Duration,
    items: Vec<Offer>,
    act: impl Fn(&Offer, &AtomicBool) + Send + 'static,
    guard: G,
) -> bool {
    let (done, is_done) = sync_channel(items.len());
    let is_late = Arc::new(AtomicBool::new(false));
    let (count, late) = (items.len(), Arc::clone(&is_late));
    let work = move || {
        for item in &items {
            act(item, &late);
            durable_fs::leave_place();
            done.try_send(()).ok(); // nobody need wait any more
        }
        drop(guard);
    };
    if let Err(trouble) = threads::spawn("open-held", work) {
        tracing::warn!(error = %trouble.error, "files that a live rule claims are not opened");
        return false;
    }
    let until = Instant::now() + patience;
    let in_time =
        (0..count).all(|_| is_done.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok());
    is_late.store(!in_time, Ordering::SeqCst);
    in_time
}

fn take_one(shared: &Shared, offer: &Offer, is_late: &AtomicBool) {
    let held = &shared.claims.held;
    let file = match durable_fs::open_source(&offer.path) {
        Ok(file) => file,
        // It hung, and meanwhile the file was taken away.
        Err(_) if is_late.load(Ordering::SeqCst) => {
            return note_gone(shared, offer, "opened: its folder hung");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return, // nor does who claims it find it
        Err(error) => return note_gone(shared, offer, &format!("opened: {error}")),
    };
    if !durable_fs::identity(&file).is_ok_and(|found| found.same_content(&offer.identity)) {
        return;
    }
    match held.hold(offer, file) {
        Hold::Held => offer_held(shared, offer),
        Hold::Known => {}
        Hold::NoRoom => note_gone(shared, offer, TOO_MANY),
    }
}

/// The life of who makes jobs of them.
pub(super) fn take_held(shared: &Arc<Shared>, offers: &Receiver<Vec<Offer>>) {
    while let Ok(batch) = offers.recv() {
        if shared.stop.is_asked() {
            return;
        }
        if let Err(trouble) = take_offered(shared, batch) {
            shared.fail_for_good(trouble.error);
            return;
        }
    }
}

/// Makes jobs of a batch; fails where the store does.
pub(super) fn take_offered(shared: &Arc<Shared>, batch: Vec<Offer>) -> Result<(), Trouble> {
    let offered = batch.clone();
    if let Err(trouble) = intake::take_batch(shared, batch)
        && trouble.is_poisoned()
    {
        return Err(trouble);
    }
    for offer in &offered {
        match job_of(shared, offer) {
            Some(job) if !job.state.is_final() => {} // its end lets go of it
            Some(_) => shared.claims.held.forget(&offer.identity),
            None => let_go(shared, offer),
        }
    }
    Ok(())
}

/// No job was made of it.
fn let_go(shared: &Shared, offer: &Offer) {
    let held = &shared.claims.held;
    if held.forget_told(&offer.identity) {
        return; // it was read, or is told as gone
    }
    if !shared.rules.takes_files(&offer.rule.name, &offer.vars) {
        return held.forget_unread(&offer.identity); // it is nothing to this rule any more
    }
    let lack = match shared.rules.ready(&offer.rule) {
        Ok(rule) => {
            shared.resources.disk_space.check_claim(&rule, offer).err().map(|lack| lack.detail().to_owned())
        }
        Err(trouble) => Some(trouble.error.to_string()),
    };
    note_gone(shared, offer, &format!("read: {}", lack.as_deref().unwrap_or("it could not be taken")));
    held.forget_unread(&offer.identity); // behind that: the watch would tell of what nobody knows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use std::collections::BTreeMap;

    const NO_TIME: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_mins(1);

    fn offers(world: &World, count: usize) -> Vec<Offer> {
        let identity = durable_fs::identity_at(&world.source()).expect("looks").expect("a file");
        vec![Offer::going(&world.rule(), &world.source(), identity, BTreeMap::new()); count]
    }

    #[test]
    fn a_folder_that_hangs_holds_up_who_claims_for_a_moment_and_what_it_did_not_open_is_told_then() {
        let world = World::new();
        let (answer, answered) = sync_channel::<()>(0);
        let (tell, told) = sync_channel(2);
        let guard = Arc::new(());
        let hangs = move |_: &Offer, is_late: &AtomicBool| {
            answered.recv().ok(); // as long as it takes
            tell.send(is_late.load(Ordering::SeqCst)).expect("is heard");
        };
        assert!(!each_within(NO_TIME, offers(&world, 2), hangs, Arc::clone(&guard)));
        assert_eq!(Arc::strong_count(&guard), 2, "it hangs");
        drop(answer);
        assert_eq!(told.iter().collect::<Vec<_>>(), [true, true]);
        let begun = Instant::now();
        while Arc::strong_count(&guard) > 1 && begun.elapsed() < LONG {
            std::thread::yield_now();
        }
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn who_claims_waits_for_a_batch_and_not_for_each_file_of_it() {
        let world = World::new();
        let patience = Duration::from_millis(200);
        let slow = move |_: &Offer, _: &AtomicBool| std::thread::sleep(patience / 20); // at least
        assert!(!each_within(patience, offers(&world, 40), slow, ()));
    }

    #[test]
    fn files_that_open_are_waited_for_before_they_are_claimed() {
        let world = World::new();
        let (tell, told) = sync_channel(3);
        let opens = move |_: &Offer, is_late: &AtomicBool| {
            tell.send(is_late.load(Ordering::SeqCst)).expect("is heard");
        };
        assert!(each_within(LONG, offers(&world, 3), opens, ()));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [false; 3]);
    }
}
