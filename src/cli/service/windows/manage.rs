//! The registered service: started, stopped, asked and removed.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceConfig, ServiceExitCode, ServiceStartType, ServiceState, ServiceStatus,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DOES_NOT_EXIST,
    ERROR_SERVICE_NOT_ACTIVE,
};

use super::{NAME, command_line, log, registry};
use crate::cli::exit::{FAILED, USAGE};
use crate::cli::say::{complain, lines, say};
use crate::cli::{running, view};
use crate::listing::status as listed;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What says that it takes less has as long all the same.
const PATIENCE: Duration = Duration::from_secs(30);
/// A service that was removed is gone once nobody looks at it any more.
const REMOVAL_TAKES: Duration = Duration::from_secs(5);
/// Of the log, where a start failed.
const LOG_BYTES_SHOWN: u64 = 8 << 10;

/// What became of opening the service.
pub(super) enum Opened {
    Service(Service),
    Missing,
    /// Which was said.
    Refused,
}

fn code_of(error: &Error) -> Option<u32> {
    match error {
        Error::Winapi(error) => error.raw_os_error().and_then(|code| u32::try_from(code).ok()),
        _ => None,
    }
}

pub(super) fn is_missing(error: &Error) -> bool {
    code_of(error) == Some(ERROR_SERVICE_DOES_NOT_EXIST)
}

fn say_refused() {
    complain(
        "this needs the rights of an administrator",
        Some("run it in a terminal that was started by \"Run as administrator\""),
    );
}

/// None where it was refused, which is said.
pub(super) fn open_manager(access: ServiceManagerAccess) -> anyhow::Result<Option<ServiceManager>> {
    match ServiceManager::local_computer(None::<&str>, access) {
        Err(error) if code_of(&error) == Some(ERROR_ACCESS_DENIED) => {
            say_refused();
            Ok(None)
        }
        opened => Ok(Some(opened.context("cannot reach the service control manager")?)),
    }
}

pub(super) fn open(manager: &ServiceManager, access: ServiceAccess) -> anyhow::Result<Opened> {
    match manager.open_service(NAME, access) {
        Ok(service) => Ok(Opened::Service(service)),
        Err(error) if is_missing(&error) => Ok(Opened::Missing),
        Err(error) if code_of(&error) == Some(ERROR_ACCESS_DENIED) => {
            say_refused();
            Ok(Opened::Refused)
        }
        Err(error) => Err(error).context("cannot open the service"),
    }
}

/// The service, or the exit code of what was said.
fn opened(access: ServiceAccess) -> anyhow::Result<Result<Service, ExitCode>> {
    let Some(manager) = open_manager(ServiceManagerAccess::CONNECT)? else {
        return Ok(Err(ExitCode::from(USAGE)));
    };
    let asks = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    Ok(match open(&manager, access | asks)? {
        Opened::Service(service) => Ok(service),
        Opened::Refused => Err(ExitCode::from(USAGE)),
        Opened::Missing => {
            complain("no service is installed", Some("landfall service install"));
            Err(ExitCode::from(FAILED))
        }
    })
}

fn state_of(service: &Service) -> anyhow::Result<ServiceStatus> {
    service.query_status().context("cannot ask how the service is")
}

pub(super) fn is_running(service: &Service) -> bool {
    state_of(service).is_ok_and(|status| status.current_state != ServiceState::Stopped)
}

