//! A template's text taken apart: the one place that reads braces.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::mistake::Mistake;

/// A template as it is typed: literal text, and what stands in braces, whatever it means. `{{` and `}}` are literal braces.
///
/// [`Template`](super::Template) says what the names mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outline(Vec<Piece>);

/// No two texts follow each other, and no text is empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// With what follows a colon.
    Variable {
        name: String,
        format: Option<String>,
    },
}

impl Outline {
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        const HINT: &str = "write `{{` and `}}` for braces that are part of the name";
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(place) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(place);
            push_text(&mut pieces, before);
            let is_twice = |brace: &str| from_brace.starts_with(&brace.repeat(2));
            if is_twice("{") || is_twice("}") {
                push_text(&mut pieces, &from_brace[..1]);
                rest = &from_brace[2..];
                continue;
            }
            let Some(inside) = from_brace.strip_prefix('{') else {
                return Err(Mistake::new(format!("a `}}` without its `{{` in `{text}`"), HINT));
            };
            let Some((inside, after)) = inside.split_once('}') else {
                return Err(Mistake::new(format!("a brace is not closed in `{text}`"), HINT));
            };
            let (name, format) = inside.split_once(':').map_or((inside, None), |(n, f)| (n, Some(f)));
            pieces.push(Piece::Variable { name: name.to_owned(), format: format.map(str::to_owned) });
            rest = after;
        }
        push_text(&mut pieces, rest);
        Ok(Self(pieces))
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The names of its variables in order, without formats.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        names(&self.0)
    }

    /// The texts before, between and behind its variables: one more than there are variables.
    pub(crate) fn literals(&self) -> Vec<&str> {
        let mut literals = vec![""];
        for piece in &self.0 {
            match (piece, literals.last_mut()) {
                (Piece::Text(text), Some(last)) => *last = text,
                _ => literals.push(""),
            }
        }
        literals
    }

    /// What is spelled out before the first variable, up to its last separator.
    pub(super) fn fixed_text(&self) -> &str {
        let Some(Piece::Text(first)) = self.0.first() else { return "" };
        &first[..first.rfind(std::path::is_separator).map_or(0, |place| place + 1)]
    }

    /// The folder that is spelled out before the first variable.
    pub(crate) fn fixed_folder(&self) -> PathBuf {
        Path::new(self.fixed_text()).components().collect()
    }

    /// The names of the variables in its folders: those before the last separator.
    pub(crate) fn folder_variables(&self) -> impl Iterator<Item = &str> {
        let separates = |text: &str| text.contains(std::path::is_separator);
        let last = self.0.iter().rposition(|piece| match piece {
            Piece::Text(text) => separates(text),
            Piece::Variable { format, .. } => format.as_deref().is_some_and(separates),
        });
        names(&self.0[..last.unwrap_or(0)])
    }

    /// The same with this text in place of a variable.
    pub(crate) fn with(&self, variable: &str, text: &str) -> Self {
        let mut pieces = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => push_text(&mut pieces, text),
                Piece::Variable { name, .. } if name == variable => push_text(&mut pieces, text),
                other @ Piece::Variable { .. } => pieces.push(other.clone()),
            }
        }
        Self(pieces)
    }

    /// The text with these values in place of its variables. A value is put in as it is, whatever braces it holds.
    pub(crate) fn filled(&self, mut value: impl FnMut(&str) -> OsString) -> OsString {
        self.0.iter().fold(OsString::new(), |mut filled, piece| {
            match piece {
                Piece::Text(text) => filled.push(text),
                Piece::Variable { name, .. } => filled.push(value(name)),
            }
            filled
        })
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

fn names(pieces: &[Piece]) -> impl Iterator<Item = &str> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Variable { name, .. } => Some(name.as_str()),
        Piece::Text(_) => None,
    })
}

