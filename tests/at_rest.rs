//! Promise: of what is encrypted at its sender's nothing lies in clear in the data folder, in claim folders and among temporary files: not while
//! it is worked, not after a kill, not afterwards; and a key that is away loses nothing.
#![cfg(unix)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{Service, World};

/// In each record, and in what the step says of each that it fails. No two are alike, so that packing leaves them as they are.
const MARK: &str = "s3cr3t-";
const RECORDS: usize = 8_000;
const FAILED: usize = 3;
/// Of the outputs: those that failed are not in it.
const PUBLISHED: usize = RECORDS - FAILED;

const SERVICE: &str = "memory_max = \"1MiB\"\nworkers = 1";

const KEY_FILE: &str = "at_rest = { key_file = \"at.key\" }";

const RULE: &str = r#"
    decode = { identities = ["identity.txt"] }
    records = { format = "csv" }
    pipeline = [{ step = "exec", confine = false, protocol = "jsonl", command = ["./tool"] }]
    output = { main = { keep_output = "store" } }
    errors = { failed_max = "100%" }
"#;

/// Fails the first ones, quoting them, and then waits for the file `go`.
const TOOL: &str = r#"#!/usr/bin/env python3
import json, os, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    number = int(asked["data"]["id"])
    while number > 300 and not os.path.exists('FOLDER/go'): time.sleep(0.02)
    fails = number <= FAILED and not asked["data"]["text"].startswith("mended")
    answer = {"fail": "cannot take " + asked["data"]["text"]} if fails else {"data": asked["data"]}
    print(json.dumps(answer), flush=True)
"#;

fn world(service: &str) -> World {
    world_under(service, RULE)
}

fn world_under(service: &str, rule: &str) -> World {
    let world = World::with_service("", RULE);
    configure(&world, service, rule);
    world.sh("mkdir tmp");
    world.age_key_in("identity.txt");
    let folder = world.folder().display().to_string();
    world.write("tool", TOOL.replace("FOLDER", &folder).replace("FAILED", &FAILED.to_string()));
    world.sh("chmod +x tool");
    world
}

/// An output that is kept in the store has no path.
fn configure(world: &World, service: &str, rule: &str) {
    world.configure(&format!("{SERVICE}\n{service}"), &[rule]);
    if rule.contains("keep_output") {
        let text = world.text("landfall.toml");
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("path = ")).collect();
        world.write("landfall.toml", kept.join("\n"));
    }
}

/// Encrypted before it comes here, as its sender does.
fn send(world: &World) {
    let recipient = world.sh("age-keygen -y identity.txt").trim().to_owned();
    let staged = world.path("staged");
    let mut age = std::process::Command::new("age")
        .args(["-r", &recipient, "-o"])
        .arg(&staged)
        .stdin(Stdio::piped())
        .spawn()
        .expect("age is there");
    let mut text = String::from("id,text\n");
    for number in 1..=RECORDS as u64 {
        write!(text, "{number},{MARK}").expect("memory takes all");
        for part in 0..30 {
            let noise = (number << 8 | part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            write!(text, "{:016x}", noise ^ noise.rotate_left(29)).expect("memory takes all");
        }
        text.push('\n');
    }
    age.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    assert!(age.wait().expect("ends").success());
    support::rename(&staged, &world.path("in/pay.csv.age"));
}

/// Files of the world in which the mark stands, the log among them, but for outputs that the operator named.
fn in_clear(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look(world.folder(), &mut |path, bytes| {
        let is_theirs = path.starts_with(world.path("out"));
        if !is_theirs && memchr::memmem::find(bytes, MARK.as_bytes()).is_some() {
            found.push(path.to_owned());
        }
    });
    found
}

/// A file may go meanwhile: it is looked at again where it went to.
fn look(folder: &Path, see: &mut dyn FnMut(&Path, &[u8])) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => look(&path, see),
            Ok(found) if found.is_file() => see(&path, &fs::read(&path).unwrap_or_default()),
            _ => {}
        }
    }
}

fn start(world: &World) -> Service {
    let (tmp, binary) = (world.path("tmp").display().to_string(), env!("CARGO_BIN_EXE_landfall"));
    Service::start_by(world, &format!("export TMPDIR={tmp}; exec {binary} run"))
}

