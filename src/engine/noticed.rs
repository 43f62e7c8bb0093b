//! What hooks are told that is no job's new state, and that a tick finds out: file systems that run full, and files that do not come
//! (`expect_every`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::shared::Shared;
use super::trouble::Trouble;
use crate::model::hook::HookEvent;
use crate::model::os_text::OsText;
use crate::telemetry::events;

/// What was told already.
pub(super) type Told = BTreeSet<PathBuf>;

/// At every tick.
pub(super) fn look(shared: &Shared, told: &mut Told) -> Result<(), Trouble> {
    if shared.publishing.aside.is_some() {
        return Ok(()); // the service beside it tells
    }
    tell_disks(shared, told)?;
    tell_silence(shared)
}

fn tell_disks(shared: &Shared, told: &mut Told) -> Result<(), Trouble> {
    let short = shared.resources.disk_space.short();
    told.retain(|folder| short.contains(folder));
    for folder in short {
        if told.contains(&folder) {
            continue;
        }
        shared.store.happened(HookEvent::DiskLow, None, |happened| {
            let shown = OsText::from(folder.as_path());
            happened.message = format!(
                "the file system of {shown} has less room, or fewer inodes, than `service.free_min`: what needs it waits"
            );
            happened.hint = Some("make room there; everything goes on by itself".to_owned());
            happened.path = Some(shown);
        })?;
        told.insert(folder);
    }
    Ok(())
}

fn tell_silence(shared: &Shared) -> Result<(), Trouble> {
    let expectations = &shared.operator.expected;
    let overdue = expectations.overdue(|age| shared.resources.wall_clock.old_before(&shared.store, age));
    for nothing in &overdue {
        let message = nothing.told();
        let rule = Some(nothing.rule.as_str());
        shared
            .store
            .happened(HookEvent::NothingCame, rule, |happened| happened.message.clone_from(&message))?;
        events::nothing_came(&nothing.rule, nothing.sender.as_deref(), &message);
        expectations.note_told(nothing);
    }
    // After it: what was told and is forgotten is told again.
    if let Some(seen) = expectations.news() {
        shared.store.change().said(&seen).apply()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::tests::World;
    use crate::model::expected::{Expect, ExpectOf, Expected};
    use crate::model::hook::{Hook, HookTarget};

    fn hook(events: &[HookEvent]) -> Hook {
        Hook {
            name: "ops".into(),
            events: events.to_vec(),
            rules: Vec::new(),
            target: HookTarget::Command { command: vec!["true".into()], folder: "/".into() },
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn that_nothing_came_is_told_once_and_what_came_is_kept() {
        let world = World::new();
        let (shared, job) = (&world.shared, world.job());
        shared.store.take_hooks(&[hook(&[HookEvent::NothingCame])]).expect("takes it");
        let expect = Expect { every: Duration::ZERO, of: ExpectOf::Rule };
        shared.operator.expected.expect(&job.rule, expect);
        let mut told = Told::new();
        look(shared, &mut told).expect("looks"); // from now on something is expected
        while shared.store.event_after("ops", 0).expect("reads").is_none() {
            look(shared, &mut told).expect("looks");
        }
        look(shared, &mut told).expect("looks");
        let (first, happened) = shared.store.event_after("ops", 0).expect("reads").expect("is there");
        assert_eq!((happened.event, happened.rule), (HookEvent::NothingCame, Some(job.rule.clone())));
        assert_eq!(shared.store.event_after("ops", first).expect("reads"), None, "once");
        shared.operator.expected.note(&job);
        look(shared, &mut told).expect("looks");
        assert_ne!(shared.store.said::<Expected>().expect("reads"), Expected::default());
    }
}
