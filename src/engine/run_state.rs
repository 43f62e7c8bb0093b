//! Where a running job is between its threads: what is read, in hand, collected and checkpointed, and whether it broke off or settled.
//!
//! ```text
//!   slices    waiting --begin_take--> in hand --offer--> out of turn --(in order)--> collected: one thread at a time
//!   run       loading -> loaded -> over: once, when everything is collected
//!             broken off ---------> over: once, when its loader and everybody who has a slice of it have left
//!   steps     at work -(over)-> ending -> ended; who may not wait for them leaves them to a worker: to end -> ending
//!   settled   once, when it is over and its steps have ended
//!   checkpoint   none -> making -> ordered -> writing -> none
//! ```
//!
//! Pure: [`super::run`] holds it under one lock, and does under that nothing that can take long. `S` is a worked slice, `C` an order to make
//! a checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::totals::Announced;
use super::trouble::Trouble;
use crate::decode::Decoded;

/// Slices of one job in the workers' hands or waiting to be collected, at most: bounds the results in memory when one
/// slice takes much longer than those after it.
const IN_HAND_MAX: u64 = 64;

/// What is known of a source once it is read to its end.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub slices: u64,
    pub lines_skipped: u64,
    /// Positions of entries whose last record had no line end.
    pub unterminated: Vec<u32>,
    pub decoded: Decoded,
    /// What the sender said of it, where the rule asks for that.
    pub announced: Announced,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own: all their combinations are met")]
pub(super) struct RunState<S, C> {
    is_loading: bool,
    loaded: Option<Arc<Loaded>>,
    trouble: Option<Arc<Trouble>>,
    steps: Steps,
    is_settled: bool,
    /// Slices that were cut, those that a checkpoint has included.
    cut: u64,
    /// Slices that were taken and are not collected yet.
    in_hand: u64,
    /// Threads that have a slice; settling waits for none of them, discarding does.
    busy: usize,
    /// Worked slices that are not collected yet, by their number.
    out_of_turn: BTreeMap<u64, S>,
    /// The slice that is collected next.
    next: u64,
    is_collecting: bool,
    /// Records that are collected: for those who look while the collector waits for its disk.
    records: u64,
    /// The next checkpoint is due; no slices are taken while the last is still on its way.
    is_far_ahead: bool,
    checkpoint: Checkpointing<C>,
}

/// Where the steps of a run are. Each has its last word before anything is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    /// At slices, or between two.
    AtWork,
    /// Nothing more comes for them, and a worker is to end them.
    ToEnd,
    Ending,
    Ended {
        /// None of them has found out that it lost count.
        are_trusted: bool,
    },
}

enum Checkpointing<C> {
    None,
    Making,
    Ordered(C),
    Writing,
}

impl<S, C> RunState<S, C> {
    /// Of a job that is about to be read, from this slice on.
    pub(super) fn new(next: u64, records: u64) -> Self {
        Self {
            is_loading: true,
            loaded: None,
            trouble: None,
            steps: Steps::AtWork,
            is_settled: false,
            cut: 0,
            in_hand: 0,
            busy: 0,
            out_of_turn: BTreeMap::new(),
            next,
            is_collecting: false,
            records,
            is_far_ahead: false,
            checkpoint: Checkpointing::None,
        }
    }

    /// The loader has cut so many slices.
    pub(super) fn note_cut(&mut self, slices: u64) {
        self.cut = slices;
    }

    /// Slices that were cut, and those of them that are collected, or are just being.
    pub(super) fn slices(&self) -> (u64, u64) {
        (self.cut.max(self.next), self.next)
    }

    /// Whether slices that were cut are not collected yet.
    pub(super) fn has_more_to_collect(&self) -> bool {
        self.next < self.cut
    }

    /// The source is read to its end.
    pub(super) fn set_loaded(&mut self, loaded: Loaded) {
        self.loaded.get_or_insert_with(|| Arc::new(loaded));
    }

    pub(super) fn loaded(&self) -> Option<&Arc<Loaded>> {
        self.loaded.as_ref()
    }

    /// The loader has left.
    pub(super) fn end_loading(&mut self) {
        self.is_loading = false;
    }

    /// The first trouble wins.
    pub(super) fn break_off(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert_with(|| Arc::new(trouble));
    }