fn wait_until_slices_lie_there(service: &mut Service, world: &World) {
    service.wait_until("slices lie on the disk", || {
        let files = fs::read_dir(world.path("data/slices")).ok()?;
        let lengths = files.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        (lengths.sum::<u64>() > 256 << 10).then_some(())
    });
}

/// A checkpoint has them.
fn wait_until_failed_records_lie_there(service: &mut Service, world: &World) {
    service.wait_until("failed records are in the store", || {
        let id = world.jobs().pop()?["id"].as_str()?.to_owned();
        let records = world.json(&["records", &id, "--json"]).to_string();
        (records.matches("cannot take s3cr3t-").count() == FAILED).then_some(())
    });
}

fn wait_until_completed(service: &mut Service, world: &World) -> String {
    service.wait_until("it is completed", || {
        let job = world.jobs().into_iter().next()?;
        (job["state"] == "completed").then(|| job["id"].as_str().expect("an id is text").to_owned())
    })
}

/// What a job published, whoever prints it.
fn records_of(world: &World, id: &str) -> usize {
    let output = world.command().args(["output", id]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains(MARK)).count()
}

fn assert_nothing_in_clear(world: &World, when: &str) {
    assert_eq!(in_clear(world), Vec::<PathBuf>::new(), "{when}");
}

#[test]
fn nothing_lies_in_clear_while_it_is_worked_nor_after_a_kill_nor_at_its_end() {
    let world = world("");
    send(&world);
    let mut service = start(&world);
    wait_until_slices_lie_there(&mut service, &world);
    assert_nothing_in_clear(&world, "while it is worked");
    service.kill();
    assert_nothing_in_clear(&world, "after a kill");
    let mut service = start(&world);
    wait_until_slices_lie_there(&mut service, &world);
    world.write("go", "");
    let id = wait_until_completed(&mut service, &world);
    assert_nothing_in_clear(&world, "when it is completed");
    // What is read is all there, by who has the keys.
    assert_eq!(records_of(&world, &id), PUBLISHED, "beside the service");
    let failed = world.json(&["records", &id, "--json"]).to_string();
    assert_eq!(failed.matches("cannot take s3cr3t-").count(), FAILED, "{failed}");
    // One of them is edited, in a folder for temporary files that is no disk's, and worked again.
    let tmp = tempfile::tempdir().expect("a folder");
    let mut edit = world.command();
    edit.args(["records", &id, "edit", "1"]).env("TMPDIR", tmp.path()).env_remove("VISUAL");
    let edited = edit.env("EDITOR", "sed -i s/s3cr3t-/mended-s3cr3t-/").output().expect("it runs");
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    service.wait_until("the edited one is completed", || {
        let jobs = world.jobs();
        (jobs.len() == 2 && jobs.iter().all(|job| job["state"] == "completed")).then_some(())
    });
    assert_nothing_in_clear(&world, "when a record was edited");
    service.stop();
    assert_nothing_in_clear(&world, "after the end");
    assert_eq!(records_of(&world, &id), PUBLISHED, "without a service");
    world.landfall(&["check", "--store"]).done().says(&["store: ok"]);
    world.landfall(&["rekey"]).done().says(&["nothing to do: all is encrypted by the key of age1"]);
}

/// The same of a job with checkpoints: its failed records, its account and its partials' states are written while it is worked.
#[test]
fn nothing_lies_in_clear_of_a_job_that_goes_on_from_its_checkpoint() {
    let rule = RULE.replace("keep_output = \"store\"", "path = \"out/{stem}.csv\"");
    let world = world_under("", &rule);
    send(&world);
    let mut service = start(&world);
    wait_until_slices_lie_there(&mut service, &world);
    wait_until_failed_records_lie_there(&mut service, &world);
    assert_nothing_in_clear(&world, "while it is worked");
    service.kill();
    assert_nothing_in_clear(&world, "after a kill");
    world.write("go", "");
    let mut service = start(&world);
    wait_until_completed(&mut service, &world);
    assert_nothing_in_clear(&world, "when it is completed");
    service.stop();
    assert_eq!(world.text("out/pay.csv").lines().filter(|line| line.contains(MARK)).count(), PUBLISHED);
}