/// The names of a text's variables; none where its braces do not match, which [`Outline::parse`] tells.
pub(crate) fn variables(text: &str) -> Vec<String> {
    Outline::parse(text)
        .map_or_else(|_| Vec::new(), |outline| outline.variables().map(str::to_owned).collect())
}

/// The folder that is spelled out before a text's first variable.
pub(crate) fn fixed_folder(text: &str) -> PathBuf {
    Outline::parse(text).map_or_else(|_| PathBuf::new(), |outline| outline.fixed_folder())
}

/// A file's path; where that has variables, the folder that is spelled out before the first.
pub(crate) fn known_part(text: &str) -> PathBuf {
    if variables(text).is_empty() { fixed_folder(&format!("{text}/")) } else { fixed_folder(text) }
}

/// The template that stands for this text.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outline(text: &str) -> Outline {
        Outline::parse(text).expect("its braces match")
    }

    #[test]
    fn variables_are_told_in_order_with_the_texts_around_them() {
        let mixed = outline("/a/{x}{{b}}/{date:%Y}{y}");
        assert_eq!(mixed.variables().collect::<Vec<_>>(), ["x", "date", "y"]);
        assert_eq!(mixed.literals(), ["/a/", "{b}/", "", ""]);
        assert_eq!(outline("").literals(), [""]);
        assert!(variables("/a/{x}/{open").is_empty());
    }

    #[test]
    fn the_folder_of_a_template_ends_before_its_first_variable() {
        let folders = ["/data/out/{rule}/{stem}.csv", "/data/out/x{stem}", "/data/all.csv"].map(fixed_folder);
        assert_eq!(folders, ["/data/out/", "/data/out/", "/data/"].map(PathBuf::from));
    }

    #[test]
    fn the_fixed_folder_has_its_literal_braces() {
        assert_eq!(fixed_folder("/o/{{x}}/y{stem}/z"), Path::new("/o/{x}"));
        assert_eq!(fixed_folder("/o/plain"), Path::new("/o"));
        assert_eq!(fixed_folder("{stem}/x"), PathBuf::new());
    }

    /// What an operator may type: braces that match and that do not, and all else.
    fn any_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["[{}:/]", "\\{[a-z]{1,3}\\}", "\\PC{0,4}"], 0..8)
            .prop_map(|parts| parts.concat())
    }

    proptest! {
        /// Goal: what is typed is what is read. Method: written anew from its pieces, a template is read the same.
        #[test]
        fn a_template_that_is_written_from_what_was_read_is_read_the_same(text in any_text()) {
            let Ok(read) = Outline::parse(&text) else { return Ok(()) };
            let written = |piece: &Piece| match piece {
                Piece::Text(text) => escaped(text),
                Piece::Variable { name, format: None } => format!("{{{name}}}"),
                Piece::Variable { name, format: Some(format) } => format!("{{{name}:{format}}}"),
            };
            let again: String = read.pieces().iter().map(written).collect();
            prop_assert_eq!(Outline::parse(&again), Ok(read));
        }

        #[test]
        fn any_text_has_a_template_that_stands_for_it(text in any_text()) {
            let escaped = outline(&escaped(&text));
            prop_assert_eq!(escaped.variables().count(), 0);
            prop_assert_eq!(escaped.filled(|_| OsString::new()), OsString::from(text));
        }

        #[test]
        fn a_value_is_never_read_as_a_template_again(value in any_text(), other in any_text()) {
            let filled = outline("<{a}>{b}").filled(|name| if name == "a" { (&value).into() } else { (&other).into() });
            prop_assert_eq!(filled, OsString::from(format!("<{value}>{other}")));
        }
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn a_value_that_is_not_unicode_goes_through_unchanged(bytes: Vec<u8>) {
            use std::os::unix::ffi::OsStringExt as _;
            let filled = outline("{{{x}").filled(|_| OsString::from_vec(bytes.clone()));
            prop_assert_eq!(filled.into_vec(), [b"{", bytes.as_slice()].concat());
        }
    }
}
