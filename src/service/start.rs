//! Which configuration a service starts with: what its files say, or where they are wrong, the one that the last service went by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::{self, Files, Problems, Reading, Stamps, Texts};
use crate::durable_fs;
use crate::model::at_rest::{AtRest, Encrypt};
use crate::model::configuration::KeptConfiguration;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Rule, Service, Settings};
use crate::pipeline::Registry;
use crate::store::{Store, StoreError, WhileTaken};
use crate::telemetry::events;
use crate::watch;

use super::ServiceError;
use super::confine::{self, Confinement};
use super::rules_folder::{self, RulesFolder};

/// How long another command may have the store, at most, before it counts as another service.
const COMMANDS_TAKE: Duration = Duration::from_secs(3);
const OPEN_AGAIN: Duration = Duration::from_millis(50);
/// How long a start waits for who writes the configuration. What is changed after it is read is taken later.
const WRITER_TAKES: Duration = Duration::from_secs(2);
const READ_AGAIN: Duration = Duration::from_millis(50);

/// What a service starts with.
pub(super) struct Start {
    pub settings: Settings,
    pub store: Store,
    pub kept: KeptConfiguration,
    /// What it goes by.
    pub texts: Texts,
    /// Which files count, and how they lay when they were read.
    pub files: Files,
    pub stamps: Stamps,
    /// What is wrong in them: then it goes by what was kept.
    pub wrong: Option<Problems>,
    /// Where the further rules lay that it goes by.
    pub rules_folder: Option<RulesFolder>,
    /// What the service keeps itself to.
    pub confinement: Option<Confinement>,
}

impl Start {
    pub(super) fn read(file: &Path, registry: &Registry) -> Result<Self, ServiceError> {
        config::tell_strays();
        let (mut reading, files, stamps) = read_still(file, registry)?;
        match std::mem::replace(&mut reading.settings, Err(Problems(Vec::new()))) {
            Ok(settings) => Self::by_files(reading, settings, files, stamps, registry),
            Err(problems) => match last_good(&reading, registry) {
                Some((store, kept, settings)) => {
                    let rules_dir = reading.rules_dir.as_deref();
                    let (store, confinement) = confined_again(store, &settings, rules_dir)?;
                    let start = Self::by_last_good(store, kept, settings, files, stamps, problems);
                    Ok(Self { confinement, ..start })
                }
                None => Err(problems.into()),
            },
        }
    }

    /// Encrypts where that is asked for, and goes by what the store does where it is not.
    pub(super) fn go_by_store(&mut self) -> Result<(), StoreError> {
        let Settings { service, rules, .. } = &mut self.settings;
        // The last good configuration may ask for it where the files do not.
        self.store.encrypt_by(&service.at_rest)?;
        if self.store.is_encrypted() {
            service.at_rest.encrypt = Encrypt::Yes;
        }
        config::go_by_store(rules, self.store.is_encrypted());
        Ok(())
    }

    fn by_last_good(
        store: Store,
        kept: KeptConfiguration,
        settings: Settings,
        files: Files,
        stamps: Stamps,
        problems: Problems,
    ) -> Self {
        events::starts_with_last_good(&problems.told(), kept.taken_at);
        let (texts, rules_folder) = (config::texts_of(&kept), RulesFolder::kept(&kept));
        let (wrong, confinement) = (Some(problems), None);
        Self { settings, store, kept, texts, files, stamps, wrong, rules_folder, confinement }
    }

    fn by_files(
        reading: Reading,
        settings: Settings,
        files: Files,
        stamps: Stamps,
        registry: &Registry,
    ) -> Result<Self, ServiceError> {
        let confinement = confine::enter(&settings, reading.rules_dir.as_deref())?;
        let store = open_store(&settings.service)?;
        let before = store.configuration().unwrap_or_else(|error| {
            tracing::warn!(%error, "what the last service went by cannot be read, and is replaced");
            None
        });
        let before = before.filter(|kept| kept.main.as_path() == reading.main);
        if let Some(kept) = &before
            && let Some(lost) =
                rules_folder::loss(RulesFolder::kept(kept).as_ref(), &config::texts_of(kept), &reading)
        {
            let settings = config::read_kept(kept, Some(registry)).map_err(|_| lost.clone())?;
            // Confined by what its files say, of which only further rules are lost.
            let start = Self::by_last_good(store, kept.clone(), settings, files, stamps, lost);
            return Ok(Self { confinement, ..start });
        }
        let rules_folder = RulesFolder::of(&reading);
        let is_same = |kept: &KeptConfiguration| {
            let mounts = [RulesFolder::kept(kept), rules_folder.clone()]
                .map(|folder| folder.map(|folder| folder.mount().to_owned()));
            config::texts_of(kept) == reading.texts && mounts[0] == mounts[1]
        };
        let kept = match before.filter(is_same) {
            Some(kept) => kept,
            None => keep(&store, &reading, rules_folder.as_ref())?,
        };
        let (texts, wrong) = (reading.texts, None);
        Ok(Self { settings, store, kept, texts, files, stamps, wrong, rules_folder, confinement })
    }
}

