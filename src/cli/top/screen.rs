//! The terminal: taken for the screen, and given back as it was however that ends; also by a panic of any thread.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::Rect;

use super::draw::{draw, rows_of};
use super::model::Model;

/// A screen is written at once.
const SCREEN_BYTES: usize = 64 << 10;

/// Whether the terminal is ours now.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// See the module.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        let out = BufWriter::with_capacity(SCREEN_BYTES, io::stdout());
        take()?;
        let taken = Terminal::new(CrosstermBackend::new(out));
        if taken.is_err() {
            give_back().ok(); // the error is told
        }
        Ok(Self { terminal: taken? })
    }

    pub(super) fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        if !IS_TAKEN.load(Ordering::Acquire) {
            return Err(io::Error::other("a thread of it broke")); // and gave the terminal back
        }
        self.terminal.autoresize()?;
        model.fit(rows_of(self.terminal.size()?.height));
        self.terminal.draw(|frame| draw(model, frame.buffer_mut())).map(drop)
    }

    /// Draws all of it anew with the next drawing, whatever others wrote over it.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal where its cursor is, and the thread that reads keys gets the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Gives the terminal to the shell.
    #[cfg(unix)]
    pub(super) fn leave() -> io::Result<()> {
        give_back()
    }

    /// Takes it again.
    #[cfg(unix)]
    pub(super) fn come_back(&mut self) -> io::Result<()> {
        take()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back().ok(); // there is no terminal any more
    }
}

fn take() -> io::Result<()> {
    IS_TAKEN.store(true, Ordering::Release);
    let taken = enable_raw_mode().and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide));
    if taken.is_err() {
        give_back().ok(); // the error is told
    }
    taken
}

fn give_back() -> io::Result<()> {
    if !IS_TAKEN.swap(false, Ordering::AcqRel) {
        return Ok(());
    }
    let shown = execute!(io::stdout(), LeaveAlternateScreen, Show);
    disable_raw_mode()?;
    shown?;
    io::stdout().flush()
}

/// What a panic says is to be read, and by a terminal that works.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back().ok(); // the panic is told
            before(panic);
        }));
    });
}
