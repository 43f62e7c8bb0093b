//! Promise: each command does what it says, says what it did, and its exit code tells scripts.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{RULE, World};

#[test]
fn init_makes_a_configuration_and_folders_that_run_at_once() {
    let world = World::bare();
    world.landfall(&["init", "here"]).done();
    let config = world.path("here/landfall.toml");
    let config = config.to_str().expect("a temporary path is text");
    world.landfall(&["check", "--config", config]).done().says(&["ok"]);
    let again = world.landfall(&["init", "here"]);
    assert_ne!(again.code, Some(0), "init wrote over a configuration: {again:#?}");
}

#[test]
fn demo_shows_what_came_out_where_and_leaves_nothing() {
    let world = World::bare();
    let ran = world.landfall(&["demo"]).done();
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let account = "1000 records in = 20 invalid + 978 main + 1 dropped + 1 failed";
    for word in ["main", "invalid", "gz", "age", "[[rule]]", account] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    assert_eq!(world.files("."), [""; 0]);
    let proposed = said.lines().filter(|line| line.contains(" --config "));
    let commands: Vec<&str> = proposed.map(|line| line.trim_start_matches("Try:").trim()).collect();
    assert_eq!(commands.len(), 2, "{said}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let shown = std::process::Command::new(words[0]).args(&words[1..]).output().expect("starts");
        assert!(shown.status.success(), "{command}: {shown:?}");
    }
}

#[test]
fn check_as_json_has_problems_and_warnings_with_their_places() {
    let world = World::bare();
    world.landfall(&["init", "here"]).done();
    let config = world.path("here/landfall.toml");
    let config = config.to_str().expect("a plain name");
    let found = |code| {
        let said = world.landfall(&["check", "--json", "--config", config]).ends_with(code).stdout;
        serde_json::from_str::<serde_json::Value>(&said).expect("one object")
    };
    std::fs::remove_dir(world.path("here/inbox")).expect("removes the inbox");
    let warned = found(0);
    let warning = &warned["findings"][0];
    assert_eq!((&warned["ok"], &warning["level"]), (&true.into(), &"warning".into()), "{warned}");
    assert!(
        warning["line"].is_u64() && warning["column"].is_u64() && warning["hint"].is_string(),
        "{warned}"
    );
    std::fs::write(config, "config_version = 1\nworkers = 3\n").expect("writes");
    let wrong = found(2);
    let problem = &wrong["findings"][0];
    assert_eq!(
        (&wrong["ok"], &problem["level"], &problem["line"]),
        (&false.into(), &"problem".into(), &2.into())
    );
    assert_eq!((&problem["key"], &problem["column"]), (&"workers".into(), &1.into()), "{wrong}");
}

#[test]
fn check_says_ok() {
    World::new("").landfall(&["check"]).done().says(&["ok"]);
}

#[test]
fn check_prints_every_problem_with_its_place_and_the_nearest_name() {
    let world = World::with_config(
        r#"config_version = 1
[service]
data_dir = "data"
workrs = 2
sharing = "first"

[[rule]]
name = "payments"
paths = ["in/*.{csv,txt}"]

[rule.records]
format = "cvs"

[[rule.pipeline]]
step = "validate"
on = ["main"]
to = "nowhere"

[rule.output.main]
path = "out/{stm}.csv"

[rule.source]
on_success = "keep"
"#,
    );
    let said = world.landfall(&["check"]).ends_with(2);
    said.says(&[
        "landfall.toml",
        "workrs",
        "workers",
        "sharing",
        "unknown value \"first\"",
        "cvs",
        "csv",
        "nowhere",
        "stm",
        "stem",
    ]);
}

#[test]
fn check_refuses_a_rule_that_would_pick_up_its_own_output() {
    let world = World::new("output = { main = { path = \"in/{stem}.out\" } }");
    world.landfall(&["check"]).ends_with(2).says(&["output"]);
    let world = World::new("source = { on_success = \"archive\", archive_dir = \"in\" }");
    world.landfall(&["check"]).ends_with(2).says(&["archive_dir"]);
}

