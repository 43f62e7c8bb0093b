//! `landfall demo`: the whole way of a file, in a temporary folder, in a few seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::check::counted;
use super::exit::FAILED;
use super::private;
use super::say::say;
use crate::config;
use crate::durable_fs::{self, OpenTo};
use crate::engine::{Engine, Follower, Purpose};
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_state::JobState;
use crate::model::notice::Notice;
use crate::output::sample;
use crate::pipeline::Registry;

/// The rule of the demo: the annotated example as it stands in the repository.
const CONFIGURATION: &str = include_str!("../../config/demo.toml");
/// Where the configuration has its folders.
const ZONE: &str = "demo";
/// Records of the sample; every 50th has an amount that is none, one is a payment of nothing, and one has a quote that is
/// never closed.
const RECORDS: u32 = 1000;
const OF_NOTHING: u32 = 321;
const WITH_QUOTE: u32 = 654;
/// Who pays, in turn.
const CUSTOMERS: [(&str, &str); 5] = [
    ("Ada Lovelace", "GBP"),
    ("Grace Hopper", "USD"),
    ("Emmy Noether", "EUR"),
    ("Katherine Johnson", "USD"),
    ("Sofia Kowalewskaja", "SEK"),
];
/// Far longer than a thousand records take.
const PATIENCE: Duration = Duration::from_mins(1);
const LINES_SHOWN: usize = 4;

/// Where.
#[derive(clap::Args)]
pub(super) struct DemoArgs {
    /// The folder to make [default: a new temporary one]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let folder = landing_zone(args.dir.as_deref())?;
    say!("A landing zone in {}", folder.display());
    let config = folder.join("landfall.toml");
    fs::write(&config, CONFIGURATION).with_context(|| format!("cannot write {}", config.display()))?;
    let zone = folder.join(ZONE);
    show_rule();
    let dropped = make_sample(&zone)?;

    let registry = Registry::with_builtin_steps();
    let settings = config::load(&config, &registry)?;
    let engine = Engine::open(&settings)?;
    let running = engine.start(settings, registry, Purpose::Serve)?;
    let mut follower = Follower::new(&engine);
    say!("\nWatching {}", zone.join("inbox").display());
    let landed = drop_in(&dropped, &zone.join("inbox"))?;
    say!("Dropped  {} ({RECORDS} records, gzip, encrypted with age)", landed.display());
    let job = await_job(&mut follower)?;
    tell(&folder, &job)?;
    running.stop()?;
    say!("\nLook around in {}; remove it when you are done.", folder.display());
    let (program, config) = (program(), quoted(&config));
    say!("Try: {program} show {} --config {config}", job.id);
    say!("     {program} records {} --config {config}", job.id);
    Ok(if job.state == JobState::Completed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn landing_zone(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = match given {
        Some(folder) => {
            if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
                bail!("{} is not empty: name a new folder", folder.display());
            }
            folder.to_owned()
        }
        None => private::folder("landfall-demo-")?.keep(),
    };
    let zone = folder.join(ZONE);
    for part in ["inbox", "keys", "upload"] {
        durable_fs::make_folder(&zone.join(part), OpenTo::Owner)?;
    }
    Ok(folder.canonicalize()?)
}

/// Payments as a sender would send them; the key pair is made for this demo.
fn make_sample(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut csv = String::from("id,account,name,amount,currency\n");
    for id in 1..=RECORDS {
        let amount = match id {
            OF_NOTHING => "0.00".to_owned(),
            _ if id % 50 == 0 => "N/A".to_owned(),
            _ => format!("{}.{:02}", id * 7 % 1000, id % 100),
        };
        let payer = id as usize % CUSTOMERS.len();
        let account = (payer + 1) * 37_037;
        let (name, currency) = CUSTOMERS.get(payer).copied().unwrap_or_default();
        let name = if id == WITH_QUOTE { format!("\"{name}") } else { name.to_owned() };
        csv.extend([format!("{id},AC{account:06},{name},{amount},{currency}\n")]);
    }
    let key = sample::new_key();
    fs::write(folder.join("keys").join("demo.key"), key.identity_file()).context("cannot write the key")?;
    let file = folder.join("upload").join("payments-1.csv.gz.age");
    sample::write_gzip_age(&file, csv.as_bytes(), &key).context("cannot write the sample")?;
    Ok(file)
}

/// As a careful sender does: written elsewhere on the same disk, then renamed into the watched folder.
fn drop_in(file: &Path, inbox: &Path) -> anyhow::Result<PathBuf> {
    let landed = inbox.join(file.file_name().unwrap_or_default());
    durable_fs::rename_no_replace(file, &landed)?;
    Ok(landed)
}

/// The rule without its comments, which stand in the file.
fn show_rule() {
    say!("Its rule:");
    let rule = CONFIGURATION.lines().skip_while(|line| *line != "[[rule]]");
    for line in rule.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        say!("    {}", line.split_once(" # ").map_or(line, |(said, _)| said).trim_end());
    }
}

/// This program as the shell finds it: by its name if that is it, else by its whole path.
fn program() -> String {
    let Ok(exe) = std::env::current_exe() else { return "landfall".to_owned() };
    let name = exe.file_name().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let same = |file: PathBuf| matches!((file.canonicalize(), exe.canonicalize()), (Ok(a), Ok(b)) if a == b);
    quoted(if found.is_some_and(same) { Path::new(name) } else { &exe })
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/\\:._-+".contains(c);
    match text.chars().all(is_plain) {
        true => text,
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn await_job(follower: &mut Follower<'_>) -> anyhow::Result<Job> {
    let deadline = std::time::Instant::now() + PATIENCE;
    let in_time = || {
        anyhow::ensure!(
            std::time::Instant::now() < deadline,
            "the sample was not done within {} seconds",
            PATIENCE.as_secs()
        );
        Ok(())
    };
    loop {
        in_time()?;
        if let Notice::Changed(change) = follower.next()? {
            return follower.follow(change.job, |_| in_time());
        }
    }
}

fn tell(folder: &Path, job: &Job) -> anyhow::Result<()> {
    let account = &job.account;
    let took = job.finished_at.map(|end| end.duration_since(job.created_at).as_millis());
    say!("\nJob {}: {}{}", job.id, job.state, took.map_or_else(String::new, |ms| format!(" in {ms} ms")));
    let categories = account.records_out.iter().map(|(category, count)| format!("{count} {category}"));
    say!(
        "Account: {} in = {} + {} dropped + {} failed",
        counted(account.records_in, "record"),
        categories.collect::<Vec<_>>().join(" + "),
        account.records_dropped(),
        account.records_failed
    );
    for output in &job.outputs {
        show_output(folder, output)?;
    }
    for (reason, count) in &account.reasons {
        say!("\nReason for `invalid`: {reason} ({})", counted(*count, "record"));
    }
    if let Some(archived) = &job.retired_to {
        say!("\nThe source now lies in {archived}");
    }
    if let Some(error) = &job.error {
        say!("\nError: {error}");
    }
    Ok(())
}

fn show_output(folder: &Path, output: &PublishedOutput) -> anyhow::Result<()> {
    let path = output.path.as_path();
    let shown = path.strip_prefix(folder).unwrap_or(path);
    let (records, bytes) = (counted(output.records, "record"), counted(output.bytes, "byte"));
    say!("\n{}: {records} in {} ({bytes})", output.category, shown.display());
    if path.extension().is_some_and(|suffix| suffix == "csv") {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        text.lines().take(LINES_SHOWN).for_each(|line| say!("    {line}"));
        say!("    …");
    }
    Ok(())
}
