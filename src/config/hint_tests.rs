//! What is said of usual slips: each once, with what to write.

use super::tests::{RULE, World, plain};

fn rule_with(old: &str, new: &str) -> World {
    assert!(RULE.contains(old), "{old} is in the rule");
    World::with(&format!("config_version = 1\n{}", RULE.replace(old, new)))
}

#[test]
fn a_key_in_the_wrong_table_is_told_where_it_belongs() {
    let world = rule_with("paths =", "stable_for = '1s'\npath = 'x'\nworkers = 3\nfailed_max = 3\npaths =");
    insta::assert_snapshot!(world.problems(), @r#"
    landfall.toml:5: rule "payments": stable_for: this key does not belong here
        hint: it belongs into [rule.ready]
    landfall.toml:6: rule "payments": path: unknown key
        hint: did you mean `paths`? `path` itself belongs into [rule.output.CATEGORY]
    landfall.toml:7: rule "payments": workers: unknown key
        hint: did you mean `workers_max`? `workers` itself belongs into [service]
    landfall.toml:8: rule "payments": failed_max: this key does not belong here
        hint: it belongs into [rule.errors]
    "#);
    let below = plain("exclude = ['x']\n[defaults]\nstable_for = '2s'\n");
    insta::assert_snapshot!(below.problems(), @r#"
    landfall.toml:10: rule "payments": source.exclude: this key does not belong here
        hint: it belongs into [[rule]], above its inner tables
    landfall.toml:12: defaults.stable_for: this key does not belong here
        hint: it belongs into [defaults.ready]
    "#);
    let top = World::with(&format!("config_version = 1\nworkers = 2\n{RULE}"));
    insta::assert_snapshot!(top.problems(), @"
    landfall.toml:2: workers: this key does not belong here
        hint: it belongs into [service]
    ");
}

#[test]
fn a_syntax_error_shows_its_line_and_where_in_it() {
    insta::assert_snapshot!(rule_with("['in/*.csv']", "['in/*.csv'").problems(), @"
    landfall.toml:6:1: this is not TOML: missing comma between array elements, expected `,`
        6 | [rule.output.main]
          | ^
        hint: mend it; the rest of the file is checked then
    ");
    insta::assert_snapshot!(rule_with("'out/{stem}.csv'", r#""C:\out\é.csv""#).problems(), @r#"
    landfall.toml:7:12: this is not TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`
        7 | path = "C:\out\é.csv"
          |            ^
        hint: write paths of Windows in single quotes, like 'C:\in\*.csv'; the rest of the file is checked then
    "#);
    let long = format!("'{}' x '{}'", "a".repeat(200), "b".repeat(200));
    insta::assert_snapshot!(rule_with("'out/{stem}.csv'", &long).problems(), @"
    landfall.toml:7:211: this is not TOML: unexpected key or value, expected newline, `#`
        7 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' x 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
          |                                                             ^
        hint: mend it; the rest of the file is checked then
    ");
}

#[test]
fn a_missing_pair_of_brackets_is_told_once() {
    insta::assert_snapshot!(rule_with("[[rule]]", "[rule]").problems(), @"
    landfall.toml:3: rule: a rule is one of several
        hint: write [[rule]], with two brackets
    ");
    let world = plain("[rule.pipeline]\nstep = 'validate'\ncolumns = { a = {} }\n");
    insta::assert_snapshot!(world.problems(), @r#"
    landfall.toml:10: rule "payments": pipeline: this is a table, not an array of tables
        hint: write [[rule.pipeline]], with two brackets
    "#);
}

#[test]
fn an_output_in_the_store_is_asked_for_no_path_whatever_else_is_wrong_with_it() {
    let told = |keys: &str| rule_with("path = 'out/{stem}.csv'", keys).problems();
    let misspelt = told("keep_output = 'stroe'");
    assert!(misspelt.contains("keep_output") && !misspelt.contains("path"), "{misspelt}");
    let sealed = told("keep_output = 'store'\nrecipients = ['age1xyz']");
    assert!(sealed.contains("recipients") && !sealed.contains("path"), "{sealed}");
}
