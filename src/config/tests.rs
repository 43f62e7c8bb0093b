//! Whole configurations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{Inputs, TestFiles, read};
use super::problem::Problems;
use super::texts::Shelf;
use crate::model::category::Category;
use crate::model::delivery::{DeliveryRule, SameContent, SameKey};
use crate::model::pattern::Pattern;
use crate::model::rule::{Format, LastLine, Limit, OnMisfit, Rule, Settings};
use crate::model::template::fixed_folder;
use crate::pipeline::Registry;

fn load_in(
    working_folder: &Path,
    main: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<Settings, Problems> {
    let registry = Registry::with_builtin_steps();
    let test_files = TestFiles::BesideAnd(&[]);
    let registry = Some(&registry);
    let inputs = Inputs { main, variables, working_folder, registry, test_files, shelf: Shelf::Disk };
    Ok(read(&inputs).loaded?.settings)
}

/// A folder of configuration files.
pub(super) struct World {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl World {
    pub(super) fn with(main: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a folder"), variables: BTreeMap::new() };
        world.and("landfall.toml", main)
    }

    pub(super) fn and(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("makes the folder");
        std::fs::write(path, text).expect("writes");
        self
    }

    /// The sources of the rules in the main file are archived.
    fn archiving(self) -> Self {
        let main = std::fs::read_to_string(self.path("landfall.toml")).expect("is there");
        self.and("landfall.toml", &main.replace("'delete'", "'archive'"))
    }

    /// The main file with another text in place of one.
    pub(super) fn sub(self, from: &str, to: &str) -> Self {
        let main = std::fs::read_to_string(self.path("landfall.toml")).expect("is there");
        assert!(main.contains(from));
        self.and("landfall.toml", &main.replace(from, to))
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn load(&self) -> Result<Settings, Problems> {
        load_in(self.folder.path(), Path::new("landfall.toml"), &self.variables)
    }

    pub(super) fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems, with the folder's name taken out.
    pub(super) fn problems(&self) -> String {
        let problems = self.load().expect_err("there are problems").to_string();
        problems.replace(self.folder.path().to_str().expect("a plain name"), "DIR")
    }
}

pub(super) const RULE: &str = "
[[rule]]
name = 'payments'
paths = ['in/*.csv']
[rule.output.main]
path = 'out/{stem}.csv'
[rule.source]
on_success = 'delete'
";

pub(super) fn plain(more: &str) -> World {
    World::with(&format!("config_version = 1\n{RULE}{more}"))
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let settings = plain("").settings();
    let rule = &settings.rules[0];
    let service = crate::model::rule::Service { workers: 0, ..settings.service.clone() };
    insta::assert_debug_snapshot!(service);
    let rule =
        Rule { base_dir: PathBuf::new(), paths: Vec::new().into(), outputs: BTreeMap::new(), ..rule.clone() };
    insta::assert_debug_snapshot!(rule);
    let mut main = settings.rules[0].outputs[&Category::main()].clone();
    main.path = String::new();
    insta::assert_debug_snapshot!(main);
    assert!(settings.service.workers > 0);
}

#[test]
fn relative_paths_start_from_the_file_that_names_them() {
    let world = plain("archive_dir = '../archive'\n").archiving().and(
        "rules.d/b.toml",
        &RULE.replace("payments", "other").replace("'in/*.csv'", "'more/*.csv'").replace("out/", "../away/"),
    );
    let settings = world.settings();
    let shown = |name: &str| world.path(name).to_str().expect("plain").to_owned();
    assert_eq!(settings.rules[0].paths[..], [shown("in/*.csv")]);
    assert_eq!(settings.rules[1].paths[..], [shown("rules.d/more/*.csv")]);
    assert_eq!(settings.rules[1].outputs[&Category::main()].path, shown("away/{stem}.csv"));
    assert_eq!(settings.rules[1].base_dir, world.path("rules.d"));
    assert_eq!(settings.file, world.path("landfall.toml"));
}

#[test]
fn rules_come_in_the_order_of_the_main_file_then_of_file_names() {
    let rule_named = |name: &str| RULE.replace("payments", name).replace("out/", &format!("out/{name}/"));
    let world = plain("")
        .and("rules.d/20.toml", &rule_named("second"))
        .and("rules.d/10.toml", &rule_named("first"))
        .and("rules.d/.hidden.toml", "not toml")
        .and("rules.d/notes.txt", "not toml");
    let names: Vec<String> = world.settings().rules.into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["payments", "first", "second"]);
}

#[test]
fn a_folder_of_rules_that_was_asked_for_must_be_there_and_the_default_need_not() {
    let named =
        |name: &str| World::with(&format!("config_version = 1\n[service]\nrules_dir = '{name}'\n{RULE}"));
    assert_eq!(named("rules.d").settings().rules.len(), 1);
    assert!(
        named("more").problems().starts_with("landfall.toml:3: service.rules_dir: DIR/more cannot be listed")
    );
}

#[test]
fn a_file_named_by_steps_up_gives_plain_paths() {
    let world = plain("");
    let inner = world.path("inner");
    std::fs::create_dir(&inner).expect("makes it");
    let loaded = load_in(&inner, Path::new("../landfall.toml"), &BTreeMap::new());
    let settings = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let folder = world.folder.path().canonicalize().expect("is there");
    assert_eq!(settings.rules[0].base_dir, folder);
}

#[test]
fn the_environment_is_above_the_file_and_its_text_is_read_as_what_is_meant() {
    let world =
        World::with(&format!("config_version = 1\n[service]\nworkers = 1\nscan_every = '1s'\n{RULE}"))
            .variable("LANDFALL_SERVICE__WORKERS", "3")
            .variable("LANDFALL_SERVICE__MEMORY_MAX", "32MiB")
            .variable("LANDFALL_SERVICE__DATA_DIR", "state")
            .variable("LANDFALL_DEFAULTS__EXCLUDE", "['x-*']")
            .variable("LANDFALL_DEFAULTS__OUTPUT__MAIN__SHA256", "true");
    let settings = world.settings();
    assert_eq!((settings.service.workers, settings.service.memory_max), (3, 32 << 20));
    assert_eq!(settings.service.scan_every.as_secs(), 1);
    assert_eq!(settings.service.data_dir, world.path("state"));
    assert_eq!(settings.rules[0].exclude[..], ["x-*"].map(String::from));
    assert!(settings.rules[0].outputs[&Category::main()].sha256);
}

#[test]
fn what_the_environment_says_wrongly_is_told_by_the_name_of_its_variable() {
    let world = plain("")
        .variable("LANDFALL_SERVICE__WORKERS", "many")
        .variable("LANDFALL_SERVICE__WORKRES", "3")
        .variable("LANDFALL_SERVICE_DATA_DIR", "x")
        .variable("LANDFALL_SERVCE__DATA_DIR", "x")
        .variable("LANDFALL_LOG", "debug")
        .variable("LANDFALL_DEFAULTS__EXCLUDE", "a,b");
    insta::assert_snapshot!(world.problems());
}

#[test]
fn a_rule_inherits_key_by_key_and_defaults_that_do_not_fit_it_are_no_problem() {
    let defaults =
        "[defaults.records]\ndelimiter = ';'\nslice_records = 7\n[defaults.errors]\nattempts = 5\n";
    let world =
        World::with(&format!("config_version = 1\n{defaults}{RULE}[rule.records]\nslice_records = 9\n")).and(
            "rules.d/l.toml",
            &format!("{}[rule.records]\nformat = 'lines'\n", RULE.replace("payments", "lines")),
        );
    let rules = world.settings().rules;
    let Format::Csv(csv) = &rules[0].records.format else { panic!("csv") };
    assert_eq!((csv.delimiter, rules[0].records.slice_records, rules[0].errors.attempts), (b';', 9, 5));
    assert_eq!((&rules[1].records.format, rules[1].records.slice_records), (&Format::Lines, 7));
}

#[test]
fn only_the_target_of_validate_has_a_limit_unless_one_is_written() {
    let outputs = "
[rule.output.invalid]
path = 'bad/{stem}.csv'
[[rule.pipeline]]
step = 'validate'
columns = { amount = { type = 'date', min = 2026-01-31 } }
";
    let rule = plain(outputs).settings().rules.remove(0);
    let max = |name: &str| rule.outputs[&Category::new(name)].max;
    assert_eq!((max("main"), max("invalid")), (None, Some(Limit::Percent(50.0))));
    let empty = |name: &str| rule.outputs[&Category::new(name)].write_empty;
    assert_eq!((empty("main"), empty("invalid")), (true, false));
    assert_eq!(rule.pipeline[0].params["columns"]["amount"]["min"], "2026-01-31");
    let outputs = outputs.replace("output.invalid", "output.large") + "to = 'large'\n";
    let rule = plain(&outputs).settings().rules.remove(0);
    assert_eq!(rule.outputs[&Category::new("large")].max, Some(Limit::Percent(50.0)));
}

#[test]
fn every_kind_of_problem_is_told_at_once() {
    let world = World::with(include_str!("testdata/every_problem.toml"))
        .and("rules.d/10-broken.toml", "[[rule]]\nname = 'x'\npaths = [\n")
        .and("rules.d/20-more.toml", &format!("[service]\nworkers = 1\n{RULE}"));
    insta::assert_snapshot!(world.problems());
}

#[test]
fn keys_of_later_versions_are_refused_as_not_available_yet() {
    let world = World::with(include_str!("testdata/later_keys.toml"));
    insta::assert_snapshot!(world.problems());
}

#[test]
fn a_syntax_error_in_the_main_file_does_not_hide_the_problems_of_the_others() {
    let world = World::with("config_version = 1\n[service]\nrules_dir = 'more'\nworkers = = 1\n")
        .and("more/a.toml", &RULE.replace("on_success", "on_sucess"));
    insta::assert_snapshot!(world.problems());
}

#[test]
fn a_wrong_default_is_told_once_and_where_it_stands() {
    let other = RULE.replace("payments", "other").replace("out/", "out2/");
    let world = World::with(&format!(
        "config_version = 1\n[defaults.ready]\nstable_for = 5\nstabel = 1\n{RULE}{other}"
    ));
    insta::assert_snapshot!(world.problems());
}

#[test]
fn a_folder_that_a_pattern_would_pick_up_is_refused() {
    let world = plain("archive_dir = 'in'\n[rule.output.invalid]\npath = 'in/{stem}.bad'\n[rule.publish]\nmarker = 'x/in/{stem}.done'\n")
        .archiving()
        .and("rules.d/a.toml", &RULE.replace("payments", "other").replace("'in/*.csv'", "'/*/{x}/out/*.csv', '../x/{y}/*'"));
    insta::assert_snapshot!(world.problems());
    plain("claim_dir = 'in/.landfall'\nquarantine_dir = 'in/.landfall/quarantine'\n").settings();
    let dated = RULE.replace("in/*.csv", "out/*/*/*").replace("{stem}.csv", "{date:%Y/%m}/{stem}");
    let problems = World::with(&format!("config_version = 1\n{dated}")).problems();
    assert!(problems.contains("DIR/out/1970/01 is a folder that the pattern"), "{problems}");
}

#[test]
fn a_configuration_may_lie_in_a_folder_with_any_name() {
    let world = World::with("").and("{stem}[a]*}/landfall.toml", &format!("config_version = 1\n{RULE}"));
    let folder = world.path("{stem}[a]*}");
    let loaded = load_in(&folder, Path::new("landfall.toml"), &BTreeMap::new());
    let rule = loaded.unwrap_or_else(|problems| panic!("{problems}")).rules.remove(0);
    let pattern = Pattern::parse(&rule.paths[0]).expect("a pattern");
    assert!(pattern.matches(&folder.join("in/a.csv")).is_some());
    assert_eq!(fixed_folder(&rule.outputs[&Category::main()].path), folder.join("out"));
}

#[test]
fn a_folder_that_the_taking_rule_excludes_is_no_loop() {
    let other = |more: &str| {
        RULE.replace("payments", "other")
            .replace("out/", "away/")
            .replace("paths = ['in/*.csv']", &format!("paths = ['../out/*.csv']{more}"))
    };
    assert!(plain("").and("rules.d/a.toml", &other("")).problems().contains("would pick files up"));
    plain("").and("rules.d/a.toml", &other("\nexclude = ['../out/**']")).settings();
}

#[test]
fn a_recipient_that_only_looks_right_is_told() {
    let rule = RULE.replace(".csv'\n[rule.source]", ".age'\nrecipients = ['age1broken']\n[rule.source]");
    insta::assert_snapshot!(World::with(&format!("config_version = 1\n{rule}")).problems());
}

#[test]
fn a_named_wildcard_cannot_be_called_like_a_variable() {
    let world = World::with(&format!("config_version = 1\n{}", RULE.replace("in/", "in/{name}/")));
    insta::assert_snapshot!(world.problems());
}

#[test]
fn the_examples_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).expect("is there").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    for main in &names {
        let loaded = load_in(&folder, main, &BTreeMap::new());
        let settings = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!settings.rules.is_empty(), "{}", main.display());
    }
    assert!(names.len() >= 5);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test plays the operator, who has no durable_fs")]
