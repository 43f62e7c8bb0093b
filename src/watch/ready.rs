//! Is this candidate complete? Decided from what is known, without looking at the disk.
//!
//! Events only ever make it faster: without one, size, mtime and ctime stand still for `stable_for` on our own monotonic clock. With one
//! they stand still for `linger`, if that is less: after its last close a client often looks at the file once more, or sets its times, and
//! takes an upload for failed whose file is gone by then.

use std::time::{Duration, Instant};

use crate::model::complete_by::CompleteBy;
use crate::model::identity::FileIdentity;
use crate::model::rule::{Ready, ReadyStrategy, TrustClose};

/// As good as never, and within what every clock can count.
pub(super) const FOREVER: Duration = Duration::from_hours(365 * 24);

/// What an event told about a candidate since it last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing that counts.
    None,
    /// Its writer closed it, or renamed it from a hidden name beside it, as a receiver also does whose sender broke off.
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
    /// It is that of a folder, and stands for files that came before this one.
    OfOthers,
    /// It speaks for its file.
    Valid,
}

/// Whether the marker of its folder stood for a file before, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stood {
    Never,
    Before,
    /// Until it was claimed; then it was given back. That its marker went with other files, or its rename back, is nothing that its sender did.
    UntilTaken,
}

impl MarkerSeen {
    /// Judges the marker of a folder: also by when the file was last changed at all, which no sender can set.
    pub(super) fn judge_of_folder(marker: Option<FileIdentity>, file: &FileIdentity, stood: Stood) -> Self {
        match (marker, stood) {
            (None, Stood::Never | Stood::Before) => Self::Missing,
            (Some(marker), _) if is_before(marker.mtime_ns, file.mtime_ns) => Self::OfOthers,
            (Some(marker), Stood::Never) if is_before(marker.ctime_ns, file.ctime_ns) => Self::OfOthers,
            (Some(_), _) | (None, Stood::UntilTaken) => Self::Valid,
        }
    }

    /// Judges the marker by both files' times, at the precision that both have: clients set times in whole seconds.
    pub(super) fn judge(marker: Option<FileIdentity>, file: &FileIdentity) -> Self {
        let Some(marker) = marker else { return Self::Missing };
        if is_before(marker.mtime_ns, file.mtime_ns) { Self::Stale } else { Self::Valid }
    }
}

/// Whether one time is before another, at the precision that both have.
pub(super) fn is_before(one: i128, other: i128) -> bool {
    let unit = unit(one).max(unit(other));
    one.div_euclid(unit) < other.div_euclid(unit)
}

/// The coarsest of the usual units that a time is a multiple of, in nanoseconds.
fn unit(time_ns: i128) -> i128 {
    const UNITS: [i128; 5] = [1_000_000_000, 1_000_000, 1_000, 100, 1];
    UNITS.into_iter().find(|unit| time_ns % unit == 0).unwrap_or(1)
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
    /// Likewise; it came just now.
    Lingers(Instant),
    /// Only its marker, or a new one, makes it complete.
    Marker(MarkerSeen),
}

/// What a candidate and its companions are judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) proof: Proof,
    pub(super) marker: MarkerSeen,
    /// The file stands still since then.
    pub(super) still_since: Instant,
    /// Its marker and its totals do so since then, if it has any.
    pub(super) companions_since: Option<Instant>,
}

/// Judges a candidate.
pub(super) fn judge(ready: &Ready, seen: Evidence, now: Instant) -> Verdict {
    // A quiet time beyond what the clock can count never ends.
    let end_of = |since: Instant, quiet| since.checked_add(quiet).unwrap_or(now + FOREVER);
    let since_both = seen.companions_since.map_or(seen.still_since, |it| it.max(seen.still_since));
    let stood_still = now >= end_of(seen.still_since, ready.stable_for);
    let (verdict, lingers_since) = match (ready.strategy, seen.proof, ready.trust_close) {
        (ReadyStrategy::Marker, _, _) if seen.marker == MarkerSeen::Valid => {
            (Verdict::Complete, Some(since_both))
        }
        (ReadyStrategy::Marker, _, _) => return Verdict::Marker(seen.marker),
        _ if stood_still => (Verdict::Complete, seen.companions_since),
        (ReadyStrategy::Auto, Proof::MovedIn, _)
        | (ReadyStrategy::Auto, Proof::Closed, TrustClose::Always) => (Verdict::Complete, Some(since_both)),
        (ReadyStrategy::Auto, Proof::Closed, TrustClose::Framed) => {
            (Verdict::CompleteIfFramed, Some(since_both))
        }
        _ => return Verdict::Until(end_of(seen.still_since, ready.stable_for)),
    };
    let lingers = match ready.strategy {
        ReadyStrategy::Marker => ready.linger,
        ReadyStrategy::Auto | ReadyStrategy::Stable => ready.linger.min(ready.stable_for),
    };
    match lingers_since.map(|since| end_of(since, lingers)).filter(|end| now < *end) {
        Some(end) => Verdict::Lingers(end),
        None => verdict,
    }
}

