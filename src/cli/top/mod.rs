//! `landfall top`: the running service on the whole screen, as it goes.
//!
//! ```text
//!  service ──> looker ──news──┐                         ┌──> screen (draw)
//!  terminal ──> keys ─────────┼──happenings──> loop ──> model ──intents──> deeds ──> service
//!  system ──> signals ────────┘
//! ```
//!
//! The model and the drawing are pure: what keys do, and what stands where, is tested without a terminal. The loop waits for what happens, and
//! draws after it, or each second for the clock.

mod columns;
mod deeds;
mod desk;
mod draw;
mod draw_text;
mod due;
mod happenings;
mod kept;
mod looker;
mod model;
mod paces;
mod pages;
mod rows;
#[cfg(test)]
mod samples;
mod screen;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use anyhow::Context as _;

use super::exit::USAGE;
use super::say::complain;
use super::{running, view};
use crate::control::{self, Client};
use crate::engine::Refusal;
use deeds::carry_out;
use desk::Desk;
use happenings::{Happening, listen_for_keys, listen_for_signals};
use model::{Deed, Intent, Model, News};
use screen::Screen;

/// The clock and the ages go on so often.
const DRAWN_EVERY: Duration = Duration::from_secs(1);
/// Deeds that wait for the service; further keys are told that it is busy.
const DEEDS_MAX: usize = 16;
/// Whoever tells more waits until the screen has taken it.
const HAPPENINGS_MAX: usize = 64;

/// No arguments of its own.
#[derive(clap::Args)]
#[command(
    after_help = "`?` shows the keys. It shows the running service, and none is started by it: where none runs, `landfall jobs` lists the \
                  jobs of the store. Of very many jobs it shows those that have not ended, those that failed, and the newest. NO_COLOR: \
                  without colours."
)]
pub(super) struct TopArgs {}

pub(super) fn run(_args: &TopArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    if let Some(why) = no_screen() {
        let hint = "`landfall jobs` prints the list, and `landfall jobs --json` prints it for programs";
        complain(&format!("landfall top needs a terminal: {why}"), Some(hint));
        return Ok(ExitCode::from(USAGE));
    }
    let Some(client) = service(config)? else {
        let code = view::refuse(&Refusal::NotRunning);
        complain(
            "without it nothing goes on that could be watched",
            Some("`landfall jobs` lists the jobs of the store"),
        );
        return Ok(code);
    };
    let (to, happenings) = sync_channel(HAPPENINGS_MAX);
    let desk = Arc::new(Desk::new(client));
    let deeds = start_threads(&desk, &to)?;
    let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let model = Model::new(crate::clock::now(), is_coloured);
    let mut screen = Screen::take().context("cannot take the terminal")?;
    let ended = Loop { model, desk, deeds, happenings }.run(&mut screen);
    drop(screen); // before anything is said
    ended.context("the terminal cannot be used any more")?;
    Ok(ExitCode::SUCCESS)
}

/// Why nothing can be drawn, if it is so.
fn no_screen() -> Option<&'static str> {
    if !io::stdout().is_terminal() {
        return Some("standard output is none");
    }
    if !io::stdin().is_terminal() {
        return Some("standard input is none");
    }
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_dumb.then_some("this one is dumb (TERM)")
}

/// The running service. One that starts, and one that this user may not ask, are told as by every command.
fn service(config: Option<&Path>) -> anyhow::Result<Option<Client>> {
    if let Some(client) = running::client(config) {
        return Ok(Some(client));
    }
    let settings = super::settings(config)?;
    match control::reach_service(&settings) {
        Ok(client) => Ok(client),
        // Its hint is told with it.
        Err(error) => Err(error).context("cannot ask the service"),
    }
}

