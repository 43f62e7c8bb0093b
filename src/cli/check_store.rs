//! `landfall check --store`: every value of the store, verified by who has it.

use std::io::Write;
use std::process::ExitCode;

use super::exit::FAILED;
use super::say::say;
use super::view::{self, Stop};
use crate::engine::Door;
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;
use crate::store::Verified;

/// What a verification came to.
#[derive(Default)]
struct Verdict {
    findings: u64,
    is_complete: bool,
}

/// Prints each finding with its hint, then the count. Exit code 1 if there is any, or no store.
pub(super) fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let shown = escaped_path(&settings.service.data_dir);
    let Some(door) = view::door(settings)? else {
        say!("store: there is none in {shown}");
        say!(
            "    hint: start the service once, or check `service.data_dir`; `landfall recover CLAIM_DIR` lists what a lost store left"
        );
        return Ok(ExitCode::from(FAILED));
    };
    let mut verdict = Verdict::default();
    let printed = view::print(|out| {
        verdict = tell(out, door.as_ref(), &shown)?;
        Ok(())
    })?;
    let is_sound = verdict.findings == 0 && verdict.is_complete;
    Ok(if is_sound { printed } else { ExitCode::from(FAILED) })
}

fn tell(out: &mut dyn Write, door: &dyn Door, data_dir: &str) -> Result<Verdict, Stop> {
    let mut verdict = Verdict::default();
    for verified in door.check_store() {
        match verified? {
            Verified::Found(finding) => {
                verdict.findings += 1;
                writeln!(out, "store: {}: {}", finding.place, finding.problem)?;
                writeln!(out, "    hint: {}", finding.hint)?;
            }
            Verified::Looked(_) => {}
            Verified::Ended { values, jobs } => {
                verdict.is_complete = true;
                let found = match verdict.findings {
                    0 => "ok".to_owned(),
                    1 => "1 problem".to_owned(),
                    count => format!("{count} problems"),
                };
                writeln!(out, "store: {found} in {data_dir}: {values} values, {jobs} jobs")?;
            }
        }
    }
    Ok(verdict)
}