/// By what a candidate that was judged complete is so.
pub(super) fn complete_by(ready: &Ready, proof: Proof, proves_its_end: bool) -> CompleteBy {
    match (ready.strategy, proof) {
        _ if ready.totals.is_some() => CompleteBy::Totals,
        _ if ready.checksum.is_some() => CompleteBy::Checksum,
        (ReadyStrategy::Marker, _) => CompleteBy::Marker,
        _ if proves_its_end => CompleteBy::Content,
        (ReadyStrategy::Auto, Proof::MovedIn) => CompleteBy::Rename,
        (ReadyStrategy::Auto, Proof::Closed) if ready.trust_close == TrustClose::Always => CompleteBy::Close,
        _ => CompleteBy::StableFor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE_FOR: Duration = Duration::from_secs(10);
    const LINGER: Duration = Duration::from_secs(2);

    fn verdict(
        strategy: ReadyStrategy,
        trust_close: TrustClose,
        proof: Proof,
        still: u64,
        marker: MarkerSeen,
    ) -> Verdict {
        let since = Instant::now();
        let seen = Evidence { proof, marker, still_since: since, companions_since: None };
        judge(&ready(strategy, trust_close), seen, since + Duration::from_secs(still))
    }

    fn ready(strategy: ReadyStrategy, trust_close: TrustClose) -> Ready {
        Ready {
            strategy,
            trust_close,
            stable_for: STABLE_FOR,
            linger: LINGER,
            marker: None,
            marker_for: crate::model::rule::MarkerFor::File,
            totals: None,
            last_line: crate::model::rule::LastLine::Any,
            events: true,
            checksum: None,
            empty: crate::model::rule::EmptyFile::Take,
            late_after: None,
        }
    }

    #[test]
    fn a_moved_in_file_is_complete_after_a_moment_only_under_auto() {
        use {MarkerSeen::Missing, Proof::MovedIn, ReadyStrategy as S, TrustClose::Framed};
        assert_eq!(verdict(S::Auto, Framed, MovedIn, 2, Missing), Verdict::Complete);
        assert!(matches!(verdict(S::Auto, Framed, MovedIn, 1, Missing), Verdict::Lingers(_)));
        assert!(matches!(verdict(S::Stable, Framed, MovedIn, 2, Missing), Verdict::Until(_)));
        assert_eq!(verdict(S::Marker, Framed, MovedIn, 2, Missing), Verdict::Marker(Missing));
    }

    #[test]
    fn a_close_counts_as_far_as_it_is_trusted_and_after_a_moment() {
        use {MarkerSeen::Missing, Proof::Closed, ReadyStrategy::Auto, TrustClose as T};
        assert_eq!(verdict(Auto, T::Always, Closed, 2, Missing), Verdict::Complete);
        assert_eq!(verdict(Auto, T::Framed, Closed, 2, Missing), Verdict::CompleteIfFramed);
        assert!(matches!(verdict(Auto, T::Framed, Closed, 1, Missing), Verdict::Lingers(_)));
        assert!(matches!(verdict(Auto, T::Never, Closed, 2, Missing), Verdict::Until(_)));
    }

    #[test]
    fn what_proves_an_end_is_told_by_the_strongest_of_it() {
        use {CompleteBy as By, Proof as P};
        let mut ready = ready(ReadyStrategy::Auto, TrustClose::Framed);
        let by = |ready: &Ready, proof, framed| complete_by(ready, proof, framed);
        assert_eq!(by(&ready, P::MovedIn, false), By::Rename);
        assert_eq!(by(&ready, P::MovedIn, true), By::Content);
        assert_eq!(by(&ready, P::Closed, false), By::StableFor, "the close itself is not trusted");
        ready.trust_close = TrustClose::Always;
        assert_eq!(by(&ready, P::Closed, false), By::Close);
        ready.strategy = ReadyStrategy::Stable;
        assert_eq!(by(&ready, P::MovedIn, false), By::StableFor);
        ready.strategy = ReadyStrategy::Marker;
        assert_eq!(by(&ready, P::None, true), By::Marker);
        ready.checksum = Some("{name}.md5".into());
        assert_eq!(by(&ready, P::None, true), By::Checksum);
    }

    #[test]
    fn quiet_time_completes_all_but_markers() {
        use {MarkerSeen as M, Proof::None, ReadyStrategy as S, TrustClose::Never};
        assert_eq!(verdict(S::Auto, Never, None, 10, M::Missing), Verdict::Complete);
        assert!(matches!(verdict(S::Stable, Never, None, 9, M::Missing), Verdict::Until(_)));
        assert_eq!(verdict(S::Marker, Never, None, 99, M::Stale), Verdict::Marker(M::Stale));
        assert_eq!(verdict(S::Marker, Never, None, 2, M::Valid), Verdict::Complete);
        assert!(matches!(verdict(S::Marker, Never, None, 1, M::Valid), Verdict::Lingers(_)));
    }

    #[test]
    fn the_marker_of_a_folder_stands_for_what_neither_changed_nor_came_after_it() {
        use Stood::{Before, Never, UntilTaken};
        const S: i128 = 1_000_000_000;
        let at =
            |mtime, ctime| FileIdentity { device: 1, inode: 1, size: 1, mtime_ns: mtime, ctime_ns: ctime };
        let judge = |marker: (i128, i128), file: (i128, i128), stood| {
            MarkerSeen::judge_of_folder(Some(at(marker.0, marker.1)), &at(file.0, file.1), stood)
        };
        assert_eq!(judge((5 * S, 5 * S + 7), (5 * S + 3, 5 * S + 6), Never), MarkerSeen::Valid);
        assert_eq!(judge((5 * S, 5 * S + 7), (6 * S, 5 * S + 6), Never), MarkerSeen::OfOthers);
        // Its sender kept its old time, and it came later all the same.
        assert_eq!(judge((5 * S, 5 * S + 7), (S, 5 * S + 8), Never), MarkerSeen::OfOthers);
        // Our own rename, or a change of its rights, once it was marked.
        assert_eq!(judge((5 * S, 5 * S + 7), (S, 9 * S + 8), Before), MarkerSeen::Valid);
        assert_eq!(judge((5 * S, 5 * S + 7), (6 * S, 9 * S + 8), Before), MarkerSeen::OfOthers);
        let without = |stood| MarkerSeen::judge_of_folder(None, &at(1, 1), stood);
        let all = [without(Never), without(Before), without(UntilTaken)];
        assert_eq!(all, [MarkerSeen::Missing, MarkerSeen::Missing, MarkerSeen::Valid]);
    }

    #[test]
    fn a_marker_is_older_only_as_far_as_both_clocks_can_tell() {
        const SECOND: i128 = 1_000_000_000;
        let at = |mtime_ns| FileIdentity { device: 1, inode: 1, size: 1, mtime_ns, ctime_ns: 0 };
        let judge = |marker, file| MarkerSeen::judge(Some(at(marker)), &at(file));
        assert_eq!(judge(5 * SECOND, 5 * SECOND + 123_456_789), MarkerSeen::Valid);
        assert_eq!(judge(4 * SECOND, 5 * SECOND + 123_456_789), MarkerSeen::Stale);
        assert_eq!(judge(5 * SECOND + 123_456_788, 5 * SECOND + 123_456_789), MarkerSeen::Stale);
        assert_eq!(judge(5 * SECOND + 123_000_000, 5 * SECOND + 123_456_789), MarkerSeen::Valid);
        assert_eq!(judge(-SECOND, -SECOND / 2), MarkerSeen::Valid);
        assert_eq!(MarkerSeen::judge(None, &at(0)), MarkerSeen::Missing);
    }
}