/// What a step says of a record may be the job's error, and stands beside a source that goes to quarantine.
#[test]
fn nothing_lies_in_clear_of_a_job_that_failed_and_what_its_step_said_is_told_by_a_trace_to_who_has_the_key() {
    let rule = RULE.replace("errors = { failed_max = \"100%\" }", "errors = { on_record_error = \"fail\" }");
    let world = world_under("", &rule);
    send(&world);
    let mut service = start(&world);
    let job = service.wait_until("it failed", || world.jobs().pop().filter(|job| job["state"] == "failed"));
    assert_nothing_in_clear(&world, "when it failed");
    let id = job["id"].as_str().expect("an id is text");
    world
        .landfall(&["show", id])
        .done()
        .says(&["a record failed (record 3 on line 4", "(text of the file, left out)"]);
    world.landfall(&["abandon", id, "--reason", "it is wrong"]).done();
    assert_nothing_in_clear(&world, "when it was given up");
    world.landfall(&["trace", id, "--record", "1"]).done().says(&["cannot take s3cr3t-"]);
    service.stop();
}

/// A file that came without its header: its first record is what a hint would quote as the columns that are there.
#[test]
fn no_hint_log_or_hook_quotes_a_file_that_came_encrypted_and_those_of_another_one_help_by_it() {
    let rule = r#"
        decode = { identities = ["identity.txt"] }
        records = { format = "csv", columns = ["amount"] }
    "#;
    for is_encrypted in [true, false] {
        let rule = if is_encrypted { rule } else { &rule.replace("identities = [\"identity.txt\"]", "") };
        let world = World::with_service("", rule);
        let config = world.text("landfall.toml");
        let hook = "[[hook]]\nname = \"ops\"\nevents = [\"failed\", \"held\"]\ncommand = [\"sh\", \"-c\", \"cat > told\"]\n";
        world.write("landfall.toml", format!("{config}\n{hook}"));
        let recipient = world.age_key_in("identity.txt");
        let record = format!("first,record,of,{MARK}file\n");
        if is_encrypted {
            world.write("record", &record);
            world.sh(&format!("age -r {recipient} -o pay.csv.age record; rm record"));
            support::rename(&world.path("pay.csv.age"), &world.path("in/pay.csv.age"));
        } else {
            world.write("in/pay.csv", &record);
        }
        let mut service = world.start();
        let job =
            service.wait_until("it failed", || world.jobs().pop().filter(|job| job["state"] == "failed"));
        service.wait_until("a hook was told", || world.has("told").then_some(()));
        let id = job["id"].as_str().expect("an id is text");
        let shown = world.landfall(&["show", id]).done();
        if is_encrypted {
            shown.says(&["the header lacks `amount`", "the header has (text of the file, left out)"]);
            service.stop();
            assert_nothing_in_clear(&world, "nor in the log, nor in what the hook was told");
        } else {
            shown.says(&["the header has `first`, `record`, `of`, `s3cr3t-file`"]);
            service.stop();
            assert!(world.text("landfall.log").contains(MARK) && world.text("told").contains(MARK));
        }
    }
}

/// Goal: the search of the tests above finds what lies in clear.
#[test]
fn without_encryption_it_lies_in_clear_and_is_found() {
    let world = world("at_rest = { encrypt = false }");
    send(&world);
    let mut service = start(&world);
    wait_until_slices_lie_there(&mut service, &world);
    wait_until_failed_records_lie_there(&mut service, &world);
    let found = in_clear(&world);
    for folder in ["data/slices", "data/store"] {
        assert!(found.iter().any(|path| path.starts_with(world.path(folder))), "{folder}: {found:?}");
    }
    service.kill();
}

/// A key that was made for the service, and its public one.
fn key(world: &World, file: &str) -> String {
    let public = world.age_key_in(file);
    world.sh(&format!("chmod 600 {file}"));
    public
}

#[test]
fn a_key_that_is_away_or_wrong_keeps_all_as_it_is_and_with_it_the_job_goes_on() {
    let world = world("at_rest = { encrypt = true, key_file = \"at.key\" }");
    let public = key(&world, "at.key");
    send(&world);
    let mut service = start(&world);
    wait_until_slices_lie_there(&mut service, &world);
    service.kill();
    let refused = |words: &[&str]| {
        world.landfall(&["run"]).ends_with(1).says(words);
        world.landfall(&["jobs"]).ends_with(1).says(words);
    };
    world.sh("mv at.key away");
    refused(&["the keys of the store cannot be had", &public, "at.key", "nothing was changed"]);
    key(&world, "at.key");
    refused(&["is encrypted by the key of", &public, "at.key", "put that key back"]);
    world.sh("cp away at.key; chmod 644 at.key");
    refused(&["may be read or changed by every user", "chmod 600"]);
    world.sh("chmod 600 at.key");
    world.write("go", "");
    let mut service = start(&world);
    let id = wait_until_completed(&mut service, &world);
    assert_eq!(records_of(&world, &id), PUBLISHED);
    assert_eq!(world.jobs().len(), 1);
    service.stop();
    assert!(!world.has("data/at_rest.key"), "no other key is made");
}

