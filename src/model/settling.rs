//! What operators did with the failed records of a job whose other records are published.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Account, FailedRecord, RecordBytes};
use super::job::{Job, Moment};
use super::job_id::JobId;
use super::mistake::Mistake;

/// Bytes of a record that an operator wrote: it is asked for in one line, and kept in the act.
pub(crate) const EDITED_BYTES_MAX: usize = 32 << 10;
/// Acts that are told in a job's history, the last ones.
const TOLD_MAX: usize = 100;
/// Of one that is read.
const NUMBER_DIGITS_MAX: usize = 9;
/// Ranges that are spelled out in a sentence.
const SPELLED_MAX: usize = 8;

/// Numbers of failed records, as their list counts them, from 1: ranges, both ends in it, in order and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers(Vec<(u64, u64)>);

impl Numbers {
    /// All from the first to the last.
    pub fn upto(last: u64) -> Self {
        Self(if last == 0 { Vec::new() } else { vec![(1, last)] })
    }

    /// In whatever order they come, and however often.
    pub fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut joined = Vec::<(u64, u64)>::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them.
    pub fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).is_some_and(|at| number <= self.0[at].1)
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let mut left = Vec::new();
        let mut taken = others.0.iter().copied().peekable();
        for (mut first, last) in self.0.iter().copied() {
            while taken.next_if(|(_, end)| *end < first).is_some() {}
            while let Some((begin, end)) = taken.peek().copied().filter(|(begin, _)| *begin <= last) {
                if first < begin {
                    left.push((first, begin - 1));
                }
                first = end.saturating_add(1);
                if end >= last {
                    break;
                }
                taken.next();
            }
            if first <= last {
                left.push((first, last));
            }
        }
        Self(left)
    }
}

/// `3`, `5-9`, or several with commas.
impl FromStr for Numbers {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || {
            Mistake::new(
                format!("`{text}` is no number of a failed record"),
                "give numbers of the list's first column, like 3, 5-9 or 3,5-9",
            )
        };
        let number = |digits: &str| {
            let is_right = (1..=NUMBER_DIGITS_MAX).contains(&digits.len())
                && !digits.starts_with('0')
                && digits.bytes().all(|digit| digit.is_ascii_digit());
            if is_right { digits.parse::<u64>().ok() } else { None }
        };
        let range = |part: &str| {
            let (one, other) = part.split_once('-').unwrap_or((part, part));
            let (one, other) = (number(one)?, number(other)?);
            (one <= other).then_some((one, other))
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Self::of).ok_or_else(wrong)
    }
}

/// Which failed records somebody means; in JSON `all`, or numbers as a user writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Chosen {
    /// All that are left.
    All,
    /// These.
    These(Numbers),
}

impl Chosen {
    /// None: all that are left.
    pub fn numbers(&self) -> Option<&Numbers> {
        match self {
            Self::All => None,
            Self::These(numbers) => Some(numbers),
        }
    }
}

impl TryFrom<String> for Chosen {
    type Error = Mistake;

    fn try_from(text: String) -> Result<Self, Mistake> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::These) }
    }
}

impl From<Chosen> for String {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::All => "all".to_owned(),
            Chosen::These(numbers) => {
                let range = |(first, last): &(u64, u64)| {
                    if first == last { first.to_string() } else { format!("{first}-{last}") }
                };
                numbers.0.iter().map(range).collect::<Vec<_>>().join(",")
            }
        }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().take(SPELLED_MAX).enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        if self.0.len() > SPELLED_MAX { f.write_str(" …") } else { Ok(()) }
    }
}

/// One act of an operator on failed records of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settlement {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Which records.
    pub records: Numbers,
    /// What became of them.
    pub how: Settled,
}

/// What became of failed records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Settled {
    /// They are given up.
    Dropped {
        /// Why.
        reason: String,
    },
    /// A job of their own has them.
    Retried {
        /// That job.
        job: JobId,
        /// Which retry of this job's records it is, from 1.
        number: u32,
        /// How far that is.
        retry: Retry,
        /// What the operator made of the only one that it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edited: Option<RecordBytes>,
    },
    /// Their job, which waits for them, takes them again with all others once each is decided on.
    Again {
        /// What the operator made of the only one that it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edited: Option<RecordBytes>,
    },
}

impl Settled {
    /// What their job takes in the place of the only one.
    pub(crate) fn edited_again(&self) -> Option<&RecordBytes> {
        match self {
            Self::Again { edited } => edited.as_ref(),
            Self::Dropped { .. } | Self::Retried { .. } => None,
        }
    }
}

/// How far a retry of failed records is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Retry {
    /// Its job is not at its end.
    Open,
    /// Its job is completed: what failed again is among the failed records of that one.
    Completed,
    /// Its job was given up when some of it may have been published: nothing of that is taken again.
    Abandoned,
    /// Its job published nothing: its records are among the failed ones of the first job again.
    GivenBack,
}

