//! Many patterns as one tree: a folder's path is taken down it once, however many patterns there are.
//!
//! Patterns whose folders are written alike share their nodes. A path leads to several of them where patterns overlap:
//!
//! ```text
//! /in/acme/*.csv      in --- acme     *.csv
//! /in/{sender}/*.csv   |---- {sender} *.csv      /in/acme leads to the first two
//! /in/**/x/*           `---- **  ---- x          and to `**`, which stands for `acme`, or for no folder at all
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path};

use super::os_chars::as_chars;
use super::{NameIndex, Part, Pattern, Segment};

/// The nodes that a folder leads to, each once: which patterns could take a file in it, or below it.
pub(crate) type Nodes = Vec<usize>;

/// The folders of many patterns; each node has a value of the caller's.
#[derive(Debug)]
pub(crate) struct PatternTree<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug, Default)]
struct Node<T> {
    /// By components before any wildcard; what is equal as components are compared has one key.
    spelled_out: HashMap<String, usize>,
    by_segment: NameIndex<(Segment, usize)>,
    /// The node behind `**`.
    below: Option<usize>,
    /// It stands behind `**`: any folder that is not hidden leads back to it.
    is_below: bool,
    value: T,
}

impl<T: Default> PatternTree<T> {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a pattern's folders; the nodes from the root to the one in which its files lie.
    pub(crate) fn insert(&mut self, pattern: &Pattern) -> Nodes {
        let mut way = vec![0];
        let mut at = 0;
        for component in pattern.folder.components() {
            at = self.spelled_out(at, key(component));
            way.push(at);
        }
        for part in pattern.parts.iter().take(pattern.parts.len().saturating_sub(1)) {
            at = match part {
                Part::Folders => self.below(at),
                Part::One(segment) => self.by_segment(at, segment),
            };
            way.push(at);
        }
        way
    }

    fn add(&mut self, is_below: bool) -> usize {
        self.nodes.push(Node { is_below, ..Node::default() });
        self.nodes.len() - 1
    }

    fn spelled_out(&mut self, at: usize, key: Cow<'_, str>) -> usize {
        if let Some(known) = self.nodes[at].spelled_out.get(key.as_ref()) {
            return *known;
        }
        let new = self.add(false);
        self.nodes[at].spelled_out.insert(key.into_owned(), new);
        new
    }

    fn by_segment(&mut self, at: usize, segment: &Segment) -> usize {
        let known = self.nodes[at].by_segment.beside(segment);
        if let Some((_, known)) = known.iter().find(|(other, _)| other.has_shape_of(segment)) {
            return *known;
        }
        let new = self.add(false);
        self.nodes[at].by_segment.beside(segment).push((segment.clone(), new));
        new
    }

    fn below(&mut self, at: usize) -> usize {
        if let Some(known) = self.nodes[at].below {
            return known;
        }
        let new = self.add(true);
        self.nodes[at].below = Some(new);
        new
    }
}

impl<T> PatternTree<T> {
    pub(crate) fn value(&self, node: usize) -> Option<&T> {
        self.nodes.get(node).map(|node| &node.value)
    }

    pub(crate) fn value_mut(&mut self, node: usize) -> Option<&mut T> {
        self.nodes.get_mut(node).map(|node| &mut node.value)
    }

    /// Where an absolute path of a folder leads; nowhere where no pattern looks there.
    pub(crate) fn nodes_of(&self, folder: &Path) -> Nodes {
        if !folder.is_absolute() {
            return Nodes::new();
        }
        let mut now = Nodes::new();
        self.enter(0, &mut now);
        for component in folder.components() {
            if now.is_empty() {
                break;
            }
            now = self.step(&now, component);
        }
        now
    }

    /// Where one more component leads from there.
    fn step(&self, from: &[usize], component: Component<'_>) -> Nodes {
        let mut next = Nodes::new();
        let key = key(component);
        let nodes = || from.iter().filter_map(|at| self.nodes.get(*at));
        for known in nodes().filter_map(|node| node.spelled_out.get(key.as_ref())) {
            self.enter(*known, &mut next);
        }
        if let Component::Normal(name) = component {
            let name = as_chars(name);
            for (at, node) in from.iter().filter_map(|at| Some((*at, self.nodes.get(*at)?))) {
                if node.is_below && !name.starts_with('.') {
                    self.enter(at, &mut next);
                }
                node.by_segment.each_near(&name, |(segment, known)| {
                    if segment.is_match(&name) {
                        self.enter(*known, &mut next);
                    }
                });
            }
        }
        next.sort_unstable();
        next.dedup();
        next
    }