#[test]
fn keys_are_exchanged_and_the_service_writes_all_anew() {
    let world = world("at_rest = { key_file = \"at.key\" }");
    key(&world, "at.key");
    world.write("go", "");
    send(&world);
    let mut service = start(&world);
    let id = wait_until_completed(&mut service, &world);
    service.stop();
    // The new one first: it encrypts.
    let new = key(&world, "new.key");
    world.sh("cat new.key at.key > both; mv both at.key; chmod 600 at.key");
    let mut service = start(&world);
    service.wait_for_log("the store was written anew");
    service.wait_for_log("this key is needed until outputs that are kept go with their jobs");
    assert_eq!(records_of(&world, &id), PUBLISHED, "the output is by the old key still");
    service.stop();
    world.landfall(&["rekey"]).done().says(&[
        "nothing to do: all rows are encrypted",
        &new,
        "is needed still: for 1 outputs",
    ]);
    assert_nothing_in_clear(&world, "after the exchange");
}

/// Goal: who names a key for the first time is told before the start is refused, and which words mend it.
#[test]
fn a_key_that_is_named_in_place_of_the_one_that_was_made_is_told_by_check_and_the_words_it_gives_help() {
    let world = world("");
    let mut service = start(&world);
    service.wait_until_it_watches();
    service.stop();
    configure(&world, KEY_FILE, RULE);
    key(&world, "at.key");
    let told =
        world.landfall(&["check"]).ends_with(2).says(&["at_rest.key encrypted does not open by", "cat "]);
    world.landfall(&["run"]).ends_with(1).says(&["lies in `at_rest.key` of the data folder"]);
    let words = told.stdout.split_once("`cat ").expect("it says how").1.split_once('`').expect("it ends").0;
    world.sh(&format!("cat {words}"));
    assert!(!world.landfall(&["check"]).done().stdout.contains("does not open by"));
    let mut service = start(&world);
    service.wait_for_log("the store was written anew");
    service.stop();
}

/// Goal: nobody finds out by the start that fails. Method: each way to break the keys of a store, against `check` and against `run`; put right
/// again, both are content.
#[test]
fn whatever_a_start_refuses_of_keys_check_tells_before_and_what_check_calls_ok_starts() {
    let world = world(KEY_FILE);
    let public = key(&world, "at.key");
    key(&world, "other.key");
    let mut service = start(&world);
    service.wait_until_it_watches();
    // The running service has the store, and says which keys it needs.
    world.landfall(&["check"]).done();
    world.write("copy.toml", world.text("landfall.toml").replace("\"at.key\"", "\"other.key\""));
    let told = world.landfall(&["check", "--config", "copy.toml"]).ends_with(2);
    told.says(&["is encrypted by the key of", &public, "other.key"]);
    service.stop();
    let by_command = |script: &str| format!("at_rest = {{ key_command = [\"sh\", \"-c\", \"{script}\"] }}");
    let file = |file: &str| format!("at_rest = {{ key_file = \"{file}\" }}");
    world.sh(
        "mkdir folder; : > empty.key; echo nonsense > wrong.key; cp at.key open.key; age-keygen -y at.key > public.key
        chmod 600 *.key; chmod 644 open.key",
    );
    for (service, words) in [
        (file("gone.key"), &["gone.key", "cannot be read"][..]),
        (file("folder"), &["folder", "cannot be read"]),
        (file("empty.key"), &["empty.key holds no key"]),
        (file("wrong.key"), &["line 1 of", "wrong.key is no age identity"]),
        (file("public.key"), &["line 1 of", "public.key is no age identity"]),
        (file("open.key"), &["open.key", "may be read or changed by every user", "chmod 600"]),
        (file("other.key"), &["is encrypted by the key of", &public, "other.key"]),
        (String::new(), &["at_rest.key", "cannot be read"]),
        (
            "at_rest = { encrypt = false, key_file = \"gone.key\" }".to_owned(),
            &["gone.key", "cannot be read"],
        ),
        (by_command("cat other.key"), &["is encrypted by the key of", &public, "key_command"]),
        (by_command("echo the vault is sealed >&2; exit 3"), &["gives no key", "the vault is sealed"]),
        (by_command("true"), &["`service.at_rest.key_command` prints holds no key"]),
        ("at_rest = { key_command = [\"no-such-vault\"] }".to_owned(), &["no-such-vault cannot be started"]),
    ] {
        configure(&world, &service, RULE);
        world.landfall(&["check"]).ends_with(2).says(words);
        world.landfall(&["run"]).ends_with(1).says(words);
    }
    // In the unit there may be one.
    configure(&world, "at_rest = { key_credential = \"landfall.key\" }", RULE);
    let words = &["warning: ", "$CREDENTIALS_DIRECTORY", "LoadCredentialEncrypted="];
    world.landfall(&["check"]).done().says(words);
    // What the service's user may have written root does not run.
    if world.sh("id -u").trim() == "0" {
        configure(&world, &by_command("touch ran; cat at.key"), RULE);
        world.sh("chown 2001 data");
        world.landfall(&["check"]).done().says(&["note: ", "`key_command` is not run"]);
        assert!(!world.has("ran"));
        world.sh("chown 0 data");
    }
    for service in [file("at.key"), by_command("cat other.key at.key")] {
        configure(&world, &service, RULE);
        world.landfall(&["check"]).done();
        let mut service = start(&world);
        service.wait_until_it_watches();
        service.stop();
    }
}

