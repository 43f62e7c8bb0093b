//! The rules as the watch needs them: which file belongs to which rule, and what its marker is called.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidate::Companions;
use super::companion::Companion;
use super::error::WatchError;
use super::exclude::{Excludes, is_unfinished};
use super::links::LinkNames;
use crate::model::mistake::Mistake;
use crate::model::pattern::os_chars::as_chars;
use crate::model::pattern::{NameIndex, Nodes, PatternTree, Segment, Values};
use crate::model::rule::{EmptyFile, MarkerFor, Mode, OnSuccess, ReadyStrategy, Rule};

/// Where claimed files lie beside their place; never entered.
pub(super) use crate::durable_fs::CLAIM_FOLDER;

/// One rule.
pub(super) struct WatchedRule {
    pub(super) rule: Arc<Rule>,
    marker: Option<Companion>,
    totals: Option<Companion>,
    checksum: Option<Companion>,
    excludes: Arc<Excludes>,
    /// The places of its family: rules of one name and the same patterns that follow each other, as overrides and their rule do. They
    /// share a place in the tree, so that patterns are not multiplied by overrides.
    family: Range<usize>,
}

/// All rules, in the order that decides overlaps: the one place that says which rule takes a file.
///
/// A file is held against the patterns that look into its folder and spell out its name's ends, not against every rule's.
///
/// Rules that are shadows take nothing here, and keep no file from others: an engine beside this one, for which they are live, watches them.
pub(crate) struct RuleSet {
    rules: Vec<WatchedRule>,
    tree: PatternTree<Wanted>,
    /// Whether any of them follows links, and what is known of those.
    follows_links: bool,
    pub(super) links: LinkNames,
}

/// What the rules whose patterns lead to one folder want there.
#[derive(Debug, Default)]
struct Wanted {
    /// By the files' names: the first rule of a family, and which of its patterns.
    files: NameIndex<(usize, usize)>,
    companions: NameIndex<Segment>,
    /// A pattern of a live rule ends here or below.
    is_live: bool,
    /// One of a live rule that is told by events.
    has_events: bool,
    /// One of a live rule that follows links.
    follows_links: bool,
}

/// What is looked for in one folder.
pub(crate) struct Place(Nodes);

/// What a file is to the rules.
pub(crate) enum Part {
    /// Some rule could call its marker, or its file with totals or a checksum, so.
    Companion,
    /// The place of the rule that it belongs to, and its named wildcards.
    Candidate(usize, Values),
    Stranger,
}

impl RuleSet {
    /// Parses the patterns, exclusions and marker templates.
    pub(crate) fn new<R: Into<Arc<Rule>>>(rules: Vec<R>) -> Result<Self, WatchError> {
        let mut watched: Vec<WatchedRule> = Vec::with_capacity(rules.len());
        for rule in rules {
            let next = WatchedRule::new(rule.into(), watched.last())?;
            watched.push(next);
        }
        let mut tree = PatternTree::new();
        let mut start = 0;
        for family in watched.chunk_by_mut(WatchedRule::is_family_of) {
            let places = start..start + family.len();
            for rule in family.iter_mut() {
                rule.family = places.clone();
            }
            plant(&mut tree, family, start);
            start = places.end;
        }
        let follows_links = watched.iter().any(|rule| rule.rule.follow_links);
        Ok(Self { rules: watched, tree, follows_links, links: LinkNames::default() })
    }

    /// Whether a rule takes files away that lie in this folder.
    pub(super) fn takes_from(&self, folder: &Path) -> bool {
        let takes = |rule: &WatchedRule| {
            let is_taken = rule.is_live() && !rule.keeps();
            is_taken && rule.rule.paths.good().any(|pattern| pattern.could_match_in(folder))
        };
        self.rules.iter().any(takes)
    }

    /// A family by its first rule.
    fn family(&self, first: usize) -> impl Iterator<Item = (usize, &WatchedRule)> {
        let places = self.get(first).map_or(first..first, |rule| rule.family.clone());
        places.filter_map(|at| Some((at, self.get(at)?)))
    }

    /// The first rule of each family.
    pub(crate) fn families(&self) -> impl Iterator<Item = usize> {
        let next = |first: &usize| self.get(*first).map(|rule| rule.family.end);
        std::iter::successors(Some(0), next).take_while(|first| *first < self.len())
    }

