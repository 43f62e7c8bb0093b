//! One component of a pattern: the glob crate's pattern with named wildcards between its pieces.

use std::collections::BTreeMap;
use std::ffi::OsString;

use glob::MatchOptions;

use super::os_chars::from_chars;
use crate::model::built_in::BUILT_IN;
use crate::model::mistake::Mistake;
use crate::model::os_text::OsText;

/// Matches one component of a path, or a file's name.
///
/// Invariant: there is one piece more than there are names; each name stands between two pieces.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pieces: Vec<glob::Pattern>,
    names: Vec<String>,
}

/// What may stand for something else than itself in a piece; also what may close that.
const IS_SPECIAL: [char; 7] = ['*', '?', '[', ']', '!', '{', '}'];

pub(crate) type Values = BTreeMap<String, OsText>;

impl Segment {
    /// Parses one component; it holds no separator.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let (raw_pieces, names) = split_names(text)?;
        let pieces = raw_pieces.iter().map(|piece| parse_piece(piece)).collect::<Result<_, _>>()?;
        Ok(Self { pieces, names })
    }

    /// Matches literal text with a wildcard of at least one character at each gap.
    pub(crate) fn of_literals(literals: &[&str]) -> Self {
        let pieces =
            literals.iter().map(|text| glob::Pattern::new(&glob::Pattern::escape(text)).unwrap_or_default());
        Self { pieces: pieces.collect(), names: (1..literals.len()).map(|n| n.to_string()).collect() }
    }

    /// The one name that it matches, where no wildcard is in it.
    pub(crate) fn only_name(&self) -> Option<OsString> {
        match self.pieces.as_slice() {
            [only] => literal(only.as_str()).map(|name| from_chars(&name)),
            _ => None,
        }
    }

    /// What every name that matches begins with, and ends with, as far as it is spelled out. The two do not overlap; case may differ where
    /// it does not count.
    pub(crate) fn ends_spelled_out(&self) -> (&str, &str) {
        let first = self.pieces.first().map_or("", glob::Pattern::as_str);
        let last = self.pieces.last().map_or("", glob::Pattern::as_str);
        let beginning = first.find(IS_SPECIAL).map_or(first, |end| first.get(..end).unwrap_or_default());
        if self.pieces.len() == 1 && beginning.len() == first.len() {
            return (beginning, "");
        }
        let ending = last.rfind(IS_SPECIAL).map_or(last, |at| last.get(at + 1..).unwrap_or_default());
        (beginning, ending)
    }

    /// Whether both match the same names, whatever their wildcards are called.
    pub(crate) fn has_shape_of(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn is_match(&self, name: &str) -> bool {
        match self.pieces.as_slice() {
            [only] => only.matches_with(name, options(true)),
            _ => self.ends(name).is_some(),
        }
    }

    /// Adds the named wildcards' values if the name matches; a name matches as early and as short as possible.
    pub(crate) fn capture(&self, name: &str, values: &mut Values) -> bool {
        let Some(ranges) = self.ends(name) else { return false };
        for (key, (start, end)) in self.names.iter().zip(ranges) {
            values.insert(key.clone(), OsText::new(from_chars(name.get(start..end).unwrap_or_default())));
        }
        true
    }

    /// Where each named wildcard begins and ends.
    fn ends(&self, name: &str) -> Option<Vec<(usize, usize)>> {
        let mut search =
            Search { segment: self, name, failed: vec![false; self.pieces.len() * (name.len() + 1)] };
        let mut ranges = Vec::with_capacity(self.names.len());
        search.piece(0, 0, &mut ranges).then(|| {
            ranges.reverse();
            ranges
        })
    }
}

/// A search that remembers where it failed, so that a sender's odd name costs no exponential time.
struct Search<'a> {
    segment: &'a Segment,
    name: &'a str,
    failed: Vec<bool>,
}