/// Waits until the service is in another state than these, as long as it gets on; how it is then.
fn wait_while(service: &Service, pending: &[ServiceState]) -> anyhow::Result<ServiceStatus> {
    let (mut seen, mut since) = (None, Instant::now());
    loop {
        let status = state_of(service)?;
        let now = (status.current_state, status.checkpoint);
        if !pending.contains(&status.current_state) {
            return Ok(status);
        }
        if seen != Some(now) {
            (seen, since) = (Some(now), Instant::now());
        }
        if since.elapsed() > status.wait_hint.max(PATIENCE) {
            return Ok(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

pub(in crate::cli::service) fn start() -> anyhow::Result<ExitCode> {
    let service = match opened(ServiceAccess::START)? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let config = service.query_config().context("cannot read how the service is registered")?;
    // One that was just stopped is let go of first.
    wait_while(&service, &[ServiceState::StopPending])?;
    let log = log_of(&config);
    let logged = std::fs::metadata(&log).map_or(0, |found| found.len());
    match service.start(&[] as &[&str]) {
        Err(error) if code_of(&error) == Some(ERROR_SERVICE_ALREADY_RUNNING) => {}
        Err(error) if code_of(&error) == Some(ERROR_ACCESS_DENIED) => {
            complain(
                "the service may not be started: its account may not run the program, or is away",
                Some("services.msc shows and changes its account"),
            );
            return Ok(ExitCode::from(FAILED));
        }
        started => started.context("cannot start the service")?,
    }
    let status = wait_while(&service, &[ServiceState::StartPending])?;
    if status.current_state == ServiceState::Running {
        if command_line::words(&command_of(&config)).iter().any(|word| word == "--standby") {
            say!("started: it stands by, and takes over when nobody else has the data folder");
        } else {
            lines(&told(&status, &config, None));
        }
        return Ok(ExitCode::SUCCESS);
    }
    lines(&log_from(&log, logged));
    complain(
        &format!("it did not start: {}", state_in_words(&status)),
        Some(&format!("its log: {}; the Event Log has it too", log.display())),
    );
    Ok(ExitCode::from(FAILED))
}

pub(in crate::cli::service) fn stop() -> anyhow::Result<ExitCode> {
    let service = match opened(ServiceAccess::STOP)? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let config = service.query_config().context("cannot read how the service is registered")?;
    let status = stopped(&service)?;
    if status.current_state == ServiceState::Stopped && is_clean(&status) {
        say!("stopped; it starts again with the machine, or by `landfall service start`");
        return Ok(ExitCode::SUCCESS);
    }
    complain(
        &format!("it stopped, and not cleanly: {}", state_in_words(&status)),
        Some(&format!("its log: {}", log_of(&config).display())),
    );
    Ok(ExitCode::from(FAILED))
}

/// Stops it, and waits for that; how it is then.
fn stopped(service: &Service) -> anyhow::Result<ServiceStatus> {
    // The manager passes nothing on to what is starting.
    wait_while(service, &[ServiceState::StartPending])?;
    match service.stop() {
        Err(error) if code_of(&error) == Some(ERROR_SERVICE_NOT_ACTIVE) => {}
        // It may be stopping already.
        Err(error) if !is_stopping(service) => return Err(error).context("cannot stop the service"),
        _ => {}
    }
    wait_while(service, &[ServiceState::Running, ServiceState::StopPending])
}

fn is_stopping(service: &Service) -> bool {
    state_of(service).is_ok_and(|status| status.current_state == ServiceState::StopPending)
}

pub(in crate::cli::service) fn status() -> anyhow::Result<ExitCode> {
    let service = match opened(ServiceAccess::empty())? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let status = state_of(&service)?;
    let config = service.query_config().context("cannot read how the service is registered")?;
    let runs = status.current_state == ServiceState::Running;
    let says = runs.then(|| says(&named(&command_of(&config), "--config")?)).flatten();
    lines(&told(&status, &config, says.as_deref()));
    Ok(if runs { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

pub(in crate::cli::service) fn uninstall() -> anyhow::Result<ExitCode> {
    let service = match opened(ServiceAccess::STOP | ServiceAccess::DELETE)? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    let status = stopped(&service)?;
    if status.current_state != ServiceState::Stopped {
        complain(
            &format!("the service does not stop: {}", state_in_words(&status)),
            Some("it goes once it ends"),
        );
    }
    service.delete().context("cannot remove the service")?;
    drop(service);
    if let Err(error) = registry::remove_event_source() {
        complain(&format!("{} cannot be removed: {error}", registry::event_source()), None);
    }
    if is_gone()? {
        say!("stopped, and removed: it starts with the machine no more");
    } else {
        say!("stopped; it is removed once nobody looks at it any more (close services.msc)");
    }
    let home = super::home();
    say!(
        "left as they are: the configuration and the log in {}, the data folder, and the `.landfall` of each",
        home.display()
    );
    say!(
        "watched folder: files that were claimed and are not done lie there, and go on where a service is started again"
    );
    Ok(ExitCode::SUCCESS)
}

fn is_gone() -> anyhow::Result<bool> {
    let Some(manager) = open_manager(ServiceManagerAccess::CONNECT)? else { return Ok(false) };
    let begun = Instant::now();
    while begun.elapsed() < REMOVAL_TAKES {
        if manager.open_service(NAME, ServiceAccess::QUERY_STATUS).is_err_and(|error| is_missing(&error)) {
            return Ok(true);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(false)
}

/// The whole command line.
fn command_of(config: &ServiceConfig) -> String {
    config.executable_path.to_string_lossy().into_owned()
}

/// The file behind a word of a command line.
fn named(command: &str, word: &str) -> Option<PathBuf> {
    let words = command_line::words(command);
    let at = words.iter().position(|it| it == word)?;
    words.get(at + 1).map(PathBuf::from)
}

fn log_of(config: &ServiceConfig) -> PathBuf {
    named(&command_of(config), "--log").unwrap_or_else(log)
}

/// What the running service is at, if it can be asked.
fn says(config: &Path) -> Option<String> {
    let settings = running::settings(Some(config))?;
    let door = view::door(&settings).ok()??;
    let status = listed::of(Some(&*door), &settings, None).ok()?;
    let jobs: Vec<_> = status.jobs.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let jobs = if jobs.is_empty() { "none".to_owned() } else { jobs.join(", ") };
    Some(format!("jobs: {jobs}; files waiting: {}", status.files_waiting))
}

fn is_clean(status: &ServiceStatus) -> bool {
    // Of one that was not started since the machine was: ERROR_SERVICE_NEVER_STARTED.
    matches!(status.exit_code, ServiceExitCode::Win32(0 | 1077))
}

fn state_in_words(status: &ServiceStatus) -> String {
    let state = match status.current_state {
        ServiceState::Running => "running",
        ServiceState::StartPending => "starting",
        ServiceState::StopPending => "stopping",
        ServiceState::Stopped => "stopped",
        _ => "in another state",
    };
    match status.exit_code {
        _ if status.current_state != ServiceState::Stopped || is_clean(status) => state.to_owned(),
        ServiceExitCode::ServiceSpecific(code) if code == u32::from(USAGE) => {
            format!("{state}, by code 2: the configuration or the command line is wrong")
        }
        ServiceExitCode::ServiceSpecific(code) => format!("{state}, by code {code}"),
        ServiceExitCode::Win32(code) => {
            let error = std::io::Error::from_raw_os_error(code.cast_signed());
            format!("{state}, by {error}")
        }
    }
}

/// For people, a line for each.
fn told(status: &ServiceStatus, config: &ServiceConfig, says: Option<&str>) -> String {
    let starts = match config.start_type {
        ServiceStartType::AutoStart => "with the machine",
        _ => "not with the machine",
    };
    let process = status.process_id.filter(|id| *id != 0 && status.current_state != ServiceState::Stopped);
    let told = [
        Some(format!("service    {}\n", state_in_words(status))),
        says.map(|says| format!("it says    {says}\n")),
        process.map(|id| format!("process    {id}\n")),
        Some(format!("starts     {starts}\ncommand    {}\n", command_of(config))),
        Some(format!("log        {}\n", log_of(config).display())),
    ];
    told.into_iter().flatten().collect()
}

/// What was logged since the log was so long, the end of it.
fn log_from(log: &Path, length: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let now = file.metadata()?.len();
        // A shorter one is another.
        let begin = if now < length { 0 } else { length };
        file.seek(SeekFrom::Start(begin.max(now.saturating_sub(LOG_BYTES_SHOWN))))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES_SHOWN).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use windows_service::service::{ServiceControlAccept, ServiceErrorControl, ServiceType};

    use super::*;

    fn status(current_state: ServiceState, exit_code: ServiceExitCode) -> ServiceStatus {
        ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state,
            controls_accepted: ServiceControlAccept::empty(),
            exit_code,
            checkpoint: 0,
            wait_hint: Duration::ZERO,
            process_id: Some(12),
        }
    }

    fn config() -> ServiceConfig {
        ServiceConfig {
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::AutoStart,
            error_control: ServiceErrorControl::Normal,
            executable_path: r#""C:\a b\landfall.exe" service run --config "C:\c d\landfall.toml""#.into(),
            load_order_group: None,
            tag_id: 0,
            dependencies: Vec::new(),
            account_name: None,
            display_name: "Landfall".into(),
        }
    }

    #[test]
    fn a_running_service_is_told_with_what_it_says_and_one_that_failed_with_the_code() {
        let told =
            told(&status(ServiceState::Running, ServiceExitCode::NO_ERROR), &config(), Some("no jobs"));
        assert!(
            told.starts_with(
                "service    running\nit says    no jobs\nprocess    12\nstarts     with the machine\n"
            ),
            "{told}"
        );
        let failed = status(ServiceState::Stopped, ServiceExitCode::ServiceSpecific(2));
        assert!(state_in_words(&failed).ends_with("the configuration or the command line is wrong"));
        assert!(!is_clean(&failed) && is_clean(&status(ServiceState::Stopped, ServiceExitCode::Win32(1077))));
    }

    #[test]
    fn the_configuration_is_the_one_that_is_registered() {
        let found = |word| named(&command_of(&config()), word);
        assert_eq!(found("--config").as_deref(), Some(Path::new(r"C:\c d\landfall.toml")));
        assert_eq!(found("--log"), None);
    }
}