fn a_file_that_is_not_there_or_not_text_is_a_problem_and_not_a_panic() {
    let world = plain("");
    std::fs::remove_file(world.path("landfall.toml")).expect("was there");
    assert!(world.problems().starts_with("landfall.toml: this file cannot be read"), "{}", world.problems());
    std::fs::write(world.path("landfall.toml"), b"a = 1\n\xff").expect("writes");
    assert!(world.problems().starts_with("landfall.toml:2: this is not UTF-8"), "{}", world.problems());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// A file that breaks off anywhere, or lacks any part, is told and never panics.
    #[test]
    fn no_mangled_file_panics(start in 0..2000usize, length in 0..2000usize, put in "[\\[\\]{}='\"a.0\n]{0,4}") {
        let mut text = include_str!("testdata/every_problem.toml").to_owned();
        let start = start.min(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &put);
        proptest::prop_assert!(World::with(&text).load().is_err());
    }
}

#[test]
fn what_would_be_overlooked_without_a_word_is_told() {
    let of_fixed = "
[rule.records]
format = 'fixed'
fields = [
  { name = '', width = 0 },
  { name = 5, width = 1 },
  { nam = 'b', width = 1 },
  { name = 'd', width = 1 },
  { name = 'd', width = 1 },
]
";
    let world = World::with(&format!(
        "config_version = 1\n{}archive_dir = 'archive'\n{of_fixed}",
        RULE.replace("'in/*.csv'", "'in/*.csv', 'more/'")
            .replace("path = 'out/{stem}.csv'", "path = 'out/{stem}.age.gz'\nrecipients = ['age1x']")
    ));
    insta::assert_snapshot!(world.problems(), @r#"
    landfall.toml:5: rule "payments": paths[2]: this pattern names a folder, not files
        hint: add a file pattern such as `*`, or `**` for the folders in it too
    landfall.toml:7: rule "payments": output.main.path: this output would be encrypted first and then compressed
        hint: what is encrypted cannot be made smaller: write "{stem}.gz.age"
    landfall.toml:11: rule "payments": source.archive_dir: a folder to archive to is named, but `on_success` does not archive
        hint: write `on_success = "archive"`, or take the folder out
    landfall.toml:16: rule "payments": records.fields[1].name: a field needs a name
        hint: write { name = "id", width = 10 }
    landfall.toml:16: rule "payments": records.fields[1].width: 0 is out of range
        hint: write a number from 1 to 1000000
    landfall.toml:17: rule "payments": records.fields[2].name: this is an integer, not text
        hint: put it in quotes
    landfall.toml:18: rule "payments": records.fields[3].name: missing: the field's name
        hint: write { name = "id", width = 10 }
    landfall.toml:18: rule "payments": records.fields[3].nam: unknown key
        hint: did you mean `name`?
    landfall.toml:20: rule "payments": records.fields[5].name: field "d" is named twice
        hint: give each field its own name
    "#);
}

#[test]
fn what_a_delivery_cannot_be_is_told() {
    let rules = "
[[rule]]
name = 'a'
paths = ['in/{sender}/*.a', 'in/*.aa']
[rule.ready]
totals = '{name}/x.ctl'
[rule.output.main]
path = 'out/a/{stem}-{revision}.csv'
[rule.delivery]
same_key = 'correction'
[rule.source]
on_success = 'delete'
archive_keep = '30d'

[[rule]]
name = 'b'
paths = ['in/{sender}/*.b', 'in/*.bb']
[rule.ready]
totals = '{nam}.ctl'
[rule.output.main]
path = 'out/b/r{revision}/{stem}.csv'
[rule.publish]
marker = 'out/b/{revision}/{stem}.done'
[rule.delivery]
key = '{sender}/{nme}'
same_content = 'refused'
[rule.source]
on_success = 'archive'
archive_dir = 'archive/{revision}'
archive_keep = 'for ever'

[[rule]]
name = 'c'
paths = ['in/{sender}/*.c', 'in/*.cc']
[rule.ready]
strategy = 'marker'
totals = '{name}.done'
[rule.output.main]
path = 'out/c/{stem}.csv'
[rule.delivery]
key = '{sender}'
sam_key = 'hold'
[rule.source]
on_success = 'keep'

[[rule]]
name = 'd'
paths = ['in/*.d']
[rule.output.main]
path = 'out/d/{stem}.csv'
[rule.delivery]
key = 'always'
[rule.source]
on_success = 'keep'

[[rule]]
name = 'e'
paths = ['in/*.e']
[rule.output.main]
path = 'out/e/{stem}.csv'
[rule.delivery]
key = '{name}-{job}'
[rule.source]
on_success = 'keep'
";
    let service = "[service]\nretention = '30d'\nledger_retention = '7d'\n";
    let world = World::with(&format!("config_version = 1\n{service}{rules}"));
    insta::assert_snapshot!(world.problems());
}

#[test]
fn a_delivery_an_archive_and_totals_are_read_as_they_are_meant() {
    let more = "archive_dir = 'archive/{revision}'\narchive_keep = '90d'\n[rule.ready]\ntotals = '{stem}.ctl'\n[rule.delivery]\nkey = '{name}'\nsame_content = 'refuse'\nsame_key = 'hold'\n";
    let settings = plain(more).archiving().settings();
    let rule = &settings.rules[0];
    let delivery = DeliveryRule {
        key: Some("{name}".into()),
        same_content: SameContent::Refuse,
        same_key: SameKey::Hold,
    };
    assert_eq!(rule.delivery, Some(delivery));
    assert_eq!(rule.source.archive_keep, Some(Duration::from_hours(90 * 24)));
    assert_eq!(rule.ready.totals.as_deref(), Some("{stem}.ctl"));
    assert_eq!(settings.service.ledger_retention, Duration::from_hours(400 * 24));
    let long = World::with(&format!("config_version = 1\n[service]\nretention = '500d'\n{RULE}"));
    assert_eq!(long.settings().service.ledger_retention, Duration::from_hours(500 * 24));
    let forever = plain("archive_dir = 'archive'\narchive_keep = 'forever'\n").archiving().settings();
    assert_eq!((forever.rules[0].source.archive_keep, &forever.rules[0].delivery), (None, &None));
    assert_eq!(plain("[rule.delivery]\n").settings().rules[0].delivery, Some(DeliveryRule::default()));
    let defaults = "[defaults.delivery]\nsame_key = 'correction'\n";
    let inherits =
        World::with(&format!("config_version = 1\n{defaults}{RULE}[rule.delivery]\nkey = '{{name}}'\n"));
    let delivery = inherits.settings().rules.remove(0).delivery.expect("inherited");
    assert_eq!((delivery.key.as_deref(), delivery.same_key), (Some("{name}"), SameKey::Correction));
}

#[test]
fn a_rule_that_archives_nothing_may_inherit_where_others_archive_to() {
    let defaults = "[defaults.source]\narchive_dir = 'archive'\n";
    let world = World::with(&format!("config_version = 1\n{defaults}{RULE}"));
    assert_eq!(world.settings().rules.len(), 1);
}

#[test]
fn what_ends_records_and_what_stands_before_quotes_is_read_as_it_is_meant() {
    let records = |text: &str| plain(&format!("[rule.records]\n{text}")).settings().rules.remove(0).records;
    assert_eq!(records("separator = \"\\n\"\n").separator, None);
    for separator in ["~", "\\r", "\\u001e", "\\u0000", "\\r\\n", "<br>"] {
        let found = records(&format!("separator = \"{separator}\"\n")).separator;
        assert_eq!(
            found.map(|text| text.len()),
            Some(if separator.starts_with('<') {
                4
            } else if separator.len() == 4 {
                2
            } else {
                1
            })
        );
    }
    let Format::Csv(csv) = records("escape = \"\\\\\"\n").format else { panic!("csv") };
    assert_eq!(csv.escape, Some(b'\\'));
    let fixed = "format = 'fixed'\nfields = [{ name = 'id', width = 5 }]\nrecord_length = 5\n";
    assert_eq!(records(fixed).separator, None);
    assert_eq!(records(&format!("{fixed}separator = \"\\n\"\n")).separator.as_deref(), Some("\n"));
    let Format::Fixed(fixed) = records(&format!("{fixed}on_misfit = 'allow'\n")).format else {
        panic!("fixed")
    };
    assert_eq!(fixed.on_misfit, OnMisfit::Allow);
    let defaults = "[defaults.records]\nseparator = '~'\n[defaults.ready]\nstable_for = '1s'\n";
    let inherits = World::with(&format!("config_version = 1\n{defaults}{RULE}"));
    assert_eq!(inherits.settings().rules[0].records.separator.as_deref(), Some("~"));
}

#[test]
fn separators_and_escapes_that_cannot_be_are_told() {
    let problems = |text: &str| plain(&format!("[rule.records]\n{text}")).problems();
    let fixed = "format = 'fixed'\nfields = [{ name = 'id', width = 5 }]\n";
    let all = [
        problems("separator = ''\n"),
        problems("separator = ',\"'\n"),
        problems("escape = '\"'\n"),
        problems("escape = ','\n"),
        problems("quote = ''\nescape = '\\'\n"),
        problems("format = 'lines'\nescape = '\\'\non_misfit = 'fail'\n"),
        problems(&format!("{fixed}record_length = 4\n")),
        problems(&format!("{fixed}on_misfit = 'pad'\n")),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_last_line_that_must_be_complete_is_asked_of_records_that_have_line_ends() {
    let rule = |text: &str| plain(&format!("[rule.ready]\nlast_line = 'complete'\n[rule.records]\n{text}"));
    for format in ["lines", "csv", "jsonl"] {
        let rule = rule(&format!("format = '{format}'\n")).settings().rules.remove(0);
        assert_eq!(rule.ready.last_line, LastLine::Complete);
    }
    assert_eq!(plain("").settings().rules[0].ready.last_line, LastLine::Any);
    let fixed = "format = 'fixed'\nfields = [{ name = 'id', width = 5 }]\nrecord_length = 5\n";
    assert_eq!(rule(&format!("{fixed}separator = \"\\n\"\n")).settings().rules.len(), 1);
    insta::assert_snapshot!(rule(fixed).problems(), @r#"
    landfall.toml:11: rule "payments": ready.last_line: records of a fixed length have no line ends
        hint: take the key out: a file that ends within a record is refused anyway
    "#);
    let inherits = format!(
        "config_version = 1\n[defaults.ready]\nlast_line = 'complete'\n{RULE}[rule.records]\n{fixed}"
    );
    assert_eq!(World::with(&inherits).settings().rules[0].ready.last_line, LastLine::Any);
}

#[test]
fn a_name_that_promises_what_is_not_written_is_refused() {
    let world = plain(
        "[rule.output.zip]\npath = 'out/{stem}.csv.zip'\n[rule.output.old]\npath = 'out/{stem}.old.Z'\n[rule.publish]\nmarker = 'out/{stem}.gz'\nmanifest = 'out/{stem}.json.lz4'\n",
    );
    insta::assert_snapshot!(world.problems(), @r#"
    landfall.toml:10: rule "payments": output.zip: no step sends records to category `zip`, or they all go on to another
        hint: leave out [rule.output.zip], or send records there
    landfall.toml:11: rule "payments": output.zip.path: this name promises .zip, and nothing here writes that
        hint: an output is compressed by .gz, .zst, .bz2 or .xz and encrypted by .age, .pgp, .gpg or .asc behind it, each once; take other suffixes off
    landfall.toml:12: rule "payments": output.old: no step sends records to category `old`, or they all go on to another
        hint: leave out [rule.output.old], or send records there
    landfall.toml:13: rule "payments": output.old.path: this name promises .Z, and nothing here writes that
        hint: an output is compressed by .gz, .zst, .bz2 or .xz and encrypted by .age, .pgp, .gpg or .asc behind it, each once; take other suffixes off
    landfall.toml:15: rule "payments": publish.marker: this name promises .gz, and a marker is written as it is
        hint: take the suffix off
    landfall.toml:16: rule "payments": publish.manifest: this name promises .lz4, and a manifest is written as it is
        hint: take the suffix off
    "#);
}

#[test]
fn a_marker_for_a_folder_has_a_name_and_one_for_a_file_that_of_its_file() {
    let ready = |text: &str| World::with(&format!("config_version = 1\n{RULE}[rule.ready]\n{text}\n"));
    let good = ready("strategy = 'marker'\nmarker_for = 'folder'\nmarker = '_SUCCESS'");
    assert_eq!(good.settings().rules[0].ready.marker.as_deref(), Some("_SUCCESS"));
    let wrong = [
        ready("strategy = 'marker'\nmarker_for = 'folder'"),
        ready("strategy = 'marker'\nmarker_for = 'folder'\nmarker = '{name}.done'"),
        ready("strategy = 'marker'\nmarker = '_SUCCESS'"),
        ready("marker_for = 'folder'"),
    ];
    let problems: Vec<_> = wrong.iter().map(World::problems).collect();
    insta::assert_snapshot!(problems.join("\n"), @r#"
    landfall.toml:12: rule "payments": ready.marker_for: a marker for a folder has a name of its own
        hint: add `marker = "_SUCCESS"`, or what your senders call it
    landfall.toml:13: rule "payments": ready.marker: `{name}.done` is the name of one file's marker
        hint: write a name, like "_SUCCESS", or `marker_for = "file"`
    landfall.toml:12: rule "payments": ready.marker: `_SUCCESS` does not tell it from its file, or whose it is
        hint: use {name} or {stem} with something of its own, like "{name}.done"; one for all files of a folder takes `marker_for = "folder"`
    landfall.toml:11: rule "payments": ready.marker_for: a marker is named, but the strategy does not wait for it
        hint: add `strategy = "marker"`, or take the marker out
    "#);
}