impl Search<'_> {
    /// Whether piece `n` and all behind it match from byte `from` on; the ranges come last first.
    fn piece(&mut self, n: usize, from: usize, ranges: &mut Vec<(usize, usize)>) -> bool {
        let slot = n * (self.name.len() + 1) + from;
        let Some(piece) = self.segment.pieces.get(n) else { return false };
        if self.failed.get(slot).copied().unwrap_or(true) {
            return false;
        }
        let rest = self.name.get(from..).unwrap_or_default();
        let found = if n + 1 == self.segment.pieces.len() {
            piece.matches_with(rest, options(n == 0))
        } else {
            let boundaries = rest.char_indices().map(|(at, _)| at);
            boundaries
                .filter(|at| piece.matches_with(rest.get(..*at).unwrap_or_default(), options(n == 0)))
                .any(|at| self.wildcard(n, from + at, ranges))
        };
        if !found && let Some(failed) = self.failed.get_mut(slot) {
            *failed = true;
        }
        found
    }

    /// Whether the named wildcard behind piece `n` can begin here.
    fn wildcard(&mut self, n: usize, start: usize, ranges: &mut Vec<(usize, usize)>) -> bool {
        let rest = self.name.get(start..).unwrap_or_default();
        // Like `*`, it takes no leading dot.
        if start == 0 && rest.starts_with('.') {
            return false;
        }
        let ends = rest.char_indices().map(|(at, c)| start + at + c.len_utf8());
        for end in ends {
            if self.piece(n + 1, end, ranges) {
                ranges.push((start, end));
                return true;
            }
        }
        false
    }
}

/// How the glob crate is to match; a leading dot is one only at the start of a component.
fn options(at_start: bool) -> MatchOptions {
    MatchOptions {
        case_sensitive: !cfg!(windows),
        require_literal_separator: true,
        require_literal_leading_dot: at_start,
    }
}

fn parse_piece(piece: &str) -> Result<glob::Pattern, Mistake> {
    glob::Pattern::new(piece).map_err(|error| {
        let hint = if error.msg.contains("range") {
            "write `[[]` for a bracket that is meant as itself"
        } else {
            "write `*` within a component, `**` as a whole one"
        };
        Mistake::new(format!("`{piece}`: {}", error.msg), hint)
    })
}

/// The text between the named wildcards, and their names.
fn split_names(text: &str) -> Result<(Vec<String>, Vec<String>), Mistake> {
    let (mut pieces, mut names) = (vec![String::new()], Vec::<String>::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '[' => bracket_length(rest),
            '{' => {
                let end = rest.find('}').ok_or_else(|| unclosed(text))?;
                names.push(wildcard_name(rest.get(1..end).unwrap_or_default())?);
                pieces.push(String::new());
                rest = rest.get(end + 1..).unwrap_or_default();
                continue;
            }
            '}' => {
                return Err(Mistake::new(
                    format!("`}}` without `{{` in `{text}`"),
                    "write `[}]` for a brace that is meant as itself",
                ));
            }
            other => other.len_utf8(),
        };
        if let (Some(piece), Some(part)) = (pieces.last_mut(), rest.get(..taken)) {
            piece.push_str(part);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok((pieces, names))
}

fn unclosed(text: &str) -> Mistake {
    Mistake::new(
        format!("`{{` without `}}` in `{text}`"),
        "close the named wildcard, or write `[{]` for a brace that is meant as itself",
    )
}

/// What a component without wildcards stands for; a character in brackets stands for itself.
pub(super) fn literal(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let mut literal = String::new();
    while let Some(c) = chars.next() {
        match c {
            '[' => match (chars.next(), chars.next()) {
                (Some(inner), Some(']')) => literal.push(inner),
                _ => return None,
            },
            '*' | '?' | '{' | '}' => return None,
            c => literal.push(c),
        }
    }
    Some(literal)
}

/// Bytes of the bracket expression at the start of the text, as the glob crate reads it; 1 if it never closes.
fn bracket_length(text: &str) -> usize {
    let skip = if text.starts_with("[!") { 2 } else { 1 };
    // The first character within stands for itself, even `]`.
    let Some(first) = text.get(skip..).and_then(|inner| inner.chars().next()) else { return 1 };
    let from = skip + first.len_utf8();
    text.get(from..).and_then(|inner| inner.find(']')).map_or(1, |at| from + at + 1)
}

fn wildcard_name(name: &str) -> Result<String, Mistake> {
    if name.contains(',') {
        return Err(Mistake::new(
            format!("`{{{name}}}` is a brace list, which patterns do not know"),
            "write one path for each alternative",
        ));
    }
    if BUILT_IN.contains(&name) {
        return Err(Mistake::new(
            format!("`{{{name}}}` already means something in templates"),
            "choose another name for the wildcard",
        ));
    }
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_word || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Mistake::new(
            format!("`{{{name}}}` is no name for a wildcard"),
            "use letters, digits and `_`, beginning with a letter",
        ));
    }
    Ok(name.to_owned())
}
