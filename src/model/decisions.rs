//! What operators decided on failed records of a job that waits for each of them, as it counts when the job is worked again.
//!
//! A record is known by its entry and its number there. It may have failed several times, and be in the list of failed records as often: the
//! last word counts. One that is only taken again stays what was made of it before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::account::Account;
use super::settling::{Settled, Settlement, dropped_by};
use super::slice::{RecordPlace, Slice, Span};

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// No step sees it: it is counted under this.
    Dropped(Arc<str>),
    /// The act has what it is to be.
    Edited { act: u64 },
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decisions(BTreeMap<(u32, u64), Decision>);

/// A slice as it was decided on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecidedSlice {
    /// What is left of it for the steps.
    pub slice: Slice,
    /// What is not, by what it is counted under.
    dropped: BTreeMap<Arc<str>, u64>,
}

impl DecidedSlice {
    /// Counts what no step saw.
    pub(crate) fn count(&self, account: &mut Account) {
        for (by, count) in &self.dropped {
            account.records_in += count;
            account.add_dropped(by, *count);
        }
    }
}

impl Decisions {
    /// From the list of failed records, as entries and numbers in them, and all acts on it.
    pub(crate) fn of<E>(
        records: impl IntoIterator<Item = Result<(u32, u64), E>>,
        acts: &[Settlement],
    ) -> Result<Self, E> {
        let mut ranges: Vec<(u64, u64, usize)> = (0..)
            .zip(acts)
            .filter(|(_, act)| act.counts())
            .flat_map(|(at, act)| act.records.ranges().iter().map(move |(first, last)| (*first, *last, at)))
            .collect();
        ranges.sort_unstable();
        let mut ranges = ranges.into_iter().peekable();
        let mut reasons = HashMap::<usize, Arc<str>>::new();
        let mut decisions = BTreeMap::new();
        for (number, record) in (1_u64..).zip(records) {
            let record = record?;
            while ranges.next_if(|(_, last, _)| *last < number).is_some() {}
            let Some((_, _, at)) = ranges.peek().filter(|(first, _, _)| *first <= number) else { continue };
            match &acts[*at].how {
                Settled::Dropped { reason } => {
                    let by = reasons.entry(*at).or_insert_with(|| dropped_by(reason).into());
                    decisions.insert(record, Decision::Dropped(Arc::clone(by)));
                }
                Settled::Again { edited: Some(_) } => {
                    decisions.insert(record, Decision::Edited { act: *at as u64 });
                }
                Settled::Again { edited: None } | Settled::Retried { .. } => {}
            }
        }
        Ok(Self(decisions))
    }

    /// Under what a record is counted that was dropped.
    pub(crate) fn dropped_by(&self, entry: u32, record: u64) -> Option<&str> {
        match self.0.get(&(entry, record))? {
            Decision::Dropped(by) => Some(by),
            Decision::Edited { .. } => None,
        }
    }

