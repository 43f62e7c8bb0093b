//! Whether the service could make the socket of its control API: where it cannot, it does not start.

use super::check_about::{Finding, Level};
use super::check_rights::Rights;
use crate::config::Places;
use crate::durable_fs;
use crate::model::api::Listen;
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;

pub(super) fn find(settings: &Settings, places: &Places, rights: Rights) -> Vec<Finding> {
    let api = &settings.service.api;
    if api.listen == Listen::Off {
        return Vec::new();
    }
    // It may be checked on another machine than it is for.
    let warning = |key, message, hint: &str| Finding {
        level: Level::Warning,
        problem: places.of_service(key, message, hint),
    };
    let is_us = rights != Rights::Others;
    let mut findings = Vec::new();
    if let Some(group) = &api.socket_group {
        match durable_fs::group_id(group) {
            None => {
                let message = format!("there is no group `{group}`");
                findings.push(warning(
                    "socket_group",
                    message,
                    "make it, or name another: the service does not start like this",
                ));
            }
            Some(id) if is_us && !durable_fs::may_give_to_group(id) => {
                let message = format!(
                    "the service's user is not in the group `{group}`, and may not give it the socket"
                );
                let hint = format!(
                    "`usermod -aG {group} USER`, and restart the service: it does not start like this"
                );
                findings.push(warning("socket_group", message, &hint));
            }
            Some(_) => {}
        }
    }
    if let Some(folder) = api.socket.as_deref().map(durable_fs::parent_of) {
        let message = match folder.metadata() {
            Ok(found) if !found.is_dir() => Some("is no folder"),
            Ok(_) if is_us && !durable_fs::may_write_in(folder) => {
                Some("may not be written by the service's user")
            }
            Ok(_) => None,
            Err(_) => Some("is not there, or cannot be looked at"),
        };
        if let Some(message) = message {
            let message = format!("the socket's folder {} {message}", escaped_path(folder));
            let hint = "make it, for the service's user: the service does not start like this";
            findings.push(warning("socket", message, hint));
        }
    }
    findings
}
