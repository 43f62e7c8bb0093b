//! What of an operator's acts stands in the audit trail: the command, and what it is about. Never why, nor what a record is to say.

use super::door::Act;
use super::handle::Engine;
use crate::clock;
use crate::model::audit::AuditEvent;
use crate::model::halts::Halting;
use crate::model::os_text::OsText;
use crate::model::pace::PaceSetting;

/// An act on a job, or on a file.
pub(super) fn of_act(engine: &Engine, act: &Act, by: &str) -> AuditEvent {
    let (event, job, file, about) = match act {
        Act::Retry { job, .. } => ("retry", Some(job), None, None),
        Act::AcceptMissing { job } => ("retry_accepting_missing", Some(job), None, None),
        Act::Set { job, priority } => ("set", Some(job), None, Some(format!("priority {}", priority.get()))),
        Act::SetWorkers { job, workers_max } => {
            ("set", Some(job), None, Some(format!("workers {workers_max}")))
        }
        Act::Pause { job } => ("pause", Some(job), None, None),
        Act::Resume { job } => ("resume", Some(job), None, None),
        Act::Abort { job } => ("abort", Some(job), None, None),
        Act::Rerun { job, .. } => ("rerun", Some(job), None, None),
        Act::Abandon { job, .. } => ("abandon", Some(job), None, None),
        Act::DropRecords { job, .. } => ("records_drop", Some(job), None, None),
        Act::RetryRecords { job, .. } => ("records_retry", Some(job), None, None),
        Act::EditRecord { job, number, .. } => {
            ("records_edit", Some(job), None, Some(format!("record {number}")))
        }
        Act::Ingest { path, .. } => ("ingest", None, Some(path), None),
        Act::HandOver { path, .. } => ("hand_over", None, Some(path), None),
        Act::Adopt { path } => ("adopt", None, Some(path), None),
        Act::GiveUp { path } => ("give_up", None, Some(path), None),
    };
    let mut told = AuditEvent::new(clock::now(), event, by);
    told.job = job.and_then(|job| engine.id_of(job).ok());
    (told.source, told.about) = (file.cloned(), about);
    told
}

/// A rule or sender is paused, or goes on.
pub(super) fn of_halting(halting: &Halting, by: &str) -> AuditEvent {
    let (event, scope) = match halting {
        Halting::Pause(scope) => ("pause", scope),
        Halting::Resume(scope) => ("resume", scope),
    };
    let is_all = scope.rule.is_none() && scope.sender.is_none();
    AuditEvent {
        rule: scope.rule.clone(),
        sender: scope.sender.as_deref().map(OsText::from),
        about: is_all.then(|| scope.to_string()),
        ..AuditEvent::new(clock::now(), event, by)
    }
}

/// How fast a rule or a group may work.
pub(super) fn of_pace(setting: &PaceSetting, by: &str) -> AuditEvent {
    AuditEvent { about: Some(setting.of.to_string()), ..AuditEvent::new(clock::now(), "set", by) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::RecordBytes;
    use crate::model::job_id::JobId;
    use crate::store::Store;

    #[test]
    fn an_act_names_its_job_and_nothing_that_was_written_with_it() {
        let engine = Engine::over(Store::in_memory(), &[]);
        let job = JobId::from_parts(7, 7);
        let edit = Act::EditRecord {
            job: job.to_string(),
            number: 3,
            data_bytes: RecordBytes(b"4111 1111".to_vec()),
        };
        let told = of_act(&engine, &edit, "alice");
        assert_eq!(
            (told.event.as_str(), told.by.as_str(), told.about.as_deref()),
            ("records_edit", "alice", Some("record 3"))
        );
        assert!(!serde_json::to_string(&told).expect("JSON").contains("4111"));
    }
}