    /// A slice as it is to be worked; none: nothing of it was decided on. `place_of`: where its records stood; `edited`: what an act has.
    pub(crate) fn apply<E>(
        &self,
        slice: &Slice,
        place_of: impl Fn(usize) -> RecordPlace,
        edited: impl Fn(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Option<DecidedSlice>, E> {
        let Some(last) = slice.records.len().checked_sub(1).map(|last| slice.record_number(last)) else {
            return Ok(None);
        };
        let of_slice = (slice.entry, slice.record_number(0))..=(slice.entry, last);
        if self.0.is_empty() || self.0.range(of_slice).next().is_none() {
            return Ok(None);
        }
        let mut draft = Draft::default();
        let mut dropped = BTreeMap::new();
        let mut oversized = slice.oversized;
        for (index, span) in slice.records.iter().enumerate() {
            let place = place_of(index);
            match self.0.get(&(slice.entry, slice.record_number(index))) {
                Some(Decision::Dropped(by)) => *dropped.entry(Arc::clone(by)).or_default() += 1,
                Some(Decision::Edited { act }) => {
                    oversized = None; // it was refused unless it is one record
                    draft.take(&edited(*act)?, place);
                }
                None => {
                    let bytes = slice.bytes.get(span.start as usize..span.end as usize).unwrap_or_default();
                    draft.take(bytes, place);
                }
            }
        }
        let oversized = oversized.filter(|_| !draft.records.is_empty());
        let Draft { bytes, records, places } = draft;
        let slice = Slice { bytes: bytes.into(), records, places, oversized, ..slice.clone() };
        Ok(Some(DecidedSlice { slice, dropped }))
    }
}

/// Records with a line end behind each.
#[derive(Default)]
struct Draft {
    bytes: Vec<u8>,
    records: Vec<Span>,
    places: Vec<RecordPlace>,
}

impl Draft {
    fn take(&mut self, bytes: &[u8], place: RecordPlace) {
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.push(b'\n');
        self.records.push(Span { start, end });
        self.places.push(place);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::model::account::RecordBytes;
    use crate::model::settling::Numbers;

    fn act(number: u64, how: Settled) -> Settlement {
        let records = Numbers::of([(number, number)]);
        Settlement { at: Timestamp::UNIX_EPOCH, by: "root".into(), records, how }
    }

    fn dropped(number: u64, reason: &str) -> Settlement {
        act(number, Settled::Dropped { reason: reason.into() })
    }

    fn again(number: u64, edited: Option<&str>) -> Settlement {
        act(number, Settled::Again { edited: edited.map(|text| RecordBytes(text.into())) })
    }

    /// Records of these texts, the first of which is so many within its entry.
    fn slice(first_record: u64, texts: &[String]) -> Slice {
        let mut draft = Draft::default();
        for (index, text) in texts.iter().enumerate() {
            draft.take(text.as_bytes(), place(first_record, index));
        }
        Slice {
            number: 0,
            entry: 0,
            first_record,
            offset: 0,
            first_line: 0,
            bytes: draft.bytes.into(),
            records: draft.records,
            skipped: 0,
            oversized: None,
            places: Vec::new(),
        }
    }

    fn place(first_record: u64, index: usize) -> RecordPlace {
        let record = first_record + index as u64;
        RecordPlace { record, offset: record * 10, line: record }
    }

    fn texts(slice: &Slice) -> Vec<String> {
        let text = |span: &Span| slice.bytes[span.start as usize..span.end as usize].to_vec();
        slice.records.iter().map(|span| String::from_utf8(text(span)).expect("text")).collect()
    }

    fn applied(decisions: &Decisions, acts: &[Settlement], slice: &Slice) -> Option<DecidedSlice> {
        let edited = |act: u64| match &acts[usize::try_from(act).expect("small")].how {
            Settled::Again { edited: Some(RecordBytes(edited)) } => Ok::<_, Infallible>(edited.clone()),
            other => panic!("{other:?} has nothing edited"),
        };
        decisions.apply(slice, |index| place(slice.first_record, index), edited).expect("never fails")
    }

    #[test]
    fn what_was_edited_stays_so_when_it_fails_again_and_is_only_retried_until_it_is_dropped() {
        let listed = |times: usize| std::iter::repeat_n(Ok::<_, Infallible>((0, 7)), times);
        let source = slice(7, &["was".into(), "other".into()]);
        let mut acts = vec![again(1, Some("is"))];
        let of = |acts: &[Settlement]| {
            let decisions = Decisions::of(listed(acts.len()), acts).expect("never fails");
            applied(&decisions, acts, &source).expect("is decided on")
        };
        assert_eq!(texts(&of(&acts).slice), ["is", "other"]);
        acts.push(again(2, None));
        assert_eq!(texts(&of(&acts).slice), ["is", "other"]);
        acts.push(dropped(3, "old"));
        let decided = of(&acts);
        assert_eq!(texts(&decided.slice), ["other"]);
        let mut account = Account::default();
        decided.count(&mut account);
        assert_eq!((account.records_in, account.dropped_by["failed records: old"]), (1, 1));
    }

    proptest! {
        /// Goal: order and places stay, nothing is lost or doubled, and nothing that nobody decided on is touched.
        #[test]
        fn each_record_is_as_it_was_or_as_it_was_decided_in_its_place(
            first in 1_u64..20,
            count in 1_usize..20,
            words in prop::collection::vec((0_u64..30, 0..3), 0..40),
        ) {
            let source: Vec<String> = (0..count as u64).map(|index| format!("record {}", first + index)).collect();
            let slice = slice(first, &source);
            let listed: Vec<u64> = words.iter().map(|(record, _)| *record).collect();
            let acts: Vec<Settlement> = (1..).zip(&words).map(|(number, (record, word))| match word {
                0 => dropped(number, "old"),
                1 => again(number, None),
                _ => again(number, Some(&format!("edited {record} {number}"))),
            }).collect();
            let decisions =
                Decisions::of(listed.iter().map(|record| Ok::<_, Infallible>((0, *record))), &acts).expect("never fails");
            // What is known of each record, one word after another.
            let mut expected: BTreeMap<u64, Option<String>> =
                (first..).zip(&source).map(|(record, text)| (record, Some(text.clone()))).collect();
            for (number, (record, word)) in (1_u64..).zip(&words) {
                let Some(now) = expected.get_mut(record) else { continue };
                match word {
                    0 => *now = None,
                    1 => {}
                    _ => *now = Some(format!("edited {record} {number}")),
                }
            }
            let kept: Vec<(u64, String)> =
                expected.iter().filter_map(|(record, text)| Some((*record, text.clone()?))).collect();
            let mut account = Account::default();
            let (found, places) = match applied(&decisions, &acts, &slice) {
                Some(decided) => {
                    decided.count(&mut account);
                    (texts(&decided.slice), decided.slice.places)
                }
                None => (texts(&slice), (0..count).map(|index| place(first, index)).collect()),
            };
            prop_assert_eq!(&found, &kept.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>());
            let numbers: Vec<u64> = places.iter().map(|place| place.record).collect();
            prop_assert_eq!(numbers, kept.iter().map(|(record, _)| *record).collect::<Vec<_>>());
            prop_assert_eq!(account.records_in + found.len() as u64, count as u64);
            prop_assert_eq!(account.records_in, account.records_dropped());
        }
    }
}
