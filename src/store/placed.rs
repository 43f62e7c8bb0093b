//! Outputs in the data folder are kept relative to it: a folder that is moved has them where it is now.
//!
//! Only in the rows: whoever reads a job has them absolute. Rows of versions before have them absolute too: see [`super::homes`].

use std::borrow::Cow;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Store;
use super::homes::Homes;
use crate::model::job::Job;
use crate::model::job_line::JobRowBrief;
use crate::model::rule::OUTPUTS_FOLDER;

/// A job's row, or what is read of it.
pub(crate) trait JobRow: DeserializeOwned {
    /// What lies in the data folder lies where that is now.
    fn place_in(&mut self, _data_dir: &Path, _homes: &Homes) {}
}

impl JobRow for Job {
    fn place_in(&mut self, data_dir: &Path, homes: &Homes) {
        for output in &mut self.outputs {
            if output.path.as_path().has_root() {
                homes.place(&mut output.path);
            } else {
                output.path = data_dir.join(output.path.as_path()).into();
            }
        }
    }
}

/// It has no outputs.
impl JobRow for JobRowBrief {}

impl Store {
    pub(super) fn placed<R: JobRow>(&self, mut row: R) -> R {
        if let Some(data_dir) = &self.inner.data_dir {
            row.place_in(data_dir, self.homes().unwrap_or(&Homes::NONE));
        }
        row
    }

    /// A job as its row has it; one that no node has taken up yet is of the node that writes it down.
    pub(super) fn row_of<'j>(&self, job: &'j Job) -> Cow<'j, Job> {
        let mut row = Cow::Borrowed(job);
        if job.epoch == 0 && self.epoch() > 0 {
            row.to_mut().epoch = self.epoch();
        }
        let Some(data_dir) = &self.inner.data_dir else { return row };
        for (at, output) in job.outputs.iter().enumerate() {
            let within = output.path.as_path().strip_prefix(data_dir).ok();
            if let Some(within) = within.filter(|within| within.starts_with(OUTPUTS_FOLDER)) {
                row.to_mut().outputs[at].path = within.into();
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::category::Category;
    use crate::model::job::PublishedOutput;
    use crate::store::tests::{completed, id, open};

    fn output(path: &Path) -> PublishedOutput {
        let (category, path) = (Category::main(), path.into());
        PublishedOutput { category, entry: None, path, records: 1, bytes: 1, sha256: None }
    }

    fn paths(store: &Store) -> Vec<String> {
        let job = store.job(id(1)).expect("reads").expect("is there");
        assert_eq!(store.jobs().next().expect("there is one").expect("reads"), job);
        job.outputs.iter().map(|output| output.path.to_string()).collect()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test plays the operator, who has no durable_fs")]
    fn an_output_in_a_data_folder_that_was_moved_is_found_there_and_one_elsewhere_where_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let [before, now] = ["before", "now"].map(|name| folder.path().join(name));
        let elsewhere = folder.path().join("out/a.txt");
        // As a version before wrote it, of a folder that was moved once already.
        let absolute = folder.path().join("older/outputs/J/main.zst");
        let mut job = completed(1);
        job.outputs = [before.join("outputs/J/main.zst"), elsewhere.clone(), absolute.clone()]
            .map(|path| output(&path))
            .into();
        let store = open(&before);
        store.change().job(&job).apply().expect("writes");
        store.sync().expect("is durable");
        let told = |own: &Path| [own, &elsewhere, &absolute].map(|path| path.display().to_string());
        assert_eq!(paths(&store), told(&before.join("outputs/J/main.zst")));
        drop(store);
        std::fs::rename(&before, &now).expect("moves");
        assert_eq!(paths(&open(&now)), told(&now.join("outputs/J/main.zst")));
    }
}
