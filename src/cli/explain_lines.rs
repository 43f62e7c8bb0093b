//! What is known of a file besides the rules, line by line.

use jiff::Timestamp;

use super::view::{self, bytes};
use crate::durable_fs::Kind;
use crate::listing::explain_found::Found;
use crate::model::file_known::FileKept;
use crate::model::os_text::escaped_path;

/// Line by line.
pub(super) fn lines(found: &Found, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let age = |at: Timestamp| view::age(at, now);
    if found.is_gone && found.seen.is_some() {
        lines.push("it is gone: the service, which waited for it, sees that at its next look".to_owned());
    } else if let Some(seen) = &found.seen {
        let late = if seen.is_late { " (late: longer than `ready.late_after`)" } else { "" };
        lines.push(format!("waits: {}{late}", view::printable(seen.reason.as_bytes(), usize::MAX)));
        lines.push(format!(
            "  for that since {}, seen first {} ago, unchanged since {}{}",
            age(seen.reason_since),
            age(seen.first_seen_at),
            age(seen.still_since),
            seen.next_look_at.map_or_else(String::new, |at| format!(
                ", looked at again in {} at the latest",
                age_until(now, at)
            ))
        ));
        let sizes: Vec<_> =
            seen.sizes.iter().map(|size| format!("{} ({} ago)", bytes(size.bytes), age(size.at))).collect();
        lines.push(format!("  sizes seen: {}", sizes.join(", ")));
    } else if let Some((path, reason)) = &found.held_up {
        lines.push(format!("waits: {path}: {}", view::printable(reason.as_bytes(), usize::MAX)));
    } else if !found.is_service {
        lines.push("no service is running: nobody watches for it".to_owned());
    }
    if let Some((path, reason)) = &found.folder_note {
        lines.push(format!("its folder {path}: {}", view::printable(reason.as_bytes(), usize::MAX)));
    }
    // Those of a file that a job took went with it.
    let companions = found.companions.iter().filter(|_| !found.is_gone || found.jobs.is_empty());
    for (key, path, kind) in companions {
        let there = match kind {
            Ok(Some(Kind::File)) => "is there".to_owned(),
            Ok(Some(kind)) => format!("is {kind}, and only a regular file counts"),
            Ok(None) => "is not there".to_owned(),
            Err(error) => format!("cannot be looked at: {error}"),
        };
        lines.push(format!("its {key} (`ready.{key}`): {} {there}", escaped_path(path)));
    }
    if let Some(kept) = &found.kept {
        lines.push(told_kept(found, kept, &age(kept.at)));
    }
    if let (None, None, Some(why)) = (&found.kept, &found.seen, &found.not_taken) {
        lines.push(format!("not taken: {}", view::printable(why.as_bytes(), usize::MAX)));
    }
    for (part, job) in &found.jobs {
        let age = age(job.created_at);
        let what = if *part == "source" { String::new() } else { format!(" (this is its {part})") };
        lines.push(format!(
            "job {}: {} under rule \"{}\", claimed {age} ago{what}",
            job.id, job.state, job.rule
        ));
        if let Some(waiting) = &job.waiting {
            let detail = view::printable(waiting.detail.as_bytes(), usize::MAX);
            lines.push(format!("  it waits: {detail}"));
        }
    }
    lines
}

fn told_kept(found: &Found, kept: &FileKept, age: &str) -> String {
    let lay_at = kept.lay_at.as_ref().map(|lay| format!(" as {lay}")).unwrap_or_default();
    if kept.job.is_none() {
        let rule = &kept.rule;
        return format!(
            "adopted {age} ago{lay_at} under rule \"{rule}\": not taken as long as it is the same (`landfall adopt --undo`)"
        );
    }
    let is_elsewhere = kept.lay_at.is_some() || found.taken_here.is_some();
    let under = if is_elsewhere { format!("{lay_at} under rule \"{}\"", kept.rule) } else { String::new() };
    // One that waits is told so there.
    let way = found.taken_here.as_ref().filter(|_| found.seen.is_none());
    let way = way.map(|way| format!("; {way}")).unwrap_or_default();
    let became = kept.became();
    format!("kept, {age} ago{under}: {became}; not taken again as long as it is the same{way}")
}

/// How long until then, as ages are told.
fn age_until(now: Timestamp, at: Timestamp) -> String {
    view::age(now, at)
}
