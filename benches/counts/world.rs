//! What all cases stand on: a temporary folder, a source in it, and a rule of the usual kind, made ready as the engine makes it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use landfall::Registry;
use landfall::doors::Cutter;
use landfall::doors::OutputPlan;
use landfall::doors::Pipeline;
use landfall::doors::Rule;
use landfall::doors::load;
use landfall::doors::{DecodeRequest, Decoder, EntryReader, Progress};
use landfall::doors::{EntryShape, Slice};
use tempfile::TempDir;

use crate::{Failure, payments};

/// Of the source: enough that what is done once for a file does not show.
pub(crate) const RECORDS: u64 = 20_000;

/// As row 8 of `benches/run` has it: every column validated, then `route` and `select`.
const CONFIG: &str = r#"
config_version = 1

[service]
data_dir = "data"

[[rule]]
name = "payments"
paths = ["in/*"]
[rule.records]
format = "csv"
[[rule.pipeline]]
step = "validate"
on = ["main"]
to = "invalid"
[rule.pipeline.columns]
id = { type = "integer", min = 0 }
account = { type = "string", matches = "^AC[0-9]{10}$" }
name = { type = "string", length_max = 40 }
amount = { type = "decimal" }
currency = { type = "string", one_of = ["USD", "EUR"] }
date = { type = "date" }
status = { type = "string", one_of = ["ACTIVE", "CLOSED", "PENDING", "HOLD"] }
note = { type = "string", length_min = 1 }
[[rule.pipeline]]
step = "route"
on = ["main"]
when = [{ if = { column = "status", equals = "CLOSED" }, to = "closed" }]
else = "main"
[[rule.pipeline]]
step = "select"
on = ["main", "closed"]
columns = ["id", "account", "amount", "date"]
[rule.output.main]
path = "out/{stem}.main.csv"
[rule.output.closed]
path = "out/{stem}.closed.csv"
[rule.output.invalid]
path = "out/{stem}.invalid.csv"
[rule.source]
on_success = "archive"
archive_dir = "archive"
"#;

pub(crate) struct World {
    pub folder: TempDir,
    pub source: PathBuf,
    pub rule: Arc<Rule>,
    pub pipeline: Arc<Pipeline>,
    pub outputs: Arc<OutputPlan>,
}

impl World {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let [config, source] = ["landfall.toml", "payments.csv.gz"].map(|name| folder.path().join(name));
        fs::write(&config, CONFIG)?;
        let mut packer = GzEncoder::new(File::create(&source)?, Compression::new(6));
        packer.write_all(&payments::csv(RECORDS))?;
        packer.finish()?;
        let registry = Registry::with_builtin_steps();
        let settings = load(&config, &registry)?;
        let rule = settings.rules.into_iter().next().ok_or("there is no rule")?;
        let pipeline = Pipeline::build(&rule, &registry).map_err(|problems| format!("{problems:?}"))?;
        let outputs = OutputPlan::build(&rule, pipeline.categories())?;
        let (rule, pipeline, outputs) = (Arc::new(rule), Arc::new(pipeline), Arc::new(outputs));
        Ok(Self { folder, source, rule, pipeline, outputs })
    }

    /// Reads the source as a loader does, and gives each slice to `take`.
    pub(crate) fn read(&self, mut take: impl FnMut(Slice)) -> Result<EntryShape, Failure> {
        let request = DecodeRequest {
            shown_path: &self.source,
            decode: &self.rule.decode,
            records: &self.rule.records,
            identities: &[],
            passphrase_file: None,
            signers: &[],
            spool_dir: self.folder.path(),
            progress: Arc::new(Progress::default()),
            allowance: landfall::doors::Allowance::alone(96 << 20),
        };
        let mut decoder = Decoder::open(File::open(&self.source)?, &request)?;
        let shape = {
            let EntryReader { text, .. } = decoder.next_entry()?.ok_or("there is no entry")?;
            let mut cutter = Cutter::new(text, &self.rule.records, &self.rule.decode, 0, String::new(), 0)?;
            let shape = cutter.shape()?;
            while let Some(slice) = cutter.next_slice()? {
                take(slice);
            }
            shape
        };
        decoder.finish()?;
        Ok(shape)
    }
}
