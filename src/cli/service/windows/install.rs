//! `landfall service install`: folders and configuration, each only where it is not there; then the service control manager is told.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::windows::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf, Prefix};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceFailureActions,
    ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_REPARSE_POINT;

use super::account::Account;
use super::manage::{Opened, is_missing, is_running, open, open_manager};
use super::trust::distrusts;
use super::{NAME, command_line, home, log, registry};
use crate::cli::exit::USAGE;
use crate::cli::say::{complain, lines, say};
use crate::cli::service::InstallArgs;
use crate::config;
use crate::durable_fs::{self, OpenTo, parent_of};
use crate::engine::{folders_of, watched_folders};
use crate::model::rule::Settings;
use crate::pipeline::Registry;

const EXAMPLE: &str = include_str!("../../../../packaging/windows/landfall.toml");
const SHOWN_NAME: &str = "Landfall";
const DESCRIPTION: &str =
    "Watches folders and ingests each file that lands in them: exactly once, accounted for.";
/// A service that died is started anew after the first of these, then the next; the last is for all that follow.
const STARTED_ANEW_AFTER: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(1), Duration::from_mins(10)];
/// Then the first of them counts again.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);
/// Before a shutdown the machine waits so much longer than a stop may take, and at least so long.
const STOP_ASIDE: Duration = Duration::from_secs(10);
const SHUTDOWN_WAITS_MIN: Duration = Duration::from_mins(1);

/// What is registered.
struct Wanted {
    binary: PathBuf,
    configuration: PathBuf,
    standby: bool,
    /// None: it keeps the one that it has.
    account: Option<Account>,
    shutdown_waits: Duration,
}

pub(in crate::cli::service) fn install(
    args: &InstallArgs,
    config: Option<&Path>,
    registry: &Registry,
) -> anyhow::Result<ExitCode> {
    let configuration = config.map_or_else(config::system_place, Path::to_owned);
    let configuration = std::path::absolute(configuration).context("cannot tell the working folder")?;
    let settings = config::load_with_places(&configuration, registry).map(|(settings, _)| settings);
    let stop_takes = settings.as_ref().map_or(Duration::ZERO, |settings| settings.service.stop_timeout);
    let wanted = Wanted {
        binary: std::env::current_exe().context("cannot tell where this program lies")?,
        configuration,
        standby: args.standby,
        account: args.user,
        shutdown_waits: (stop_takes + STOP_ASIDE).max(SHUTDOWN_WAITS_MIN),
    };
    if args.print {
        lines(&wanted.told());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(refused) = wanted.refusal() {
        return Ok(refused);
    }
    let Some(manager) = open_manager(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)?
    else {
        return Ok(ExitCode::from(USAGE));
    };
    let Some(makes) = Makes::of(&manager, wanted.account)? else { return Ok(ExitCode::from(USAGE)) };
    // From the outside in: where nobody else may write, nobody changes what lies there afterwards.
    let (home, log) = (home(), log());
    let are_trusted = makes.closed(&home, false)?
        && makes.closed(parent_of(&log), true)?
        && makes.trusts(&log)?
        && makes.trusts(&wanted.configuration)?;
    if !are_trusted {
        return Ok(ExitCode::from(USAGE));
    }
    let is_new = make_configuration(&wanted.configuration, config.is_some())?;
    // What was just written is read, too.
    let settings = if is_new {
        config::load_with_places(&wanted.configuration, registry).map(|(it, _)| it)
    } else {
        settings
    };
    // A standby takes what is there: one that is made where nothing is shared would be another store.
    if let Some(settings) = settings.as_ref().ok().filter(|_| !args.standby)
        && !makes.closed(&settings.service.data_dir, true)?
    {
        return Ok(ExitCode::from(USAGE));
    }
    let Some(service) = register(&manager, &wanted)? else { return Ok(ExitCode::from(USAGE)) };
    if let Err(error) = registry::register_event_source() {
        complain(
            &format!("{} cannot be written: {error}", registry::event_source()),
            Some("the service works as well; its events are shown with a remark"),
        );
    }
    say!("registered: it starts with the machine");
    if let Err(problems) = &settings {
        say!("\nthe configuration is wrong: mend it, and start the service then\n{problems}");
        return Ok(ExitCode::from(USAGE));
    }
    say_of_drives(settings.as_ref().ok());
    say_next(&wanted, is_new, is_running(&service));
    Ok(ExitCode::SUCCESS)
}

impl Wanted {
    fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.with_context(|| format!("{} is no text", path.display()))
        };
        let (configuration, log) = (text(&self.configuration)?, text(&log())?);
        let words = ["service", "run", "--config", &configuration, "--log", &log];
        let standby = self.standby.then_some("--standby");
        Ok(words.into_iter().chain(standby).map(str::to_owned).collect())
    }

    fn info(&self) -> anyhow::Result<ServiceInfo> {
        Ok(ServiceInfo {
            name: NAME.into(),
            display_name: SHOWN_NAME.into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::AutoStart,
            error_control: ServiceErrorControl::Normal,
            executable_path: self.binary.clone(),
            launch_arguments: self.arguments()?.into_iter().map(OsString::from).collect(),
            dependencies: Vec::new(),
            account_name: self.account.map(|account| account.name().into()),
            account_password: None,
        })
    }

    /// For people, a line for each.
    fn told(&self) -> String {
        let binary = self.binary.display().to_string();
        let arguments = self.arguments().unwrap_or_default();
        let command = command_line::joined([&binary].into_iter().chain(&arguments).map(String::as_str));
        let seconds: Vec<_> = STARTED_ANEW_AFTER.iter().map(|time| format!("{} s", time.as_secs())).collect();
        format!(
            "service    {NAME} ({SHOWN_NAME}): {DESCRIPTION}\n\
             command    {command}\n\
             account    {}\n\
             starts     with the machine, after what is needed sooner\n\
             restarts   {} after it died or failed; counted anew after {} h\n\
             shutdown   waits {} s for it\n\
             events     {}\n\
             log        {}\n",
            self.account.map_or("the one that it has, else LocalSystem", Account::name),
            seconds.join(", "),
            FORGOTTEN_AFTER.as_secs() / 3600,
            self.shutdown_waits.as_secs(),
            registry::event_source(),
            log().display(),
        )
    }

    /// Why the service could not start this program, if it could not.
    fn refusal(&self) -> Option<ExitCode> {
        let paths = [("program", &self.binary), ("configuration", &self.configuration)];
        let (what, path) = paths.into_iter().find(|(_, path)| durable_fs::is_on_mapped_drive(path))?;
        complain(
            &format!(
                "the {what} {} lies on a drive that is mapped for you: the service does not see it",
                path.display()
            ),
            Some(r"copy it to a disk of this machine, or name it as \\server\share\…"),
        );
        Some(ExitCode::from(USAGE))
    }
}

