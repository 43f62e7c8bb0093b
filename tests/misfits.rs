//! Promise: a rule that misspells a column holds its jobs until it is mended, and sends no file to quarantine.
#![cfg(unix)]

mod support;

use support::{RULE, World};

/// A rule that needs this column, of csv or jsonl.
fn needs(format: &str, column: &str) -> String {
    format!(
        "records = {{ format = \"{format}\" }}
         pipeline = [{{ step = \"validate\", columns = {{ {column} = {{ type = \"decimal\", required = true }} }} }}]
         output = {{ main = {{ path = \"out/{{name}}\" }}, invalid = {{ path = \"out/{{name}}.invalid\" }} }}"
    )
}

fn states(world: &World) -> Vec<String> {
    world.jobs().iter().map(|job| job["state"].as_str().unwrap_or_default().to_owned()).collect()
}

fn holds_every_file_and_goes_on_once_mended(rule: impl Fn(&str) -> String, content: &str) {
    let world = World::new(&rule("amuont"));
    world.move_in("in/1", content);
    let mut service = world.start();
    service.wait_until_it_watches();
    service.wait_until("the job is held", || (states(&world) == ["held"]).then_some(()));
    for name in ["in/2", "in/3"] {
        world.move_in(name, content);
    }
    service.wait_until("all are held", || (states(&world) == ["held"; 3]).then_some(()));
    let job = world.job();
    assert_eq!(
        (&job["error"]["kind"], &job["waiting"]["for"]),
        (&"config".into(), &"config".into()),
        "{job:#}"
    );
    assert!(job["error"].to_string().contains("`amount`"), "{job:#}");
    service.wait_for_log_times("waiting; its rule has to be mended", 1);
    service.stop();
    assert!(!world.files("in").iter().any(|name| name.contains("quarantine")), "{:?}", world.files("in"));
    world.configure("", &[&rule("amount")]);
    let mut service = world.start();
    service.wait_until_it_watches();
    service.wait_until("all go on", || (states(&world) == ["completed"; 3]).then_some(()));
    service.stop();
    assert_eq!(world.files("out").iter().filter(|name| !name.ends_with("invalid")).count(), 3);
}

#[test]
fn a_step_that_misspells_a_column_of_csv_holds_every_file_until_it_is_mended() {
    holds_every_file_and_goes_on_once_mended(|column| needs("csv", column), "id,amount\n1,2.50\n");
}

#[test]
fn a_step_that_misspells_a_column_of_jsonl_holds_every_file_until_it_is_mended() {
    holds_every_file_and_goes_on_once_mended(|column| needs("jsonl", column), "{\"id\":1,\"amount\":2.50}\n");
}

#[test]
fn records_columns_that_misspell_one_hold_every_file_until_they_are_mended() {
    let rule = |column: &str| {
        format!(
            "records = {{ format = \"csv\", columns = [\"{column}\"] }}\noutput = {{ main = {{ path = \"out/{{name}}\" }} }}"
        )
    };
    holds_every_file_and_goes_on_once_mended(rule, "id,amount\n1,2.50\n");
}

/// No other file is looked at meanwhile that could tell who is at fault: an operator does.
#[test]
fn under_a_sequence_a_file_that_misspells_a_column_says_by_which_word_the_others_go_on() {
    let world = World::new(&format!("sequence = \"rule\"\n{}", needs("csv", "amount")));
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/wrong", "id,amuont\n1,2\n");
    service.wait_until("it is held", || (states(&world) == ["held"]).then_some(()));
    world.move_in("in/right", "id,amount\n1,2\n");
    service.wait_until("the other one waits", || (states(&world) == ["held", "queued"]).then_some(()));
    let id = world.jobs()[0]["id"].as_str().expect("an id is text").to_owned();
    let advice = format!("landfall abort {id}");
    world.landfall(&["show", &id]).done().says(&["mend it, and the job goes on", &advice, "sequence"]);
    world.landfall(&["abort", &id]).done();
    service
        .wait_until("the other one is done", || (states(&world) == ["aborted", "completed"]).then_some(()));
    service.stop();
}

#[test]
fn a_file_that_misspells_a_column_goes_to_quarantine_once_another_has_fitted_the_rule() {
    let world = World::new(&needs("csv", "amount"));
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/wrong-first", "id,amuont\n1,2\n");
    service.wait_until("nobody can tell yet who is at fault", || (states(&world) == ["held"]).then_some(()));
    world.move_in("in/right", "id,amount\n1,2\n");
    service
        .wait_until("the held one is judged", || (states(&world) == ["failed", "completed"]).then_some(()));
    service.stop();
    // A later run knows from the store that the rule is right.
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/wrong-last", "id,amuont\n1,2\n");
    service.wait_until("it fails", || (states(&world) == ["failed", "completed", "failed"]).then_some(()));
    assert_eq!(world.job()["error"]["kind"], "input");
    service.stop();
}

#[test]
fn a_file_that_has_nothing_like_the_column_fails_as_its_own_fault() {
    for (format, content) in [("csv", "id,text\n1,x\n"), ("jsonl", "{\"id\":1,\"text\":\"x\"}\n")] {
        let world = World::new(&needs(format, "amount"));
        world.write("sample", content);
        world.landfall(&["ingest", "sample", "--rule", RULE]).ends_with(1);
        assert_eq!(
            (&world.job()["state"], &world.job()["error"]["kind"]),
            (&"failed".into(), &"input".into())
        );
    }
}

#[test]
fn a_misspelt_column_of_jsonl_is_told_once_where_no_record_fails_for_it() {
    let world = World::new(
        "records = { format = \"jsonl\" }
         pipeline = [{ step = \"filter\", drop = { column = \"statsu\", equals = \"CLOSED\" } },
                     { step = \"select\", columns = [\"id\", \"nmae\"] }]
         output = { main = { path = \"out/{name}\" } }",
    );
    let records = "{\"id\":1,\"status\":\"CLOSED\",\"name\":\"a\"}\n".repeat(20_000);
    world.write("sample", &records);
    let run = world.landfall(&["ingest", "sample", "--rule", RULE]).ends_with(0);
    let told = [
        "none of the first records has column `statsu`, which step 1, filter names; the nearest is `status`",
        "none of the first records has column `nmae`, which step 2, select names; the nearest is `name`",
    ];
    let shown = world.landfall(&["show", world.job()["id"].as_str().expect("text")]).ends_with(0).stdout;
    for text in told {
        assert_eq!(run.stdout.matches(text).count(), 1, "{}", run.stdout);
        assert_eq!(run.stderr.matches(text).count(), 1, "{}", run.stderr);
        assert_eq!(shown.matches(text).count(), 1, "{shown}");
    }
    world.write("fits", "{\"id\":1}\n");
    let run = world.landfall(&["ingest", "fits", "--rule", RULE]).ends_with(0);
    assert!(!run.stdout.contains("note:"), "a column may be lacking: {}", run.stdout);
}

#[test]
fn a_column_in_another_case_is_a_misspelling_however_short_it_is() {
    for (format, content) in [("csv", "Id,amount\n1,2\n"), ("jsonl", "{\"Id\":1,\"amount\":2}\n")] {
        let world = World::new(&needs(format, "ID"));
        world.write("sample", content);
        world.landfall(&["ingest", "sample", "--rule", RULE]).ends_with(1);
        let job = world.job();
        assert_eq!((&job["state"], &job["waiting"]["for"]), (&"held".into(), &"config".into()), "{job:#}");
        assert!(job["error"]["hint"].to_string().contains("`Id` for `ID`"), "{job:#}");
    }
}
