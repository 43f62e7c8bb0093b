//! One scenario, disturbed at one step after the other.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::disk::{Cut, Disk};
use crate::fault::Fault;
use crate::result::{Difference, Outcome, jobs, names};
use crate::scenario::{Scenario, Stage};
use crate::support::World;
use crate::support::random::{Random, seed};
use crate::syscall::Call;
use crate::tracer::{Plan, Traced};

/// Steps tried for each scenario and kind where nobody says otherwise.
const TRIES: usize = 1;
/// Until a run has to have come to its end: long, since the machine may be busy with others.
const RUN_MAX: Duration = Duration::from_mins(1);
/// Likewise, under a fault: back-offs last seconds.
const FAULT_MAX: Duration = Duration::from_mins(2);
/// From the last file in its place to the last row.
const ROWS_MAX: Duration = Duration::from_secs(5);
/// How many steps are told of a run that went wrong.
const STEPS_TOLD: usize = 12;
const STRUCK_TOLD: usize = 10;
/// Most of a run is waiting.
const AT_ONCE: usize = 4;

/// Kills the service before each step.
pub fn crashes(scenario: &Scenario) {
    run(scenario, "crashes", |undisturbed| {
        steps(&undisturbed.steps, |_| true).into_iter().map(|step| (step, Disturbance::Crash)).collect()
    });
}

/// Cuts the power before each step: nothing is left that was not synced, or some of it.
pub fn power_cuts(scenario: &Scenario) {
    run(scenario, "power cuts", |undisturbed| {
        let cuts = |step: usize| {
            let torn = Cut::Torn { seed: seed().wrapping_add(step as u64) };
            [Cut::Absent, torn].map(|cut| (step, Disturbance::PowerCut(cut)))
        };
        steps(&undisturbed.steps, |_| true).into_iter().flat_map(cuts).collect()
    });
}

/// Lets the system return each kind of error at each step that can meet it.
pub fn faults(scenario: &Scenario) {
    run(scenario, "faults", |undisturbed| {
        let at = |fault: Fault| {
            steps(&undisturbed.steps, move |step| fault.suits(step))
                .into_iter()
                .map(move |step| (step, Disturbance::Fault(fault)))
        };
        Fault::ALL.into_iter().flat_map(at).collect()
    });
}

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Crash,
    PowerCut(Cut),
    Fault(Fault),
}

struct Undisturbed {
    steps: Vec<Call>,
    outcome: Outcome,
}

/// One try.
struct Tried {
    /// Whether its run came to the step.
    struck: bool,
    failure: Option<Failure>,
}

/// What went wrong in one try.
struct Failure {
    step: usize,
    disturbance: Disturbance,
    /// The last steps, the struck one at their end.
    last_steps: Vec<String>,
    difference: Difference,
    log: String,
}

fn run(scenario: &Scenario, kind: &str, choose: impl Fn(&Undisturbed) -> Vec<(usize, Disturbance)>) {
    let Some(template) = scenario.template() else {
        println!("SKIPPED: this machine has no second file system to try `{}` on", scenario.name);
        return;
    };
    let undisturbed = undisturbed(scenario, &template);
    let tries = choose(&undisturbed);
    println!(
        "{}: {} steps, {} {kind}, LANDFALL_TEST_SEED={}",
        scenario.name,
        undisturbed.steps.len(),
        tries.len(),
        seed()
    );
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // A step that a run did not come to was not tried.
    let struck = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((step, disturbance)) = tries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = disturbed(scenario, &template, &undisturbed, *step, *disturbance);
                    struck.fetch_add(usize::from(outcome.struck), Ordering::Relaxed);
                    failures.lock().expect("nobody panics with it").extend(outcome.failure);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    note(scenario, kind, undisturbed.steps.len(), struck.into_inner(), &failures);
    assert!(failures.is_empty(), "{}", told(scenario, &failures));
}

fn undisturbed(scenario: &Scenario, template: &World) -> Undisturbed {
    let stage = scenario.stage(template);
    let plan = Plan { consumer: scenario.consumer.then(|| stage.consumer()), ..Plan::default() };
    let service = Traced::start(stage.command(), stage.roots(), plan);
    let settled = || {
        let jobs = jobs(&stage);
        let ends = scenario.ends.iter().map(|state| format!("\"state\": \"{state}\""));
        let ends: Vec<_> = ends.collect();
        let ended = |job: &String| ends.iter().any(|end| job.contains(end));
        let is_open = |job: &String| job.contains("\"not_there_yet\"");
        let all_ended = jobs.len() >= scenario.jobs && jobs.iter().all(ended) && !jobs.iter().any(is_open);
        let names = names(&stage);
        let all_told = scenario.told.iter().all(|told| names.contains_key(&format!("consumed/{told}")));
        all_ended && all_told && (scenario.over)(&names) && !in_hand(&stage)
    };
    let started = Instant::now();
    while !settled() {
        assert!(
            started.elapsed() < RUN_MAX && !service.has_ended(),
            "undisturbed: {:?}\n{}",
            names(&stage).keys(),
            log(&stage)
        );
        std::thread::sleep(POLL);
    }
    service.terminate();
    let seen = service.ended();
    assert_eq!(seen.exit_code, Some(0), "{}", log(&stage));
    Undisturbed { steps: seen.steps, outcome: Outcome::of(&stage) }
}

