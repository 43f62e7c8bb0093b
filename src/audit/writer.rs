//! The thread that appends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::trail::{Appender, Found, folder_of};
use crate::durable_fs::FsError;
use crate::store::{Store, StoreError};

/// How long it waits where nothing comes; it is woken when something does.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// After a disk that failed it.
const PAUSE: Duration = Duration::from_secs(1);
const STOP_LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] FsError),
}

/// Why the trail cannot be written just now, for who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrailTrouble(Arc<Mutex<Option<String>>>);

impl TrailTrouble {
    pub(crate) fn now(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The trail of a service that keeps one.
pub(crate) struct Trail {
    store: Store,
    stops: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Trail {
    pub(crate) fn start(store: &Store, data_dir: &Path, trouble: TrailTrouble) -> std::io::Result<Self> {
        let stops = Arc::<AtomicBool>::default();
        let folder = folder_of(data_dir);
        let writer = Writer { store: store.clone(), folder, stops: Arc::clone(&stops), trouble };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run())?;
        Ok(Self { store: store.clone(), stops, thread })
    }

    /// What is to be written down by now is, if that does not take longer; else the next start does it.
    pub(crate) fn stop(self, within: Duration) {
        self.stops.store(true, Ordering::Release);
        self.store.ring_hooks();
        let until = Instant::now() + within;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(STOP_LOOK_EVERY);
        }
    }
}

struct Writer {
    store: Store,
    folder: PathBuf,
    stops: Arc<AtomicBool>,
    trouble: TrailTrouble,
}

impl Writer {
    fn run(self) {
        let (mut appender, mut is_told) = (None, false);
        loop {
            let stops = self.stops.load(Ordering::Acquire);
            let rung = self.store.wait_for_events(0, Duration::ZERO);
            match self.append(&mut appender) {
                Ok(is_all) => {
                    if std::mem::take(&mut is_told) {
                        self.trouble.note(None);
                        tracing::info!("the audit trail is written again, with all that waited");
                    }
                    if is_all && stops {
                        return self.end();
                    }
                    if is_all {
                        self.store.wait_for_events(rung, LOOK_EVERY);
                    }
                }
                Err(trouble) => {
                    appender = None; // it is taken up anew, by what is durable
                    if stops {
                        return;
                    }
                    if !std::mem::replace(&mut is_told, true) {
                        let hint = "see to that folder; what is to be written down waits in the store";
                        tracing::error!(error = %trouble, hint, "the audit trail cannot be written");
                        self.trouble.note(Some(trouble.to_string()));
                    }
                    self.store.wait_for_events(rung, PAUSE);
                }
            }
        }
    }

    /// What waits, as far as it goes at once; whether that was all.
    fn append(&self, appender: &mut Option<Appender>) -> Result<bool, Trouble> {
        let appender = match appender {
            Some(appender) => appender,
            None => appender.insert(self.begin()?),
        };
        let events = self.store.to_audit()?;
        if events.is_empty() {
            return Ok(true);
        }
        self.store.sync_waiting()?; // nothing is written down that a crash undoes
        let (hides_names, numbers) =
            (self.store.is_encrypted(), events.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        appender.append(
            events
                .into_iter()
                .map(|(number, event)| (number, if hides_names { event.without_names() } else { event })),
        )?;
        self.store.was_audited(&numbers, appender.head())?;
        Ok(false)
    }

    /// Else lines could be cut off unseen that the store knows only from the next start on.
    fn end(&self) {
        if let Err(error) = self.store.sync_waiting() {
            tracing::debug!(%error, "the next start finds by its lines where the trail ends");
        }
    }

    fn begin(&self) -> Result<Appender, Trouble> {
        let waiting: Vec<u64> = self.store.to_audit()?.into_iter().map(|(number, _)| number).collect();
        let Found { mut appender, written, lost } =
            Appender::begin(&self.folder, self.store.audit_head()?, &waiting)?;
        if let Some(lost) = lost {
            tracing::error!(
                why = lost,
                hint = "`landfall audit verify` tells where; see who may write in the data folder",
                "lines of the audit trail are gone"
            );
            appender.tell_lost(&lost)?;
        }
        self.store.was_audited(&written, appender.head())?;
        self.store.sync()?; // whose the first line of a file is, is told by what the store knew before
        Ok(appender)
    }
}
