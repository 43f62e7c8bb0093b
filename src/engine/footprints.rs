//! What a process leaves behind of the jobs it has when it dies, written without a sync.

use std::sync::Arc;

use super::in_hand::InHand;
use super::reach::Reach;

/// Each part locks for itself.
#[derive(Debug, Default)]
pub(super) struct Footprints {
    /// Which jobs are in hand: by it one that ends the process again and again is found out.
    pub in_hand: InHand,
    /// How many records of each have run: by it is told what runs again.
    pub reach: Arc<Reach>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job_id::JobId;

    #[test]
    fn the_next_process_finds_which_jobs_were_in_hand_and_how_far_each_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let [died, ended] = [1, 2].map(|number| JobId::from_parts(number, 0));
        let begun = || {
            let footprints = Footprints::default();
            let in_hand = footprints.in_hand.begin(folder.path());
            footprints.reach.begin(folder.path(), |id| id == died); // the other one ended
            (footprints, in_hand)
        };
        let (footprints, _) = begun();
        for id in [died, ended] {
            assert!(footprints.in_hand.take(id, false));
            footprints.reach.note(id, 7);
        }
        footprints.in_hand.clear(ended);
        footprints.reach.forget(ended);
        drop(footprints);
        let (footprints, in_hand) = begun();
        assert_eq!((in_hand, footprints.reach.of(died), footprints.reach.of(ended)), (vec![died], 7, 0));
    }
}
