//! What a hook is told, as JSON and as variables of a command.

use serde::Serialize;

use crate::model::hook::Happened;
use crate::model::job::Job;
use crate::model::job_view::{JobView, VIEW_VERSION, job_json};
use crate::model::shown_json;

/// A longer one (of a job with many outputs) is left out.
const JOB_BYTES_MAX: usize = 256 << 10;

pub(super) struct Message<'a> {
    pub hook: &'a str,
    pub number: u64,
    pub happened: &'a Happened,
    /// As it is now; it may be gone.
    pub job: Option<Job>,
}

#[derive(Serialize)]
struct MessageView<'a> {
    version: u32,
    hook: &'a str,
    /// The same whenever it is told again.
    id: String,
    #[serde(flatten)]
    happened: &'a Happened,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_now: Option<JobView<'a>>,
}

impl Message<'_> {
    pub(super) fn json(&self) -> String {
        let is_short =
            |job: &&Job| serde_json::to_string(&job_json(job)).is_ok_and(|json| json.len() <= JOB_BYTES_MAX);
        let view = MessageView {
            version: VIEW_VERSION,
            hook: self.hook,
            id: self.number.to_string(),
            happened: self.happened,
            job_now: self.job.as_ref().filter(is_short).map(job_json),
        };
        shown_json::to_string(&view).unwrap_or_default() // plain data serializes
    }

    /// All that a command has of it in its environment.
    pub(super) fn variables(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let Happened { event, rule, job, path, message, .. } = self.happened;
        let mut variables = vec![
            ("LANDFALL_HOOK", self.hook.into()),
            ("LANDFALL_EVENT", event.word().into()),
            ("LANDFALL_EVENT_ID", self.number.to_string().into()),
            // A variable holds no NUL.
            ("LANDFALL_MESSAGE", message.replace('\0', " ").into()),
        ];
        variables.extend(rule.as_ref().map(|rule| ("LANDFALL_RULE", rule.into())));
        variables.extend(job.as_ref().map(|job| ("LANDFALL_JOB", job.to_string().into())));
        variables.extend(path.as_ref().map(|path| ("LANDFALL_PATH", path.as_os_str().to_owned())));
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hook::HookEvent;
    use crate::model::job_view::tests::sample_job;

    #[test]
    fn a_message_has_what_happened_and_the_job_as_it_is_now() {
        let job = sample_job();
        let happened = Happened {
            event: HookEvent::Failed,
            at: jiff::Timestamp::UNIX_EPOCH,
            rule: Some(job.rule.clone()),
            job: Some(job.id),
            path: Some(job.source.path.clone()),
            message: "no such\0column".into(),
            hint: None,
        };
        let mut message = Message { hook: "ops", number: 7, happened: &happened, job: Some(job) };
        let json: serde_json::Value = serde_json::from_str(&message.json()).expect("is JSON");
        assert_eq!(
            (&json["event"], &json["id"], &json["hook"]),
            (&"failed".into(), &"7".into(), &"ops".into())
        );
        assert_eq!(json["job_now"]["id"], json["job"]);
        let of =
            |name| message.variables().into_iter().find(|(found, _)| *found == name).map(|(_, value)| value);
        assert_eq!(of("LANDFALL_MESSAGE"), Some("no such column".into()));
        message.job = None;
        let json: serde_json::Value = serde_json::from_str(&message.json()).expect("is JSON");
        assert!(json.get("job_now").is_none());
    }
}
