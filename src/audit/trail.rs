//! The files of a trail: where they lie, and how lines are appended to the last.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::line::{Line, NO_LINE};
use crate::clock;
use crate::durable_fs::{self, FsError, OpenTo};
use crate::model::audit::{AuditEvent, AuditHead, SERVICE};

/// A file that is longer is not appended to any more.
const FILE_BYTES_MAX: u64 = 64 << 20;
const ENDING: &str = ".jsonl";

/// In the data folder.
pub(crate) fn folder_of(data_dir: &Path) -> PathBuf {
    data_dir.join("audit")
}

/// The files in a folder, in order, each with the number of its first line; none where there is no folder.
pub(crate) fn files_of(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match durable_fs::list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path;
        files.extend(number_of(&path).map(|number| (number, path)));
    }
    files.sort();
    Ok(files)
}

pub(super) fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(ENDING)?.parse().ok()
}

fn name_of(number: u64) -> String {
    format!("{number:020}{ENDING}")
}

/// Who appends.
pub(super) struct Appender {
    folder: PathBuf,
    file: Option<File>,
    head: AuditHead,
}

/// What a start found behind the end that the store knows.
pub(super) struct Found {
    pub appender: Appender,
    /// Rows that have their lines already.
    pub written: Vec<u64>,
    /// Lines are gone that the store knows: their number.
    pub lost: Option<String>,
}

/// Why a trail cannot be gone on with.
enum Astray {
    /// The system refused, and may not the next time.
    Unread(io::Error),
    /// What lies there is not what the store knows.
    Lost(String),
}

impl From<io::Error> for Astray {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

impl Appender {
    /// Goes on where the trail ends: in the store's word, or behind it with lines whose rows still wait to be written down.
    pub(super) fn begin(folder: &Path, head: Option<AuditHead>, waiting: &[u64]) -> Result<Found, FsError> {
        durable_fs::make_folder(folder, OpenTo::Owner)?;
        let failed = |error| FsError::new("go on with the audit trail in", folder, error);
        let files = files_of(folder).map_err(failed)?;
        let is_known = head.is_some() || files.is_empty();
        let none = AuditHead { seq: 0, hash: NO_LINE.to_owned(), file: 1, length: 0 };
        let mut appender = Self { folder: folder.to_owned(), file: None, head: head.unwrap_or(none) };
        let caught_up = if is_known {
            appender.catch_up(waiting)
        } else {
            Err(Astray::Lost("the store does not know the trail that lies there".to_owned()))
        };
        match caught_up {
            Ok(written) => Ok(Found { appender, written, lost: None }),
            // Nothing is known of what lies there: it is tried again.
            Err(Astray::Unread(error)) => Err(failed(error)),
            Err(Astray::Lost(why)) => {
                let lost = format!("the trail does not end as the store knows it: {why}");
                appender.file = None;
                appender.head.seq = appender.head.seq.max(last_number(&files).map_err(failed)?);
                Ok(Found { appender, written: Vec::new(), lost: Some(lost) })
            }
        }
    }