    /// The same by an operator's word, or an operator has another word for one that broke off: it does not settle before [`Self::let_go`], so
    /// that its row is changed while nobody finishes it. False: it is settled.
    pub(super) fn begin_order(&mut self, trouble: impl FnOnce() -> Trouble) -> bool {
        if self.is_settled {
            return false;
        }
        self.trouble.get_or_insert_with(|| Arc::new(trouble()));
        self.busy += 1;
        true
    }

    pub(super) fn trouble(&self) -> Option<&Arc<Trouble>> {
        self.trouble.as_ref()
    }

    /// Whether a worker may take a slice now. One of each job may always be at work, however large: else none would ever free memory.
    pub(super) fn may_take(&self, memory_is_full: impl FnOnce() -> bool) -> bool {
        // The disk is behind: a kill now would make more run again than a resume may repeat. The checkpointer rings when it is done.
        let waits_for_checkpoint = self.is_far_ahead && self.is_checkpointing();
        self.trouble.is_none()
            && !waits_for_checkpoint
            && (self.in_hand == 0 || (self.in_hand < IN_HAND_MAX && !memory_is_full()))
    }

    /// A worker is about to take a slice. Counted before it is taken: a job that breaks off meanwhile does not settle while somebody has a
    /// slice of it. False: it may not.
    pub(super) fn begin_take(&mut self, memory_is_full: impl FnOnce() -> bool) -> bool {
        let may = self.may_take(memory_is_full);
        self.in_hand += u64::from(may);
        self.busy += usize::from(may);
        may
    }

    /// There was none to take. True: the job broke off, and whoever saw that may have counted this worker.
    pub(super) fn end_take(&mut self) -> bool {
        self.in_hand -= 1;
        self.let_go();
        self.trouble.is_some()
    }

    /// A worker has no more to do with the slice it took.
    pub(super) fn let_go(&mut self) {
        self.busy -= 1;
    }

    /// A slice is worked. Some: the next in order, which this thread collects, and then asks for the next. None: another thread collects, and
    /// sees this one before it leaves; or one before it is missing.
    pub(super) fn offer(&mut self, number: u64, worked: S) -> Option<S> {
        self.out_of_turn.insert(number, worked);
        if self.is_collecting { None } else { self.begin_next() }
    }

    /// A slice is collected, or passed over because the job broke off. The next in order, if it is there.
    pub(super) fn collected(&mut self) -> Option<S> {
        self.in_hand = self.in_hand.saturating_sub(1); // a test collects what nobody took
        self.begin_next()
    }

    fn begin_next(&mut self) -> Option<S> {
        let worked = self.out_of_turn.remove(&self.next);
        self.is_collecting = worked.is_some();
        self.next += u64::from(worked.is_some());
        worked
    }