/// Makes folders that nobody but administrators and the service may look into; what is there already must be trusted ([`distrusts`]).
struct Makes {
    account: Account,
    /// The numbers of whom is trusted, too: who installs, and the account that the service has.
    trusted: Vec<String>,
}

impl Makes {
    /// None where that was refused, which is said.
    fn of(manager: &ServiceManager, account: Option<Account>) -> anyhow::Result<Option<Self>> {
        let known = match open(manager, ServiceAccess::QUERY_CONFIG)? {
            Opened::Service(service) => service.query_config().ok().and_then(|config| config.account_name),
            Opened::Missing => None,
            Opened::Refused => return Ok(None),
        };
        let known = known.map(|name| name.to_string_lossy().into_owned());
        let mut trusted = vec![durable_fs::number_of_user().context("cannot tell who you are")?];
        // One that the system does not know cannot be trusted, and the service does not start as it.
        let named = account.map(|account| account.name().to_owned()).or_else(|| known.clone());
        trusted.extend(named.and_then(|name| durable_fs::number_of_account(&name).ok()));
        let account = account.or_else(|| known?.parse().ok()).unwrap_or(Account::System);
        Ok(Some(Self { account, trusted }))
    }

    /// Whether the folder is there now, and trusted; why not is said. One on a share is its server's matter.
    fn closed(&self, folder: &Path, writes: bool) -> anyhow::Result<bool> {
        if fs::symlink_metadata(folder).is_ok() {
            return if is_on_share(folder) { Ok(true) } else { self.trusts(folder) };
        }
        let cannot = || format!("cannot make {}", folder.display());
        durable_fs::make_folder(parent_of(folder), OpenTo::Owner).with_context(cannot)?;
        durable_fs::make_closed_folder(folder, self.account.in_lists(), writes).with_context(cannot)?;
        say!("made {}, for administrators and the service alone", folder.display());
        Ok(true)
    }

