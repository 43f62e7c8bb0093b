//! All rules at once against rule by rule.

use proptest::prelude::*;

use super::super::companion::Companion;
use super::super::exclude::Excludes;
use super::super::rules::{Part, RuleSet};
use super::*;
use crate::model::pattern::os_chars::to_chars;
use crate::model::pattern::{Pattern, Values};

/// What a file is, by holding it against one rule after the other.
fn one_by_one(rules: &[Rule], path: &Path) -> (bool, Option<(usize, Values)>) {
    let (folder, name) = (path.parent().expect("has one"), path.file_name().expect("has one"));
    let patterns =
        |rule: &Rule| rule.paths.iter().map(|text| Pattern::parse(text).expect("good")).collect::<Vec<_>>();
    let is_companion = rules.iter().filter(|rule| rule.mode != Mode::Shadow).any(|rule| {
        let marker = (rule.ready.strategy == ReadyStrategy::Marker).then_some(rule.ready.marker.as_ref());
        let mut texts = marker.flatten().into_iter().chain(&rule.ready.totals);
        texts.any(|text| Companion::parse(text).expect("good").shape().is_match(&to_chars(name)))
            && patterns(rule).iter().any(|pattern| pattern.could_match_in(folder))
    });
    let fits = |(at, rule): (usize, &Rule)| {
        let values = patterns(rule).iter().find_map(|pattern| pattern.matches(path))?;
        let excludes = Excludes::parse(&rule.exclude).expect("good");
        (!excludes.excludes(path)).then_some((at, values))
    };
    let fitting: Vec<_> = rules.iter().enumerate().filter_map(fits).collect();
    let name_of = |at: usize| rules[at].name.as_str();
    let is_shadow = |at: usize| rules[at].mode == Mode::Shadow;
    // A shadow has it for its name alone.
    let taker = fitting.iter().enumerate().find(|(place, (at, _))| {
        let shadowed = fitting[..*place]
            .iter()
            .any(|(before, _)| is_shadow(*before) && name_of(*before) == name_of(*at));
        !is_shadow(*at) && !shadowed
    });
    let taker = taker.map(|(_, taker)| taker.clone());
    let taker = taker.filter(|(at, _)| rules[*at].mode == Mode::Live && !is_companion);
    (is_companion, taker)
}

const PATTERN: &str = "/in(/(\\*\\*|\\*|[ab]|\\{n\\}|a\\*)){0,2}/(\\*|[ab]\\*|\\*[bc]|a\\{o\\}c|\\{o\\}|\\{o\\}-\\{p\\}|ab|[?][?])";
const EXCLUDE: &str = "(/in(/(\\*\\*|[ab])){0,2}/(\\*|[ab]\\*)|a\\*|\\*c|\\?)";

prop_compose! {
    fn any_rule()(
        paths in proptest::collection::vec(PATTERN, 1..4), exclude in proptest::collection::vec(EXCLUDE, 0..2),
        mode in prop_oneof![Just(Mode::Live), Just(Mode::Off), Just(Mode::Shadow)], name in "[rs]", marker in proptest::option::of("\\{(name|stem)\\}[.](c|ok)"),
        totals in proptest::option::of("(t-)?\\{name\\}[.]c"),
    ) -> Rule {
        let mut made = rule(&name, Path::new("/in/*"));
        // A name may stand twice in what was made up.
        made.paths = paths.into_iter().filter(|text| Pattern::parse(text).is_ok()).collect();
        made.exclude = exclude.into();
        made.mode = mode;
        if let Some(marker) = marker {
            made.ready.strategy = ReadyStrategy::Marker;
            made.ready.marker = Some(marker);
        }
        made.ready.totals = totals;
        made
    }
}

proptest! {
    #[test]
    fn all_rules_at_once_say_what_rule_by_rule_says(
        rules in proptest::collection::vec(any_rule(), 1..6),
        files in proptest::collection::vec("/in(/([ab.]{1,2}|[.]landfall)){0,3}/[-abc.]{0,3}[abc~](|[.]tmp|[.]ok|[.]c)", 8),
    ) {
        let set = RuleSet::new(rules.clone()).expect("good");
        for file in files {
            let path = Path::new(&file);
            let (is_companion, taker) = one_by_one(&rules, path);
            prop_assert_eq!(set.assign(path), taker.clone(), "{}", file);
            match set.part(path) {
                Part::Companion => prop_assert!(is_companion, "{}", file),
                Part::Candidate(at, values) => prop_assert_eq!(Some((at, values)), taker),
                Part::Stranger => prop_assert!(!is_companion && taker.is_none(), "{}", file),
            }
            for folder in path.ancestors().skip(1) {
                let lives = rules.iter().filter(|rule| rule.mode == Mode::Live).flat_map(|rule| rule.paths.iter());
                let leads_on = lives.clone().any(|text| Pattern::parse(text).expect("good").could_match_below(folder));
                let is_ours = folder.file_name().is_some_and(|name| name == ".landfall");
                prop_assert_eq!(set.could_match_below(folder), leads_on && !is_ours, "{:?}", folder);
            }
        }
    }
}