/// A source that nobody has claimed yet would still change what is there.
fn in_hand(stage: &Stage) -> bool {
    let claimed = |name: &String| name.starts_with("in/.landfall/") && !name.contains("/quarantine/");
    names(stage).keys().any(claimed)
}

fn disturbed(
    scenario: &Scenario,
    template: &World,
    undisturbed: &Undisturbed,
    step: usize,
    disturbance: Disturbance,
) -> Tried {
    let stage = scenario.stage(template);
    let consumer = || scenario.consumer.then(|| stage.consumer());
    let mut plan = Plan { consumer: consumer(), ..Plan::default() };
    match disturbance {
        Disturbance::Crash => plan.kill_before = Some(step),
        Disturbance::PowerCut(_) => {
            plan.kill_before = Some(step);
            plan.disk = Some(Disk::new(&stage.roots_with_morgues()));
        }
        Disturbance::Fault(fault) => plan.fault = Some((step, fault)),
    }
    let service = Traced::start(stage.command(), stage.roots(), plan);
    let goes_on = matches!(disturbance, Disturbance::Fault(_));
    let mut wrong = Difference::default();
    let came_to_its_end = wait(&stage, &service, undisturbed, if goes_on { FAULT_MAX } else { RUN_MAX });
    if came_to_its_end {
        // The step was never reached, or the fault is over, or it comes while the service stops.
        service.terminate();
    }
    let ended_by_itself = service.has_ended();
    if !came_to_its_end && !ended_by_itself && goes_on {
        wrong.other.push("it does not go on by itself".into());
        service.terminate();
    }
    let seen = service.ended();
    let last = seen.steps.len().saturating_sub(STEPS_TOLD);
    let last_steps = seen.steps[last..]
        .iter()
        .chain(seen.struck.iter().take(STRUCK_TOLD))
        .map(|call| stage.without_places(&call.to_string()))
        .collect();
    if let Disturbance::PowerCut(cut) = disturbance
        && let Some(disk) = &seen.disk
        && !seen.struck.is_empty()
    {
        disk.lay(cut);
    }
    if let (Disturbance::Fault(_), Some(code)) = (disturbance, seen.exit_code)
        && ended_by_itself
    {
        wrong.other.extend(unexplained_end(&stage, &seen.struck, code));
    }
    // Restarted as often as an operator would before he asks somebody.
    for _ in 0..2 {
        let plan = Plan { consumer: consumer(), ..Plan::default() };
        let service = Traced::start(stage.command(), stage.roots(), plan);
        let done = wait(&stage, &service, undisturbed, RUN_MAX);
        service.terminate();
        let seen = service.ended();
        if done && seen.exit_code == Some(0) {
            break;
        }
    }
    let log = log(&stage);
    if log.contains("panicked") {
        wrong.other.push("it panicked".into());
    }
    wrong.other.extend(damage(&stage));
    wrong.other.extend(stage.is_audited.then(|| untold(&stage)).flatten());
    wrong.other.extend(stage.touched());
    let outcome = Outcome::of(&stage);
    if let Some(found) = undisturbed.outcome.difference(&outcome) {
        wrong.lost.extend(found.lost);
        wrong.doubled.extend(found.doubled);
        wrong.other.extend(found.other);
    }
    let all_well = wrong.lost.is_empty() && wrong.doubled.is_empty() && wrong.other.is_empty();
    let struck = !seen.struck.is_empty();
    Tried {
        struck,
        failure: (!all_well).then_some(Failure { step, disturbance, last_steps, difference: wrong, log }),
    }
}

/// A service may end by itself only where its own store cannot be written any more, and must say what to do.
fn unexplained_end(stage: &Stage, struck: &[Call], code: i32) -> Option<String> {
    let log = log(stage);
    let first = struck.first()?;
    let may_end =
        |call: &Call| call.path.starts_with(stage.world.path("data")) || call.name.ends_with("sync");
    // A start that fails is told to whoever started it.
    if log.contains("watching") && !struck.iter().any(may_end) {
        return Some(format!("it ended with {code} for {first}"));
    }
    let says = log.contains("hint") || log.contains("start it again") || log.contains("restart");
    (!says).then(|| format!("it ended with {code} and does not say what to do"))
}

