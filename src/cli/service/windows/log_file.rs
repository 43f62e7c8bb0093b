//! The log of a service that has no standard error: a file, and so many older ones beside it (`landfall.log.1` is the newest of them).
//!
//! A file that somebody else holds cannot be renamed on Windows: then the log goes on in it, and the change of files is tried again a
//! while later. No line is lost for that.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::durable_fs::{self, FsError};

/// A file gets no longer than this, and one block of lines.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Older files.
const OLDER_MAX: usize = 9;

pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    /// From this length on another file is begun.
    change_at: u64,
    bytes_max: u64,
}

impl LogFile {
    /// Goes on in the file that is there.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Self::with_max(path, FILE_BYTES_MAX)
    }

    fn with_max(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let mut log = Self { path, file: None, length: 0, change_at: bytes_max, bytes_max };
        log.open_file()?;
        Ok(log)
    }

    fn open_file(&mut self) -> io::Result<&mut File> {
        let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.length = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    /// The file and all older ones get the next number.
    fn change(&mut self) {
        self.file = None;
        let moved = self.move_all();
        self.change_at = match moved {
            Ok(()) => self.bytes_max,
            Err(_) => self.length + self.bytes_max / 10,
        };
    }

    /// The file itself goes aside first: where that cannot be, because somebody holds it, each older one stays where it is. Where one of
    /// those is held, the file stays aside, and the next change begins with it.
    fn move_all(&self) -> Result<(), FsError> {
        let mut aside = self.path.as_os_str().to_owned();
        aside.push(".next");
        let aside = PathBuf::from(aside);
        if aside.is_file() {
            self.make_newest(&aside)?;
        }
        durable_fs::rename_replace(&self.path, &aside)?;
        self.make_newest(&aside)
    }

    /// Older ones make room up to the first number that is free: the oldest goes only where all are taken.
    fn make_newest(&self, aside: &Path) -> Result<(), FsError> {
        let is_free = |number: &usize| !numbered(&self.path, *number).is_file();
        let free = (1..OLDER_MAX).find(is_free).unwrap_or(OLDER_MAX);
        for number in (1..free).rev() {
            durable_fs::rename_replace(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        durable_fs::rename_replace(aside, &numbered(&self.path, 1)).map(drop)
    }
}

/// 0 is the one that is written.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name.into()
}

impl Write for LogFile {
    /// All of it goes into one file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length > 0 && self.length + bytes.len() as u64 > self.change_at {
            self.change();
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.open_file()?,
        };
        file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LINE: &[u8] = b"0123456789abcdef\n";

    fn world() -> (tempfile::TempDir, PathBuf, LogFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("landfall.log");
        let log = LogFile::with_max(path.clone(), 3 * LINE.len() as u64).expect("opens");
        (folder, path, log)
    }

    fn lengths(path: &Path) -> Vec<u64> {
        let length = |number| fs::metadata(numbered(path, number)).map(|found| found.len()).ok();
        (0..).map_while(length).map(|length| length / LINE.len() as u64).collect()
    }

    #[test]
    fn a_full_file_gets_a_number_and_so_many_are_kept() {
        let (_folder, path, mut log) = world();
        for _ in 0..7 {
            log.write_all(LINE).expect("writes");
        }
        assert_eq!(lengths(&path), [1, 3, 3]);
        for _ in 0..100 {
            log.write_all(LINE).expect("writes");
        }
        let lengths = lengths(&path);
        assert_eq!(lengths.len(), 1 + OLDER_MAX);
        assert!(lengths[1..].iter().all(|lines| *lines == 3), "{lengths:?}");
    }

    #[test]
    fn the_next_start_goes_on_in_the_file() {
        let (_folder, path, mut log) = world();
        log.write_all(LINE).expect("writes");
        let mut next = LogFile::with_max(path.clone(), 3 * LINE.len() as u64).expect("opens");
        for _ in 0..3 {
            next.write_all(LINE).expect("writes");
        }
        assert_eq!(lengths(&path), [1, 3]);
    }

    /// Here a folder lies in the way; on Windows a file that is held does.
    #[test]
    fn a_file_that_cannot_be_renamed_is_written_on_and_costs_neither_a_line_nor_an_older_file() {
        let (_folder, path, mut log) = world();
        let aside = path.with_extension("log.next");
        fs::create_dir_all(aside.join("in the way")).expect("makes");
        for number in 1..=OLDER_MAX {
            fs::write(numbered(&path, number), number.to_string()).expect("writes");
        }
        for _ in 0..30 {
            log.write_all(LINE).expect("writes");
        }
        assert_eq!(fs::read(&path).expect("reads"), LINE.repeat(30));
        for number in 1..=OLDER_MAX {
            assert_eq!(fs::read_to_string(numbered(&path, number)).expect("is there"), number.to_string());
        }
        fs::remove_dir_all(&aside).expect("removes");
        for _ in 0..2 {
            log.write_all(LINE).expect("writes");
        }
        assert_eq!(
            fs::read_to_string(numbered(&path, 2)).expect("is there"),
            "1",
            "the change is tried again"
        );
    }

    #[test]
    fn a_change_that_was_broken_off_is_finished_and_the_oldest_goes_for_want_of_a_number() {
        let (_folder, path, mut log) = world();
        fs::write(path.with_extension("log.next"), "aside").expect("writes");
        for number in [1, 3] {
            fs::write(numbered(&path, number), number.to_string()).expect("writes");
        }
        for _ in 0..4 {
            log.write_all(LINE).expect("writes");
        }
        let text = |number| fs::read_to_string(numbered(&path, number)).expect("is there");
        assert_eq!([2, 3, 4].map(text), ["aside", "1", "3"]);
        assert_eq!(lengths(&path)[..2], [1, 3]);
    }

    /// A number that is held: the file stays aside, whole, and the log goes on.
    #[cfg(windows)]
    #[test]
    fn an_older_file_that_is_held_costs_no_line_of_any_file() {
        use std::os::windows::fs::OpenOptionsExt as _;
        const SHARE_READ_WRITE: u32 = 3;
        let (_folder, path, mut log) = world();
        fs::write(numbered(&path, 1), "older").expect("writes");
        let held = numbered(&path, 1);
        let reader = OpenOptions::new().read(true).share_mode(SHARE_READ_WRITE).open(held).expect("opens");
        for _ in 0..8 {
            log.write_all(LINE).expect("writes");
        }
        assert_eq!(fs::read_to_string(numbered(&path, 1)).expect("is there"), "older");
        let aside = fs::read(path.with_extension("log.next")).expect("is there");
        assert_eq!([aside, fs::read(&path).expect("reads")].concat(), LINE.repeat(8));
        drop(reader);
        for _ in 0..3 {
            log.write_all(LINE).expect("writes");
        }
        assert_eq!(fs::read_to_string(numbered(&path, 3)).expect("is there"), "older");
    }

    #[cfg(windows)]
    #[test]
    fn a_reader_that_lets_nobody_rename_the_file_loses_no_line() {
        use std::os::windows::fs::OpenOptionsExt as _;
        const SHARE_READ_WRITE: u32 = 3;
        let (_folder, path, mut log) = world();
        log.write_all(LINE).expect("writes");
        let reader = OpenOptions::new().read(true).share_mode(SHARE_READ_WRITE).open(&path).expect("opens");
        for _ in 0..3 {
            log.write_all(LINE).expect("writes");
        }
        assert_eq!(fs::read(&path).expect("reads"), LINE.repeat(4));
        drop(reader);
        for _ in 0..2 {
            log.write_all(LINE).expect("writes");
        }
        assert!(numbered(&path, 1).is_file(), "the change is tried again");
    }
}
