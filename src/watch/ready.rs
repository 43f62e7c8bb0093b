//! Is this candidate complete? Decided from what is known, without looking at the disk.
//!
//! Events only ever make it faster: without one, size, mtime and ctime stand still for `stable_for` on our own monotonic clock.

use std::time::{Duration, Instant};

use crate::model::identity::FileIdentity;
use crate::model::rule::{Ready, ReadyStrategy, TrustClose};

/// As good as never, and within what every clock can count.
pub(super) const FOREVER: Duration = Duration::from_hours(365 * 24);

/// What an event told about a candidate since it last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing that counts.
    None,
    /// Its writer closed it.
    Closed,
    /// It was renamed to here.
    MovedIn,
}

/// What is known about a candidate's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkerSeen {
    /// It is not there, or no regular file.
    Missing,
    /// It is there, but older than its file.
    Stale,
    /// It speaks for its file.
    Valid,
}

impl MarkerSeen {
    /// Judges the marker by both files' times.
    pub(super) fn judge(marker: Option<FileIdentity>, file: &FileIdentity) -> Self {
        match marker {
            None => Self::Missing,
            Some(marker) if marker.mtime_ns < file.mtime_ns => Self::Stale,
            Some(_) => Self::Valid,
        }
    }
}

/// What to do with a candidate now; before it is offered, nobody may have it open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Offer it.
    Complete,
    /// Offer it if its content proves its own end, with the word that it may be early.
    CompleteIfFramed,
    /// It becomes complete at this time if it stands still.
    Until(Instant),
    /// Only its marker, or a new one, makes it complete.
    Marker(MarkerSeen),
}

/// Judges a candidate that stands still since `still_since`.
pub(super) fn judge(
    ready: &Ready,
    proof: Proof,
    marker: MarkerSeen,
    still_since: Instant,
    now: Instant,
) -> Verdict {
    match (ready.strategy, proof, ready.trust_close) {
        (ReadyStrategy::Marker, _, _) if marker == MarkerSeen::Valid => Verdict::Complete,
        (ReadyStrategy::Marker, _, _) => Verdict::Marker(marker),
        (ReadyStrategy::Auto, Proof::MovedIn, _)
        | (ReadyStrategy::Auto, Proof::Closed, TrustClose::Always) => Verdict::Complete,
        _ if now.saturating_duration_since(still_since) >= ready.stable_for => Verdict::Complete,
        (ReadyStrategy::Auto, Proof::Closed, TrustClose::Framed) => Verdict::CompleteIfFramed,
        // A quiet time beyond what the clock can count never ends.
        _ => Verdict::Until(still_since.checked_add(ready.stable_for).unwrap_or(now + FOREVER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE_FOR: Duration = Duration::from_secs(10);

    fn verdict(
        strategy: ReadyStrategy,
        trust_close: TrustClose,
        proof: Proof,
        still: u64,
        marker: MarkerSeen,
    ) -> Verdict {
        let ready = Ready {
            strategy,
            trust_close,
            stable_for: STABLE_FOR,
            marker: None,
            totals: None,
            last_line: crate::model::rule::LastLine::Any,
        };
        let since = Instant::now();
        judge(&ready, proof, marker, since, since + Duration::from_secs(still))
    }

    #[test]
    fn a_moved_in_file_is_complete_at_once_only_under_auto() {
        use {MarkerSeen::Missing, Proof::MovedIn, ReadyStrategy as S, TrustClose::Framed};
        assert_eq!(verdict(S::Auto, Framed, MovedIn, 0, Missing), Verdict::Complete);
        assert!(matches!(verdict(S::Stable, Framed, MovedIn, 0, Missing), Verdict::Until(_)));
        assert_eq!(verdict(S::Marker, Framed, MovedIn, 0, Missing), Verdict::Marker(Missing));
    }

    #[test]
    fn a_close_counts_as_far_as_it_is_trusted() {
        use {MarkerSeen::Missing, Proof::Closed, ReadyStrategy::Auto, TrustClose as T};
        assert_eq!(verdict(Auto, T::Always, Closed, 0, Missing), Verdict::Complete);
        assert_eq!(verdict(Auto, T::Framed, Closed, 0, Missing), Verdict::CompleteIfFramed);
        assert!(matches!(verdict(Auto, T::Never, Closed, 0, Missing), Verdict::Until(_)));
    }

    #[test]
    fn quiet_time_completes_all_but_markers() {
        use {MarkerSeen as M, Proof::None, ReadyStrategy as S, TrustClose::Never};
        assert_eq!(verdict(S::Auto, Never, None, 10, M::Missing), Verdict::Complete);
        assert!(matches!(verdict(S::Stable, Never, None, 9, M::Missing), Verdict::Until(_)));
        assert_eq!(verdict(S::Marker, Never, None, 99, M::Stale), Verdict::Marker(M::Stale));
        assert_eq!(verdict(S::Marker, Never, None, 0, M::Valid), Verdict::Complete);
    }
}