    /// The first rule of the family that a rule belongs to.
    pub(crate) fn first_of_family(&self, rule: usize) -> Option<usize> {
        self.get(rule).map(|rule| rule.family.start)
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// For each rule the place of the first of its name: its overrides and it have one queue.
    pub(super) fn queues(&self) -> Vec<usize> {
        let mut first = HashMap::new();
        let queue = |(at, rule): (usize, &WatchedRule)| *first.entry(rule.rule.name.clone()).or_insert(at);
        self.rules.iter().enumerate().map(queue).collect()
    }

    pub(super) fn get(&self, at: usize) -> Option<&WatchedRule> {
        self.rules.get(at)
    }

    /// What is looked for in this folder, so that each of its files costs only a look at its name.
    pub(crate) fn place(&self, folder: &Path) -> Place {
        Place(self.tree.nodes_of(folder))
    }

    /// The place of the rule that the file belongs to, and its named wildcards.
    ///
    /// A rule that is off holds its files too: switching it off must not hand them to a broader rule behind it.
    pub(crate) fn assign(&self, path: &Path) -> Option<(usize, Values)> {
        match self.part(path) {
            Part::Candidate(at, values) => Some((at, values)),
            Part::Companion | Part::Stranger => None,
        }
    }

    /// What this file is to the rules.
    pub(crate) fn part(&self, path: &Path) -> Part {
        path.parent().map_or(Part::Stranger, |folder| self.part_in(&self.place(folder), path))
    }

    /// The same of a file in a folder of which is known what is looked for.
    pub(crate) fn part_in(&self, place: &Place, path: &Path) -> Part {
        let Some(name) = path.file_name().map(as_chars) else { return Part::Stranger };
        if self.is_companion_in(place, &name) {
            return Part::Companion;
        }
        let taker = if is_unfinished(&name) { None } else { self.taker_in(place, &name, path) };
        match taker {
            Some((at, values)) if self.get(at).is_some_and(WatchedRule::is_live) => {
                Part::Candidate(at, values)
            }
            Some(_) => Part::Stranger,
            None => self.part_by_links(path),
        }
    }

    /// What a file is to the rules by a link that leads to it, where it is nothing by its own name.
    fn part_by_links(&self, path: &Path) -> Part {
        let names = self.links.of(path);
        let is_companion = |linked: &PathBuf| {
            linked.file_name() == path.file_name()
                && linked
                    .parent()
                    .zip(linked.file_name())
                    .is_some_and(|(folder, name)| self.is_companion_in(&self.place(folder), &as_chars(name)))
        };
        if names.iter().any(is_companion) {
            return Part::Companion;
        }
        let taker = names.into_iter().find_map(|linked| self.taker_by_link(path, &linked));
        taker.map_or(Part::Stranger, |(at, values)| Part::Candidate(at, values))
    }

    /// The live rule that takes a file by this name, which it has by a link, and the values of its wildcards.
    fn taker_by_link(&self, path: &Path, linked: &Path) -> Option<(usize, Values)> {
        let name = as_chars(linked.file_name()?);
        let is_finished = !is_unfinished(&name) && !is_unfinished(&as_chars(path.file_name()?));
        let (at, values) =
            self.taker_in(&self.place(linked.parent()?), &name, linked).filter(|_| is_finished)?;
        let rule = self.get(at)?;
        (rule.is_live() && rule.rule.follow_links && !rule.excludes.excludes(path)).then_some((at, values))
    }

    /// The link by which a rule takes the file, if that is how, and the folders that the rule follows links in.
    pub(super) fn link_that_gives(&self, path: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
        let folder = path.parent()?;
        let name = as_chars(path.file_name()?);
        if self.links.is_empty() || self.taker_in(&self.place(folder), &name, path).is_some() {
            return None;
        }
        self.links.of(path).into_iter().find_map(|linked| {
            let (at, _) = self.taker_by_link(path, &linked)?;
            Some((linked, self.fixed_folders_of(at)))
        })
    }

    /// The names of a link, its own and those that it has by others, by which a rule that follows links looks there.
    pub(super) fn names_followed(&self, link: &Path) -> Vec<PathBuf> {
        if !self.follows_links {
            return Vec::new();
        }
        let looks_there = |name: &PathBuf| {
            name.parent()
                .is_some_and(|folder| self.wanted(&self.place(folder)).any(|wanted| wanted.follows_links))
        };
        let names = std::iter::once(link.to_owned()).chain(self.links.of(link));
        names.filter(looks_there).collect()
    }

    /// The folders that links are followed in.
    pub(super) fn roots_of_links(&self) -> Vec<PathBuf> {
        let follows =
            |first: &usize| self.family(*first).any(|(_, rule)| rule.is_live() && rule.rule.follow_links);
        self.families().filter(follows).flat_map(|first| self.fixed_folders_of(first)).collect()
    }

    fn is_companion_in(&self, place: &Place, name: &str) -> bool {
        let mut found = false;
        for wanted in self.wanted(place) {
            wanted.companions.each_near(name, |shape| found = found || shape.is_match(name));
        }
        found
    }

    /// The first rule that takes the file, whether it is live or off. A shadow has it for its name alone: what stands behind an override
    /// that is one does not get its files, and rules of other names do.
    fn taker_in(&self, place: &Place, name: &str, path: &Path) -> Option<(usize, Values)> {
        let mut near = Vec::new();
        for wanted in self.wanted(place) {
            wanted.files.each_near(name, |it| near.push(*it));
        }
        near.sort_unstable();
        let by_family = near.chunk_by(|(one, _), (other, _)| one == other);
        let mut shadows: Vec<&str> = Vec::new();
        by_family.filter_map(|patterns| patterns.first().map(|(first, _)| (*first, patterns))).find_map(
            |(first, patterns)| {
                let rule = self.get(first).filter(|rule| !shadows.contains(&rule.rule.name.as_str()))?;
                let judged = rule.rule.paths.judged();
                let mut patterns =
                    patterns.iter().filter_map(|(_, number)| judged.get(*number)?.as_ref().ok());
                let values = patterns.find_map(|pattern| pattern.matches(path))?;
                let mut family = self.family(first).filter(|_| !rule.excludes.excludes(path));
                let (at, taker) = family.find(|(_, it)| it.rule.is_for(&it.rule.name, &values))?;
                if taker.rule.mode == Mode::Shadow {
                    shadows.push(&taker.rule.name);
                    return None;
                }
                Some((at, values))
            },
        )
    }

    fn wanted(&self, place: &Place) -> impl Iterator<Item = &Wanted> {
        place.0.iter().filter_map(|node| self.tree.value(*node))
    }

    /// Whether a candidate could lie in this folder or below it.
    pub(crate) fn could_match_below(&self, folder: &Path) -> bool {
        let is_claim_folder = folder.file_name().is_some_and(|name| name == CLAIM_FOLDER);
        let is_live = |folder: &Path| self.wanted(&self.place(folder)).any(|wanted| wanted.is_live);
        let follows = |name: &PathBuf| self.wanted(&self.place(name)).any(|wanted| wanted.follows_links);
        !is_claim_folder && (is_live(folder) || self.links.of(folder).iter().any(follows))
    }

    /// Whether events are to tell of what comes into this folder or below it; else only scans do (`ready.events`).
    pub(super) fn wants_events(&self, folder: &Path) -> bool {
        let has_events = |folder: &Path| self.wanted(&self.place(folder)).any(|wanted| wanted.has_events);
        has_events(folder) || self.links.of(folder).iter().any(|name| has_events(name))
    }

    /// The folders that the patterns of live rules begin in, each once.
    pub(crate) fn fixed_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<_> = self.families().flat_map(|first| self.fixed_folders_of(first)).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// The folders that the patterns of a rule's family begin in, by its first rule, if one of them is live.
    pub(crate) fn fixed_folders_of(&self, first: usize) -> Vec<PathBuf> {
        let is_live = self.family(first).any(|(_, rule)| rule.is_live());
        let rule = self.get(first).filter(|_| is_live);
        let patterns = rule.into_iter().flat_map(|rule| rule.rule.paths.good());
        patterns.map(|pattern| pattern.fixed_folder().to_owned()).collect()
    }
}

/// Notes what a family wants in the folders that its patterns lead to; `first` is the place of its first rule.
fn plant(tree: &mut PatternTree<Wanted>, family: &[WatchedRule], first: usize) {
    let Some(rule) = family.first() else { return };
    let is_live = family.iter().any(WatchedRule::is_live);
    let has_events = family.iter().any(|rule| rule.is_live() && rule.rule.ready.events);
    let follows_links = family.iter().any(|rule| rule.is_live() && rule.rule.follow_links);
    let companions = companions_of(family);
    for (number, pattern) in rule.rule.paths.judged().iter().enumerate() {
        let Ok(pattern) = pattern else { continue }; // none of these is watched
        let way = tree.insert(pattern);
        for node in &way {
            if let Some(wanted) = tree.value_mut(*node) {
                wanted.is_live |= is_live;
                wanted.has_events |= has_events;
                wanted.follows_links |= follows_links;
            }
        }
        let Some(wanted) = way.last().and_then(|node| tree.value_mut(*node)) else { continue };
        if let Some(name) = pattern.name() {
            wanted.files.beside(name).push((first, number));
        }
        for shape in &companions {
            add_shape(&mut wanted.companions, shape);
        }
    }
}

/// The shapes of what lies beside files of a family, each once. What a shadow waits for may be a file of another rule.
fn companions_of(family: &[WatchedRule]) -> Vec<Segment> {
    let mut known = NameIndex::default();
    let mut shapes = Vec::new();
    let rules = family.iter().filter(|rule| rule.rule.mode != Mode::Shadow);
    for companion in rules.flat_map(WatchedRule::companions) {
        if add_shape(&mut known, companion.shape()) {
            shapes.push(companion.shape().clone());
        }
    }
    shapes
}

/// Whether it was not there.
fn add_shape(shapes: &mut NameIndex<Segment>, shape: &Segment) -> bool {
    let alike = shapes.beside(shape);
    let is_new = !alike.iter().any(|other| other.has_shape_of(shape));
    if is_new {
        alike.push(shape.clone());
    }
    is_new
}

impl WatchedRule {
    /// A rule behind another one, with which it has its exclusions in common if they are the same.
    fn new(rule: Arc<Rule>, before: Option<&Self>) -> Result<Self, WatchError> {
        let wrong = |source: Mistake| WatchError::Pattern { rule: rule.name.clone(), source };
        if let Some(mistake) = rule.paths.judged().iter().find_map(|judged| judged.as_ref().err()) {
            return Err(wrong(mistake.clone()));
        }
        let alike = before.filter(|before| before.rule.exclude == rule.exclude);
        let excludes = match alike {
            Some(before) => Arc::clone(&before.excludes),
            None => Excludes::parse(&rule.exclude).map_err(wrong)?.into(),
        };
        let marker = Companion::marker_of(&rule.ready).transpose().map_err(wrong)?;
        if rule.ready.strategy == ReadyStrategy::Marker && marker.is_none() {
            return Err(WatchError::NoMarker { rule: rule.name.clone() });
        }
        let totals = rule.ready.totals.as_deref().map(Companion::parse).transpose().map_err(wrong)?;
        let checksum = rule.ready.checksum.as_deref().map(Companion::parse).transpose().map_err(wrong)?;
        Ok(Self { rule, marker, totals, checksum, excludes, family: 0..0 })
    }