/// Goal: a key that the command does not name any more can be taken out.
#[test]
fn the_store_of_shadow_rules_is_written_anew_too() {
    let rule = RULE.replace("keep_output = \"store\"", "path = \"out/{stem}.csv\"");
    let world = world_under(KEY_FILE, &format!("{rule}\nmode = \"shadow\""));
    key(&world, "at.key");
    let mut service = start(&world);
    service.wait_for(&world, "data/shadow/store");
    service.stop();
    let new = key(&world, "new.key");
    world.sh("cat new.key at.key > both; mv both at.key; chmod 600 at.key");
    let (ours, theirs) = (world.path("data"), world.path("data/shadow"));
    let said = [&ours, &theirs].map(|folder| format!("{}: ", folder.display()));
    world.landfall(&["rekey"]).done().says(&[&said[0], &said[1], "values were written anew", &new]);
    world.sh("mv new.key at.key");
    let mut service = start(&world);
    service.wait_until_it_watches();
    service.stop();
}

/// Goal: what is kept is read as long as it is kept, though nothing more is encrypted.
#[test]
fn without_encryption_the_key_is_kept_as_long_as_an_output_needs_it() {
    let plain = RULE.replace("decode = { identities = [\"identity.txt\"] }", "");
    let world = world(KEY_FILE);
    let public = key(&world, "at.key");
    world.write("go", "");
    send(&world);
    let mut service = start(&world);
    let id = wait_until_completed(&mut service, &world);
    service.stop();
    configure(&world, "at_rest = { encrypt = false, key_file = \"at.key\" }", &plain);
    for _ in 0..2 {
        world.landfall(&["rekey"]).done().says(&["in clear", &public, "is needed still: for 1 outputs"]);
        assert_eq!(records_of(&world, &id), PUBLISHED);
    }
    world.sh("mv at.key away");
    world.landfall(&["jobs"]).ends_with(1).says(&[&public, "nothing was changed"]);
}

