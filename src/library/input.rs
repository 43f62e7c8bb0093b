//! What is handed over: a file, or what becomes one.
//!
//! A stream is written as a hidden file beside the one that it is to be, and gets that name once it is whole and durable: so a kill leaves
//! no half of it to be taken, and a service that watches the folder can take it as well as this process.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::LandfallError;
use crate::decode;
use crate::durable_fs;
use crate::engine::{self, Act, Door, Refusal};
use crate::model::identity::FileIdentity;
use crate::model::job_id::JobId;
use crate::model::rule::{Mode, Rule, Settings};
use crate::record::Joiner;

/// Records that are put together at once.
const BATCH_BYTES: usize = 1 << 20;

/// What is handed to [`super::Landfall::ingest`].
pub struct Input<'a> {
    path: PathBuf,
    content: Content<'a>,
    header: Option<Vec<u8>>,
    is_retired: bool,
}

enum Content<'a> {
    /// It lies there.
    File,
    Reader(Box<dyn Read + 'a>),
    Records(Box<dyn Iterator<Item = Vec<u8>> + 'a>),
}

impl<'a> Input<'a> {
    /// A file that lies there. It stays as it is, unless it is [`Input::retired`].
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), content: Content::File, header: None, is_retired: false }
    }

    /// What a reader gives, packed and encrypted or not: it becomes this file, which must not be there, and ends as the rule says.
    pub fn reader(path: impl Into<PathBuf>, reader: impl Read + 'a) -> Self {
        Self { path: path.into(), content: Content::Reader(Box::new(reader)), header: None, is_retired: true }
    }

    /// Records without their line ends, in UTF-8: likewise. One that would be cut otherwise has the whole refused.
    pub fn records<T: AsRef<[u8]>>(
        path: impl Into<PathBuf>,
        records: impl IntoIterator<Item = T, IntoIter: 'a>,
    ) -> Self {
        let records = records.into_iter().map(|record| record.as_ref().to_vec());
        Self {
            path: path.into(),
            content: Content::Records(Box::new(records)),
            header: None,
            is_retired: true,
        }
    }

    /// The header before the records, where the rule reads one.
    #[must_use]
    pub fn with_header(mut self, header: impl AsRef<[u8]>) -> Self {
        self.header = Some(header.as_ref().to_vec());
        self
    }

    /// A file that lies there is claimed, and archived or deleted as the rule says; else it stays as it is.
    #[must_use]
    pub fn retired(mut self) -> Self {
        self.is_retired = true;
        self
    }

    pub(super) fn hand_over(
        self,
        door: &dyn Door,
        settings: &Settings,
        rule: &str,
    ) -> Result<JobId, LandfallError> {
        let path = std::path::absolute(&self.path)
            .map_err(|source| LandfallError::Input { path: self.path.clone(), source })?;
        let counting = rule_for(settings, rule, &path)?;
        if self.header.is_some() && !matches!(self.content, Content::Records(_)) {
            let what = "was given a header for what has one, or none, itself".to_owned();
            return Err(LandfallError::Rule { rule: rule.to_owned(), what });
        }
        if matches!(self.content, Content::File) {
            let act =
                Act::Ingest { path: path.as_path().into(), rule: rule.to_owned(), retire: self.is_retired };
            return Ok(door.act(&act)?);
        }
        let mut writing = Writing::begin(&path)?;
        match self.content {
            Content::File => {}
            Content::Reader(mut reader) => {
                io::copy(&mut reader, &mut writing.file)
                    .map_err(|error| LandfallError::input(&path, error))?;
            }
            Content::Records(records) => writing.put_records(records, counting, self.header)?,
        }
        let (lies_at, identity) = writing.end()?;
        let act = Act::HandOver { path: lies_at.as_path().into(), rule: rule.to_owned(), identity };
        door.act(&act).map_err(|refusal| taken_back(door, &lies_at, &identity, refusal))
    }
}

/// The rule, or its override, by which a file goes that lies there. One that takes no file is refused: what came of it would be published.
fn rule_for<'s>(settings: &'s Settings, name: &str, path: &Path) -> Result<&'s Rule, LandfallError> {
    let rules = &settings.rules;
    let base = rules.iter().find(|known| known.is_base() && known.name == name);
    let base = base.ok_or_else(|| engine::unknown_rule(rules, name))?;
    let values = base.paths.values_of(path).unwrap_or_default();
    let rule = rules.iter().find(|known| known.is_for(name, &values)).unwrap_or(base);
    match rule.mode {
        Mode::Live => Ok(rule),
        mode => Err(LandfallError::NotLive { rule: name.to_owned(), mode }),
    }
}