    /// Whole lines behind the end that the store knows were written before a crash, if their rows still wait. What is half is cut off, and so is
    /// what begins with a line that has holes: a power cut leaves zeros where a block did not arrive. Anything else is somebody else's.
    fn catch_up(&mut self, waiting: &[u64]) -> Result<Vec<u64>, Astray> {
        let mut written = Vec::new();
        loop {
            let path = self.path();
            let mut file = match durable_fs::open_to_write(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.head.seq == 0 => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Astray::Lost(format!("{} is not there", name_of(self.head.file))));
                }
                opened => opened?,
            };
            if file.metadata()?.len() < self.head.length {
                return Err(Astray::Lost(format!("{} is shorter than it was", name_of(self.head.file))));
            }
            let begin = self.head.length;
            file.seek(SeekFrom::Start(begin))?;
            let mut rest = Vec::new();
            file.read_to_end(&mut rest)?;
            for text in rest.split_inclusive(|byte| *byte == b'\n') {
                let line = text.strip_suffix(b"\n").and_then(|text| Line::read(text).ok());
                let follows = |line: &Line| {
                    line.seq == self.head.seq + 1 && line.prev == self.head.hash && waiting.contains(&line.id)
                };
                let Some(line) = line.filter(follows) else {
                    if text.ends_with(b"\n") && !text.contains(&0) {
                        let why =
                            format!("behind number {} stands a line that it does not know", self.head.seq);
                        return Err(Astray::Lost(why));
                    }
                    break;
                };
                written.push(line.id);
                self.head.seq = line.seq;
                self.head.length += text.len() as u64;
                self.head.hash = line.hash;
            }
            // After a sync that failed they may be in memory alone, and pass for written: they are written again.
            let kept = usize::try_from(self.head.length - begin).map_err(io::Error::other)?;
            file.seek(SeekFrom::Start(begin))?;
            file.write_all(rest.get(..kept).unwrap_or_default())?;
            file.set_len(self.head.length)?;
            file.sync_all()?;
            self.file = Some(file);
            if !self.folder.join(name_of(self.head.seq + 1)).try_exists()? || self.head.length == 0 {
                break;
            }
            (self.head.file, self.head.length) = (self.head.seq + 1, 0);
        }
        match files_of(&self.folder)?.pop() {
            Some((last, _)) if last > self.head.file => {
                Err(Astray::Lost(format!("it does not know {}", name_of(last))))
            }
            _ => Ok(written),
        }
    }

    pub(super) fn head(&self) -> &AuditHead {
        &self.head
    }

    fn path(&self) -> PathBuf {
        self.folder.join(name_of(self.head.file))
    }

    /// Appends these, durably. Where it fails the file is taken up anew by the next call.
    pub(super) fn append(
        &mut self,
        events: impl IntoIterator<Item = (u64, AuditEvent)>,
    ) -> Result<(), FsError> {
        if self.file.is_none() || self.head.length >= FILE_BYTES_MAX {
            self.next_file()?;
        }
        let mut head = self.head.clone();
        let mut text = String::new();
        for (id, event) in events {
            let written = Line::written(head.seq + 1, id, event, &head.hash);
            let (line, hash) = written.map_err(|error| self.failed(error.into()))?;
            (head.seq, head.hash, head.length) = (head.seq + 1, hash, head.length + line.len() as u64);
            text.push_str(&line);
        }
        let path = self.path();
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        // What a call that failed left behind is written over.
        let from = self.head.length;
        let appended = file.set_len(from).and_then(|()| file.seek(SeekFrom::Start(from)));
        let appended = appended.and_then(|_| file.write_all(text.as_bytes()));
        appended.map_err(|error| FsError::new("append to", &path, error))?;
        durable_fs::sync_data(file, &path)?;
        self.head = head;
        Ok(())
    }

    fn failed(&self, error: io::Error) -> FsError {
        FsError::new("append to", &self.path(), error)
    }

    /// A new one, called after the line that comes next.
    fn next_file(&mut self) -> Result<(), FsError> {
        let number = self.head.seq + 1;
        let path = self.folder.join(name_of(number));
        let file = durable_fs::create_private(&path)?; // none lies there, but one that a crash left empty
        durable_fs::sync_folder(&self.folder)?;
        self.file = Some(file);
        (self.head.file, self.head.length) = (number, 0);
        Ok(())
    }

    /// The first line behind lines that are gone.
    pub(super) fn tell_lost(&mut self, lost: &str) -> Result<(), FsError> {
        let event = AuditEvent {
            about: Some(lost.to_owned()),
            ..AuditEvent::new(clock::now(), "trail_broken", SERVICE)
        };
        self.append([(0, event)])
    }
}