    /// `**` also stands for no folder at all.
    fn enter(&self, node: usize, nodes: &mut Nodes) {
        let mut next = Some(node);
        while let Some(at) = next {
            nodes.push(at);
            next = self.nodes.get(at).and_then(|node| node.below);
        }
    }
}

/// A component as its like is found; `..` is in no pattern.
fn key(component: Component<'_>) -> Cow<'_, str> {
    let text: &OsStr = component.as_os_str();
    let chars = as_chars(text);
    if !cfg!(windows) {
        return chars;
    }
    let folded = chars.to_lowercase();
    Cow::Owned(if matches!(component, Component::Prefix(_)) { folded.replace('/', "\\") } else { folded })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    /// A path of this system; upper and lower case are mixed, so that each system's rule of case is tried.
    fn path(text: &str) -> PathBuf {
        PathBuf::from(if cfg!(windows) { format!("C:{text}") } else { text.to_owned() })
    }

    fn tree_of(patterns: &[Pattern]) -> (PatternTree<NameIndex<usize>>, Vec<usize>) {
        let mut tree = PatternTree::<NameIndex<usize>>::new();
        let ends = patterns.iter().enumerate().map(|(number, pattern)| {
            let end = *tree.insert(pattern).last().expect("the root at least");
            let names = tree.value_mut(end).expect("its node");
            names.beside(pattern.name().expect("it has one")).push(number);
            end
        });
        let ends = ends.collect();
        (tree, ends)
    }

    const FOLDERS: &str = "(/(\\*\\*|\\*|[aB]|Ab|É|\\{n\\}|\\{m\\}|a\\*|\\[a-c\\]|[.]h|[.]\\*|\\?\\?)){0,4}";
    const NAME: &str =
        "(\\*|[aB]\\*|\\*[bC]|a\\*c|a|Ab|\\[!a\\]\\*|\\*[.]c|É\\*|a\\{o\\}c|\\{o\\}|\\{o\\}-\\{p\\}c|\\?)";
    const PATHS: &str = "(/([aAbBcé.h]{1,2}|ab|[.]h)){1,5}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_tree_leads_to_exactly_the_patterns_that_look_into_a_folder_and_misses_none_that_takes_a_file(
            texts in proptest::collection::vec((FOLDERS, NAME), 1..6), file in PATHS,
        ) {
            // A name may stand twice in what was made up.
            let texts = texts.iter().map(|(folders, name)| path(&format!("{folders}/{name}")).to_string_lossy().into_owned());
            let patterns: Vec<_> = texts.filter_map(|text| Pattern::parse(&text).ok()).collect();
            let (tree, ends) = tree_of(&patterns);
            let file = path(&file);
            for folder in file.ancestors() {
                let nodes = tree.nodes_of(folder);
                for (pattern, end) in patterns.iter().zip(&ends) {
                    prop_assert_eq!(nodes.contains(end), pattern.could_match_in(folder), "{:?} in {:?}", pattern, folder);
                }
                let leads_on = patterns.iter().any(|pattern| pattern.could_match_below(folder));
                prop_assert_eq!(!nodes.is_empty(), leads_on, "{:?}", folder);
            }
            let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(()) };
            let mut near = Vec::new();
            for node in tree.nodes_of(folder) {
                tree.value(node).expect("its node").each_near(&as_chars(name), |number| near.push(*number));
            }
            for (number, pattern) in patterns.iter().enumerate().filter(|(_, it)| it.matches(&file).is_some()) {
                prop_assert!(near.contains(&number), "{:?} takes {:?}", pattern, file);
            }
        }
    }

    #[test]
    fn of_a_thousand_patterns_only_those_that_spell_out_its_ends_are_near_a_file() {
        let shapes =
            ["/in/p{n}-*.csv", "/in/*.k{n}", "/srv/s{n}/in/*", "/in/d-*.x{n}", "/srv/{s}/k{n}-{d}.csv"];
        for shape in shapes {
            let texts = (1000..2000).map(|number| path(&shape.replace("{n}", &number.to_string())));
            let patterns: Vec<_> =
                texts.map(|text| Pattern::parse(&text.to_string_lossy()).expect("good")).collect();
            let (tree, _) = tree_of(&patterns);
            let name =
                shape.replace("{n}", "1500").replace("{s}", "acme").replace("{d}", "1").replace('*', "f");
            let file = path(&name);
            let mut near = Vec::new();
            for node in tree.nodes_of(file.parent().expect("has one")) {
                let name = as_chars(file.file_name().expect("has one"));
                tree.value(node).expect("its node").each_near(&name, |number| near.push(*number));
            }
            assert_eq!(near, [500], "{shape}");
        }
    }
}