/// What nobody but this process could have taken is not left there. Beside a service it stays: its watch may take it any moment, or has,
/// and a service that does not answer may have done what it was asked to.
fn taken_back(door: &dyn Door, path: &Path, identity: &FileIdentity, refusal: Refusal) -> LandfallError {
    let lies_there = durable_fs::identity_at(path).ok().flatten().is_some_and(|found| found == *identity);
    let (path, why) = (path.to_owned(), refusal.to_string());
    match (door.is_service(), lies_there) {
        (false, true) if durable_fs::remove_file(&path).is_ok() => refusal.into(),
        (false, false) => refusal.into(),
        (_, true) => LandfallError::NotTaken { path, why, hint: refusal.hint() },
        (true, false) => LandfallError::TakenUnseen { path, why },
    }
}

impl From<PathBuf> for Input<'_> {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for Input<'_> {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

/// A file that is being written beside the one that it is to be.
struct Writing<'p> {
    path: &'p Path,
    file: BufWriter<NamedTempFile>,
}

impl<'p> Writing<'p> {
    fn begin(path: &'p Path) -> Result<Self, LandfallError> {
        if path.symlink_metadata().is_ok() {
            return Err(LandfallError::Taken { path: path.to_owned() });
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".landfall-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)); // less what the umask takes
        let file = builder.tempfile_in(durable_fs::parent_of(path));
        let file = file.map_err(|error| LandfallError::input(path, error))?;
        Ok(Self { path, file: BufWriter::with_capacity(256 << 10, file) })
    }

    /// All of them, or the first that is not one.
    fn put_records(
        &mut self,
        records: impl Iterator<Item = Vec<u8>>,
        rule: &Rule,
        header: Option<Vec<u8>>,
    ) -> Result<(), LandfallError> {
        let otherwise = |what| LandfallError::Rule { rule: rule.name.clone(), what };
        let mut joiner = Joiner::new(&rule.records, &rule.decode, header).map_err(otherwise)?;
        let (mut batch, mut bytes, mut written) = (Vec::new(), 0, 0);
        for record in records {
            bytes += record.len() + 1;
            batch.push(record);
            if bytes >= BATCH_BYTES {
                self.put(&mut joiner, &mut batch, &mut written)?;
                bytes = 0;
            }
        }
        self.put(&mut joiner, &mut batch, &mut written)?;
        joiner.end().map_err(|reason| LandfallError::Record { number: 1, reason })
    }

    fn put(
        &mut self,
        joiner: &mut Joiner<'_>,
        batch: &mut Vec<Vec<u8>>,
        written: &mut u64,
    ) -> Result<(), LandfallError> {
        let text = joiner.join(batch).map_err(|(at, reason)| {
            let number = *written + at as u64 + 1;
            LandfallError::Record { number, reason }
        })?;
        if *written == 0 && decode::looks_packed(&text) {
            let reason = "what it begins with says that the file is packed, or encrypted".to_owned();
            return Err(LandfallError::Record { number: 1, reason });
        }
        *written += batch.len() as u64;
        batch.clear();
        self.file.write_all(&text).map_err(|error| LandfallError::input(self.path, error))
    }

    /// It has its name, durably: where that is, without links, and what lies there now.
    fn end(self) -> Result<(PathBuf, FileIdentity), LandfallError> {
        let failed = |error: io::Error| LandfallError::input(self.path, error);
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        let folder = durable_fs::real_path(durable_fs::parent_of(self.path)).map_err(failed)?;
        let path = folder.join(self.path.file_name().unwrap_or_default());
        let file = file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        // From here on it lies there, whatever fails.
        let not_taken = |why: String| LandfallError::NotTaken { path: path.clone(), why, hint: None };
        let identity = durable_fs::identity(&file).map_err(|error| not_taken(error.to_string()))?;
        durable_fs::sync_folder(&folder).map_err(|error| not_taken(error.to_string()))?;
        Ok((path, identity))
    }
}
