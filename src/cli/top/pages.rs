//! Tells the text of the page that is open, as long as it is: on a thread of its own, so that it does not wait for a look at all jobs.

use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::desk::Desk;
use super::happenings::Happening;
use super::model::{News, Page};
use crate::cli::{show, view};
use crate::engine::{Door, Refusal};
use crate::listing::Stop;
use crate::model::files_in_view::FileWaiting;

/// The text is told anew so often.
const EVERY: Duration = Duration::from_secs(1);
/// A text is followed by so many times what it took.
const PAUSE_FOR_COST: u32 = 30;
const LINES_MAX: usize = 2000;

/// Until nobody listens any more.
pub(super) fn tell(desk: &Desk, to: &SyncSender<Happening>) {
    let (mut last, mut pause) = (None, EVERY);
    loop {
        last = desk.wanted_after(pause, last);
        pause = EVERY;
        let (Some(page), Some(service)) = (last, desk.service()) else { continue };
        let begun = Instant::now();
        let text = text_of(service.as_ref(), page);
        pause = pause.max(begun.elapsed() * PAUSE_FOR_COST);
        if to.send(Happening::News(News::Text(page, text))).is_err() {
            return;
        }
    }
}

/// The text of a page as the commands print it; why there is none.
fn text_of(door: &dyn Door, page: Page) -> Vec<String> {
    let mut text = Vec::new();
    let printed = match page {
        Page::Job(id) => {
            door.show(&id.to_string()).map_err(Stop::from).and_then(|job| show::print_job(&mut text, &job))
        }
        Page::Files => return files_waiting(door),
        Page::Attention | Page::Help => return Vec::new(),
    };
    if let Err(stop) = printed {
        return vec![stop.to_string()];
    }
    String::from_utf8_lossy(&text).lines().take(LINES_MAX).map(str::to_owned).collect()
}

fn files_waiting(door: &dyn Door) -> Vec<String> {
    let files = door.files_waiting(Some(LINES_MAX + 1)).take(LINES_MAX + 1);
    let told = |file: Result<FileWaiting, Refusal>| match file {
        Ok(file) => format!("{}: {}", file.path, view::printable(file.reason.as_bytes(), usize::MAX)),
        Err(refusal) => refusal.to_string(),
    };
    let mut lines: Vec<String> = files.map(told).collect();
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        lines.push("…: `landfall jobs --json` has them all".to_owned());
    }
    if lines.is_empty() {
        lines.push("no file waits".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::model::job_view::tests::sample_job;
    use crate::store::Store;

    #[test]
    fn a_page_has_the_text_of_its_command() {
        let store = Store::in_memory();
        store.change().job(&sample_job()).apply().expect("applied");
        let door = Engine::over(store, &[]);
        let text = text_of(&door, Page::Job(sample_job().id));
        assert!(text.iter().any(|line| line == "timeline"), "{text:#?}");
        let missing = text_of(&door, Page::Job(sample_job().id.successor()));
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert_eq!(text_of(&door, Page::Files), ["no file waits"]);
    }
}