/// Keeps what a service goes by from now on; before it does, so that a later start never goes by what was before that.
pub(super) fn keep(
    store: &Store,
    reading: &Reading,
    rules_folder: Option<&RulesFolder>,
) -> Result<KeptConfiguration, StoreError> {
    let not_text = || StoreError::Encode { what: "configuration", detail: "a file is no text".to_owned() };
    let kept = config::keep(&reading.main, &reading.texts, clock::now()).ok_or_else(not_text)?;
    let rules_mount = rules_folder.map(|folder| folder.mount().into());
    let kept = KeptConfiguration { rules_mount, ..kept };
    store.keep_configuration(&kept)?;
    Ok(kept)
}

/// The files that count for what was read. Where that is wrong, `others` are those of what the service goes by.
pub(super) fn files_of(reading: &Reading, rules: &[Rule]) -> Files {
    let others: BTreeSet<PathBuf> = rules.iter().flat_map(recipients_files).cloned().collect();
    Files { main: reading.main.clone(), rules_dirs: reading.rules_dir.iter().cloned().collect(), others }
}

/// Files with recipients are read when a rule is made ready; keys and passphrases with each source, so that nobody need tell of them.
pub(super) fn recipients_files(rule: &Rule) -> impl Iterator<Item = &PathBuf> + Clone {
    rule.outputs.values().filter_map(|output| output.recipients_file.as_ref())
}

/// Whether somebody has a file open for writing, also behind a link.
pub(super) fn has_writer(file: &Path) -> bool {
    durable_fs::real_path(file).is_ok_and(|file| watch::is_written(&file))
}

/// Reads the files as they are when nobody writes them, if that is soon. What changes meanwhile is seen when they are read again.
fn read_still(file: &Path, registry: &Registry) -> Result<(Reading, Files, Stamps), ServiceError> {
    let begun = Instant::now();
    let mut files = Files { main: file.to_owned(), ..Files::default() };
    loop {
        let before = files.look();
        let reading = config::read(file, Some(registry))?;
        let rules = reading.settings.as_ref().map_or(&[][..], |settings| &settings.rules);
        let named = files_of(&reading, rules);
        let stamps = named.look();
        // What is read from a pipe can be read once.
        let is_late = begun.elapsed() > WRITER_TAKES || !file.is_file();
        if std::mem::replace(&mut files, named) != files && !is_late {
            continue; // what is named only now must stand still, too
        }
        let is_whole = stamps == before && !reading.texts.keys().any(|file| has_writer(file));
        if is_whole || is_late {
            return Ok((reading, files, stamps));
        }
        std::thread::sleep(READ_AGAIN);
    }
}

/// What the last service went by that had this configuration and this data folder, if it can be used.
fn last_good(reading: &Reading, registry: &Registry) -> Option<(Store, KeptConfiguration, Settings)> {
    let data_dir = reading.data_dir.as_ref()?;
    // What is wrong says by which keys the store is read, as far as it can be read itself, and begins nothing.
    let at_rest = AtRest { encrypt: Encrypt::AsItIs, ..reading.at_rest.clone() };
    let told = |error: &dyn std::fmt::Display| {
        let data_dir = escaped_path(data_dir);
        tracing::debug!(data_dir, %error, "the last good configuration cannot be looked up");
    };
    let store =
        opened(|| Store::open_if_there(data_dir, &at_rest)).inspect_err(|error| told(error)).ok()??;
    let kept = store.configuration().inspect_err(|error| told(error)).ok()??;
    if kept.main.as_path() != reading.main {
        return None;
    }
    let settings = config::read_kept(&kept, Some(registry)).inspect_err(|problems| told(problems)).ok()?;
    (settings.service.data_dir == *data_dir).then_some((store, kept, settings))
}

/// What was kept is known only when the store is open, and its threads run: it is opened once more by a thread that is confined.
fn confined_again(
    store: Store,
    settings: &Settings,
    rules_dir: Option<&Path>,
) -> Result<(Store, Option<Confinement>), ServiceError> {
    if !settings.service.confine {
        return Ok((store, None));
    }
    drop(store);
    let confinement = confine::enter(settings, rules_dir)?;
    Ok((open_store(&settings.service)?, confinement))
}

fn open_store(service: &Service) -> Result<Store, StoreError> {
    opened(|| Store::of_service(service, WhileTaken::Wait))
}

/// Another command may have the store open for a moment.
pub(super) fn opened<T>(open: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(StoreError::InUse { .. }) if begun.elapsed() < COMMANDS_TAKE => {
                std::thread::sleep(OPEN_AGAIN);
            }
            opened => return opened,
        }
    }
}
