//! Reading a trail again, and whether it is whole.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::line::{Line, Unfit};
use super::trail::number_of;
use crate::durable_fs;
use crate::model::audit::{AuditEnd, AuditHead};
use crate::model::os_text::escaped_path;

/// A line is shorter: a job with very many outputs has one for each.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// A trail without a break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// How many lines.
    pub lines: u64,
    /// The number of the first: more than 1 where earlier files lie elsewhere.
    pub first: u64,
    /// The number and hash of the last.
    pub last: Option<(u64, String)>,
    /// Where lines were gone when a service started: it went on behind them, and told so.
    pub gaps: Vec<Break>,
    /// Lines behind the end that the store told: their numbers, and their rows'.
    behind: Vec<(u64, u64)>,
}

impl Sound {
    /// A line that the store does not know, by what it tells after these were read: its number.
    pub(crate) fn stranger(&self, now: &AuditEnd) -> Option<u64> {
        let end = now.head.as_ref().map_or(0, |head| head.seq);
        let is_strange = |(seq, row): &&(u64, u64)| *seq > end && !now.waiting.contains(row);
        self.behind.iter().find(is_strange).map(|(seq, _)| *seq)
    }
}

/// The first place where it is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {why}", escaped_path(file))]
pub(crate) struct Break {
    pub file: PathBuf,
    /// From 1, within the file.
    pub line: u64,
    pub why: String,
}

/// The lines of a file, whatever they are worth; a half one at its end comes without its line end.
fn raw_lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>> + use<>> {
    let mut reader = BufReader::new(durable_fs::open_named(path)?);
    Ok(std::iter::from_fn(move || {
        let mut text = Vec::new();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text) {
            Ok(0) => None,
            Ok(_) => Some(Ok(text)),
            Err(error) => Some(Err(error)),
        }
    }))
}

/// Those lines of files that are whole, for a list.
pub(crate) fn lines_of(files: Vec<PathBuf>) -> impl Iterator<Item = io::Result<Line>> {
    let of_file = |path: PathBuf| -> Box<dyn Iterator<Item = io::Result<Line>>> {
        match raw_lines(&path) {
            Ok(lines) => Box::new(lines.filter_map(|text| match text {
                Ok(text) => Line::read(text.strip_suffix(b"\n")?).ok().map(Ok),
                Err(error) => Some(Err(error)),
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    };
    files.into_iter().flat_map(of_file)
}

/// Whether these files, in this order, are a trail that ends where the store says, or behind that: a service may append meanwhile.
pub(crate) fn verify(files: &[PathBuf], head: Option<&AuditHead>) -> Result<Sound, Break> {
    let mut walk = Walk {
        sound: Sound { lines: 0, first: 0, last: None, gaps: Vec::new(), behind: Vec::new() },
        head,
        has_head: head.is_none(),
    };
    let mut at = (PathBuf::new(), 0);
    for (position, file) in files.iter().enumerate() {
        let is_last = position + 1 == files.len();
        at = (file.clone(), walk.file(file, is_last)?);
    }
    let (file, line) = at;
    match head {
        Some(head) if !walk.has_head => {
            let ends = walk.sound.last.as_ref().map_or(0, |(seq, _)| *seq);
            let why = format!(
                "the trail is cut off: it ends at number {ends}, and the store knows number {}",
                head.seq
            );
            Err(Break { file, line, why })
        }
        _ => Ok(walk.sound),
    }
}

struct Walk<'h> {
    sound: Sound,
    head: Option<&'h AuditHead>,
    /// Whether the line was met that the store knows as the last.
    has_head: bool,
}

impl Walk<'_> {
    /// How many lines the file has.
    fn file(&mut self, path: &Path, is_last: bool) -> Result<u64, Break> {
        let broken = |line, why: String| Break { file: path.to_owned(), line, why };
        let lines = raw_lines(path).map_err(|error| broken(0, format!("it cannot be read: {error}")))?;
        let mut count = 0;
        for text in lines {
            count += 1;
            let text = text.map_err(|error| broken(count, format!("it cannot be read: {error}")))?;
            let Some(text) = text.strip_suffix(b"\n") else {
                // Behind the end that the store knows it is being written, or a crash left it.
                if is_last && self.has_head {
                    return Ok(count - 1);
                }
                return Err(broken(count, "the line has no end".to_owned()));
            };
            self.line(text, path, count).map_err(|why| broken(count, why))?;
        }
        Ok(count)
    }

    fn line(&mut self, text: &[u8], path: &Path, position: u64) -> Result<(), String> {
        let line = Line::read(text).map_err(|unfit| match unfit {
            Unfit::NoLine => "it is no line of a trail".to_owned(),
            Unfit::Changed => "the line was changed: its hash is that of another text".to_owned(),
        })?;
        let is_behind_gap = line.event.event == "trail_broken";
        match &self.sound.last {
            _ if is_behind_gap => {}
            Some((before, _)) if line.seq != before + 1 => {
                return Err(format!("number {} follows number {before}: lines are gone", line.seq));
            }
            Some((_, hash)) if line.prev != *hash => {
                return Err(format!("number {} is not linked to the line before it", line.seq));
            }
            _ => {}
        }
        if position == 1 && number_of(path).is_some_and(|number| number != line.seq) {
            return Err(format!("the file begins with number {}, which is not its name", line.seq));
        }
        if is_behind_gap {
            let why = line.event.about.clone();
            let why = why.unwrap_or_else(|| "lines were gone when the service started".to_owned());
            self.sound.gaps.push(Break { file: path.to_owned(), line: position, why });
        }
        if let Some(head) = self.head.filter(|head| head.seq == line.seq) {
            if head.hash != line.hash {
                return Err(format!("number {} is another line than the store knows", line.seq));
            }
            self.has_head = true;
        }
        if self.sound.lines == 0 {
            self.sound.first = line.seq;
        }
        self.sound.lines += 1;
        if self.head.is_some_and(|head| line.seq > head.seq) {
            self.sound.behind.push((line.seq, line.id));
        }
        self.sound.last = Some((line.seq, line.hash));
        Ok(())
    }
}
