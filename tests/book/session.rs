//! The session that README shows is what one gets who types it.

use crate::pages::{Page, Sample};
use crate::support::World;

/// Where the session is.
const PLACE: &str = "/srv/ingest";

#[test]
fn the_session_in_the_readme_is_what_its_rule_does() {
    let samples = Page::at("README.md").samples();
    let of = |language: &str, word: &str| -> &Sample {
        samples
            .iter()
            .find(|sample| sample.language == language && sample.code.contains(word))
            .expect("a sample")
    };
    let (rule, session) = (of("toml", "[[rule]]"), of("text", "$ landfall jobs"));
    let world = World::with_config(&rule.code);
    let amount = |id: u32| if [3, 250].contains(&id) { "N/A".to_owned() } else { format!("{id}.50") };
    let rows: String = (1..=400).map(|id| format!("{id},{}\n", amount(id))).collect();
    world.write("payments-1.csv", format!("id,amount\n{rows}"));
    world.sh("gzip payments-1.csv; mkdir -p inbox/acme");
    let mut service = world.start();
    service.wait_until_it_watches();
    let (mut typed, mut job) = (String::new(), String::new());
    for command in session.code.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let shown =
            session.code.split_once("trace ").and_then(|(_, rest)| rest.split(' ').next()).expect("its job");
        let script = command
            .replace("landfall ", &format!("{} ", env!("CARGO_BIN_EXE_landfall")))
            .replace(shown, &job);
        typed = format!("{typed}$ {}\n{}\n", command.replace(shown, "JOB"), world.sh(&script));
        if command.starts_with("mv ") {
            service
                .wait_until("it is done", || (world.jobs().first()?["state"] == "completed").then_some(()));
            job = world.job()["id"].as_str().expect("an id").to_owned();
        }
    }
    service.stop();
    let here = world.folder().display().to_string();
    assert_eq!(alike(&session.code, PLACE), alike(&typed, &here));
}

/// Without what is another each time: ids, days, ages, and the width of columns.
fn alike(session: &str, place: &str) -> Vec<String> {
    let word = |word: &str| {
        let is_id = word.trim_end_matches(',').len() == 26 && word.starts_with("01");
        let is_age =
            word.strip_suffix('s').is_some_and(|seconds| seconds.bytes().all(|byte| byte.is_ascii_digit()));
        let is_short_id =
            word.len() == 4 && word.bytes().any(|byte| byte.is_ascii_digit()) && word.starts_with('q');
        match word {
            _ if is_id || is_short_id => "JOB".to_owned(),
            _ if is_age => "AGE".to_owned(),
            word => word
                .replace(place, "")
                .split('/')
                .map(|part| if is_day(part) { "DAY" } else { part })
                .collect::<Vec<_>>()
                .join("/"),
        }
    };
    let lines = session.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2
}
