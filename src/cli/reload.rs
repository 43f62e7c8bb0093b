//! `landfall reload`: the running service reads its configuration anew.

use std::path::Path;
use std::process::ExitCode;

use super::check::counted;
use super::exit::{FAILED, USAGE};
use super::say::{complain, say, say_aside};
use super::{running, view};
use crate::config;
use crate::control::{self, Client};
use crate::engine::{Door as _, Refusal};
use crate::listing::reload::json;
use crate::model::configuration::{ConfigurationChange, HooksChange, Reloaded};
use crate::model::fault::Fault as _;
use crate::model::os_text::escaped_path;
use crate::model::shown_json;
use crate::store::StoreError;

/// The arguments of `landfall reload`.
#[derive(clap::Args)]
#[command(
    after_help = "A service sees by itself that a file of its configuration was saved. This waits until it has taken it, and says what became \
                  of it; where the configuration is wrong nothing changes. SIGHUP asks for the same, without an answer."
)]
pub(super) struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReloadArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut service = running::client(config);
    if service.is_none() {
        // Without a service nobody goes by it, and whoever asks wants to know what is wrong.
        let settings = running::read(&config::find(config)?)?.settings?;
        let data_dir = &settings.service.data_dir;
        // It may have been started with the file under another name.
        service = Client::connect(data_dir);
        if service.is_none() {
            // One that stands still, or is just starting, has it all the same.
            let opened = control::open(&settings);
            if let Err(
                error
                @ (StoreError::InUse { .. } | StoreError::Silent { .. } | StoreError::OtherOwner { .. }),
            ) = opened
            {
                complain(&error.to_string(), error.hint().as_deref());
                return Ok(ExitCode::from(FAILED));
            }
            return Ok(not_running(data_dir));
        }
    }
    let Some(service) = service else { return Ok(view::refuse(&Refusal::NotRunning)) };
    match service.reload() {
        Ok(reloaded) => {
            let taken = tell(args, &reloaded)?;
            if !args.json && reloaded.rules.is_none() && reloaded.problems.is_empty() {
                tell_last_edit(&service);
            }
            Ok(taken)
        }
        Err(refusal) => Ok(view::refuse(&refusal)),
    }
}

/// An edit may have been taken by itself a moment before somebody asked for it.
fn tell_last_edit(service: &Client) {
    let Ok(Some(state)) = service.configuration() else { return };
    let (at, age) = (view::moment(state.taken_at), view::age(state.taken_at, crate::clock::now()));
    match &state.last_change {
        Some(change) => {
            say_aside!(
                "the service took the last edit by itself at {at}, {age} ago: {}",
                told(change, false).join("; ")
            );
        }
        None => say_aside!("the service goes by what it read at {at}, {age} ago"),
    }
}

fn not_running(data_dir: &Path) -> ExitCode {
    let message = format!("the service is not running: nobody has {}", escaped_path(data_dir));
    let hint = "start it with `landfall run`; one that has another data folder is found by LANDFALL_SERVICE__DATA_DIR";
    complain(&message, Some(hint));
    ExitCode::from(FAILED)
}

fn tell(args: &ReloadArgs, reloaded: &Reloaded) -> anyhow::Result<ExitCode> {
    let Reloaded { problems, rules, needs_restart } = reloaded;
    if args.json {
        say!("{}", shown_json::to_string(&json(reloaded))?);
    } else if problems.is_empty() || !rules.is_none() {
        for line in told(rules, !needs_restart.is_empty()) {
            say!("{line}");
        }
    }
    if !args.json {
        rules.of_no_rule.iter().for_each(|told| complain(told, None));
    }
    if !args.json && !needs_restart.is_empty() {
        let keys = needs_restart.join(", ");
        complain(&format!("changed, and counts after a restart: {keys}"), None);
    }
    if problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        for problem in problems {
            say_aside!("{}", problem.text);
        }
        let count = counted(problems.len(), "problem");
        let rest = if rules.is_none() { "the service goes on as it is" } else { "the rest counts" };
        complain(&format!("{count}: {rest}"), None);
    }
    Ok(ExitCode::from(USAGE))
}

/// A line for each kind of change, or one that there is none. `is_more`: something changed beside it.
fn told(rules: &ConfigurationChange, is_more: bool) -> Vec<String> {
    let HooksChange { added, changed, removed, unchanged } = &rules.hooks;
    let named = [
        ("added", &rules.added),
        ("changed", &rules.changed),
        ("removed", &rules.removed),
        ("hooks added", added),
        ("hooks changed", changed),
        ("hooks removed", removed),
    ];
    let mut lines: Vec<_> = named
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect();
    if rules.reordered {
        lines.push("the rules come in another order".to_owned());
    }
    let hooks = if *unchanged > 0 { format!(", {}", counted(*unchanged, "hook")) } else { String::new() };
    let count = counted(rules.unchanged, "rule") + &hooks;
    lines.push(if rules.is_none() && !is_more {
        format!("nothing changed: {count}")
    } else {
        format!("unchanged: {count}")
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_by_name_and_what_did_not_by_count() {
        let rules = ConfigurationChange { unchanged: 1, ..ConfigurationChange::default() };
        assert_eq!(told(&rules, false), ["nothing changed: 1 rule"]);
        assert_eq!(told(&rules, true), ["unchanged: 1 rule"]);
        let hooks = HooksChange { added: vec!["ops".into()], unchanged: 2, ..HooksChange::default() };
        let with_hooks = ConfigurationChange { hooks, ..rules.clone() };
        assert_eq!(told(&with_hooks, false), ["hooks added: ops", "unchanged: 1 rule, 2 hooks"]);
        let rules = ConfigurationChange { added: vec!["a".into(), "b".into()], reordered: true, ..rules };
        assert_eq!(
            told(&rules, false),
            ["added: a, b", "the rules come in another order", "unchanged: 1 rule"]
        );
    }
}
