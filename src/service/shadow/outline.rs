//! A text in outline: enough to say whether two are the same, and where they differ first, without keeping either.
//!
//! Lines stand in groups of 2^n, each with its end and a hash. A longer text has larger groups, so that an outline is never larger than
//! [`GROUPS_MAX`]. A group's hash is made of those of its halves: the groups of two outlines can be brought to one size.

use std::io::{self, BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

/// Groups of an outline at most. The first line that differs is told exactly in a text of so many lines.
const GROUPS_MAX: usize = 2048;
const BUFFER_BYTES: usize = 64 << 10;
/// UTF-8's mark at the beginning is no content.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A text in outline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outline {
    pub bytes: u64,
    pub lines: u64,
    /// `blake3:` and the hash of the whole.
    pub hash: String,
    /// A group has 2 to the power of this many lines.
    level: u32,
    groups: Vec<Group>,
}

/// Lines that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    /// Bytes of the text up to its end.
    end: u64,
    hash: u64,
}

impl Group {
    fn beside(self, next: Self) -> Self {
        let both = [self.hash.to_le_bytes(), next.hash.to_le_bytes()].concat();
        Self { end: next.end, hash: short(&blake3::hash(&both)) }
    }
}

fn short(hash: &blake3::Hash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

/// Neighbours joined in pairs; one that has none stays.
fn halved(groups: &[Group]) -> Vec<Group> {
    let join = |pair: &[Group]| match pair {
        [one, next] => Some(one.beside(*next)),
        [one] => Some(*one),
        _ => None,
    };
    groups.chunks(2).filter_map(join).collect()
}

impl Outline {
    /// Reads a text to its end.
    pub(super) fn of(text: impl Read) -> io::Result<Self> {
        let mut text = BufReader::with_capacity(BUFFER_BYTES, text);
        let mut outliner = Outliner::default();
        let mut is_first = true;
        loop {
            let block = text.fill_buf()?;
            if block.is_empty() {
                return Ok(outliner.end());
            }
            let taken = block.len();
            let bom = if std::mem::take(&mut is_first) && block.starts_with(BOM) { BOM.len() } else { 0 };
            outliner.take(&block[bom..]);
            text.consume(taken);
        }
    }

    /// Where this text, which is called `one`, and the other differ first; none where they are the same.
    pub(super) fn difference(&self, other: &Self, (one, another): (&str, &str)) -> Option<String> {
        if self.hash == other.hash {
            return None;
        }
        let level = self.level.max(other.level);
        let (ours, theirs) = (self.at_level(level), other.at_level(level));
        let is_same = |(ours, theirs): &(&Group, &Group)| ours == theirs;
        let same = ours.iter().zip(&theirs).take_while(is_same).count();
        let offset = same.checked_sub(1).and_then(|last| ours.get(last)).map_or(0, |group| group.end);
        let line = ((same as u64) << level) + 1;
        let last = ((same as u64 + 1) << level).min(self.lines.max(other.lines)).max(line);
        for (text, name) in [(self, one), (other, another)] {
            if text.lines < line && text.bytes == offset {
                return Some(format!("{name} ends after line {}, at byte {offset}", text.lines));
            }
        }
        let lines = if line == last { format!("line {line}") } else { format!("lines {line} to {last}") };
        Some(format!("first at {lines}, from byte {offset} on"))
    }

    fn at_level(&self, level: u32) -> Vec<Group> {
        (self.level..level).fold(self.groups.clone(), |groups, _| halved(&groups))
    }
}

#[derive(Default)]
struct Outliner {
    whole: blake3::Hasher,
    bytes: u64,
    lines: u64,
    level: u32,
    groups: Vec<Group>,
    /// Of the group that is not full yet: parts of 2^n lines, the larger first.
    parts: Vec<(u32, Group)>,
    line: blake3::Hasher,
    line_bytes: u64,
}

impl Outliner {
    fn take(&mut self, block: &[u8]) {
        self.whole.update(block);
        for piece in block.split_inclusive(|byte| *byte == b'\n') {
            self.line.update(piece);
            self.line_bytes += piece.len() as u64;
            self.bytes += piece.len() as u64;
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let mut part = (0, Group { end: self.bytes, hash: short(&self.line.finalize()) });
        self.line.reset();
        self.line_bytes = 0;
        self.lines += 1;
        while let Some((_, before)) = self.parts.pop_if(|(level, _)| *level == part.0) {
            part = (part.0 + 1, before.beside(part.1));
        }
        if part.0 < self.level {
            return self.parts.push(part);
        }
        self.groups.push(part.1);
        if self.groups.len() == 2 * GROUPS_MAX {
            self.groups = halved(&self.groups);
            self.level += 1;
        }
    }

    fn end(mut self) -> Outline {
        if self.line_bytes > 0 {
            self.end_line();
        }
        let rest = self.parts.iter().map(|(_, group)| *group).rev();
        self.groups.extend(rest.reduce(|behind, before| before.beside(behind)));
        if self.groups.len() > GROUPS_MAX {
            self.groups = halved(&self.groups);
            self.level += 1;
        }
        let hash = format!("blake3:{}", self.whole.finalize().to_hex());
        Outline { bytes: self.bytes, lines: self.lines, hash, level: self.level, groups: self.groups }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Outline {
        Outline::of(text.as_bytes()).expect("reads")
    }

    fn numbered(count: usize) -> String {
        (1..=count).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat()
    }

    fn difference(ours: &str, theirs: &str) -> Option<String> {
        of(ours).difference(&of(theirs), ("ours", "theirs"))
    }

    #[test]
    fn the_first_line_that_differs_is_told_with_where_it_begins() {
        assert_eq!(difference("a\nb\nc\n", "a\nb\nc\n"), None);
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n").as_deref(), Some("first at line 2, from byte 2 on"));
        assert_eq!(difference("a\nb\n", "a\n").as_deref(), Some("theirs ends after line 1, at byte 2"));
        assert_eq!(difference("", "a\n").as_deref(), Some("ours ends after line 0, at byte 0"));
        assert_eq!(difference("a\nb\n", "a\nb").as_deref(), Some("first at line 2, from byte 2 on"));
        assert_eq!(difference("\u{feff}a\n", "a\n"), None, "a byte order mark is no content");
    }

    #[test]
    fn of_a_long_text_it_is_told_among_which_lines_and_nothing_is_kept_beyond_a_limit() {
        let text = numbered(100_000);
        let outline = of(&text);
        assert!(outline.groups.len() <= GROUPS_MAX, "{}", outline.groups.len());
        let told = difference(&text, &text.replace("\n70001\n", "\n7000x\n")).expect("differs");
        assert!(told.starts_with("first at lines 69953 to 70016, from byte "), "{told}");
        let shorter = difference(&text, &numbered(99_999)).expect("differs");
        assert!(shorter.starts_with("first at lines 99969 to 100000"), "{shorter}");
    }

    proptest! {
        /// Whatever their lengths, the line that was changed is in what is told, and unchanged texts are the same.
        #[test]
        fn the_changed_line_is_among_those_told(count in 1..9_000_usize, at in 0..9_000_usize, more in 0..9_000_usize) {
            let at = at % count;
            let lines: Vec<String> = (0..count).map(|number| format!("{number}\n")).collect();
            let mut theirs = lines.clone();
            theirs[at] = "changed\n".to_owned();
            theirs.extend((0..more).map(|number| format!("more {number}\n")));
            let told = difference(&lines.concat(), &theirs.concat()).expect("differs");
            let numbers: Vec<u64> = told.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
            let (first, last) = if told.contains("lines") { (numbers[0], numbers[1]) } else { (numbers[0], numbers[0]) };
            prop_assert!((first..=last).contains(&(at as u64 + 1)), "{told}, changed {}", at + 1);
            prop_assert_eq!(difference(&theirs.concat(), &theirs.concat()), None);
        }
    }
}
