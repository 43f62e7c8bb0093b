//! Offers of complete candidates, in batches to each intake.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::time::Instant;

use super::candidate::Phase;
use super::offer::Offer;
use super::watcher::{Flow, Watcher};
use crate::durable_fs;
use crate::model::rule::Order;

/// Offers in a batch at most.
const BATCH_MAX: usize = 256;
/// Batches in one turn at most.
const BATCHES_PER_TURN: usize = 8;

impl Watcher {
    /// A rule's order holds among what is there: it waits for the listing's end. And what cannot be sent is not made ready to be.
    fn may_go(&self, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(|rule| {
            let outlet = self.links.outlets.of(&rule.rule.name);
            (self.scanner.is_idle() || rule.rule.order == Order::Arrival)
                && self.unsent.iter().all(|(other, _)| *other != outlet)
        })
    }

    /// Whether offers can be made now.
    pub(super) fn has_ready(&self) -> bool {
        self.table.has_ready(|rule| self.may_go(rule))
    }

    /// Offers what is ready as far as the engine has room for it.
    pub(super) fn send_offers(&mut self) -> Flow {
        for (outlet, batch) in std::mem::take(&mut self.unsent) {
            if self.send(outlet, batch) == Flow::Stop {
                return Flow::Stop;
            }
        }
        for _ in 0..BATCHES_PER_TURN {
            let Some((outlet, batch)) = self.next_batch() else { return Flow::GoOn };
            if self.send(outlet, batch) == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::GoOn
    }

    /// One that takes no more now does not keep the others waiting.
    fn send(&mut self, outlet: usize, batch: Vec<Offer>) -> Flow {
        match self.links.outlets.try_send(outlet, batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) => self.unsent.push((outlet, batch)),
            Err(TrySendError::Disconnected(_)) => return Flow::Stop,
        }
        Flow::GoOn
    }

    /// Of one rule.
    fn next_batch(&mut self) -> Option<(usize, Vec<Offer>)> {
        let rule = self.table.next_ready(|rule| self.may_go(rule))?;
        let paths = self.table.ready_batch(rule, BATCH_MAX);
        let now = Instant::now();
        let _keeps = durable_fs::keep_reached();
        let offers: Vec<_> = paths.iter().filter_map(|path| self.offer(path, now)).collect();
        let outlet = self.links.outlets.of(&offers.first()?.rule.name);
        Some((outlet, offers))
    }

    /// The offer of a ready candidate, unless it changed while it waited for its turn.
    fn offer(&mut self, path: &Arc<Path>, now: Instant) -> Option<Offer> {
        self.evaluate(path, now);
        self.table.get(path).filter(|candidate| matches!(candidate.phase, Phase::Ready(_)))?;
        let assigned = if self.is_led_to(path) { self.rules.assign(path) } else { None };
        let Some((_, vars)) = assigned else {
            self.table.remove(path);
            return None;
        };
        let names = self.only_name(path, now)?;
        let folder_marker = self.folder_marker_for(path, now)?;
        let candidate = self.table.get(path)?;
        let rule = self.rules.get(candidate.rule)?;
        let offer = Offer {
            rule: Arc::clone(&rule.rule),
            path: path.to_path_buf(),
            identity: candidate.seen,
            names: Some(names),
            vars,
            companions: candidate.companions.of_the_file().cloned().collect(),
            folder_marker,
            complete_by: candidate.complete_by,
        };
        self.table.offered(path);
        Some(offer)
    }
}