#[test]
fn a_key_comes_from_a_command_or_a_credential() {
    let world = world("at_rest = { key_command = [\"sh\", \"-c\", \"cat vault\"] }");
    let public = key(&world, "vault");
    world.write("go", "");
    send(&world);
    let mut service = start(&world);
    let id = wait_until_completed(&mut service, &world);
    assert_eq!(records_of(&world, &id), PUBLISHED);
    service.stop();
    configure(&world, "at_rest = { key_credential = \"landfall.key\" }", RULE);
    world.sh("mkdir given; cp vault given/landfall.key");
    world.landfall(&["jobs"]).ends_with(1).says(&["$CREDENTIALS_DIRECTORY", "LoadCredentialEncrypted="]);
    let given = world
        .command()
        .arg("rekey")
        .env("CREDENTIALS_DIRECTORY", world.path("given"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&given.stdout).into_owned();
    assert!(given.status.success() && said.contains(&public), "{said}");
}

#[test]
fn a_rule_that_demands_it_is_not_run_without() {
    let rule = format!(
        "{}\nencrypt_at_rest = true",
        RULE.replace("decode = { identities = [\"identity.txt\"] }", "")
    );
    let world = world_under("at_rest = { encrypt = false }", &rule);
    world.landfall(&["check"]).ends_with(2).says(&["encrypt_at_rest = true", "at_rest.encrypt"]);
    configure(&world, "", &rule);
    world.landfall(&["check"]).says(&["at_rest.key", "whoever takes the whole data folder has both"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    let mode = fs::metadata(world.path("data/at_rest.key")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    service.stop();
}

/// The service starts with the last good configuration then, which asked for none.
#[test]
fn a_mistake_in_the_configuration_begins_no_encryption() {
    let rule = RULE.replace("decode = { identities = [\"identity.txt\"] }", "");
    let world = world_under("at_rest = { encrypt = false }", &rule);
    let mut service = world.start();
    service.wait_until_it_watches();
    service.stop();
    let wrong =
        world.text("landfall.toml").replace("encrypt = false", "encrypt = true, key_file = \"at.key\"");
    world.write("landfall.toml", wrong);
    let mut service = world.start();
    service.wait_for_log("the last good one");
    service.stop();
    assert!(!world.has("data/at_rest.key"), "a key was made");
}

/// Linux: neither a file nor a program that the kernel starts gets the memory of a process that holds keys.
#[cfg(target_os = "linux")]
#[test]
fn a_process_with_keys_leaves_no_core_dump() {
    let world = world("");
    let mut service = start(&world);
    service.wait_until_it_watches();
    assert_leaves_no_core_dump(&service);
    service.stop();
}

/// With 1 the kernel starts no program for a dump (with 0 it would), and writes no file that is so short; a socket gets what the filter lets pass.
#[cfg(target_os = "linux")]
fn assert_leaves_no_core_dump(service: &Service) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.id())).expect("is there");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("is told");
    let words: Vec<_> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["1", "1"], "{core}");
    let filter = fs::read_to_string(format!("/proc/{}/coredump_filter", service.id())).expect("is there");
    assert_eq!(filter.trim(), "00000000", "a socket would be given memory");
}

/// Which call a thread is in tells what hangs, and what a process has open tells a service whose data folder was changed.
#[cfg(target_os = "linux")]
#[test]
fn a_service_with_keys_is_still_seen_by_its_own_user() {
    let is_root = std::process::Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    if !is_root {
        eprintln!("skipped: a service of another user needs root");
        return;
    }
    let world = world("");
    world.sh("mkdir -p in data out archive; chown -R 2001 .; chmod 755 .; chmod 644 landfall.toml");
    let mut service = world.start_as(2001);
    service.wait_until_it_watches();
    assert!(world.has("data/at_rest.key"), "it has keys");
    assert_leaves_no_core_dump(&service);
    let read = format!("cat /proc/{0}/task/*/syscall && ls -l /proc/{0}/fd", service.id());
    let seen = world.sh(&format!("setpriv --reuid=2001 --regid=2001 --clear-groups sh -c '{read}'"));
    assert!(seen.contains("0x") && seen.contains("landfall.log"), "{seen}");
    service.stop();
}

/// Kept outputs: those that are encrypted, and others.
fn kept_outputs(world: &World) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut encrypted, mut others) = (Vec::new(), Vec::new());
    look(&world.path("data"), &mut |path, bytes| {
        if bytes.starts_with(b"age-encryption.org/") {
            encrypted.push(path.to_owned());
        } else if path.extension().is_some_and(|it| it == "zst") || bytes.starts_with(b"\x28\xb5\x2f\xfd") {
            others.push(path.to_owned());
        }
    });
    (encrypted, others)
}

const KEEPS: &str = r#"
    records = { format = "csv" }
    output = { main = { keep_output = "store" } }
"#;

fn wait_for_completed(service: &mut Service, world: &World, jobs: usize) {
    service.wait_until("all are completed", || {
        let completed = world.jobs().iter().filter(|job| job["state"] == "completed").count();
        (completed == jobs).then_some(())
    });
}