    fn is_family_of(&self, other: &Self) -> bool {
        let (one, other) = (&self.rule, &other.rule);
        one.name == other.name && one.paths == other.paths && one.exclude == other.exclude
    }

    fn is_live(&self) -> bool {
        self.rule.mode == Mode::Live
    }

    /// Whether its files wait as long as nothing is in them.
    pub(super) fn leaves_empty(&self) -> bool {
        self.rule.ready.empty == EmptyFile::Wait
    }

    /// Whether its files stay where they lie.
    pub(super) fn keeps(&self) -> bool {
        self.rule.source.on_success == OnSuccess::Keep
    }

    /// Whether a candidate of this rule is judged, and stands among others, as under the other one.
    pub(super) fn judges_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.rule, &other.rule);
        (&one.name, &one.ready, one.order) == (&other.name, &other.ready, other.order)
    }

    /// The marker, the totals and the checksum of a file.
    pub(super) fn companions_of(&self, file: &Path) -> Companions {
        let path = |companion: &Option<Companion>| companion.as_ref().and_then(|it| it.path_for(file));
        let is_of_folder = self.folder_marker_of(file).is_some();
        Companions::new(path(&self.marker), path(&self.totals), path(&self.checksum), is_of_folder)
    }

    /// Where the marker of a file lies that stands for its whole folder, if its rule has one.
    pub(super) fn folder_marker_of(&self, file: &Path) -> Option<PathBuf> {
        let marker = self.marker.as_ref().filter(|_| self.rule.ready.marker_for == MarkerFor::Folder);
        marker.and_then(|it| it.path_for(file))
    }

    /// What lies beside a file and is none itself.
    fn companions(&self) -> impl Iterator<Item = &Companion> {
        self.marker.iter().chain(&self.totals).chain(&self.checksum)
    }
}
