//! The running service that a configuration means, also where that is wrong or away: it goes by what the configuration said before.
//!
//! Who only looks or asks needs no other file than the main one, and nothing of that but where the data folder is: so no command waits for a
//! `rules_dir` that hangs.

use std::path::Path;
use std::time::Duration;

use super::say::complain;
use crate::config::{self, Problems, Reading};
use crate::control::Client;
use crate::engine::Door as _;
use crate::model::os_text::escaped_path;
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

/// The service that runs by this configuration.
pub(super) fn client(config: Option<&Path>) -> Option<Client> {
    let meant = config::find(config).map_or_else(|_| config::places(), |file| vec![file]);
    meant.iter().find_map(|main| Client::of_main(&config::read_service(main).ok()?))
}

/// What that service goes by.
pub(super) fn settings(config: Option<&Path>) -> Option<Settings> {
    let client = client(config)?;
    let mut settings = config::read_kept(&client.kept_configuration().ok()?, None).ok()?;
    client.data_dir().clone_into(&mut settings.service.data_dir);
    tell(&client, &settings);
    Some(settings)
}

/// In what it does not go by the configuration as it is now.
fn tell(client: &Client, settings: &Settings) {
    let Ok(Some(state)) = client.configuration() else { return };
    if !state.problems.is_empty() {
        let wrong = super::view::where_wrong(&state.problems);
        let message = format!(
            "the configuration is wrong, in {wrong}: the running service goes by what it read before"
        );
        complain(&message, Some("`landfall check` shows what is wrong"));
    }
    let said = config::read_service(&settings.file).ok().filter(|said| said.text.is_some());
    if said.is_some_and(|said| said.data_dir != settings.service.data_dir) && state.problems.is_empty() {
        let data_dir = escaped_path(&settings.service.data_dir);
        complain(
            &format!(
                "`service.data_dir` was changed: the running service has {data_dir} until it is restarted"
            ),
            None,
        );
    }
}