#[test]
fn check_refuses_a_data_folder_that_is_a_file() {
    let world = World::new("");
    world.write("data", "no folder");
    world.landfall(&["check"]).ends_with(2).says(&["service.data_dir", "no folder", "1 problem"]);
}

#[test]
fn check_files_says_which_file_goes_where() {
    let world = World::new("");
    world.write("in/pay.txt", "one\n");
    world.landfall(&["check", "--files"]).done().says(&["pay.txt", RULE, "pay.main"]);
    assert_eq!(world.files("in"), ["pay.txt"]);
    assert_eq!(world.files("out"), [""; 0]);
}

#[test]
fn what_ends_the_source_must_be_said() {
    let world = World::with_config(
        "config_version = 1\n[service]\ndata_dir = \"data\"\n[[rule]]\nname = \"r\"\npaths = [\"in/*\"]\n[rule.output.main]\npath = \"out/{stem}\"\n",
    );
    world.landfall(&["check"]).ends_with(2).says(&["on_success"]);
}

#[test]
fn every_example_configuration_is_ok() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let world = World::bare();
    // Without the keys that one of them names no service would start.
    world.age_key_in("at_rest.keys");
    world.sh(&format!(
        "cp {folder}/*.toml .; chmod 600 at_rest.keys
        openssl req -x509 -newkey ed25519 -nodes -subj /CN=localhost -days 2 -keyout server.key -out server.pem 2>/dev/null"
    ));
    let mut checked = 0;
    for example in world.sh("ls *.toml").lines() {
        world.landfall(&["check", "--config", example]).done();
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} examples in config/");
}

#[test]
fn wrong_command_lines_end_with_2() {
    let world = World::new("");
    world.write("pay.txt", "one\n");
    let none: [&str; 0] = [];
    world.landfall(&none).ends_with(2);
    world.landfall(&["jbs"]).ends_with(2).says(&["jobs"]);
    world.landfall(&["ingest", "pay.txt"]).ends_with(2).says(&["--rule"]);
    world.landfall(&["ingest", "pay.txt", "--rule", "paymnts"]).ends_with(2).says(&["paymnts", "payments"]);
    let variable = world.command().arg("check").env("LANDFALL_SERVICE__WORKRS", "3").output();
    assert_eq!(variable.expect("the binary runs").status.code(), Some(2));
    world.landfall(&["run", "--log-level", "verbose"]).ends_with(2).says(&["verbose", "info", "debug"]);
    world.landfall(&["check", "--config", "missing.toml"]).ends_with(2).says(&["missing.toml"]);
    assert_eq!(World::bare().landfall(&["run"]).code, Some(2));
}

