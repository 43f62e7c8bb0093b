//! Promise: `landfall test` says whether a rule makes of its samples what it should, by the real work, and leaves nothing.
#![cfg(unix)]

mod support;

use std::fs;

use support::{Ran, World};

const CONFIG: &str = r#"config_version = 1
[service]
data_dir = "data"

[[rule]]
name = "payments"
paths = ["in/{sender}/pay-*.csv*"]
[rule.decode]
identities = ["keys/{sender}.key"]
[rule.records]
format = "csv"
record_max = "1KiB"
[[rule.pipeline]]
step = "filter"
drop = { column = "status", equals = "CLOSED" }
[[rule.pipeline]]
step = "validate"
columns = { amount = { type = "decimal" } }
[rule.output.main]
path = "out/{sender}/{stem}.csv.gz"
[rule.output.invalid]
path = "out/{stem}.invalid.csv"
annotate = true
[rule.source]
on_success = "delete"
"#;

/// One good record, one that is dropped, one that goes to `invalid`, one too long to be a record.
const SAMPLE: &str = "id,amount,status\n1,2.5,OPEN\n2,3,CLOSED\n3,x,OPEN\n";

fn world(tests: &str) -> World {
    let world = World::with_config(&format!("{CONFIG}{tests}"));
    world.write("sample.csv", format!("{SAMPLE}4,{},OPEN\n", "9".repeat(2_000)));
    world
}

/// Runs the tests; nothing of the world changes, and nothing stays in the temporary folder.
fn run(world: &World, arguments: &[&str]) -> Ran {
    let before = world.files(".");
    let temporary = tempfile::tempdir().expect("a folder");
    let mut command = world.command();
    command.arg("test").args(arguments).env("TMPDIR", temporary.path());
    let ran = Ran::new(&command.output().expect("the binary runs"));
    assert_eq!(world.files("."), before, "{ran:#?}");
    assert!(!world.has("data"), "the data folder was made");
    assert_eq!(fs::read_dir(temporary.path()).expect("is there").count(), 0, "{ran:#?}");
    ran
}

const PASSES: &str = r#"
[[rule.test]]
name = "each record goes where it belongs"
path = "in/acme/pay-1.csv"
sample = "sample.csv"
output = { main = "id,amount,status\n1,2.5,OPEN", invalid = { file = "invalid.csv" } }
dropped = 1
failed = [{ record = 4, error = "record_max" }]
"#;

#[test]
fn what_comes_out_as_expected_passes() {
    let world = world(PASSES);
    world.write("invalid.csv", "id,amount,status,_record,_reason\n3,x,OPEN,3,amount: not a decimal\n");
    run(&world, &[]).done().says(&[
        "ok",
        "payments: each record goes where it belongs",
        "1 passed, 0 failed",
    ]);
}

#[test]
fn what_comes_out_otherwise_is_shown_line_by_line_with_expected_and_got() {
    let wrong = PASSES.replace("1,2.5,OPEN", "1,2.50,OPEN").replace("dropped = 1", "dropped = { \"x\" = 2 }");
    let world = world(&wrong.replace("record = 4", "record = 3"));
    world.write("invalid.csv", "");
    let ran = run(&world, &[]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    ran.says(&[
        "FAIL",
        "landfall.toml:",
        "output main: differs",
        "- 1,2.50,OPEN",
        "+ 1,2.5,OPEN",
        "0 passed, 1 failed",
    ])
    .says(&[
        "output invalid: differs",
        "+ 3,x,OPEN,3,",
        "dropped: expected x: 2, got",
        "- record 3: record_max",
    ]);
}

#[test]
fn a_category_that_is_not_expected_must_stay_without_records() {
    let world =
        world("\n[[rule.test]]\nname = 'a'\npath = 'in/a/pay-1.csv'\ninput = \"amount,status\\nx,\\n\"\n");
    let ran = run(&world, &[]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    ran.says(&["output invalid: expected no record, got 1"]);
}

#[test]
fn packed_and_encrypted_samples_are_read_with_the_rules_own_keys() {
    let world = world("");
    fs::create_dir(world.path("keys")).expect("new");
    let recipient = world.age_key_in("keys/acme.key");
    world.sh(&format!("gzip < sample.csv | age -r {recipient} > pay-1.csv.gz.age"));
    let test = PASSES
        .replace("sample.csv", "pay-1.csv.gz.age")
        .replace("[[rule.test]]", "[[test]]\nrule = 'payments'");
    // A file of its own, beside the rules: no rule stands in it.
    world.write("payments.test.toml", test.replace("in/acme/pay-1.csv", "in/acme/pay-1.csv.gz.age"));
    world.write("invalid.csv", "id,amount,status,_record,_reason\n3,x,OPEN,3,amount: not a decimal\n");
    run(&world, &[]).done().says(&["1 passed, 0 failed"]);
    run(&world, &["payments.test.toml"]).done().says(&["1 passed"]);
    let none = run(&world, &["landfall.toml"]);
    assert_eq!(none.code, Some(2), "{none:#?}");
}

#[test]
fn a_sample_that_must_be_refused_is_expected_by_its_error() {
    let world = world(
        "\n[[rule.test]]\nname = 'cut'\npath = 'in/a/pay-1.csv.gz'\nsample = 'cut.gz'\nerror = 'ends too early'\n",
    );
    world.sh("gzip < sample.csv | head -c 40 > cut.gz");
    let ran = run(&world, &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let message = told["tests"][0]["differences"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(told["passed"] == 1 || message.contains("got"), "{ran:#?}");
    assert_eq!((ran.code, told["passed"].as_u64()), (Some(0), Some(1)), "{told:#}");
}

#[test]
fn a_wrong_test_is_a_wrong_configuration() {
    let wrong =
        PASSES.replace("dropped", "droped").replace("main = ", "mian = ").replace("path = ", "paths = ");
    let world = world(&wrong);
    for command in ["test", "check"] {
        let ran = world.landfall(&[command]);
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        for word in ["did you mean `dropped`", "did you mean `main`", "where the sample would land"] {
            assert!(said.contains(word), "`{word}` is not in {said}");
        }
    }
}

#[test]
fn the_configuration_of_init_has_a_test_that_passes() {
    let world = World::bare();
    world.landfall(&["init", "."]).done();
    world.landfall(&["test"]).done().says(&["1 passed, 0 failed"]);
}

#[test]
fn a_path_that_no_pattern_fits_is_told_as_it_is_written_with_the_pattern() {
    let world =
        world("\n[[rule.test]]\nname = 'lost'\npath = 'in/pay-1.csv'\ninput = \"amount,status\\n\"\n");
    let ran = run(&world, &[]).ends_with(1);
    ran.says(&["its `path` in/pay-1.csv fits no pattern", "in/{sender}/pay-*.csv*"]);
}

#[test]
fn a_sample_as_text_passes_a_rule_that_wants_encrypted_files_unless_that_is_what_is_tested() {
    let passes = "\n[[rule.test]]\nname = 'plain'\npath = 'in/a/pay-1.csv'\ninput = \"amount,status\\n1,A\\n\"\noutput.main = \"amount,status\\n1,A\\n\"\n";
    let refused = "\n[[rule.test]]\nname = 'refused'\npath = 'in/a/pay-1.csv'\ninput = \"amount,status\\n1,A\\n\"\nerror = 'not encrypted'\n";
    let world = world(&format!("{passes}{refused}"));
    let text =
        world.text("landfall.toml").replace("[rule.decode]\n", "[rule.decode]\nrequire = ['encrypted']\n");
    world.write("landfall.toml", text);
    run(&world, &[]).done().says(&["2 passed"]);
}