/// The rule by which the store came to be encrypted is gone; what another one keeps is encrypted like all else.
#[test]
fn what_is_kept_is_encrypted_as_the_store_is_also_when_no_rule_asks_for_it_any_more() {
    let world = world("");
    let mut service = start(&world);
    service.wait_until_it_watches();
    configure(&world, "", KEEPS);
    world.landfall(&["reload"]).done();
    world.move_in("in/first.csv", "id,text\n1,first-s3cr3t\n");
    wait_for_completed(&mut service, &world, 1);
    service.stop();
    let mut service = start(&world);
    world.move_in("in/second.csv", "id,text\n1,second-s3cr3t\n");
    wait_for_completed(&mut service, &world, 2);
    service.stop();
    world.write("in/third.csv", "id,text\n1,third-s3cr3t\n");
    world.landfall(&["ingest", "--rule", "payments", "in/third.csv"]).done();
    let (encrypted, others) = kept_outputs(&world);
    assert_eq!((encrypted.len(), others), (3, Vec::new()), "after a reload, after a start, and by hand");
    for job in world.jobs() {
        let printed = world.landfall(&["output", job["id"].as_str().expect("an id is text")]).done().stdout;
        assert!(printed.contains("-s3cr3t"), "{printed}");
    }
}

/// What the shadow rules' engine writes of a file, as soon as that is much.
fn written_aside(service: &mut Service, world: &World) -> Vec<u8> {
    service.wait_until("a shadow writes", || {
        let mut written = Vec::new();
        look(&world.path("data/shadow/out"), &mut |_, bytes| written.extend_from_slice(bytes));
        (written.len() > 64 << 10).then_some(written)
    })
}

/// What a shadow rule would publish, likewise: from the reload on that turns it on.
#[test]
fn what_shadow_rules_write_is_encrypted_from_the_reload_on_that_asks_for_it() {
    let rule = "mode = \"shadow\"\nrecords = { format = \"csv\" }";
    let world = world("");
    configure(&world, "", rule);
    let mut text = String::from("id,text\n");
    for number in 0..60_000 {
        writeln!(text, "{number},{MARK}{}", "of a file that takes a while ".repeat(8))
            .expect("memory takes all");
    }
    let has_mark = |written: &[u8]| memchr::memmem::find(written, MARK.as_bytes()).is_some();
    let mut service = start(&world);
    service.wait_until_it_watches();
    world.move_in("in/first.csv", &text);
    assert!(has_mark(&written_aside(&mut service, &world)), "what is in clear is found");
    service.wait_until("it is read", || {
        let told = world.landfall(&["shadow", "payments", "--json"]).stdout;
        let told: serde_json::Value = serde_json::from_str(&told).ok()?;
        let out = fs::read_dir(world.path("data/shadow/out")).ok()?;
        (told["sum"]["files"] == 1 && told["sum"]["unfinished"] == 0 && out.count() == 0).then_some(())
    });
    configure(&world, "at_rest = { encrypt = true }", rule);
    world.landfall(&["reload"]).done();
    world.move_in("in/second.csv", &text);
    let written = written_aside(&mut service, &world);
    assert!(!has_mark(&written) && written.starts_with(b"age-encryption.org/"));
    service.kill();
}

/// A rule that decrypts `.enc` files is one that decrypts.
#[test]
fn each_way_to_decrypt_turns_it_on() {
    for decode in [
        "identities = [\"identity.txt\"]",
        "passphrase_file = \"identity.txt\"",
        "require = [\"encrypted\"]",
        "layers = [\"age\"]\nidentities = [\"identity.txt\"]",
        "layers = [\"enc\"]\nsymmetric_encryption = { keys = [{ version = 1, key_file = \"identity.txt\" }] }",
        "symmetric_encryption = { keys = [{ version = 1, key_file = \"identity.txt\" }] }",
    ] {
        let decode = decode.lines().map(|line| format!("decode.{line}\n")).collect::<Vec<_>>().concat();
        let world = world_under("", &format!("records = {{ format = \"csv\" }}\n{decode}"));
        world.landfall(&["check"]).says(&["at_rest.key", "whoever takes the whole data folder has both"]);
    }
}

#[test]
fn a_credential_has_the_name_of_a_file_and_not_of_a_folder() {
    for name in ["..", ".", "...", "a/b", ".hidden"] {
        let world = world(&format!("at_rest = {{ key_credential = \"{name}\" }}"));
        world.landfall(&["check"]).ends_with(2).says(&["cannot be a credential's name"]);
    }
}
