//! Intake: offers from the watch become queued jobs.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::claim::{self, Wanted};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::watch::{Answer, Offer};

/// The intake's life: until the watch, which holds the other end, is gone.
pub(super) fn take_offers(shared: &Arc<Shared>, offers: &Receiver<Vec<Offer>>) {
    while let Ok(batch) = offers.recv() {
        if shared.stopping() {
            return;
        }
        if let Err(trouble) = take_batch(shared, batch)
            && trouble.poisoned
        {
            shared.fail_for_good(trouble.error);
            return;
        }
    }
}

fn take_batch(shared: &Arc<Shared>, batch: Vec<Offer>) -> Result<(), Trouble> {
    let paths: Vec<_> = batch.iter().map(|offer| offer.path.clone()).collect();
    let wanted: Vec<_> = batch
        .into_iter()
        .filter_map(|offer| {
            let rule = shared.rules.current(&offer.rule)?;
            Some(Wanted { rule, offer, retire: true })
        })
        .collect();
    debug_assert_eq!(wanted.len(), paths.len(), "the watch knows only the rules it was given");
    let claimed = match claim::claim(shared, &wanted) {
        Ok(claimed) => claimed,
        Err(trouble) => {
            for path in &paths {
                shared.answer(path, Answer::Refused(trouble.error.to_string()));
            }
            return Err(trouble);
        }
    };
    for (path, claimed) in paths.iter().zip(claimed) {
        match claimed {
            Ok(Some(id)) => {
                shared.answer(path, Answer::Taken);
                shared.queued.push(id);
            }
            Ok(None) => shared.answer(path, Answer::NotYet),
            Err(trouble) if trouble.poisoned => return Err(trouble),
            Err(trouble) => shared.answer(path, Answer::Refused(trouble.error.to_string())),
        }
    }
    Ok(())
}
