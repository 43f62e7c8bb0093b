//! `landfall run`: the service in the foreground.

#[cfg(unix)]
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Runtime;

use crate::pipeline::Registry;
use crate::service::{Service, ServiceError, standby};
use crate::store::StoreError;
use crate::supervisor::Supervisor;
use crate::telemetry::logging;

/// The least that a stop may take before the process ends all the same.
const STOP_TAKES: Duration = Duration::from_secs(1);
/// How long a start may take, at most: the unit's `TimeoutStartSec`, for one that begins later.
const START_MAX: Duration = Duration::from_mins(15);
/// A standby tells systemd often enough that it waits for so much longer.
const STANDBY_TAKES: Duration = Duration::from_mins(1);
/// How long a start that is under way may take when a signal comes.
const START_TAKES: Duration = Duration::from_secs(2);

/// The arguments of `landfall run`.
#[derive(Clone, Copy, clap::Args)]
pub(super) struct RunArgs {
    /// Wait while another service has the data folder, on shared storage for instance, and take over when it lets go of it
    #[arg(long)]
    pub(super) standby: bool,
}

pub(super) fn run(args: RunArgs, config: Option<&Path>, registry: &Registry) -> anyhow::Result<ExitCode> {
    // Before the service confines itself.
    let supervisor = Arc::new(Supervisor::of_environment());
    // From here on a stop is clean, however early it comes.
    let mut signals = Signals::listen()?;
    loop {
        if args.standby && stand_by(&mut signals, config, &supervisor)? == StoodBy::Stopped {
            return Ok(ExitCode::SUCCESS);
        }
        match serve(&mut signals, config, registry.clone(), &supervisor) {
            Err(error) if args.standby && is_in_use(&error) => {
                tracing::info!(%error, "another service was faster");
            }
            ended => return ended,
        }
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::InUse { .. }))
}

/// What ended the wait.
#[derive(PartialEq, Eq)]
enum StoodBy {
    /// The data folder is free.
    Free,
    Stopped,
}

/// Waits until nobody else has the data folder.
fn stand_by(
    signals: &mut Signals,
    config: Option<&Path>,
    supervisor: &Arc<Supervisor>,
) -> anyhow::Result<StoodBy> {
    let (config, told) = (config.map(Path::to_owned), Arc::clone(supervisor));
    let waits = signals.wait("standby", move || wait_until_free(config.as_deref(), &told), || ())?;
    match waits {
        Came::Done(waited) => {
            waited.map_err(cause_of)?;
            supervisor.takes(START_MAX);
            Ok(StoodBy::Free)
        }
        // The thread that waits has nothing in hand, and ends with the process.
        Came::Signal(signal, _) => {
            supervisor.stopping();
            tracing::info!(signal, "stopped while standing by");
            logging::write_last_lines();
            Ok(StoodBy::Stopped)
        }
    }
}

fn wait_until_free(config: Option<&Path>, supervisor: &Supervisor) -> Result<(), ServiceError> {
    let (mut told, mut extended) = (String::new(), None::<Instant>);
    while let Some(why) = standby::waits_for(config)? {
        if why != told {
            tracing::info!("standing by: {why}");
            supervisor.status(&format!("standing by: {why}"));
            told = why;
        }
        if extended.is_none_or(|last| last.elapsed() > STANDBY_TAKES / 3) {
            supervisor.takes(STANDBY_TAKES);
            extended = Some(Instant::now());
        }
        std::thread::sleep(standby::LOOK_EVERY);
    }
    if !told.is_empty() {
        tracing::info!("nobody has the data folder any more: taking over");
    }
    Ok(())
}

/// A start may take long where another node has the cluster: the supervisor is told, until this is set to false.
fn tell_standby(supervisor: Arc<Supervisor>) -> anyhow::Result<Arc<AtomicBool>> {
    let starts = Arc::new(AtomicBool::new(true));
    let goes_on = Arc::clone(&starts);
    let tell = move || {
        while goes_on.load(Ordering::Relaxed) {
            std::thread::sleep(standby::LOOK_EVERY);
            if standby::is_now() {
                supervisor.takes(STANDBY_TAKES);
                supervisor.status("standing by: another node has the cluster, or no broker answers");
            }
        }
    };
    std::thread::Builder::new().name("standby-told".to_owned()).spawn(tell)?;
    Ok(starts)
}

