//! What an operator said of rules by names that none has any more: a rule that is renamed is free of it.

use std::collections::BTreeSet;

use super::halts::{Halts, Scope};
use super::pace::{Paced, PacesSet};
use super::rule::Rule;

/// Each with what takes it back.
pub(crate) fn told(halts: &Halts, paces: &PacesSet, rules: &[&Rule]) -> Vec<String> {
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let groups: BTreeSet<&str> =
        rules.iter().filter_map(|rule| Some(rule.pace.throttle.as_ref()?.name.as_str())).collect();
    let is_gone = |name: &str| !names.contains(name);
    let pauses = halts.pauses.iter().map(|pause| &pause.scope);
    let pauses = pauses.filter(|scope| scope.rule.as_deref().is_some_and(is_gone));
    let pauses = pauses.map(|scope| {
        let options = scope.options();
        format!("{scope} is paused, and no rule has this name: `landfall resume{options}` takes that back")
    });
    let stopped = halts.failed.iter().filter(|(name, failed)| failed.stopped_at.is_some() && is_gone(name));
    let stopped = stopped.map(|(name, _)| {
        let scope = Scope { rule: Some(name.clone()), sender: None };
        let options = scope.options();
        format!("{scope} stopped after failures, and no rule has this name: `landfall resume{options}` takes that back")
    });
    let limits = paces.0.iter().filter(|set| match &set.of {
        Paced::Rule(name) => is_gone(name),
        Paced::Throttle(name) => !groups.contains(name.as_str()),
    });
    let limits = limits.map(|set| format!("no rule has this name: {set}"));
    pauses.chain(stopped).chain(limits).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::pace::{PaceChange, PaceSetting};
    use super::*;

    #[test]
    fn what_was_said_of_a_rule_that_is_none_any_more_is_told_with_what_takes_it_back() {
        let (mut halts, mut paces) = (Halts::default(), PacesSet::default());
        let scope = |rule: &str, sender: Option<&str>| Scope {
            rule: Some(rule.into()),
            sender: sender.map(Into::into),
        };
        let at = Timestamp::UNIX_EPOCH;
        halts.pause(scope("a", None), at, "root");
        halts.pause(scope("a", Some("acme")), at, "root");
        halts.pause(Scope { rule: None, sender: Some("acme".into()) }, at, "root");
        for of in [Paced::Rule("a".into()), Paced::Throttle("mainframe".into())] {
            let setting = PaceSetting { of, workers_max: Some(PaceChange::To(1)), records_per_second: None };
            assert!(paces.set(&setting, at, "root"));
        }
        let told = told(&halts, &paces, &[]);
        assert_eq!(told.len(), 4, "{told:#?}");
        for (line, words) in told.iter().zip([
            "`landfall resume --rule a`",
            "`landfall resume --rule a --sender acme`",
            "`landfall set --rule a --workers-max default`",
            "`landfall set --throttle mainframe --workers-max default`",
        ]) {
            assert!(line.contains("no rule has this name") && line.contains(words), "{line}");
        }
    }
}