/// A number that no line in these files is behind.
fn last_number(files: &[(u64, PathBuf)]) -> io::Result<u64> {
    let Some((number, path)) = files.last() else { return Ok(0) };
    let mut text = Vec::new();
    durable_fs::open_source(path)?.read_to_end(&mut text)?;
    let lines = text.split(|byte| *byte == b'\n').filter_map(|text| Line::read(text).ok());
    Ok(lines.map(|line| line.seq).max().unwrap_or_default().max(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: &str) -> AuditEvent {
        AuditEvent::new(clock::now(), what, SERVICE)
    }

    fn begun(folder: &Path, head: Option<AuditHead>) -> (Appender, Vec<u64>) {
        let found = Appender::begin(folder, head, &[1, 2, 3]).expect("begins");
        assert_eq!(found.lost, None);
        (found.appender, found.written)
    }

    fn texts(folder: &Path) -> Vec<String> {
        let files = files_of(folder).expect("lists");
        files.into_iter().map(|(_, path)| std::fs::read_to_string(path).expect("reads")).collect()
    }

    #[test]
    fn whatever_of_the_last_lines_is_there_after_a_crash_each_event_has_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut appender, _) = begun(folder.path(), None);
        appender.append([(1, event("a"))]).expect("appends");
        let durable = appender.head().clone();
        appender.append([(2, event("b")), (3, event("c"))]).expect("appends");
        let whole = texts(folder.path()).remove(0);
        let path = folder.path().join(name_of(1));
        for length in usize::try_from(durable.length).expect("fits")..=whole.len() {
            std::fs::write(&path, &whole[..length]).expect("cuts");
            let (mut appender, written) = begun(folder.path(), Some(durable.clone()));
            let left = [(2, event("b")), (3, event("c"))].into_iter().filter(|(id, _)| !written.contains(id));
            appender.append(left).expect("appends");
            let text = texts(folder.path()).remove(0);
            let lines: Vec<Line> =
                text.lines().map(|line| Line::read(line.as_bytes()).expect("is one")).collect();
            let order: Vec<(u64, u64)> = lines.iter().map(|line| (line.seq, line.id)).collect();
            assert_eq!(order, [(1, 1), (2, 2), (3, 3)], "cut to {length}");
            assert!(lines.is_sorted_by(|one, next| next.prev == one.hash));
        }
    }

    #[test]
    fn blocks_of_the_last_lines_that_did_not_arrive_cost_no_event_its_line() {
        const BLOCK_BYTES: usize = 64;
        let folder = tempfile::tempdir().expect("a folder");
        let (mut appender, _) = begun(folder.path(), None);
        appender.append([(1, event("a"))]).expect("appends");
        let durable = appender.head().clone();
        appender.append([(2, event("b")), (3, event("c"))]).expect("appends");
        let whole = texts(folder.path()).remove(0).into_bytes();
        let path = folder.path().join(name_of(1));
        for from in (usize::try_from(durable.length).expect("fits")..whole.len()).step_by(BLOCK_BYTES) {
            let mut torn = whole.clone();
            let upto = whole.len().min(from + BLOCK_BYTES);
            torn[from..upto].fill(0);
            std::fs::write(&path, &torn).expect("writes");
            let (mut appender, written) = begun(folder.path(), Some(durable.clone()));
            let left = [(2, event("b")), (3, event("c"))].into_iter().filter(|(id, _)| !written.contains(id));
            appender.append(left).expect("appends");
            let text = texts(folder.path()).remove(0);
            let lines = text.lines().map(|line| Line::read(line.as_bytes()).expect("is one"));
            let order: Vec<(u64, u64)> = lines.map(|line| (line.seq, line.id)).collect();
            assert_eq!(order, [(1, 1), (2, 2), (3, 3)], "a hole from {from}");
        }
    }

    #[test]
    fn where_lines_are_gone_the_trail_goes_on_in_a_new_file_that_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut appender, _) = begun(folder.path(), None);
        appender.append([(1, event("a")), (2, event("b"))]).expect("appends");
        let head = appender.head().clone();
        std::fs::write(folder.path().join(name_of(1)), "").expect("empties");
        let mut found = Appender::begin(folder.path(), Some(head), &[]).expect("begins");
        found.appender.tell_lost(&found.lost.expect("is told")).expect("tells");
        let texts = texts(folder.path());
        let line = Line::read(texts[1].trim_end().as_bytes()).expect("is one");
        assert_eq!((line.seq, line.event.event.as_str(), texts.len()), (3, "trail_broken", 2));
    }

    #[test]
    fn a_store_that_knows_no_trail_leaves_the_one_that_lies_there_as_it_is_and_says_so_in_a_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut appender, _) = begun(folder.path(), None);
        appender.append([(1, event("a")), (2, event("b"))]).expect("appends");
        let before = texts(folder.path());
        let mut found = Appender::begin(folder.path(), None, &[1, 2]).expect("begins");
        found.appender.tell_lost(&found.lost.expect("is told")).expect("tells");
        let after = texts(folder.path());
        assert_eq!((&after[..1], after.len()), (&before[..], 2));
        assert!(after[1].contains("\"seq\":3") && after[1].contains("trail_broken"), "{after:?}");
    }

    #[test]
    fn a_line_that_somebody_else_put_behind_the_end_is_not_taken_for_one_of_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut appender, _) = begun(folder.path(), None);
        appender.append([(1, event("a"))]).expect("appends");
        let head = appender.head().clone();
        appender.append([(7, event("forged"))]).expect("appends");
        let before = texts(folder.path());
        let found = Appender::begin(folder.path(), Some(head), &[2]).expect("begins");
        assert!(found.lost.is_some_and(|lost| lost.contains("behind number 1")));
        assert_eq!(texts(folder.path()), before);
    }

    #[test]
    fn a_crash_behind_the_end_of_a_file_goes_on_in_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut appender, _) = begun(folder.path(), None);
        appender.append([(1, event("a"))]).expect("appends");
        let head = appender.head().clone();
        appender.next_file().expect("is made");
        appender.append([(2, event("b"))]).expect("appends");
        let (mut appender, written) = begun(folder.path(), Some(head));
        assert_eq!(written, [2]);
        appender.append([(3, event("c"))]).expect("appends");
        let texts = texts(folder.path());
        assert_eq!((texts.len(), texts[1].lines().count()), (2, 2));
    }
}