/// What `check --store` finds in the ledger and the other rows.
fn damage(stage: &Stage) -> Option<String> {
    let ran = stage.world.landfall(&["check", "--store"]);
    (ran.code != Some(0)).then(|| format!("check --store: {}{}", ran.stdout, ran.stderr))
}

/// What the audit trail does not say of the jobs, or says twice.
fn untold(stage: &Stage) -> Option<String> {
    let verified = stage.world.landfall(&["audit", "verify"]);
    if verified.code != Some(0) {
        return Some(format!("audit verify: {}{}", verified.stdout, verified.stderr));
    }
    let listed = stage.world.landfall(&["audit", "--json"]).stdout;
    let line = |text| serde_json::from_str::<serde_json::Value>(text).expect("a line is JSON");
    let lines: Vec<_> = listed.lines().map(line).collect();
    let of_job = |job: &serde_json::Value| {
        let events = lines.iter().filter(|line| line["job"] == job["id"]).map(|line| line["event"].clone());
        events.collect::<Vec<_>>()
    };
    let jobs = stage.world.jobs();
    let mut told = jobs.iter().map(of_job);
    told.find(|events| *events != ["claimed", "published", "completed"])
        .map(|events| format!("the trail of a job: {events:?}"))
}

const POLL: Duration = Duration::from_millis(10);

/// Waits until the run has come to its end; false if it ended before, or never does.
fn wait(stage: &Stage, service: &Traced, undisturbed: &Undisturbed, max: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < max && !service.has_ended() {
        if came_to_its_end(stage, undisturbed) {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}

fn came_to_its_end(stage: &Stage, undisturbed: &Undisturbed) -> bool {
    if !names(stage).keys().eq(undisturbed.outcome.files.keys()) {
        return false;
    }
    let started = Instant::now();
    while started.elapsed() < ROWS_MAX {
        if jobs(stage) == undisturbed.outcome.jobs {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}

fn log(stage: &Stage) -> String {
    fs::read_to_string(stage.world.path("landfall.log")).unwrap_or_default()
}

/// The steps to try: all that suit, or a seeded sample of them.
fn steps(all: &[Call], suits: impl Fn(&Call) -> bool) -> Vec<usize> {
    let mut chosen: Vec<usize> =
        all.iter().enumerate().filter(|(_, step)| suits(step)).map(|(number, _)| number).collect();
    let tries = match std::env::var("LANDFALL_TEST_TRIES").as_deref() {
        Ok("all") => return chosen,
        Ok(number) => number.parse().expect("LANDFALL_TEST_TRIES is a number or `all`"),
        Err(_) => TRIES,
    };
    let mut random = Random::new(seed());
    while chosen.len() > tries {
        let left_out = random.below(chosen.len() as u64) as usize;
        chosen.swap_remove(left_out);
    }
    chosen.sort_unstable();
    chosen
}

/// A row for the table that `tests/run crash` prints.
fn note(scenario: &Scenario, kind: &str, steps: usize, tries: usize, failures: &[Failure]) {
    let count =
        |wrong: fn(&Difference) -> bool| failures.iter().filter(|failure| wrong(&failure.difference)).count();
    let row = serde_json::json!({
        "scenario": scenario.name,
        "kind": kind,
        "steps": steps,
        "tries": tries,
        "lost": count(|difference| !difference.lost.is_empty()),
        "doubled": count(|difference| !difference.doubled.is_empty()),
        "otherwise_wrong": count(|difference| !difference.other.is_empty()),
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("durability");
    fs::create_dir_all(&folder).expect("cargo's own folder can be written");
    let name: String = format!("{} {kind}", scenario.name)
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    fs::write(folder.join(format!("{name}.json")), row.to_string())
        .expect("cargo's own folder can be written");
}

fn told(scenario: &Scenario, failures: &[Failure]) -> String {
    let mut text = format!("{}: {} tries went wrong\n", scenario.name, failures.len());
    for failure in failures {
        let difference = &failure.difference;
        writeln!(text, "\n--- {:?} at step {}", failure.disturbance, failure.step)
            .expect("a string takes all");
        for call in &failure.last_steps {
            writeln!(text, "    > {call}").expect("a string takes all");
        }
        for wrong in difference.lost.iter().chain(&difference.doubled).chain(&difference.other) {
            // One story is told once.
            let short: String = wrong.chars().take(700).collect();
            writeln!(text, "    {short}").expect("a string takes all");
        }
        writeln!(text, "{}", failure.log).expect("a string takes all");
    }
    text
}
