//! What happens to the screen from outside, each told by a thread of its own: keys, signals, news of the service.

use std::io;
use std::sync::mpsc::SyncSender;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Key, News};

/// See the module.
#[derive(Debug)]
#[cfg_attr(not(unix), allow(dead_code, reason = "some are signals"))]
pub(super) enum Happening {
    Key(Key),
    /// The terminal has another size.
    Resized,
    News(News),
    /// The process is asked to end.
    Stop,
    /// It goes on after it was stopped.
    Continued,
    /// The terminal gives no keys any more.
    NoKeys(io::Error),
}

/// Until nobody listens any more.
pub(super) fn listen_for_keys(to: &SyncSender<Happening>) {
    loop {
        let happening = match event::read() {
            Ok(Event::Key(key)) => key_of(key).map(Happening::Key),
            Ok(Event::Resize(..)) => Some(Happening::Resized),
            Ok(_) => None,
            Err(error) => Some(Happening::NoKeys(error)),
        };
        let is_last = matches!(happening, Some(Happening::NoKeys(_)));
        if happening.is_some_and(|happening| to.send(happening).is_err()) || is_last {
            return;
        }
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None; // Windows tells both
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char('z') if is_control => Key::Suspend,
        KeyCode::Char('l') if is_control => Key::Redraw,
        KeyCode::Char('n') if is_control => Key::Down,
        KeyCode::Char('p') if is_control => Key::Up,
        KeyCode::Char('d' | 'f') if is_control => Key::PageDown,
        KeyCode::Char('u' | 'b') if is_control => Key::PageUp,
        KeyCode::Char(_) if is_control || key.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

/// Tells of signals from now on.
#[cfg(unix)]
pub(super) fn listen_for_signals(to: SyncSender<Happening>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt, mut hang_up, mut go_on) = {
        let _inside = runtime.enter();
        let go_on = SignalKind::from_raw(libc::SIGCONT);
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(go_on)?,
        )
    };
    let listen = move || {
        runtime.block_on(async {
            loop {
                let happening = tokio::select! {
                    _ = terminate.recv() => Happening::Stop,
                    _ = interrupt.recv() => Happening::Stop,
                    _ = hang_up.recv() => Happening::Stop,
                    _ = go_on.recv() => Happening::Continued,
                };
                if to.send(happening).is_err() {
                    return;
                }
            }
        });
    };
    std::thread::Builder::new().name("top-signals".into()).spawn(listen).map(drop)
}

#[cfg(not(unix))]
#[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "as where there are signals")]
pub(super) fn listen_for_signals(_: SyncSender<Happening>) -> io::Result<()> {
    Ok(()) // Ctrl-C is a key, and a window that is closed ends the process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_once_and_with_control_they_are_no_letters() {
        let of = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
        assert_eq!(of(KeyCode::Char('p'), KeyModifiers::NONE), Some(Key::Char('p')));
        assert_eq!(of(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Key::Char('G')));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(of(KeyCode::Char('x'), KeyModifiers::CONTROL), None);
        assert_eq!(of(KeyCode::Char('x'), KeyModifiers::ALT), None);
        let released = KeyEvent::new_with_kind(KeyCode::Enter, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(key_of(released), None);
    }
}