/// The service, from its start to its end.
fn serve(
    signals: &mut Signals,
    config: Option<&Path>,
    registry: Registry,
    supervisor: &Arc<Supervisor>,
) -> anyhow::Result<ExitCode> {
    supervisor.status("starting");
    let config = config.map(Path::to_owned);
    let waits = tell_standby(Arc::clone(supervisor))?;
    let mut came_early = false;
    let start = move || Service::start(config.as_deref(), registry);
    let started = signals.wait("start", start, || came_early = true)?;
    waits.store(false, Ordering::Relaxed);
    let (service, signal) = match started {
        Came::Done(service) => {
            let service = service.map_err(cause_of)?;
            service
                .supervise(supervisor)
                .context("cannot start the thread that tells the supervisor how the service is")?;
            let reloader = service.reloader();
            let reload = || {
                tracing::info!("{RELOAD_ASKED}: a reload is asked for");
                reloader.reload();
            };
            if came_early {
                reload();
            }
            match signals.wait("await-stop", service.ended_handle(), reload)? {
                Came::Done(()) => (service, FAULT),
                Came::Signal(signal, _) => (service, signal),
            }
        }
        // The thread that waits has nothing in hand, and ends with the process.
        Came::Signal(signal, _) if standby::is_now() => {
            supervisor.stopping();
            tracing::info!(signal, "stopped while standing by");
            logging::write_last_lines();
            return Ok(ExitCode::SUCCESS);
        }
        Came::Signal(signal, starting) => {
            supervisor.stopping();
            (started_after_all(starting, signal)?, signal)
        }
    };
    supervisor.stopping();
    supervisor.takes(service.stop_timeout() + STOP_TAKES);
    tracing::info!(signal, "stopping");
    end_in_any_case(service.stop_timeout().max(STOP_TAKES), signal != FAULT)?;
    service.stop().map_err(cause_of)?;
    Ok(ExitCode::SUCCESS)
}

/// A start that a signal met comes to its end first: the stop is clean. One that does not is ended all the same.
fn started_after_all(
    starting: UnderWay<Result<Service, ServiceError>>,
    signal: &str,
) -> anyhow::Result<Service> {
    match starting.within(START_TAKES) {
        Ok(service) => service.map_err(cause_of),
        Err(at) => {
            tracing::warn!(
                signal,
                "the start{at} does not come to its end: ending all the same; the next start recovers"
            );
            end_now(true);
        }
    }
}

/// The error itself, which tells its hint and the exit code.
fn cause_of(error: ServiceError) -> anyhow::Error {
    match error {
        ServiceError::Config(problems) => problems.into(),
        ServiceError::Store(error) => error.into(),
        ServiceError::Engine(error) => error.into(),
        ServiceError::Control(error) => error.into(),
        ServiceError::Api(error) => error.into(),
    }
}

/// A disk that does not answer must not hold up the stop for ever: what was not finished is recovered by the next start.
fn end_in_any_case(within: Duration, is_asked: bool) -> anyhow::Result<()> {
    let watchdog = move || {
        std::thread::sleep(within);
        tracing::warn!("the stop took too long: ending all the same; the next start recovers");
        crate::pipeline::kill_children();
        end_now(is_asked);
    };
    std::thread::Builder::new().name("end-in-any-case".into()).spawn(watchdog)?;
    Ok(())
}

/// Ends the process with what it has in its hands.
#[cfg_attr(not(windows), allow(unused_variables, reason = "systemd knows what it asked for"))]
fn end_now(is_asked: bool) -> ! {
    logging::write_last_lines();
    // What was asked to stop is not started anew, however it ends.
    #[cfg(windows)]
    crate::supervisor::manager::ended(u32::from(!is_asked));
    std::process::exit(1);
}

/// What a signal asks for.
enum Asked {
    Stop(&'static str),
    /// The configuration is to be read anew.
    Reload,
}

/// The signal of a service that stops by itself.
const FAULT: &str = "fault";
#[cfg(unix)]
const RELOAD_ASKED: &str = "SIGHUP";
#[cfg(windows)]
const RELOAD_ASKED: &str = "the control for changed parameters";

/// The signals that the service listens to, from the moment that this is made.
struct Signals {
    runtime: Runtime,
    listening: Listening,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context("cannot start the signal loop")?;
        let listening = {
            let _inside = runtime.enter();
            Listening::start()?
        };
        Ok(Self { runtime, listening })
    }

    /// Does something on a thread of its own, until it is done or a signal asks to stop; `reload` is called for each that asks for that.
    fn wait<T: Send + 'static>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
        mut reload: impl FnMut(),
    ) -> anyhow::Result<Came<T>> {
        let (tell, mut told) = tokio::sync::oneshot::channel();
        let (hand_over, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            hand_over.send(work()).ok(); // nobody listens once a signal came first
            tell.send(()).ok();
        })?;
        let signal = self.runtime.block_on(async {
            loop {
                tokio::select! {
                    asked = self.listening.next() => match asked {
                        Asked::Stop(signal) => break Some(signal),
                        Asked::Reload => reload(),
                    },
                    _ = &mut told => break None,
                }
            }
        });
        let work = UnderWay { thread, done };
        match signal {
            Some(signal) => Ok(Came::Signal(signal, work)),
            None => work.done.recv().map(Came::Done).with_context(|| format!("the thread {name} broke")),
        }
    }
}

