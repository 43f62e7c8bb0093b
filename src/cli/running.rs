//! The running service of a configuration that is wrong: it goes by what that said before.

use std::path::Path;
use std::time::Duration;

use crate::config::{self, Problems, Reading};
use crate::control::Client;
use crate::engine::Door as _;
use crate::model::rule::Settings;

/// A file that is being saved looks whole again after so long.
const SAVING_TAKES: Duration = Duration::from_millis(250);

/// The configuration, for commands that only look or ask: the steps may be those of another program. Where it is wrong it is read once
/// more, since somebody may be saving it just now.
pub(super) fn read(file: &Path) -> Result<Reading, Problems> {
    let reading = config::read(file, None)?;
    if reading.settings.is_ok() {
        return Ok(reading);
    }
    std::thread::sleep(SAVING_TAKES);
    config::read(file, None)
}

/// The service that runs in this data folder by this main file.
pub(super) fn client(main: &Path, data_dir: Option<&Path>) -> Option<Client> {
    let service = Client::connect(data_dir?)?;
    let state = service.configuration().ok()??;
    (state.file.as_path() == main).then_some(service)
}

/// What the service goes by that runs in this data folder by this main file.
pub(super) fn settings(main: &Path, data_dir: Option<&Path>) -> Option<Settings> {
    let kept = client(main, data_dir)?.kept_configuration().ok()?;
    config::read_kept(&kept, None).ok()
}
