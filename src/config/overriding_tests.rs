//! Overrides of rules.

use std::time::Duration;

use super::tests::{RULE, World, plain};
use crate::model::category::Category;
use crate::model::rule::{Mode, OnSuccess};
use crate::pipeline::{Pipeline, Registry};

/// A rule for all senders, with these lines behind it.
fn for_senders(more: &str) -> World {
    plain(more).sub("'in/*.csv'", "'in/{sender}/*.csv'")
}

#[test]
fn an_override_is_the_whole_rule_with_what_it_says_in_place_of_what_the_rule_says() {
    let more = "[[rule.override]]\nif = { sender = 'globex' }\noutput.main.path = 'odd/{stem}.csv'\nready.stable_for = '1s'\n\
                [[rule.override]]\nif = { sender = ['initech', 'hooli'] }\nmode = 'off'\n";
    let settings = for_senders(more).settings();
    let [globex, off, base] = settings.rules.as_slice() else { panic!("three: {:?}", settings.rules) };
    assert!(settings.rules.iter().all(|rule| rule.name == "payments" && rule.paths == base.paths));
    assert!(base.is_base() && base.mode == Mode::Live);
    assert_eq!(off.mode, Mode::Off);
    assert!(globex.outputs[&Category::main()].path.ends_with("/odd/{stem}.csv"));
    assert_eq!(globex.ready.stable_for, Duration::from_secs(1));
    let overriding = globex.overriding.as_ref().expect("an override");
    assert_eq!(overriding.keys, ["output.main.path", "ready.stable_for"]);
    let mut undone = globex.clone();
    undone.overriding = None;
    undone.ready.stable_for = base.ready.stable_for;
    undone.outputs.clone_from(&base.outputs);
    assert_eq!(&undone, base, "all else is the rule's");
    let snapshot = serde_json::to_string(base).expect("plain data");
    assert!(!snapshot.contains("globex"), "the overrides are no part of the rule itself");
}

#[test]
fn what_a_rule_says_for_all_may_be_of_no_use_to_an_override() {
    let more = "archive_dir = 'archive'\n[[rule.override]]\nif = { sender = 'globex' }\nsource.on_success = 'delete'\n";
    let archived = "[rule.source]\non_success = 'archive'";
    let settings = for_senders(more).sub("[rule.source]\non_success = 'delete'", archived).settings();
    assert_eq!(settings.rules[0].source.on_success, OnSuccess::Delete);
}

#[test]
fn every_override_is_judged_as_the_rule_that_it_makes() {
    let more = "
[[rule.override]]
if = { sendr = 'globex' }
name = 'x'
paths = ['in/*']
order = 'name'
redy.stable_for = '1s'
[[rule.override]]
if = { sender = 'globex' }
source.on_success = 'archive'
ready.stable_for = 'soon'
records.format = 'csv'
records.columns = ['id']
records.header = false
pipeline = [ { step = 'validate', columns = { amount = { type = 'decimal' } } } ]
[[rule.override]]
if = { sender = ['globex', 'a/b'] }
output.main.path = 'in/x/{stem}.csv'
[[rule.override]]
if = { sender = 'globex' }
mode = 'off'
[[rule.override]]
mode = 'off'
[[rule.override]]
if = { sender = 3 }
source.archive_keep = '1d'
[[rule.override]]
if = { }
mode = 'off'
[[rule.override]]
if = { sender = 'initech' }
[[rule.override]]
if = 'umbrella'
mode = 'off'
[[rule.override]]
if = { sender = ['umb*', '.umbrella', 'umbrella', 'umbrella', '', 'wayne'] }
mode = 'off'
[[rule.override]]
if = { sender = [] }
mode = 'off'
";
    insta::assert_snapshot!(for_senders(more).problems());
}

#[test]
fn an_override_that_makes_wrong_what_the_rule_says_is_named() {
    let more = "[rule.ready]\nlast_line = 'complete'\n[rule.output.bad]\npath = 'bad/{stem}.csv'\n\
                [[rule.pipeline]]\nstep = 'validate'\ncolumns = { id = { required = true } }\nto = 'bad'\n\
                [[rule.override]]\nif = { sender = 'globex' }\nrecords = { columns = ['other'], header = false }\n";
    insta::assert_snapshot!(
        for_senders(more).sub("[rule.source]", "[rule.records]\nformat = 'csv'\n[rule.source]").problems()
    );
}

/// What the steps of a rule made, its override does not: that output is not there for its files.
#[test]
fn an_override_may_leave_out_a_step_whose_category_has_an_output() {
    let with = |overriding: &str| {
        let more = format!(
            "[rule.output.bad]\npath = 'bad/{{stem}}.csv'\n\
             [[rule.pipeline]]\nstep = 'validate'\ncolumns = {{ id = {{ required = true }} }}\nto = 'bad'\n\
             [[rule.override]]\nif = {{ sender = 'globex' }}\n{overriding}\n"
        );
        for_senders(&more).sub("[rule.source]", "[rule.records]\nformat = 'csv'\n[rule.source]")
    };
    let settings = with("pipeline = []").settings();
    let categories = |rule| {
        let pipeline = Pipeline::build(rule, &Registry::with_builtin_steps()).expect("it fits");
        pipeline.categories().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        settings.rules.iter().map(categories).collect::<Vec<_>>(),
        [vec!["main"], vec!["bad", "main"]]
    );
    // One that it writes itself is meant.
    insta::assert_snapshot!(with("pipeline = []\noutput.bad.empty = 'write'").problems());
}

#[test]
fn an_override_is_no_default() {
    let world =
        World::with(&format!("config_version = 1\n[[defaults.override]]\nif = {{ a = 'b' }}\n{RULE}"));
    insta::assert_snapshot!(world.problems());
}