/// Those that tell of happenings, and the one that does what is asked for.
fn start_threads(desk: &Arc<Desk>, to: &SyncSender<Happening>) -> anyhow::Result<SyncSender<Deed>> {
    listen_for_signals(to.clone()).context("cannot listen for signals")?;
    let (deeds, asked) = sync_channel::<Deed>(DEEDS_MAX);
    let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
        Builder::new().name(name.to_owned()).spawn(work).context("cannot start a thread")
    };
    let (of, tell) = (Arc::clone(desk), to.clone());
    start("top-look", Box::new(move || looker::look(&of, &tell)))?;
    let (of, tell) = (Arc::clone(desk), to.clone());
    start("top-page", Box::new(move || pages::tell(&of, &tell)))?;
    let tell = to.clone();
    start("top-keys", Box::new(move || listen_for_keys(&tell)))?;
    let (of, tell) = (Arc::clone(desk), to.clone());
    start("top-deeds", Box::new(move || do_deeds(&of, &asked, &tell)))?;
    Ok(deeds)
}

fn do_deeds(desk: &Desk, asked: &Receiver<Deed>, to: &SyncSender<Happening>) {
    for deed in asked {
        let done = match desk.service() {
            Some(service) => carry_out(service.as_ref(), &deed),
            None => Err("no service is there to do it".to_owned()),
        };
        let is_bad = done.is_err();
        let said = done.unwrap_or_else(|why| why);
        if to.send(Happening::News(News::Said(said, is_bad))).is_err() {
            return;
        }
    }
}

struct Loop {
    model: Model,
    desk: Arc<Desk>,
    deeds: SyncSender<Deed>,
    happenings: Receiver<Happening>,
}

impl Loop {
    fn run(mut self, screen: &mut Screen) -> io::Result<()> {
        loop {
            self.model.now = crate::clock::now();
            screen.draw(&mut self.model)?;
            let mut next = match self.happenings.recv_timeout(DRAWN_EVERY) {
                Ok(happening) => Some(happening),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What came together is drawn together.
            while let Some(happening) = next {
                if !self.meet(happening, screen)? {
                    return Ok(());
                }
                next = self.happenings.try_recv().ok();
            }
        }
    }

    /// False: that was all.
    fn meet(&mut self, happening: Happening, screen: &mut Screen) -> io::Result<bool> {
        match happening {
            Happening::News(news) => self.model.hear(news),
            Happening::Resized => {}
            Happening::Continued => screen.clear()?,
            Happening::Stop => return Ok(false),
            Happening::NoKeys(error) => return Err(error),
            Happening::Key(key) => match self.model.press(key) {
                None => {}
                Some(Intent::Quit) => return Ok(false),
                Some(Intent::Redraw) => screen.clear()?,
                Some(Intent::Look) => self.desk.want(self.model.wanted()),
                Some(Intent::Suspend) => return self.suspend(screen),
                Some(Intent::Do(deed)) => self.order(deed),
            },
        }
        Ok(true)
    }

    fn order(&mut self, deed: Deed) {
        if self.deeds.try_send(deed).is_err() {
            let said = "the service is busy with what it was asked before: press it again";
            self.model.hear(News::Said(said.to_owned(), true));
        }
    }

    /// To the shell and back. False: it was asked to end meanwhile.
    #[cfg(unix)]
    fn suspend(&mut self, screen: &mut Screen) -> io::Result<bool> {
        use rustix::process::{Signal, kill_current_process_group};
        /// A process that nobody can continue is not stopped.
        const STOP_TAKES: Duration = Duration::from_millis(500);
        Screen::leave()?;
        kill_current_process_group(Signal::TSTP)?;
        loop {
            match self.happenings.recv_timeout(STOP_TAKES) {
                Ok(Happening::Stop) => return Ok(false),
                Ok(Happening::News(news)) => self.model.hear(news),
                Ok(Happening::Continued) | Err(_) => break,
                Ok(_) => {}
            }
        }
        screen.come_back()?;
        Ok(true)
    }

    #[cfg(not(unix))]
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as where there is a shell to come back from"
    )]
    fn suspend(&mut self, _: &mut Screen) -> io::Result<bool> {
        Ok(true)
    }
}