#[test]
fn what_does_not_exist_ends_with_1() {
    let world = World::new("");
    world.landfall(&["show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).ends_with(1);
    world.landfall(&["retry", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).ends_with(1);
    world.ingest(&["missing.txt"]).ends_with(1).says(&["missing.txt"]);
}

#[test]
fn one_bad_file_does_not_stop_the_others_and_changes_the_exit_code() {
    let world = World::new("");
    world.sh("printf 'one\n' > a.txt; printf 'x\\0y\n' > b.txt; printf 'three\n' > c.txt");
    world.ingest(&["a.txt", "b.txt", "c.txt"]).ends_with(1).says(&["b.txt"]);
    assert_eq!(world.files("out"), ["a.main", "c.main"]);
}

#[test]
fn a_dry_run_shows_what_would_come_out_and_writes_nothing() {
    let world = World::new("");
    world.write("in/pay.txt", "one\ntwo\n");
    world.landfall(&["ingest", "in/pay.txt", "--rule", RULE, "--dry-run"]).done().says(&["pay.main", "2"]);
    assert_eq!(world.files("out"), [""; 0]);
    assert_eq!(world.files("in"), ["pay.txt"]);
}

#[test]
fn jobs_lists_one_line_for_each_job_and_filters() {
    let world = World::new("");
    world.sh("printf 'one\n' > good.txt; printf 'x\\0y\n' > bad.txt");
    world.ingest(&["good.txt"]).done();
    world.ingest(&["bad.txt"]).ends_with(1);
    world.landfall(&["jobs"]).done().says(&["good.txt", "bad.txt", "completed", "failed"]);
    let failed = world.json(&["jobs", "--state", "failed", "--json"]);
    assert_eq!(failed["jobs"].as_array().map(Vec::len), Some(1), "{failed:#}");
    let job = &failed["jobs"][0];
    let error = job["error"]["message"].as_str().expect("it failed");
    let words = ["2 jobs: 1 completed, 1 failed", &error[..40]];
    world.landfall(&["jobs"]).done().says(&words);
    world.landfall(&["jobs", "--limit", "1"]).done().says(&["bad.txt", "1 job: 1 failed"]);
    let newest_first = world.json(&["jobs", "--newest-first", "--since", "1h", "--json"]);
    assert_eq!(newest_first["jobs"][0]["id"], job["id"]);
    assert_eq!(newest_first["jobs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_rule_that_is_not_there_is_told_and_one_of_old_jobs_is_listed() {
    let world = World::new("");
    for arguments in [
        &["jobs", "--rule", "paymnts"][..],
        &["jobs", "--rule", "paymnts", "--json"],
        &["retry", "--rule", "paymnts"],
    ] {
        world.write("pay.txt", "one\n");
        world.ingest(&["pay.txt"]).done();
        let told = world.landfall(arguments).ends_with(2);
        assert!(told.stderr.contains("paymnts") && told.stderr.contains(RULE), "{told:#?}");
        assert_eq!(told.stdout, "", "{told:#?}");
    }
    world.configure("", &["name = \"renamed\""]);
    world.landfall(&["jobs", "--rule", RULE]).done().says(&["pay.txt"]);
    world.landfall(&["jobs", "--rule", "renamed"]).done().says(&["no jobs"]);
}

#[test]
fn failed_jobs_of_a_rule_are_retried_together_and_each_is_named() {
    let world = World::new("");
    world.sh("for n in 1 2 3; do printf 'x\\0y\n' > in/bad-$n; done");
    let mut service = world.start();
    let states = |world: &World| world.jobs().iter().map(|job| job["state"].to_string()).collect::<Vec<_>>();
    service.wait_until("all failed", || (states(&world) == ["\"failed\""; 3]).then_some(()));
    let all = ["retry", "--state", "failed", "--rule", RULE];
    world.landfall(&[&all[..], &["--dry-run"]].concat()).done().says(&["bad-1", "bad-3", "3 jobs"]);
    assert_eq!(states(&world), ["\"failed\""; 3]);
    world.landfall(&all).done().says(&["bad-1", "running service", "3 queued again"]);
    service.wait_until("all failed again", || {
        world.jobs().iter().all(|job| job["state"] == "failed" && job["attempts"] == 2).then_some(())
    });
    service.stop();
    // Without a service, and mended: one whose source is gone does not stop the others.
    world.sh("rm in/.landfall/quarantine/bad-2");
    world.configure("", &["decode = { on_bad_encoding = \"raw\" }"]);
    world.landfall(&["retry", "--rule", RULE]).ends_with(1).says(&["bad-2", "2 queued again", "hint"]);
    assert_eq!(states(&world), ["\"queued\"", "\"failed\"", "\"queued\""]);
    world.landfall(&["retry", "--state", "completed"]).ends_with(2).says(&["failed, refused or aborted"]);
    world.landfall(&["retry"]).ends_with(2);
}

#[test]
fn a_job_in_json_has_every_key_of_the_contract() {
    let world = World::new("");
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    let listed = world.completed();
    let id = listed["id"].as_str().expect("an id is text");
    let shown = world.json(&["show", id, "--json"]);
    for key in [
        "id",
        "rule",
        "rule_hash",
        "vars",
        "parent",
        "source",
        "state",
        "waiting",
        "priority",
        "workers_max",
        "created_at",
        "started_at",
        "finished_at",
        "bytes_read",
        "bytes_decoded",
        "content_hash",
        "records_in",
        "records_out",
        "records_dropped",
        "records_failed",
        "records_skipped",
        "dropped_by",
        "reasons",
        "entries",
        "slices",
        "attempts",
        "outputs",
        "retired_to",
        "error",
    ] {
        assert!(listed.get(key).is_some(), "`jobs` lacks `{key}`");
        assert!(shown.get(key).is_some(), "`show` lacks `{key}`");
    }
    assert_eq!(shown["bytes_read"], 4);
    assert_eq!(shown["bytes_decoded"], 4);
    assert_eq!(shown["entries"], serde_json::json!([{ "name": "", "records": 1 }]));
    let hash = shown["content_hash"].as_str().expect("it is text");
    assert!(hash.starts_with("blake3:"), "{hash}");
    for time in ["created_at", "started_at", "finished_at"] {
        assert!(shown[time].as_str().is_some_and(|text| text.ends_with('Z')), "{time}: {}", shown[time]);
    }
}

#[test]
fn the_content_hash_is_that_of_the_decoded_bytes_however_they_are_packed() {
    let world = World::new("");
    world.sh("printf 'one\ntwo\n' > plain.txt; gzip -c plain.txt > packed.txt.gz");
    world.ingest(&["plain.txt"]).done();
    let plain = world.completed();
    world.ingest(&["packed.txt.gz"]).done();
    assert_eq!(world.completed()["content_hash"], plain["content_hash"]);
}

#[test]
fn show_tells_the_timeline_the_account_and_the_hint() {
    let world = World::new("");
    world.write("pay.txt", b"x\0y\n");
    world.ingest(&["pay.txt"]).ends_with(1);
    let job = world.job();
    let id = job["id"].as_str().expect("an id is text");
    let hint = job["error"]["hint"].as_str().expect("an input error has a hint");
    world.landfall(&["show", id]).done().says(&[id, "pay.txt", "failed", hint]);
}

#[test]
fn records_lists_and_shows_failed_records() {
    let world = World::new(
        "records = { format = \"jsonl\" }
         pipeline = [{ step = \"filter\", keep = { column = \"a\", equals = \"1\" } }]
         errors = { failed_max = \"50%\" }",
    );
    world.write("pay.txt", "{\"a\":1}\nnot json\n{\"a\":1}\n");
    world.ingest(&["pay.txt"]).done();
    let job = world.completed();
    let id = job["id"].as_str().expect("an id is text");
    let failed = world.failed_records(&job);
    assert_eq!(failed.len(), 1);
    for key in ["record", "offset", "line", "entry", "step", "error"] {
        assert!(failed[0].get(key).is_some(), "`{key}` is missing: {:#}", failed[0]);
    }
    world.landfall(&["records", id, "list"]).done().says(&["2"]);
    world.landfall(&["records", id, "show", "1"]).done().says(&["not json"]);
    world.landfall(&["records", id, "show", "2"]).ends_with(1);
}

#[test]
fn a_path_that_is_not_utf_8_is_escaped_and_given_in_bytes() {
    let world = World::new("output = { main = { path = \"out/result\" } }");
    world.sh("printf 'one\n' > $'pay-\\xff.txt'");
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"pay-\xff.txt");
    let arguments =
        ["ingest", "--rule", RULE].iter().map(std::ffi::OsStr::new).chain([name]).collect::<Vec<_>>();
    world.landfall(&arguments).done();
    let job: Value = world.completed();
    assert!(
        job["source"].as_str().is_some_and(|path| path.to_lowercase().ends_with("pay-\\xff.txt")),
        "{job:#}"
    );
    assert!(job.get("source_bytes").or_else(|| job.get("path_bytes")).is_some(), "{job:#}");
}

#[test]
fn the_environment_overrides_the_service_table() {
    let world = World::new("");
    world.write("pay.txt", "one\n");
    let output = world
        .command()
        .args(["ingest", "pay.txt", "--rule", RULE])
        .env("LANDFALL_SERVICE__DATA_DIR", world.path("elsewhere"))
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    assert!(world.has("elsewhere") && !world.has("data"));
}

#[test]
fn variables_that_are_not_ours_stop_nothing() {
    let world = World::new("");
    let mut check = world.command();
    check.args(["check"]).env("LANDFALL_SERVICE_HOST", "10.0.0.1").env("LANDFALL_PORT", "tcp://10.0.0.1:80");
    let output = check.output().expect("the binary runs");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    let output = check.env("LANDFALL_DATA_DIR", "elsewhere").output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("LANDFALL_DATA_DIR") && told.contains("LANDFALL_SERVICE__DATA_DIR"), "{told}");
}

/// A test that only root can make, who alone may give folders away.
#[test]
fn root_leaves_the_data_folder_of_another_user_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new("");
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    world.sh("chown -R 65534 data");
    let before = world.sh("cd data && find . -printf '%p %u %T@\\n' | sort");
    for arguments in
        [&["run"][..], &["jobs"], &["ingest", "pay.txt", "--rule", RULE], &["retry", "--rule", RULE]]
    {
        let told = world.landfall(arguments).ends_with(2);
        assert!(told.stderr.contains("sudo -u"), "{told:#?}");
    }
    assert_eq!(world.sh("cd data && find . -printf '%p %u %T@\\n' | sort"), before);
}

#[test]
fn the_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new("");
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    assert_eq!(world.path("data").metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
}

#[test]
fn every_command_works_while_the_service_runs() {
    let world = World::new("");
    world.sh("printf 'one\ntwo\n' > pay.txt; printf 'x\\0y\n' > bad.txt; printf 'three\n' > more.txt");
    let mut service = world.start();
    service.wait_for_log("watching");
    world.ingest(&["pay.txt"]).done().says(&["pay.txt: completed", "2 records in", "out/pay.main"]);
    assert_eq!(world.text("out/pay.main"), "one\ntwo\n");
    assert!(world.has("pay.txt"), "without --retire a file stays");
    assert!(world.completed()["source"].as_str().is_some_and(|path| path.ends_with("/pay.txt")));

    world.ingest(&["bad.txt", "missing.txt", "more.txt"]).ends_with(1).says(&[
        "bad.txt: failed",
        "hint",
        "missing.txt",
        "more.txt: completed",
    ]);
    world.landfall(&["ingest", "pay.txt", "--rule", "paymnts"]).ends_with(2).says(&["paymnts", "payments"]);
    world.ingest_and_retire("more.txt").done();
    assert!(!world.has("more.txt") && world.has("archive/more.txt"));

    world.landfall(&["jobs"]).done().says(&["pay.txt", "bad.txt"]);
    let failed = world.json(&["jobs", "--state", "failed", "--json"]);
    let id = failed["jobs"][0]["id"].as_str().expect("one failed");
    world.landfall(&["show", id]).done().says(&["bad.txt", "hint"]);
    world.landfall(&["records", id]).done().says(&["no failed records"]);
    world.landfall(&["retry", id]).done().says(&["running service"]);
    world.landfall(&["ingest", "pay.txt", "--rule", RULE, "--dry-run"]).done().says(&["dry run"]);

    let newer = "name = \"newer\"\noutput = { main = { path = \"newer/{stem}\" } }\npaths = [\"newer-in/*\"]";
    world.configure("", &["", newer]);
    // A rule that was written a moment ago is known to the service that is asked for it.
    world.landfall(&["ingest", "pay.txt", "--rule", "newer"]).done();
    service.stop();
    world.landfall(&["ingest", "pay.txt", "--rule", "newer"]).done();
}

#[test]
fn a_question_asked_wrongly_is_told_before_anything_about_the_data_folder() {
    let world = World::new("");
    world.write("pay.txt", "one\n");
    world.write("data", "no folder");
    world.landfall(&["ingest", "pay.txt", "--rule", "paymnts"]).ends_with(2).says(&["paymnts"]);
    world.ingest(&["missing.txt"]).ends_with(1).says(&["missing.txt"]);
    let told = world.ingest(&["missing.txt"]);
    assert!(!told.stderr.contains("data"), "{told:#?}");
}

#[test]
fn a_file_that_gives_a_named_wildcard_no_value_is_refused_at_once() {
    let world =
        World::new("paths = [\"in/{sender}-*.txt\"]\noutput = { main = { path = \"out/{sender}/{stem}\" } }");
    world.write("acme-1.txt", "one\n");
    world.write("in/acme-2.txt", "two\n");
    let words = ["acme-1.txt", "{sender}", "in/{sender}-*.txt", "hint"];
    world.ingest(&["in/acme-2.txt", "acme-1.txt"]).ends_with(2).says(&words);
    assert_eq!(world.files("out"), [""; 0], "refused before the first file was taken");
    world.landfall(&["ingest", "acme-1.txt", "--rule", RULE, "--dry-run"]).ends_with(2).says(&words);
    world.ingest(&["in/acme-2.txt"]).done();
    assert!(world.has("out/acme/acme-2"));
    // A folder may go by the name of a link to it.
    world.sh("mv in real; ln -s real in");
    world.write("real/acme-3.txt", "three\n");
    world.ingest(&["in/acme-3.txt"]).done();
    assert!(world.has("out/acme/acme-3"));
}

#[test]
fn what_cannot_be_answered_is_told_once_and_without_a_table() {
    let world = World::new("");
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    for arguments in [["records", "nope"], ["show", "nope"]] {
        let told = world.landfall(&arguments).ends_with(1).says(&["no job `nope`"]);
        assert_eq!(told.stdout, "", "{told:#?}");
    }
    // A lock that nobody can open, not even root.
    world.sh("rm data/landfall.lock; mkdir data/landfall.lock");
    for arguments in [&["jobs"][..], &["show", "nope"], &["records", "nope"], &["retry", "nope"]] {
        let told = world.landfall(arguments).ends_with(1).says(&["landfall.lock"]);
        assert_eq!((told.stderr.matches("hint").count(), told.stdout.as_str()), (1, ""), "{told:#?}");
    }
}

#[test]
fn progress_is_what_is_worked_and_not_what_is_read() {
    let world = World::new(
        "records = { format = \"lines\", slice_records = 10 }
         pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]",
    );
    // It answers the first fifty lines, and then waits for a file.
    world.sh("printf '#!/bin/bash\nn=0; while read -r l; do n=$((n+1)); while [ $n -gt 50 ] && ! [ -e go ]; do sleep 0.02; done; echo \"$l\"; done\n' > step; chmod +x step");
    world.write("in/pay.txt", support::lines(1000));
    let mut service = world.start();
    let job = service.wait_until("some of it is worked, all is read", || {
        let job = world.jobs().pop()?;
        (job["records_in"].as_u64() > Some(0) && job["bytes_read"].as_u64() > Some(30_000)).then_some(job)
    });
    let count = |key: &str| job[key].as_u64().expect("a count");
    assert!(count("records_in") <= 50 * 4, "{job:#}");
    assert!(count("bytes_worked") * 2 < count("bytes_read"), "{job:#}");
    let slices = |key: &str| job["slices"][key].as_u64().expect("a count");
    assert!(0 < slices("done") && slices("done") < slices("total"), "{job:#}");
    world
        .landfall(&["show", job["id"].as_str().expect("an id")])
        .done()
        .says(&["worked ", "nothing is published yet"]);
    world.write("go", "");
    service.wait_until("it is completed", || (world.job()["state"] == "completed").then_some(()));
    let done = world.completed();
    assert_eq!(
        (&done["bytes_worked"], &done["slices"]["done"]),
        (&done["bytes_read"], &done["slices"]["total"])
    );
    service.stop();
}

#[test]
fn every_command_and_option_stands_in_the_book_and_in_its_own_help() {
    let world = World::bare();
    let (list, _) = include_str!("../docs/commands.md").split_once("\n## ").expect("an end of the list");
    let help = world.landfall(&["--help"]).done().stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let commands = commands.lines().map_while(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let mut told = 0;
    for command in commands {
        let about = list.split("\n- ").find(|item| item.starts_with(&format!("`landfall {command}")));
        let about = about.unwrap_or_else(|| panic!("docs/commands.md says nothing of `landfall {command}`"));
        let help = world.landfall(&[command, "--help"]).done().stdout;
        let (own, common) = help.split_once("Options of every command:\n").expect("two lists of options");
        assert!(["--config", "--log-level", "--log-format"].iter().all(|option| common.contains(option)));
        for word in
            own.split_whitespace().filter(|word| word.starts_with("--") && !word.starts_with("--help"))
        {
            let option = word.trim_end_matches(|c: char| !c.is_alphanumeric());
            assert!(about.contains(option), "docs/commands.md: `landfall {command}` lacks {option}");
            told += 1;
        }
        for line in own.lines().filter(|line| line.trim_start().starts_with('-')) {
            assert!(line.trim().contains("  "), "`landfall {command} --help` says nothing of {line}");
        }
    }
    assert!(told > 15, "only {told} options");
}

/// What a retry would refuse, its dry run refuses too.
#[test]
fn a_dry_run_of_a_retry_takes_no_job_that_the_retry_would_refuse() {
    let world = World::new("");
    world.write("pay.txt", "one\n");
    world.ingest(&["pay.txt"]).done();
    let job = world.job()["id"].as_str().expect("an id").to_owned();
    let refused = world.landfall(&["retry", &job]).ends_with(1);
    let dry = world.landfall(&["retry", &job, "--dry-run"]).ends_with(1);
    assert_eq!(dry.stderr, refused.stderr);
    assert_eq!(dry.stdout, "");
}

#[test]
fn an_interrupted_ingest_says_which_job_is_left_where_its_file_is_and_what_goes_on() {
    let world = World::new(
        "pipeline = [{ step = \"exec\", confine = false, command = [\"sh\", \"-c\", \"test -e again || { touch begun; sleep 2; }; exec cat\"], protocol = \"line\" }]",
    );
    world.write("pay.txt", "one\n");
    let binary = env!("CARGO_BIN_EXE_landfall");
    let told = world.sh(&format!(
        "{binary} ingest --rule {RULE} pay.txt 2>&1 & id=$!
         until test -e begun; do sleep 0.02; done
         kill -INT $id; wait $id || echo \"exit $?\""
    ));
    let job = world.job();
    let id = job["id"].as_str().expect("text");
    for text in ["interrupted", id, "pay.txt", "goes on with it", "exit 1"] {
        assert!(told.contains(text), "{text}: {told}");
    }
    world.write("again", "");
    world.ingest(&["pay.txt"]).done().says(&[id, "completed"]);
}

#[test]
fn a_file_that_the_service_took_first_is_told_with_the_job_that_took_it() {
    let world = World::new("");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/pay.txt", "one\n");
    service.wait_until("it is taken", || (!world.has("in/pay.txt")).then_some(()));
    let ran = world.ingest(&["in/pay.txt"]).ends_with(1);
    let id = world.job()["id"].as_str().expect("text").to_owned();
    for text in ["in/pay.txt is not there", id.as_str(), "took it"] {
        assert!(ran.stderr.contains(text), "{text}: {ran:#?}");
    }
    service.stop();
}
