//! `landfall demo`: the whole way of a file, in a temporary folder, in a few seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::FAILED;
use crate::config;
use crate::durable_fs;
use crate::engine::{Engine, Purpose};
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_state::JobState;
use crate::output::sample;
use crate::pipeline::Registry;
use crate::store::Store;

/// The rule of the demo: the annotated example as it stands in the repository.
const CONFIGURATION: &str = include_str!("../../config/demo.toml");
/// Where the configuration has its folders.
const ZONE: &str = "demo";
/// Records of the sample; every 50th has an amount that is none.
const RECORDS: u32 = 1000;
/// Far longer than a thousand records take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Lines of each output that are shown.
const LINES_SHOWN: usize = 4;

/// Where.
#[derive(clap::Args)]
pub struct DemoArgs {
    /// The folder to make [default: a new temporary one]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let folder = landing_zone(args.dir.as_deref())?;
    println!("A landing zone in {}", folder.display());
    let config = folder.join("landfall.toml");
    fs::write(&config, CONFIGURATION).with_context(|| format!("cannot write {}", config.display()))?;
    let zone = folder.join(ZONE);
    let dropped = make_sample(&zone)?;

    let registry = Registry::with_builtin_steps();
    let settings = config::load(&config, &registry)?;
    let store = Store::open(&settings.service.data_dir)?;
    let engine = Engine::start(settings, registry, store.clone(), Purpose::Serve)?;
    println!("Watching {}", zone.join("inbox").display());
    let landed = drop_in(&dropped, &zone.join("inbox"))?;
    println!("Dropped  {} ({RECORDS} records, gzip, encrypted with age)", landed.display());
    let job = await_job(&engine, &store)?;
    tell(&folder, &job)?;
    engine.stop()?;
    println!("\nLook around in {}; remove it when you are done.", folder.display());
    println!("Try: landfall show {} --config {}", job.id, config.display());
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
        None => tempfile::Builder::new()
            .prefix("landfall-demo-")
            .tempdir()
            .context("cannot make a temporary folder")?
            .keep(),
    };
    let zone = folder.join(ZONE);
    for part in ["inbox", "keys", "upload"] {
        durable_fs::make_folder(&zone.join(part), true)?;
    }
    Ok(folder.canonicalize()?)
}

/// Payments as a sender would send them; the key pair is made for this demo.
fn make_sample(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut csv = String::from("id,account,name,amount,currency\n");
    for id in 1..=RECORDS {
        let amount =
            if id % 50 == 0 { "N/A".to_owned() } else { format!("{}.{:02}", id * 7 % 1000, id % 100) };
        let account = id * 37 % 999_983;
        csv.extend([format!("{id},AC{account:06},Ada Lovelace,{amount},USD\n")]);
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

fn await_job(engine: &Engine, store: &Store) -> anyhow::Result<Job> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        if let Some(job) = store.unfinished_jobs()?.into_iter().next().or(store.jobs().next().transpose()?) {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            return engine.wait_for(job.id, left)?.context("the job vanished from the store");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    bail!("the sample was not claimed within {} seconds", PATIENCE.as_secs())
}

fn tell(folder: &Path, job: &Job) -> anyhow::Result<()> {
    let account = &job.account;
    let took = job.finished_at.map(|end| end.duration_since(job.created_at).as_millis());
    println!("\nJob {}: {}{}", job.id, job.state, took.map_or_else(String::new, |ms| format!(" in {ms} ms")));
    println!(
        "Account: {} records in = {} written + {} dropped + {} failed",
        account.records_in,
        account.records_written(),
        account.records_dropped(),
        account.records_failed
    );
    for output in &job.outputs {
        show_output(folder, output)?;
    }
    for (reason, count) in &account.reasons {
        println!("\nReason for `invalid`: {reason} ({count} records)");
    }
    if let Some(archived) = &job.retired_to {
        println!("\nThe source now lies in {archived}");
    }
    if let Some(error) = &job.error {
        println!("\nError: {error}");
    }
    Ok(())
}

fn show_output(folder: &Path, output: &PublishedOutput) -> anyhow::Result<()> {
    let path = output.path.as_path();
    let shown = path.strip_prefix(folder).unwrap_or(path);
    println!(
        "\n{}: {} records in {} ({} bytes)",
        output.category,
        output.records,
        shown.display(),
        output.bytes
    );
    if path.extension().is_some_and(|suffix| suffix == "csv") {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        text.lines().take(LINES_SHOWN).for_each(|line| println!("    {line}"));
        println!("    …");
    }
    Ok(())
}