    /// How far the collector is.
    pub(super) fn note_progress(&mut self, records: u64, is_far_ahead: bool) {
        self.records = records;
        self.is_far_ahead = is_far_ahead;
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn is_far_ahead(&self) -> bool {
        self.is_far_ahead
    }

    pub(super) fn is_checkpointing(&self) -> bool {
        !matches!(self.checkpoint, Checkpointing::None)
    }

    /// Somebody makes a checkpoint. False: one is on its way, or the job broke off.
    pub(super) fn begin_checkpoint(&mut self) -> bool {
        let may = self.trouble.is_none() && !self.is_checkpointing();
        if may {
            self.checkpoint = Checkpointing::Making;
        }
        may
    }

    /// What the checkpointer is to write.
    pub(super) fn order_checkpoint(&mut self, order: C) {
        self.checkpoint = Checkpointing::Ordered(order);
    }

    /// The checkpointer takes its order.
    pub(super) fn take_order(&mut self) -> Option<C> {
        if !matches!(self.checkpoint, Checkpointing::Ordered(_)) {
            return None;
        }
        match std::mem::replace(&mut self.checkpoint, Checkpointing::Writing) {
            Checkpointing::Ordered(order) => Some(order),
            _ => None,
        }
    }

    /// The checkpoint is written, or not made after all.
    pub(super) fn end_checkpoint(&mut self) {
        self.checkpoint = Checkpointing::None;
    }

    /// Whether everything is collected, or it broke off and no thread works for it any more.
    fn is_over(&self) -> bool {
        match (&self.trouble, &self.loaded) {
            (Some(_), _) => !self.is_loading && self.busy == 0,
            (None, Some(loaded)) => !self.is_collecting && self.next == loaded.slices,
            (None, None) => false,
        }
    }

    /// True once, when nothing more comes for the steps: it is for the caller to end them, or to leave them to a worker.
    pub(super) fn begin_ending(&mut self) -> bool {
        let begins = self.steps == Steps::AtWork && self.is_over();
        if begins {
            self.steps = Steps::Ending;
        }
        begins
    }

    /// A worker is to end the steps.
    pub(super) fn leave_ending(&mut self) {
        self.steps = Steps::ToEnd;
    }

    pub(super) fn has_steps_to_end(&self) -> bool {
        self.steps == Steps::ToEnd
    }

    /// Whether it is for this worker to end the steps.
    pub(super) fn take_ending(&mut self) -> bool {
        let takes = self.has_steps_to_end();
        if takes {
            self.steps = Steps::Ending;
        }
        takes
    }

    /// The steps have had their last word.
    pub(super) fn end_ending(&mut self, are_trusted: bool) {
        self.steps = Steps::Ended { are_trusted };
    }

    /// Whether a step has found out, with its last word, that it lost count.
    pub(super) fn lost_count(&self) -> bool {
        self.steps == Steps::Ended { are_trusted: false }
    }

    /// True once: when it is over, and its steps have ended.
    pub(super) fn settle(&mut self) -> bool {
        let settles = matches!(self.steps, Steps::Ended { .. }) && self.is_over();
        settles && !std::mem::replace(&mut self.is_settled, true)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::tests::loaded;
    use crate::model::fault::FaultKind;

    type State = RunState<u64, &'static str>;

    fn state() -> State {
        RunState::new(0, 0)
    }

    fn trouble(message: &str) -> Trouble {
        Trouble::new(FaultKind::Input, message, None)
    }

    fn take(state: &mut State) -> bool {
        state.begin_take(|| false)
    }

    /// Whether it settles, with steps that end at once.
    fn settle(state: &mut State) -> bool {
        if state.begin_ending() {
            state.end_ending(true);
        }
        state.settle()
    }

    #[test]
    fn one_slice_is_at_work_however_full_memory_is_and_never_more_than_the_most() {
        let mut state = state();
        assert!(state.begin_take(|| true), "else none would ever free memory");
        assert!(!state.begin_take(|| true));
        let more = std::iter::from_fn(|| take(&mut state).then_some(())).count() as u64;
        assert_eq!(more + 1, IN_HAND_MAX);
        assert!(!state.end_take() && take(&mut state), "one that found none makes place for another");
    }

    #[test]
    fn who_collects_sees_what_comes_meanwhile_and_nobody_collects_beside_him() {
        let mut state = state();
        assert!((0..3).all(|_| take(&mut state)));
        assert_eq!(state.offer(1, 1), None, "the one before it is missing");
        assert_eq!(state.offer(0, 0), Some(0));
        assert_eq!(state.offer(2, 2), None, "somebody collects");
        state.set_loaded(loaded(3));
        assert_eq!((state.collected(), state.collected()), (Some(1), Some(2)));
        assert!(!settle(&mut state), "the last is still being written");
        assert_eq!(state.collected(), None);
        assert!(settle(&mut state) && !settle(&mut state) && state.is_settled());
    }

    #[test]
    fn a_run_that_broke_off_settles_when_whoever_was_about_to_take_a_slice_has_left_too() {
        let mut state = state();
        assert!(take(&mut state));
        state.break_off(trouble("first"));
        state.break_off(trouble("second"));
        assert_eq!(state.trouble().map(|trouble| trouble.error.message.as_str()), Some("first"));
        state.end_loading();
        assert!(!settle(&mut state) && !take(&mut state));
        assert!(state.end_take(), "it is for him to settle it");
        assert!(settle(&mut state));
    }

    #[test]
    fn a_run_settles_when_its_steps_have_had_their_last_word_whoever_takes_it_from_them() {
        for is_left in [false, true] {
            let mut state = state();
            assert!(!state.begin_ending(), "it is read");
            state.set_loaded(loaded(0));
            assert!(state.begin_ending() && !state.begin_ending(), "one ends them");
            if is_left {
                state.leave_ending();
                assert!(!state.settle() && state.take_ending());
            }
            assert!(!state.take_ending() && !state.settle(), "they are being ended");
            state.end_ending(true);
            assert!(!state.lost_count() && state.settle() && !state.settle());
        }
    }

    #[test]
    fn what_its_steps_say_at_last_breaks_a_run_off_before_it_settles() {
        let mut state = state();
        state.set_loaded(loaded(0));
        assert!(state.begin_ending());
        state.break_off(trouble("it answered more than it was asked"));
        state.end_ending(false);
        assert!(!state.settle(), "its loader has not left");
        state.end_loading();
        assert!(state.settle() && state.lost_count());
    }

    #[test]
    fn no_slice_is_taken_far_ahead_of_a_checkpoint_that_is_still_on_its_way() {
        let mut state = state();
        state.note_progress(7, true);
        assert!(take(&mut state), "the next one is due, and nobody makes it yet");
        assert!(state.begin_checkpoint() && !state.begin_checkpoint());
        assert!(!take(&mut state));
        assert_eq!(state.take_order(), None, "it is not made yet");
        state.order_checkpoint("write this");
        assert_eq!((state.take_order(), state.take_order()), (Some("write this"), None));
        assert!(!take(&mut state) && !state.begin_checkpoint(), "it is being written");
        state.end_checkpoint();
        assert!(take(&mut state) && state.begin_checkpoint());
    }

    proptest! {
        /// Whenever an operator's word comes: either it is too late, and the run was settled with all its slices collected, or it counts, and
        /// the run settles once, with nobody at work, and not before the word is written down.
        #[test]
        fn an_order_counts_before_a_run_settles_or_is_told_to_be_too_late(
            slices in 1..6_u64, comes_at in 0..20_usize, is_written_at in 0..20_usize, leaves_at in 0..20_usize,
            ending_takes in 0..10_usize,
        ) {
            let mut state = state();
            state.set_loaded(loaded(slices));
            let (mut taken, mut collected, mut settled_at, mut is_ordered) = (0, 0, None, None);
            let mut ends_at = None;
            for moment in 0..60 {
                if moment == comes_at {
                    is_ordered = Some(state.begin_order(Trouble::ordered));
                    prop_assert_eq!(is_ordered, Some(settled_at.is_none()));
                }
                if moment == comes_at + is_written_at && is_ordered == Some(true) {
                    state.let_go();
                }
                if moment == leaves_at {
                    state.end_loading();
                }
                if taken < slices && take(&mut state) {
                    taken += 1;
                    let mut next = state.offer(taken - 1, taken - 1);
                    while next.is_some() {
                        collected += 1;
                        next = state.collected();
                    }
                    state.let_go();
                }
                if state.begin_ending() {
                    prop_assert_eq!(ends_at.replace(moment + ending_takes), None);
                }
                if ends_at == Some(moment) {
                    state.end_ending(true);
                }
                if state.settle() {
                    prop_assert!(ends_at.is_some_and(|ends_at| moment >= ends_at));
                    prop_assert_eq!(settled_at.replace(moment), None);
                    let is_whole = collected == slices;
                    prop_assert!(is_whole || state.trouble().is_some());
                    prop_assert!(is_ordered != Some(true) || moment >= comes_at + is_written_at);
                    prop_assert!(state.trouble().is_none() || moment >= leaves_at);
                }
            }
            prop_assert!(settled_at.is_some());
        }

        /// Whatever order slices come in, and wherever the job breaks off: each is collected once and in order, and the run settles once, when
        /// nobody has anything of it in hand.
        #[test]
        fn a_run_settles_once_with_nothing_in_hand(
            order in Just((0..9_u64).collect::<Vec<_>>()).prop_shuffle(),
            breaks_off_at in prop::option::of(0..9_usize),
        ) {
            let mut state = state();
            for _ in &order {
                prop_assert!(take(&mut state));
            }
            state.set_loaded(loaded(order.len() as u64));
            let (mut collected, mut settled) = (Vec::new(), 0);
            for (position, number) in order.iter().enumerate() {
                if breaks_off_at == Some(position) {
                    state.break_off(trouble("it does"));
                }
                let mut next = state.offer(*number, *number);
                while let Some(number) = next {
                    collected.push(number);
                    prop_assert!(!settle(&mut state) || state.trouble().is_some());
                    next = state.collected();
                }
                state.let_go();
                if position + 1 == order.len() {
                    state.end_loading();
                }
                settled += usize::from(settle(&mut state));
            }
            prop_assert_eq!(settled, 1);
            prop_assert_eq!((state.in_hand, state.busy), (0, 0));
            prop_assert_eq!(collected, (0..9).collect::<Vec<_>>());
        }
    }
}
