//! Server-sent events: each change of a job, as whoever asks is told of it.

use std::time::{Duration, Instant};

use super::params::Asked;
use super::pipe::Giver;
use crate::engine::{Door, Refusal};
use crate::model::notice::Notice;
use crate::model::shown_json;

/// What lies between the two may cut a connection on which nothing comes.
const COMMENT_EVERY: Duration = Duration::from_secs(10);

/// Tells until the reader is gone, the engine ends, or `stops`.
pub(super) fn tell(door: &dyn Door, asked: &Asked, out: &mut Giver, stops: impl Fn() -> bool) {
    let mut sent_at = Instant::now();
    for notice in door.subscribe() {
        if stops() || out.is_unread() {
            return;
        }
        let event = match notice {
            Ok(Notice::Quiet) if sent_at.elapsed() < COMMENT_EVERY => continue,
            Ok(Notice::Changed(change)) if !is_asked_for(&change, asked) => continue,
            notice => event_of(notice),
        };
        if write(out, &event).is_err() {
            return;
        }
        sent_at = Instant::now();
    }
}

fn is_asked_for(change: &crate::model::notice::JobChange, asked: &Asked) -> bool {
    let is_rule = asked.text("rule").is_none_or(|rule| rule == change.rule);
    is_rule && asked.text("job").is_none_or(|job| job == change.job.to_string())
}

fn event_of(notice: Result<Notice, Refusal>) -> String {
    match notice {
        Ok(Notice::Quiet) => ":\n\n".to_owned(),
        Ok(Notice::ReadAnew) => "event: read_anew\ndata: {}\n\n".to_owned(),
        Ok(Notice::Changed(change)) => {
            let json = shown_json::to_string(&change).unwrap_or_default(); // plain data serializes
            format!("event: job\ndata: {json}\n\n")
        }
        Err(refusal) => {
            let json = serde_json::json!({ "message": refusal.to_string(), "hint": refusal.hint() });
            format!("event: ended\ndata: {}\n\n", shown_json::to_string(&json).unwrap_or_default())
        }
    }
}

fn write(out: &mut Giver, event: &str) -> std::io::Result<()> {
    std::io::Write::write_all(out, event.as_bytes())?;
    out.send()
}
