//! A rule's outputs, checked and parsed once.

use super::codec::{Codec, EncodedChunk};
use super::error::OutputError;
use super::naming;
use super::recipients::{self, Encryption};
use crate::model::category::Category;
use crate::model::rule::{Output, Rule};
use crate::model::template::Template;

/// A rule's outputs, checked and parsed; shared.
pub struct OutputPlan {
    outputs: Vec<PlannedOutput>,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct PlannedOutput {
    pub category: Category,
    pub template: Template,
    pub codec: Codec,
    pub encryption: Encryption,
    /// Encrypted to the data folder's own key.
    pub is_sealed: bool,
    pub per_entry: bool,
    pub write_empty: bool,
    pub sha256: bool,
    pub mode: u32,
}

impl OutputPlan {
    /// Parses templates and recipients. `categories` fixes the order that `append` uses.
    pub fn build(rule: &Rule, categories: &[Category]) -> Result<Self, OutputError> {
        let planned = |category: &Category| {
            let output = rule
                .outputs
                .get(category)
                .ok_or_else(|| OutputError::NoOutput { category: category.clone() })?;
            PlannedOutput::new(rule, category, output)
        };
        Ok(Self { outputs: categories.iter().map(planned).collect::<Result<_, _>>()? })
    }

    /// Whether a job can go on from a checkpoint (no output is encrypted).
    pub fn resumable(&self) -> bool {
        self.outputs.iter().all(|output| matches!(output.encryption, Encryption::None) && !output.is_sealed)
    }

    /// Whether any output takes several entries one after another.
    pub fn merges_entries(&self) -> bool {
        self.outputs.iter().any(|output| !output.per_entry)
    }

    /// Encodes a slice's chunk as far as a worker can by itself (gzip: sync-flushed deflate blocks and their CRC). Called on workers.
    pub fn encode(&self, category: usize, raw: Vec<u8>, records: u64) -> EncodedChunk {
        // An unknown position is refused by `append`.
        let codec = self.outputs.get(category).map_or(Codec::Plain, |output| output.codec);
        codec.encode(raw, records)
    }

    pub(super) fn outputs(&self) -> &[PlannedOutput] {
        &self.outputs
    }

    pub(super) fn output(&self, category: usize) -> Result<&PlannedOutput, OutputError> {
        self.outputs.get(category).ok_or(OutputError::Misuse("there is no category at this position"))
    }
}

impl PlannedOutput {
    fn new(rule: &Rule, category: &Category, output: &Output) -> Result<Self, OutputError> {
        let template = naming::parse(rule, &output.path, &naming::place_of(category))?;
        let lower = template.literal_end().to_ascii_lowercase();
        let (encryption, compressed) = recipients::of(category, output, &lower)?;
        // A name before the suffix, so that the path's own parser takes `.gz` alone for a suffix too.
        let codec = Codec::of_path(&format!("x{compressed}"));
        let per_entry = naming::is_per_entry(&template);
        let (write_empty, sha256, mode) = (output.write_empty, output.sha256, output.mode);
        Ok(Self {
            category: category.clone(),
            template,
            codec,
            encryption,
            is_sealed: output.is_sealed,
            per_entry,
            write_empty,
            sha256,
            mode,
        })
    }
}
