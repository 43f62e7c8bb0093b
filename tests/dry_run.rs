//! Promise: a dry run says what the real run then does, from the real state, and leaves nothing.
#![cfg(unix)]

mod support;

use support::{RULE, Ran, World};

/// Revisions, numbers, compression, a category of its own.
const RULE_TEXT: &str = r#"
mode = "off"
paths = ["in/{sender}-*.csv"]
records = { format = "csv" }
pipeline = [{ step = "validate", columns = { amount = { type = "integer" } } }]
output = { main = { path = "out/{sender}/{stem}.r{revision}.csv.gz" }, invalid = { path = "out/{stem}.invalid" } }
delivery = { key = "{sender}", same_key = "correction" }
"#;

fn dry_run(world: &World, file: &str) -> Ran {
    let before = world.sh("find . -not -path './data*' -printf '%p %s %T@\n' | sort");
    let ran = world.landfall(&["ingest", file, "--rule", RULE, "--dry-run"]);
    assert_eq!(world.sh("find . -not -path './data*' -printf '%p %s %T@\n' | sort"), before, "{ran:#?}");
    assert_eq!(ran.stderr, "", "{ran:#?}");
    ran
}

/// The lines that name outputs, without the lines of their records.
fn outputs(ran: &Ran) -> Vec<String> {
    let named = ran.stdout.lines().filter(|line| line.contains("/out/"));
    named.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn it_names_the_files_that_the_real_run_takes_with_and_without_a_service() {
    let world = World::new(RULE_TEXT);
    world.sh("mkdir -p out/acme; printf 'id,amount\n1,2\n2,x\n' > in/acme-1.csv; : > out/acme-1.invalid");
    let mut service = None;
    for turn in 1..=4 {
        let told = dry_run(&world, "in/acme-1.csv");
        assert!(told.stdout.contains("would be completed"), "{told:#?}");
        assert!(turn == 1 || told.stdout.contains(&format!("revision {turn} of its delivery")), "{told:#?}");
        for jobs in world.jobs() {
            assert!(!told.stdout.contains(jobs["id"].as_str().expect("an id")), "{told:#?}");
        }
        let real = world.ingest(&["in/acme-1.csv"]).done();
        assert_eq!(outputs(&told), outputs(&real));
        assert!(
            world.has(format!("out/acme/acme-1.r{turn}.csv.gz"))
                && world.has(format!("out/acme-1-{turn}.invalid"))
        );
        if turn == 2 {
            let mut started = world.start();
            started.wait_for_log("watching");
            service = Some(started);
        }
    }
    drop(service);
}

#[test]
fn it_shows_the_first_records_of_each_output_however_they_are_packed() {
    let world = World::new(RULE_TEXT);
    world.sh("(echo id,amount; seq -f '%.0f,7' 100; echo 101,none) > in/acme-1.csv");
    dry_run(&world, "in/acme-1.csv").done().says(&[
        "main: 100 records",
        "        id,amount\n        1,7\n        2,7\n        3,7\n        …",
        "invalid: 1 record, ",
        "        id,amount\n        101,none\n",
        "amount: not an integer: 1",
    ]);
    let told = dry_run(&world, "in/acme-1.csv");
    assert!(!told.stdout.contains("landfall-dry-run"), "{told:#?}");
}

#[test]
fn claimed_files_of_a_service_are_no_business_of_it() {
    let world = World::new("");
    world.write("in/.landfall/01m8gbrhb53qjt4mqq9sh9rqwe-pay.txt", "1\n");
    world.write("pay.txt", "1\n");
    dry_run(&world, "pay.txt").done().says(&["would be completed"]);
}

#[test]
fn it_fails_where_the_real_run_would() {
    let world = World::new("output = { main = { path = \"out/{stem}\", on_exists = \"fail\" } }");
    world.write("out/pay", "there\n");
    world.write("pay.txt", "1\n");
    let told = dry_run(&world, "pay.txt").ends_with(1).says(&["nothing would be published", "/out/pay"]);
    assert!(!told.stdout.contains("landfall-dry-run"), "{told:#?}");
    world.ingest(&["pay.txt"]).ends_with(1);
}