    /// Whether what lies there may be used; nothing may be. Why not is said, and what to do.
    fn trusts(&self, path: &Path) -> anyhow::Result<bool> {
        let cannot = || format!("cannot look at {}", path.display());
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            found => found.with_context(cannot)?,
        };
        let is_elsewhere = found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0;
        let why = if is_elsewhere {
            Some("it leads to another place (a junction or a link)".to_owned())
        } else {
            distrusts(&durable_fs::access_of(path).with_context(cannot)?, &self.trusted)
        };
        let Some(why) = why else { return Ok(true) };
        let hint = if is_elsewhere {
            "remove it, or name the place that it leads to; then install again".to_owned()
        } else {
            format!(
                "see what is in it; if it is yours: {}; then install again",
                how_to_close(path, found.is_dir())
            )
        };
        complain(
            &format!(
                "{} is not trusted: {why}, and who can do that decides what the service does",
                path.display()
            ),
            Some(&hint),
        );
        Ok(false)
    }
}

fn is_on_share(path: &Path) -> bool {
    let Some(Component::Prefix(prefix)) = path.components().next() else { return false };
    matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
}

/// The lines that give it to administrators and the system alone, with all that is in it.
fn how_to_close(path: &Path, is_folder: bool) -> String {
    let path = path.display();
    let (below, all, inherited) = if is_folder { (" /r", " /t", "(OI)(CI)") } else { ("", "", "") };
    format!(
        "takeown /f \"{path}\" /a{below} & icacls \"{path}\" /reset{all} & \
         icacls \"{path}\" /inheritance:r /grant *S-1-5-32-544:{inherited}F *S-1-5-18:{inherited}F"
    )
}

/// Whether it was written; one that is there stays as it is, and one that was named must be there.
fn make_configuration(file: &Path, is_named: bool) -> anyhow::Result<bool> {
    if file.try_exists().with_context(|| format!("cannot look at {}", file.display()))? {
        return Ok(false);
    }
    if is_named {
        bail!("there is no {}", file.display());
    }
    let written = fs::OpenOptions::new().write(true).create_new(true).open(file);
    let mut written = match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        written => written.with_context(|| format!("cannot write {}", file.display()))?,
    };
    written.write_all(EXAMPLE.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    say!("wrote {}: nothing is watched until you edit it", file.display());
    Ok(true)
}

/// The service, made or changed; none where that was refused, which is said.
fn register(manager: &ServiceManager, wanted: &Wanted) -> anyhow::Result<Option<Service>> {
    let info = wanted.info()?;
    let access = ServiceAccess::QUERY_STATUS
        | ServiceAccess::QUERY_CONFIG
        | ServiceAccess::CHANGE_CONFIG
        // Who may set that it is started anew must be one who may start it.
        | ServiceAccess::START;
    let service = match open(manager, access)? {
        Opened::Service(service) => {
            service.change_config(&info).context("cannot change the service")?;
            service
        }
        Opened::Refused => return Ok(None),
        Opened::Missing => match manager.create_service(&info, access) {
            Err(error) if is_missing(&error) => bail!("cannot register the service: {error:?}"),
            created => created.context("cannot register the service")?,
        },
    };
    set_extras(&service, wanted);
    Ok(Some(service))
}

/// What the service can do without is told, and gone on.
fn set_extras(service: &Service, wanted: &Wanted) {
    let failures = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGOTTEN_AFTER),
        reboot_msg: None,
        command: None,
        actions: Some(STARTED_ANEW_AFTER.map(start_after).to_vec()),
    };
    let set = [
        ("its description", service.set_description(DESCRIPTION)),
        ("that it is started anew when it dies", service.update_failure_actions(failures)),
        ("that it is started anew when it fails", service.set_failure_actions_on_non_crash_failures(true)),
        ("that a shutdown waits for it", service.set_preshutdown_timeout(wanted.shutdown_waits)),
        ("that it starts after what is needed sooner", service.set_delayed_auto_start(true)),
    ];
    for (what, set) in set {
        if let Err(error) = set {
            let error = anyhow::Error::from(error);
            complain(
                &format!("this system does not take {what}: {error:#}"),
                Some("the service works without; services.msc shows what was taken"),
            );
        }
    }
}