impl Settlement {
    /// Whether its records are not among the failed ones any more.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self.how, Settled::Retried { retry: Retry::GivenBack, .. })
    }

    /// Whether its records may still come back.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.how, Settled::Retried { retry: Retry::Open, .. })
    }

    /// What was done, by whom; without the records.
    pub(crate) fn told(&self) -> String {
        let by = &self.by;
        let (job, retry, edited) = match &self.how {
            Settled::Dropped { reason } => return format!("dropped by {by}: {reason}"),
            Settled::Again { edited: None } => return format!("retried by {by}, with their job"),
            Settled::Again { edited: Some(_) } => {
                return format!("edited and retried by {by}, with their job");
            }
            Settled::Retried { job, retry, edited, .. } => (job, retry, edited),
        };
        let what = if edited.is_some() { "edited and retried" } else { "retried" };
        let end = match retry {
            Retry::Open => "",
            Retry::Completed => {
                return format!(
                    "{what} by {by}, as job {job}, which is completed: `landfall output {job}` prints what it published, `landfall records {job}` what failed again"
                );
            }
            Retry::Abandoned => ", which was abandoned: it says what of it is published",
            Retry::GivenBack => ", which published nothing: they came back",
        };
        format!("{what} by {by}, as job {job}{end}")
    }
}

/// Numbers that are not among the failed ones any more.
pub(crate) fn settled(acts: &[Settlement]) -> Numbers {
    let counting = acts.iter().filter(|act| act.counts());
    Numbers::of(counting.flat_map(|act| act.records.ranges().iter().copied()))
}

/// Under which name of `dropped_by` failed records are counted that are given up.
pub(crate) fn dropped_by(reason: &str) -> String {
    format!("failed records: {reason}")
}

/// What became of a failed record; none: it is among the failed ones.
pub(crate) fn told_of(acts: &[Settlement], number: u64) -> Option<String> {
    let act = acts.iter().rev().find(|act| act.counts() && act.records.contains(number))?;
    Some(format!("{} ({})", act.told(), act.at))
}

/// What an operator made of a record last, whatever became of it.
pub(crate) fn edited_to(acts: &[Settlement], number: u64) -> Option<&RecordBytes> {
    acts.iter().rev().filter(|act| act.records.contains(number)).find_map(|act| match &act.how {
        Settled::Retried { edited, .. } | Settled::Again { edited } => edited.as_ref(),
        Settled::Dropped { .. } => None,
    })
}

/// Moves what was settled in the account of a job from its failed records to where it is, and tells it in its history. What was decided on
/// before the job was begun last is in its account already.
pub(crate) fn tell(acts: &[Settlement], job: &mut Job) {
    let decided = job.held_records.decided;
    let is_new = |act: &Settlement| act.records.ranges().first().is_some_and(|(first, _)| *first > decided);
    for act in acts.iter().filter(|act| act.counts() && is_new(act)) {
        let count = act.records.count();
        let Account { records_failed, records_retried, .. } = &mut job.account;
        *records_failed = records_failed.saturating_sub(count);
        match &act.how {
            Settled::Retried { .. } | Settled::Again { .. } => *records_retried += count,
            Settled::Dropped { reason } => job.account.add_dropped(&dropped_by(reason), count),
        }
    }
    tell_in_history(acts, job);
}

/// Tells in the history of a job what was done with its failed records.
pub(crate) fn tell_in_history(acts: &[Settlement], job: &mut Job) {
    // A job that waited for them has gone on since.
    let state_at = |at| job.timeline.iter().rev().find(|moment| moment.at <= at).map(|moment| moment.state);
    let told = acts.iter().rev().take(TOLD_MAX).rev().map(|act| Moment {
        at: act.at,
        state: state_at(act.at).unwrap_or_else(|| job.state.get()),
        detail: format!("failed records {}: {}", act.records, act.told()),
    });
    let told: Vec<_> = told.collect();
    job.timeline.extend(told);
    job.timeline.sort_by_key(|moment| moment.at); // a stable sort
}

/// A failed record with its place in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NumberedRecord {
    /// Its place, from 1: it keeps that, whatever becomes of others.
    pub number: u64,
    /// The record.
    pub record: FailedRecord,
    /// What became of it; none: it is among the failed ones.
    pub settled: Option<String>,
    /// What an operator made of it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<RecordBytes>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(numbers: &Numbers) -> BTreeSet<u64> {
        numbers.ranges().iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    proptest! {
        #[test]
        fn ranges_are_what_their_numbers_are(
            one in prop::collection::vec((1u64..40, 0u64..6), 0..8),
            other in prop::collection::vec((1u64..40, 0u64..6), 0..8),
        ) {
            let ranges = |of: &[(u64, u64)]| Numbers::of(of.iter().map(|(first, more)| (*first, first + more)));
            let (one, other) = (ranges(&one), ranges(&other));
            let (ones, others) = (set(&one), set(&other));
            prop_assert_eq!(one.count(), ones.len() as u64);
            let left: BTreeSet<u64> = ones.difference(&others).copied().collect();
            prop_assert_eq!(set(&one.without(&other)), left);
            for number in 0..50 {
                prop_assert_eq!(one.contains(number), ones.contains(&number));
            }
            let mut ends = one.ranges().iter().flat_map(|(first, last)| [*first, *last]);
            prop_assert!(ends.clone().is_sorted() && ends.all(|end| end > 0));
        }
    }

    #[test]
    fn numbers_are_read_as_a_user_writes_them_and_told_in_the_same_way() {
        let numbers: Numbers = "9,3-5,4-7".parse().expect("is right");
        assert_eq!((numbers.to_string().as_str(), numbers.count()), ("3-7, 9", 6));
        let chosen = Chosen::These(numbers);
        let told = String::from(chosen.clone());
        assert_eq!((told.as_str(), Chosen::try_from(told.clone()).expect("is read")), ("3-7,9", chosen));
        assert_eq!(Chosen::try_from("all".to_owned()), Ok(Chosen::All));
        for wrong in ["", "0", "03", "7-4", "+3", " 3", "a", "1,", "-1", "1234567890"] {
            wrong.parse::<Numbers>().expect_err(wrong);
        }
    }
}
