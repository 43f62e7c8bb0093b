//! The rules as the watch needs them: which file belongs to which rule, and what its marker is called.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidate::Companions;
use super::companion::Companion;
use super::error::WatchError;
use super::exclude::Excludes;
use crate::model::mistake::Mistake;
use crate::model::pattern::{Pattern, Values};
use crate::model::rule::{Mode, OnSuccess, ReadyStrategy, Rule};

/// Where claimed files lie beside their place; never entered.
pub(super) use crate::durable_fs::CLAIM_FOLDER;

/// One rule.
pub(super) struct WatchedRule {
    pub(super) rule: Arc<Rule>,
    marker: Option<Companion>,
    totals: Option<Companion>,
    patterns: Vec<Pattern>,
    excludes: Excludes,
}

/// All rules, in the order that decides overlaps: the one place that says which rule takes a file.
pub(crate) struct RuleSet(Vec<WatchedRule>);

impl RuleSet {
    /// Parses the patterns, exclusions and marker templates.
    pub(crate) fn new<R: Into<Arc<Rule>>>(rules: Vec<R>) -> Result<Self, WatchError> {
        rules.into_iter().map(|rule| WatchedRule::new(rule.into())).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&WatchedRule> {
        self.0.get(at)
    }

    /// The place of the rule that the file belongs to, and its named wildcards.
    ///
    /// A rule that is off holds its files too: switching it off must not hand them to a broader rule behind it.
    pub(crate) fn assign(&self, path: &Path) -> Option<(usize, Values)> {
        if self.is_marker(path) {
            return None;
        }
        let (at, values) =
            self.0.iter().enumerate().find_map(|(at, rule)| rule.matches(path).map(|values| (at, values)))?;
        self.0.get(at)?.is_live().then_some((at, values))
    }

    /// Whether some rule could call its marker, or its file with totals, so, where it looks for files.
    pub(super) fn is_marker(&self, path: &Path) -> bool {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.0.iter().any(|rule| {
            rule.companions().any(|companion| companion.could_be_called(name))
                && rule.patterns.iter().any(|pattern| pattern.could_match_in(folder))
        })
    }

    /// Whether a candidate could lie in this folder or below it.
    pub(crate) fn could_match_below(&self, folder: &Path) -> bool {
        let is_claim_folder = folder.file_name().is_some_and(|name| name == CLAIM_FOLDER);
        !is_claim_folder && self.live_patterns().any(|pattern| pattern.could_match_below(folder))
    }

    /// The folders that the patterns of live rules begin in, each once.
    pub(super) fn fixed_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<_> = (0..self.len()).flat_map(|rule| self.fixed_folders_of(rule)).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// The folders that the patterns of one rule begin in, if it is live.
    pub(crate) fn fixed_folders_of(&self, rule: usize) -> Vec<PathBuf> {
        let rule = self.0.get(rule).filter(|rule| rule.is_live());
        let patterns = rule.into_iter().flat_map(|rule| &rule.patterns);
        patterns.map(|pattern| pattern.fixed_folder().to_owned()).collect()
    }

    fn live_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter(|rule| rule.is_live()).flat_map(|rule| &rule.patterns)
    }
}

impl WatchedRule {
    fn new(rule: Arc<Rule>) -> Result<Self, WatchError> {
        let wrong = |source: Mistake| WatchError::Pattern { rule: rule.name.clone(), source };
        let patterns =
            rule.paths.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map_err(wrong)?;
        let excludes = Excludes::parse(&rule.exclude).map_err(wrong)?;
        let marker = match (rule.ready.strategy, &rule.ready.marker) {
            (ReadyStrategy::Marker, Some(template)) => Some(Companion::parse(template).map_err(wrong)?),
            (ReadyStrategy::Marker, None) => return Err(WatchError::NoMarker { rule: rule.name.clone() }),
            (ReadyStrategy::Auto | ReadyStrategy::Stable, _) => None,
        };
        let totals = rule.ready.totals.as_deref().map(Companion::parse).transpose().map_err(wrong)?;
        Ok(Self { rule, marker, totals, patterns, excludes })
    }

    fn is_live(&self) -> bool {
        self.rule.mode == Mode::Live
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

    /// The marker and the totals of a file.
    pub(super) fn companions_of(&self, file: &Path) -> Companions {
        let path = |companion: &Option<Companion>| companion.as_ref().and_then(|it| it.path_for(file));
        Companions::new(path(&self.marker), path(&self.totals))
    }

    /// What lies beside a file and is none itself.
    fn companions(&self) -> impl Iterator<Item = &Companion> {
        self.marker.iter().chain(&self.totals)
    }

    fn matches(&self, path: &Path) -> Option<Values> {
        let values = self.patterns.iter().find_map(|pattern| pattern.matches(path))?;
        (!self.excludes.excludes(path)).then_some(values)
    }
}