fn start_after(delay: Duration) -> ServiceAction {
    ServiceAction { action_type: ServiceActionType::Restart, delay }
}

/// A service has no drives that somebody mapped.
fn say_of_drives(settings: Option<&Settings>) {
    let Some(settings) = settings else { return };
    let of_rules =
        settings.rules.iter().flat_map(|rule| watched_folders(rule).into_iter().chain(folders_of(rule)));
    let folders = of_rules.chain([settings.service.data_dir.clone()]);
    for folder in folders.filter(|folder| durable_fs::is_on_mapped_drive(folder)) {
        complain(
            &format!(
                "{} lies on a drive that is mapped for you: the service does not see it",
                folder.display()
            ),
            Some(
                r"name it as \\server\share\…, and let the service's account at it (as LocalSystem: this machine's, DOMAIN\MACHINE$)",
            ),
        );
    }
}

fn say_next(wanted: &Wanted, is_new: bool, runs: bool) {
    if is_new {
        say!("next: edit {}, and `landfall check`", wanted.configuration.display());
        say!("      landfall service start");
    } else if runs {
        say!("next: landfall service stop, and landfall service start, so that it runs by this");
    } else {
        say!("next: landfall service start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rule::Mode;

    fn wanted(standby: bool) -> Wanted {
        Wanted {
            binary: r"C:\Program Files\Landfall\landfall.exe".into(),
            configuration: r"C:\ProgramData\Landfall\landfall.toml".into(),
            standby,
            account: None,
            shutdown_waits: SHUTDOWN_WAITS_MIN,
        }
    }

    #[test]
    fn what_is_registered_is_told_as_it_is() {
        let told = wanted(true).told();
        let command = r#""C:\Program Files\Landfall\landfall.exe" service run --config C:\ProgramData\Landfall\landfall.toml --log "#;
        assert!(told.contains(&format!("command    {command}")) && told.contains(" --standby\n"), "{told}");
        assert!(told.contains("restarts   5 s, 30 s, 60 s, 600 s after"), "{told}");
        let info = wanted(false).info().expect("is text");
        assert_eq!(info.launch_arguments.len(), 6);
        assert_eq!(info.account_name, None, "the account stays");
    }

    #[test]
    fn what_is_written_at_first_is_right_and_watches_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("landfall.toml");
        assert!(make_configuration(&file, true).is_err(), "one that is named must be there");
        assert!(make_configuration(&file, false).expect("writes"));
        assert!(!make_configuration(&file, true).expect("leaves it"));
        let (settings, _) =
            config::load_with_places(&file, &Registry::with_builtin_steps()).expect("is right");
        assert!(settings.rules.iter().all(|rule| rule.mode == Mode::Off));
        assert_eq!(settings.service.data_dir, Path::new(r"C:\ProgramData\Landfall\data"));
    }

    #[test]
    fn what_anybody_may_write_is_refused_and_what_is_not_there_is_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (there, none) = (folder.path().join("there"), folder.path().join("none"));
        let mine =
            Makes { account: Account::System, trusted: vec![durable_fs::number_of_user().expect("asks")] };
        assert!(mine.trusts(&none).expect("looks"));
        assert!(mine.closed(&there, true).expect("makes") && there.is_dir());
        assert!(mine.closed(&there, true).expect("looks"), "it is this user's");
        let access = durable_fs::access_of(&there).expect("asks");
        assert_eq!(distrusts(&access, &mine.trusted), None, "{access}");
        assert!(is_on_share(Path::new(r"\\server\share\data")) && !is_on_share(Path::new(r"C:\data")));
    }

    #[test]
    fn how_to_close_it_is_a_line_to_run() {
        assert_eq!(
            how_to_close(Path::new(r"C:\a b"), true),
            r#"takeown /f "C:\a b" /a /r & icacls "C:\a b" /reset /t & icacls "C:\a b" /inheritance:r /grant *S-1-5-32-544:(OI)(CI)F *S-1-5-18:(OI)(CI)F"#
        );
        assert!(how_to_close(Path::new(r"C:\a.toml"), false).ends_with("/grant *S-1-5-32-544:F *S-1-5-18:F"));
    }
}
