//! Whether the service sees who still writes the files of others: that takes a capability which `sudo` does not give to whoever asks
//! `landfall check`. So the running service is looked at; where none runs it is said on what it depends, and once for all rules.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::control::Client;
use crate::durable_fs;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Ready, ReadyStrategy};
use crate::watch;

/// Where the file system has no leases that would tell.
const WITHOUT_LEASES: &str = "let senders rename or send markers";
const WITHOUT_CAPABILITY: &str = "give the service CAP_LEASE (`AmbientCapabilities` and `CapabilityBoundingSet` of its unit), or let senders rename or send markers";

/// What is known of it, and what of it was said.
pub(super) struct Leases {
    data_dir: PathBuf,
    /// Whether the running service may take them; none where none runs, or that cannot be seen.
    of_service: OnceCell<Option<bool>>,
    told: BTreeSet<&'static str>,
}

impl Leases {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), of_service: OnceCell::new(), told: BTreeSet::new() }
    }

    /// What to warn of, with what to do, where files that nothing else proves to be whole land in these folders.
    pub(super) fn lack(&mut self, ready: &Ready, folders: &[PathBuf]) -> Option<(String, &'static str)> {
        let is_proved =
            ready.strategy == ReadyStrategy::Marker || ready.totals.is_some() || ready.checksum.is_some();
        if is_proved {
            return None;
        }
        let (folder, _) = folders.iter().find_map(|folder| Some((folder, watch::blind_spot(folder)?)))?;
        // In user space they are the kernel's own; others have none, or their server's.
        let has_leases = !durable_fs::far_file_system(folder)
            .is_ok_and(|kind| kind.is_some_and(|kind| !kind.starts_with("fuse")));
        let (but, hint) = match self.of_service() {
            Some(true) => return None,
            _ if !has_leases => ("", WITHOUT_LEASES),
            Some(false) => (": the running service has no CAP_LEASE", WITHOUT_CAPABILITY),
            None => (
                ", unless the service has CAP_LEASE, as the systemd unit gives it (this command has not)",
                WITHOUT_CAPABILITY,
            ),
        };
        self.told.insert(hint).then(|| {
            let message = format!(
                "whether somebody still writes a file in {}, or likewise elsewhere, cannot be seen{but}; an upload that stalls longer than \
                 `ready.stable_for` is taken half then",
                escaped_path(folder)
            );
            (message, hint)
        })
    }

    fn of_service(&self) -> Option<bool> {
        *self.of_service.get_or_init(|| may_lease(&Client::connect(&self.data_dir)?))
    }
}

#[cfg(unix)]
fn may_lease(service: &Client) -> Option<bool> {
    durable_fs::process_has_capability(service.pid(), durable_fs::CAP_LEASE)
}

/// It opens files without sharing in place of that.
#[cfg(not(unix))]
fn may_lease(_: &Client) -> Option<bool> {
    None
}
