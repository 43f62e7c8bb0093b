//! Which of many segments may match a name: found by what they spell out, not by trying each.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Segment;

/// Values by segments.
#[derive(Clone, Debug)]
pub(crate) struct NameIndex<T> {
    /// By how many bytes of beginning and ending are spelled out, then by both. Most rules' patterns spell out as many as many others.
    by_lengths: Vec<((usize, usize), ByEnds<T>)>,
}

type ByEnds<T> = HashMap<String, HashMap<String, Vec<T>>>;

impl<T> NameIndex<T> {
    /// All values whose segments spell out what this one does.
    pub(crate) fn beside(&mut self, segment: &Segment) -> &mut Vec<T> {
        let (beginning, ending) = segment.ends_spelled_out();
        let lengths = (beginning.len(), ending.len());
        let at = self.by_lengths.iter().position(|(other, _)| *other == lengths).unwrap_or_else(|| {
            self.by_lengths.push((lengths, HashMap::new()));
            self.by_lengths.len() - 1
        });
        let (_, by_ends) = &mut self.by_lengths[at];
        let by_ending = by_ends.entry(folded(beginning).into_owned()).or_default();
        by_ending.entry(folded(ending).into_owned()).or_default()
    }

    /// Each value whose segment may match this name: all that do, and some that do not.
    pub(crate) fn each_near(&self, name: &str, mut take: impl FnMut(&T)) {
        let name = folded(name);
        for ((beginning, ending), by_ends) in &self.by_lengths {
            let Some(between) = name.len().checked_sub(*ending).filter(|it| it >= beginning) else {
                continue;
            };
            let ends = name.get(..*beginning).zip(name.get(between..));
            let values = ends.and_then(|(start, end)| by_ends.get(start)?.get(end));
            values.into_iter().flatten().for_each(&mut take);
        }
    }
}

impl<T> Default for NameIndex<T> {
    fn default() -> Self {
        Self { by_lengths: Vec::new() }
    }
}

/// The glob crate has upper and lower case of ASCII count as one where case does not count.
fn folded(text: &str) -> Cow<'_, str> {
    if cfg!(windows) { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
}
