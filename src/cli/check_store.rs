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
    let mut is_sound = false;
    let printed = view::print(|out| {
        is_sound = tell(out, door.as_ref(), &shown)?;
        Ok(())
    })?;
    Ok(if is_sound { printed } else { ExitCode::from(FAILED) })
}

/// Whether all was looked at, and nothing is wrong.
fn tell(out: &mut dyn Write, door: &dyn Door, data_dir: &str) -> Result<bool, Stop> {
    let (mut findings, mut is_complete) = (0, false);
    for verified in door.check_store() {
        match verified? {
            Verified::Found(finding) => {
                findings += 1;
                writeln!(out, "store: {}: {}", finding.place, finding.problem)?;
                writeln!(out, "    hint: {}", finding.hint)?;
            }
            Verified::Looked(_) => {}
            Verified::Ended { values, jobs } => {
                is_complete = true;
                let found = match findings {
                    0 => "ok".to_owned(),
                    1 => "1 problem".to_owned(),
                    count => format!("{count} problems"),
                };
                writeln!(out, "store: {found} in {data_dir}: {values} values, {jobs} jobs")?;
            }
        }
    }
    Ok(findings == 0 && is_complete)
}
