//! Landfall within a program: files, streams and records go in, and what came out is read as records. Nothing is on a command line.

mod error;
mod ingestion;
mod input;
mod outputs;

use std::path::Path;

pub use error::LandfallError;
pub use ingestion::{Ingestion, Progress};
pub use input::Input;
pub use outputs::{OutputFile, OutputRecords, OutputSlice, OutputSlices};

use crate::allocator;
use crate::config;
use crate::control::{self, Reached};
use crate::engine::{Door, Engine, JobFilter, Purpose, Running};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::rule::Settings;
use crate::pipeline::Registry;

/// Landfall within a program: what is handed to it goes through a rule of the configuration, as a file that lands in a folder does.
///
/// Where a service has the data folder, that one does the work, by its own steps. Else this process does: it takes up what an earlier
/// one left, watches no folder, and stops with [`Landfall::close`] or when this is dropped.
///
/// ```
/// use landfall::pipeline::Registry;
/// use landfall::{Input, Landfall};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let config = folder.path().join("landfall.toml");
/// # std::fs::create_dir(folder.path().join("in"))?;
/// std::fs::write(&config, r#"
///     [service]
///     data_dir = "data"
///     free_min = "0"
///     [[rule]]
///     name = "payments"
///     paths = ["in/*.csv"]
///     records = { format = "csv", header = true }
///     [rule.output.main]
///     path = "out/"
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
    door: Box<dyn Door>,
    /// None: a service does the work.
    running: Option<Running>,
    settings: Settings,
}

impl Landfall {
    /// `config` as for `landfall run --config`.
    pub fn open(config: Option<&Path>, registry: Registry) -> Result<Self, LandfallError> {
        allocator::bound_arenas();
        let file = config::find(config)?;
        let settings = config::load(&file, &registry)?;
        let (door, running): (Box<dyn Door>, _) = match control::open_or_make(&settings)? {
            Reached::Service(client) => (Box::new(client), None),
            Reached::Engine(engine) => {
                let running = Engine::start(&engine, settings.clone(), registry, Purpose::TakeUp)?;
                (Box::new(engine), Some(running))
            }
        };
        Ok(Self { door, running, settings })
    }

    /// Takes a file, or what a reader or records give, under this rule. It returns once its job is durable, and does not wait for it.
    ///
    /// A file is left as it is, unless it is [`Input::retired`]. A file for which a job is unfinished already is not taken twice.
    pub fn ingest<'a>(
        &self,
        input: impl Into<Input<'a>>,
        rule: &str,
    ) -> Result<Ingestion<'_>, LandfallError> {
        let id = input.into().hand_over(self.door.as_ref(), &self.settings, rule)?;
        Ok(self.ingestion(id))
    }

    /// A job of this data folder: one that another process began, or an earlier one of this program.
    pub fn ingestion(&self, job: JobId) -> Ingestion<'_> {
        Ingestion::new(self.door.as_ref(), job)
    }

    /// All jobs that have not ended, oldest first.
    pub fn unfinished(&self) -> Result<Vec<Job>, LandfallError> {
        let filter = JobFilter { unfinished: true, ..JobFilter::default() };
        Ok(self.door.list(&filter).collect::<Result<_, _>>()?)
    }

    /// Ends the work of this process within `service.stop_timeout`: jobs that are not done stay as far as they are, and go on when it is
    /// opened again. A service goes on by itself. The fault that stopped it before, if one did.
    pub fn close(mut self) -> Result<(), LandfallError> {
        Ok(self.running.take().map_or(Ok(()), Running::stop)?)
    }
}

impl Drop for Landfall {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.running.take().map(Running::stop) {
            tracing::warn!(%error, "did not stop cleanly");
        }
    }
}
