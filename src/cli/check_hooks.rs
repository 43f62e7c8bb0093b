//! What `landfall check` says of hooks that are right in themselves: what they are told by, and what they are never told.

use std::path::Path;

use super::check_about::{Finding, Level};
use super::check_rights;
use super::check_warnings::{lack_of_file, lack_of_program};
use crate::config::Places;
use crate::model::hook::{Hook, HookEvent, HookTarget};
use crate::model::post_url::PostUrl;
use crate::model::rule::{OnRecordError, Rule, Settings};
use crate::model::traces::Collector;
use crate::posting::judge_token;

pub(super) fn find(settings: &Settings, places: &Places) -> Vec<Finding> {
    let mut findings = traces(settings, places);
    for (position, hook) in settings.hooks.iter().enumerate() {
        let mut warn = |key: &str, message: String, hint: &str| {
            findings.push(Finding {
                level: Level::Warning,
                problem: places.of_hook(position, key, message, hint),
            });
        };
        target(settings, hook, &mut warn);
        for (event, lack, hint) in never_told(&settings.rules, hook) {
            warn("events", format!("this hook is never told \"{event}\": {lack}"), hint);
        }
    }
    findings
}

fn target(settings: &Settings, hook: &Hook, warn: &mut dyn FnMut(&str, String, &str)) {
    match &hook.target {
        HookTarget::Command { command, .. } => {
            let program = command.first().map_or(Path::new(""), Path::new);
            if let Some(lack) = lack_of_program(program, std::env::var_os("PATH").as_deref()) {
                warn("command", lack, "install it, or correct `command`; the service looks in its own PATH");
            }
        }
        HookTarget::Url { url, bearer_file } => posting(settings, url, bearer_file.as_deref(), warn),
    }
}

/// What is wrong with where something is posted to.
fn posting(
    settings: &Settings,
    url: &PostUrl,
    bearer_file: Option<&Path>,
    warn: &mut dyn FnMut(&str, String, &str),
) {
    if !url.is_tls && !url.is_loopback() {
        let message = format!("what is posted to {url} goes there in clear");
        warn("url", message, "write `https://…`, if its receiver takes that");
    }
    let is_us = check_rights::are_the_services(&settings.service.data_dir);
    let Some(file) = bearer_file else { return };
    if let Some((message, hint)) = lack_of_file(file, is_us) {
        warn("bearer_file", message, &hint);
    } else if let Some(message) = judge_token(file).err().filter(|_| is_us) {
        warn("bearer_file", message, "write the token into it, and nothing else: nothing is posted without");
    }
}

/// The same of `service.traces`.
fn traces(settings: &Settings, places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(Collector { url, bearer_file }) = &settings.service.traces {
        posting(settings, url, bearer_file.as_deref(), &mut |key, message, hint| {
            let message = format!("`{key}` of it: {message}");
            let problem = places.of_service("traces", message, hint);
            findings.push(Finding { level: Level::Warning, problem });
        });
    }
    findings
}

/// What no rule that the hook is of gives rise to.
fn never_told<'a>(
    rules: &'a [Rule],
    hook: &'a Hook,
) -> impl Iterator<Item = (HookEvent, &'static str, &'static str)> + 'a {
    let any = |has: fn(&Rule) -> bool| {
        let is_of_hook = |rule: &&Rule| hook.rules.is_empty() || hook.rules.contains(&rule.name);
        rules.iter().filter(is_of_hook).any(has)
    };
    let lacks = [
        (
            HookEvent::SetAside,
            any(|rule| rule.errors.on_record_error != OnRecordError::Fail),
            "with `errors.on_record_error = \"fail\"` no failed record is set aside",
            "ask for \"failed\", or take the event out",
        ),
        (
            HookEvent::RuleStopped,
            any(|rule| rule.errors.stop_after.is_some()),
            "no rule has `errors.stop_after`",
            "add `stop_after = { failures = 5 }` to `[rule.errors]`, or take the event out",
        ),
        (
            HookEvent::Late,
            any(|rule| rule.ready.late_after.is_some()),
            "no rule has `ready.late_after`",
            "set `late_after` in `[rule.ready]`, or take the event out",
        ),
        (
            HookEvent::DeadlineAtRisk,
            any(|rule| rule.deadline.is_some()),
            "no rule has a `deadline`",
            "add `deadline = \"06:00\"` to a rule, or take the event out",
        ),
        (
            HookEvent::NothingCame,
            any(|rule| rule.expect.is_some()),
            "no rule has `expect_every`",
            "add `expect_every = \"24h\"` to a rule, or take the event out",
        ),
        (
            HookEvent::DiskLow,
            hook.rules.is_empty(),
            "a disk is no rule's",
            "take `rules` out, or write a hook of its own for it",
        ),
    ];
    let asks = |event: &HookEvent| hook.events.contains(event);
    lacks
        .into_iter()
        .filter(move |(event, is_there, _, _)| !is_there && asks(event))
        .map(|(event, _, lack, hint)| (event, lack, hint))
}