/// What came first.
enum Came<T> {
    Done(T),
    /// What was to be done is under way yet.
    Signal(&'static str, UnderWay<T>),
}

struct UnderWay<T> {
    thread: JoinHandle<()>,
    done: Receiver<T>,
}

impl<T> UnderWay<T> {
    /// What was to be done, if it comes to its end soon; else where it is.
    fn within(self, time: Duration) -> Result<T, String> {
        self.done.recv_timeout(time).map_err(|_| crate::engine::place_of(self.thread.thread().id()))
    }
}

#[cfg(unix)]
struct Listening {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// None: whoever started this does not want it to hear of the terminal's end.
    hang_up: Option<tokio::signal::unix::Signal>,
    terminal: Terminal,
}

/// The terminal that the service was started from, if it has one. Its end comes with a SIGHUP, from the kernel or the shell, or without: then
/// the service was to outlive it (`disown`, `setsid`), and every later SIGHUP is an operator's.
#[cfg(unix)]
struct Terminal {
    /// Which of the standard streams were it at the start. When it is closed, they are none any more.
    streams: [bool; 3],
    closed_at: Option<Instant>,
    is_outlived: bool,
}

/// The SIGHUP of a terminal that is closed comes within this.
#[cfg(unix)]
const HANG_UP_TAKES: Duration = Duration::from_secs(2);
/// The end of the terminal is looked for so often.
#[cfg(unix)]
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[cfg(unix)]
impl Terminal {
    fn now() -> Self {
        Self { streams: Self::streams(), closed_at: None, is_outlived: false }
    }

    fn streams() -> [bool; 3] {
        [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()]
    }

    /// Whether its end may still be the service's.
    fn counts(&self) -> bool {
        self.streams.contains(&true) && !self.is_outlived
    }

    fn look(&mut self) {
        let has_it = || !self.streams.iter().zip(Self::streams()).any(|(was, is)| *was && !is);
        if !self.counts() || has_it() {
            return;
        }
        let closed_at = *self.closed_at.get_or_insert_with(Instant::now);
        if closed_at.elapsed() > HANG_UP_TAKES {
            self.is_outlived = true;
            tracing::info!(
                "the terminal is closed, and the service goes on without it: SIGHUP is a reload from now on"
            );
        }
    }

    /// Whether a SIGHUP that comes now tells of its end.
    fn is_ending(&mut self) -> bool {
        self.look();
        self.closed_at.is_some() && !self.is_outlived
    }
}

#[cfg(unix)]
impl Listening {
    fn start() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        // A terminal that is closed is no reason to be killed: its output is lost, and the stop is clean.
        let hang_up = (!ignores_hang_up()).then(|| signal(SignalKind::hangup())).transpose();
        let hang_up = hang_up.context("cannot listen for SIGHUP")?;
        Ok(Self { terminate, interrupt, hang_up, terminal: Terminal::now() })
    }

    /// SIGHUP tells of two things: the terminal is closed, whose end the service does not outlive; or, as of daemons, that an operator
    /// changed the configuration.
    async fn next(&mut self) -> Asked {
        loop {
            let hang_up = async {
                match &mut self.hang_up {
                    Some(hang_up) => drop(hang_up.recv().await),
                    None => std::future::pending().await,
                }
            };
            let looks = self.terminal.counts();
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop("SIGTERM"),
                _ = self.interrupt.recv() => return Asked::Stop("SIGINT"),
                () = hang_up => {
                    let is_ending = self.terminal.is_ending();
                    return if is_ending { Asked::Stop("SIGHUP, the terminal is closed") } else { Asked::Reload };
                }
                () = tokio::time::sleep(LOOK_EVERY), if looks => self.terminal.look(),
            }
        }
    }
}

/// Whether this was started to outlive its terminal: `nohup landfall run &`.
#[cfg(unix)]
#[allow(unsafe_code, reason = "asking how a signal is met has no safe interface")]
fn ignores_hang_up() -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action sigaction(2) changes nothing; it fills `found`, of which any bytes, zeros too, are a value.
    let action = unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), found.as_mut_ptr());
        found.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Ctrl-C, and what the service control manager asks of a process that it started.
#[cfg(windows)]
struct Listening {
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
impl Listening {
    fn start() -> anyhow::Result<Self> {
        let interrupt = tokio::signal::windows::ctrl_c().context("cannot listen for Ctrl-C")?;
        Ok(Self { interrupt })
    }

    async fn next(&mut self) -> Asked {
        use super::asked;
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop("Ctrl-C"),
            control = asked::stop_asked() => Asked::Stop(control),
            () = asked::reload_asked() => Asked::Reload,
        }
    }
}
