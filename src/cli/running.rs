//! The running service of a configuration that is wrong: it goes by what that said before.

use std::path::Path;

use crate::config;
use crate::control::Client;
use crate::engine::Door as _;
use crate::model::rule::Settings;

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
