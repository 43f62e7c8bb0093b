//! Landfall within a program: files, streams and records go in, and what came out is read as records. Nothing is on a command line.

mod error;
mod ingestion;
mod input;
mod outputs;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::LandfallError;
pub use ingestion::{Ingestion, Progress};
pub use input::Input;
pub use outputs::{OutputFile, OutputRecords, OutputSlice, OutputSlices};

use crate::allocator;
use crate::config;
use crate::control::{self, Reached, Readings};
use crate::engine::{Door, Engine, EngineError, JobFilter, Purpose, Running};
use crate::hooks::Hooks;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::rule::{OnComplete, Rule, Settings};
use crate::pipeline::Registry;

/// Landfall within a program: what is handed to it goes through a rule of the configuration, as a file that lands in a folder does.
///
/// Where a service has the data folder, that one does the work, by its own steps. Else this process does: it takes up what an earlier
/// one left, watches no folder, tells the hooks, and stops with [`Landfall::close`] or when this is dropped. Which of the two it is
/// is found out once, when it is opened. Where that service ends, calls fail until one is there again; [`Ingestion::wait`] waits for that one.
///
/// What a rule has destroyed once it is done (`on_complete = "destroy"`) stays as long as an [`Ingestion`] or an [`OutputFile`] of this
/// handle has it.
///
/// What it makes has the rights that this process's umask leaves, but for its data folder and claim folders, which are this user's alone.
///
/// ```
/// use landfall::{Input, Landfall, Registry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let config = folder.path().join("landfall.toml");
/// # std::fs::create_dir(folder.path().join("in"))?;
/// std::fs::write(&config, r#"
///     config_version = 1
///     [service]
///     data_dir = "data"
///     free_min = "0"
///     [[rule]]
///     name = "payments"
///     paths = ["in/*.csv"]
///     records = { format = "csv", header = true }
///     [rule.output.main]
///     path = "out/{stem}.csv"
///     [rule.source]
///     on_success = "delete"
/// "#)?;
/// let landfall = Landfall::open(Some(&config), Registry::with_builtin_steps())?;
///
/// let payments = ["1,12.50", "2,7.00"];
/// let input = Input::records(folder.path().join("in/today.csv"), payments).with_header("id,amount");
/// let ingestion = landfall.ingest(input, "payments")?;
/// let job = ingestion.wait()?;
/// assert_eq!(job.account.records_written(), 2);
/// assert_eq!(ingestion.failed_records().count(), 0);
///
/// for output in ingestion.outputs()? {
///     let records: Vec<Vec<u8>> = output.records().collect::<Result<_, _>>()?;
///     assert_eq!(records, [b"1,12.50", b"2,7.00".as_slice()]);
/// }
/// landfall.close()?;
/// # Ok(())
/// # }
/// ```
pub struct Landfall {
    door: Arc<dyn Door>,
    /// None: a service does the work.
    working: Option<Working>,
    settings: Settings,
    /// None: no rule has anything destroyed that could be read.
    readings: Option<Readings>,
}

/// What does the work in this process.
struct Working {
    running: Running,
    hooks: Hooks,
    stop_timeout: Duration,
}

impl Working {
    fn begin(engine: &Engine, settings: &Settings, registry: Registry) -> Result<Self, LandfallError> {
        let hooks = Hooks::new(engine.store().clone());
        hooks.take(&settings.hooks)?; // before anything happens that they are to be told
        let running = engine.start(settings.clone(), registry, Purpose::TakeUp)?;
        Ok(Self { running, hooks, stop_timeout: settings.service.stop_timeout })
    }

    fn stop(self) -> Result<(), EngineError> {
        let begun = Instant::now();
        let stopped = self.running.stop();
        self.hooks.stop(self.stop_timeout.saturating_sub(begun.elapsed()));
        stopped
    }
}

impl Landfall {
    /// Opens it by this configuration, with the steps of this registry. `None`: `landfall.toml` in the working folder, else the system's
    /// place, as for `landfall run`.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Config`] has every problem of the configuration. [`LandfallError::Store`] and [`LandfallError::Engine`]: the data
    /// folder cannot be opened, or another program works there that is no service. [`LandfallError::Thread`]: no thread can be started.
    pub fn open(config: Option<&Path>, registry: Registry) -> Result<Self, LandfallError> {
        allocator::bound_arenas();
        let file = config::find(config)?;
        let mut settings = config::load(&file, &registry)?;
        let (door, working): (Arc<dyn Door>, _) = match control::open_or_make(&settings)? {
            Reached::Service(client) => (Arc::new(client), None),
            Reached::Engine(engine) => {
                config::go_by_store(&mut settings.rules, engine.store().is_encrypted());
                let working = Working::begin(&engine, &settings, registry)?;
                (Arc::new(engine), Some(working))
            }
        };
        let destroys = |rule: &Rule| rule.source.on_complete == OnComplete::Destroy;
        let readings = settings.rules.iter().any(destroys).then(|| Readings::begin(&door)).transpose();
        let readings = readings.map_err(|source| LandfallError::Thread { source })?;
        Ok(Self { door, working, settings, readings })
    }

    /// Takes a file, or what a reader or records give, under this rule. It returns once its job is durable, and does not wait for it. A
    /// relative path goes by this process's working folder.
    ///
    /// A file is left as it is, unless it is [`Input::retired`]. A file for which a job is unfinished already is not taken twice.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Engine`]: the file is not there or cannot be read, no rule has this name, the store is full or the service does not
    /// answer. [`LandfallError::NotLive`]: the rule is off, or a shadow. For readers and records also [`LandfallError::Input`] and
    /// [`LandfallError::Taken`] (nothing was written), [`LandfallError::Rule`] and [`LandfallError::Record`] (likewise), and
    /// [`LandfallError::NotTaken`] and [`LandfallError::TakenUnseen`]: the file was written, so do not hand the same over again.
    pub fn ingest<'a>(
        &self,
        input: impl Into<Input<'a>>,
        rule: &str,
    ) -> Result<Ingestion<'_>, LandfallError> {
        let id = input.into().hand_over(self.door.as_ref(), &self.settings, rule)?;
        Ok(self.ingestion(id))
    }

    /// A job of this data folder: one that another process began, or an earlier one of this program. Whether there is one of this id, the
    /// first question tells.
    pub fn ingestion(&self, job: JobId) -> Ingestion<'_> {
        let reading = self.readings.as_ref().map(|readings| readings.of(job));
        Ingestion::new(self.door.as_ref(), job, reading, &self.settings)
    }

    /// All jobs that have not ended, oldest first.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Engine`]: the store cannot be read, or the service does not answer.
    pub fn unfinished(&self) -> Result<Vec<Job>, LandfallError> {
        let filter = JobFilter { unfinished: true, ..JobFilter::default() };
        Ok(self.door.list(&filter).collect::<Result<_, _>>()?)
    }

    /// Ends the work of this process within `service.stop_timeout`: jobs that are not done stay as far as they are, and go on when it is
    /// opened again. A service goes on by itself.
    ///
    /// # Errors
    ///
    /// [`LandfallError::Engine`]: the fault that stopped the work before, if one did, such as a disk that failed.
    pub fn close(mut self) -> Result<(), LandfallError> {
        Ok(self.stop()?)
    }

    fn stop(&mut self) -> Result<(), EngineError> {
        let Some(working) = self.working.take() else { return Ok(()) };
        if let Some(readings) = &self.readings {
            readings.tell(self.door.as_ref());
            working.running.destroy_done();
        }
        working.stop()
    }
}

impl Drop for Landfall {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "did not stop cleanly");
        }
    }
}
