//! The system's log of events (Windows): what an operator should see who does not read the service's own log.
//!
//! Warnings and errors go there as they are logged, and by [`note`] what is said of the service's life. No more than [`TOLD_MAX`] within
//! [`WITHIN`]: how many were left out is told with the first that is told again, or in the end ([`write_notes`]).
//!
//! A thread writes them ([`Queue`]): the system's log may stand still, and who logs goes on.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// What was logged is told so often at most …
const TOLD_MAX: u32 = 30;
/// … in this time.
const WITHIN: Duration = Duration::from_mins(1);
/// So many wait to be written; what comes then is left out.
const WAITING_MAX: usize = 100;
/// Of one text, in the system's units.
const UNITS_MAX: usize = 30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Information,
    Warning,
    Error,
}

/// Hands over to the system's log what is logged; `W` says whether it was taken.
pub(super) struct EventLog<W> {
    write: W,
    flood: Mutex<Flood>,
}

/// What was told of late.
#[derive(Debug, Default)]
struct Flood {
    begun: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Flood {
    /// How many were left out before this one, or none: this one is too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= WITHIN) {
            (self.begun, self.told) = (Some(now), 0);
        }
        if self.told >= TOLD_MAX {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<W: Fn(Severity, &str) -> bool> EventLog<W> {
    pub(super) const fn new(write: W) -> Self {
        Self { write, flood: Mutex::new(Flood { begun: None, told: 0, left_out: 0 }) }
    }

    fn tell(&self, severity: Severity, text: &str, now: Instant) {
        let admitted = self.flood().admit(now);
        if let Some(left_out) = admitted {
            self.tell_left_out(left_out);
            self.note(severity, text);
        }
    }

    /// However many there are.
    fn note(&self, severity: Severity, text: &str) {
        if !(self.write)(severity, text) {
            self.flood().left_out += 1;
        }
    }

    fn tell_left_out(&self, count: u64) {
        let text = || {
            format!("warnings and errors that were left out here: {count}; the service's own log has them")
        };
        if count > 0 && !(self.write)(Severity::Warning, &text()) {
            self.flood().left_out += count;
        }
    }

    fn note_left_out(&self) {
        let left_out = std::mem::take(&mut self.flood().left_out);
        self.tell_left_out(left_out);
    }

    fn flood(&self) -> MutexGuard<'_, Flood> {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for the thread that writes it.
#[derive(Debug)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting {
    texts: VecDeque<(Severity, String)>,
    is_writing: bool,
}

impl Queue {
    const fn new() -> Self {
        let waiting = Waiting { texts: VecDeque::new(), is_writing: false };
        Self { state: Mutex::new(waiting), changed: Condvar::new() }
    }

    /// Whether there was room; nobody waits for it.
    fn put(&self, severity: Severity, text: &str) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = state.texts.len() < WAITING_MAX;
        if has_room {
            state.texts.push_back((severity, text.to_owned()));
            self.changed.notify_all();
        }
        has_room
    }

    /// Waits for the next one, and has it written.
    fn write_next(&self, write: impl FnOnce(Severity, &str)) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(state, |state| state.texts.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let next = state.texts.pop_front();
        state.is_writing = true;
        drop(state);
        if let Some((severity, text)) = next {
            write(severity, &text);
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_writing = false;
        self.changed.notify_all();
    }

    /// Whether all was written within this time.
    fn is_written_within(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = |state: &mut Waiting| state.is_writing || !state.texts.is_empty();
        let waited = self.changed.wait_timeout_while(state, time, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// In the system's units: cut at a character, and with a blank behind each `%` before a digit, which a viewer would take for the place of a
/// text (`%1`), and a doubled one for that of a parameter.
fn units_of(text: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(text.len() + 1);
    let mut was_percent = false;
    for c in text.chars().filter(|c| *c != '\0') {
        let blank = (was_percent && c.is_ascii_digit()).then_some(u16::from(b' '));
        was_percent = c == '%';
        if units.len() + 1 + c.len_utf16() > UNITS_MAX {
            break;
        }
        units.extend(blank);
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    units.push(0);
    units
}

/// The part of a subscriber that hears what is logged.
pub(super) struct Hears<W: 'static>(pub(super) &'static EventLog<W>);

impl<S: Subscriber, W: Fn(Severity, &str) -> bool + 'static> Layer<S> for Hears<W>
where
    &'static EventLog<W>: Send + Sync,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => return,
        };
        let mut text = Text::default();
        event.record(&mut text);
        self.0.tell(severity, &text.whole(), Instant::now());
    }
}

/// The message, and a line for each field.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            // Into a text it never fails.
            write!(self.fields, "\r\n{}: {value:?}", field.name().trim_start_matches("r#")).ok();
        }
    }
}

#[cfg(windows)]
pub(crate) use system::{note, write_notes};

#[cfg(windows)]
pub(super) use system::SYSTEM;

#[cfg(windows)]
mod system {
    use std::ptr::{null, null_mut};
    use std::sync::OnceLock;
    use std::thread;
    use std::time::Duration;

    use windows_sys::Win32::System::EventLog::{
        EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
        ReportEventW,
    };

    use super::{EventLog, Queue, Severity, units_of};
    use crate::telemetry::EVENT_SOURCE;

    pub(crate) static SYSTEM: EventLog<fn(Severity, &str) -> bool> = EventLog::new(put);
    static QUEUE: Queue = Queue::new();

    /// Something of the service's life: it is told however much was told before.
    pub(crate) fn note(severity: Severity, text: &str) {
        SYSTEM.note(severity, text);
    }

    /// In the end: has the system's log written, if it takes anything within this time.
    pub(crate) fn write_notes(within: Duration) {
        SYSTEM.note_left_out();
        QUEUE.is_written_within(within);
    }

    fn put(severity: Severity, text: &str) -> bool {
        static WRITES: OnceLock<bool> = OnceLock::new();
        let write = || {
            loop {
                QUEUE.write_next(report);
            }
        };
        let start = || thread::Builder::new().name("event-log".to_owned()).spawn(write).is_ok();
        *WRITES.get_or_init(start) && QUEUE.put(severity, text)
    }

    /// What cannot be written is lost: there is nowhere to tell it but the log that it comes from.
    #[allow(unsafe_code, reason = "std knows no log of events")]
    fn report(severity: Severity, text: &str) {
        // A number, since a pointer would not go from thread to thread; 0 where there is none.
        static HANDLE: OnceLock<usize> = OnceLock::new();
        let handle = *HANDLE.get_or_init(|| {
            let source = units_of(EVENT_SOURCE);
            // SAFETY: the name ends with 0 and outlives the call; no server is this machine.
            unsafe { RegisterEventSourceW(null(), source.as_ptr()) as usize }
        });
        if handle == 0 {
            return;
        }
        // The numbers are those of the source's messages, each of which is the text alone.
        let (kind, number) = match severity {
            Severity::Information => (EVENTLOG_INFORMATION_TYPE, 1),
            Severity::Warning => (EVENTLOG_WARNING_TYPE, 2),
            Severity::Error => (EVENTLOG_ERROR_TYPE, 3),
        };
        let text = units_of(text);
        let texts = [text.as_ptr()];
        // SAFETY: the handle is never closed; there is one text, which ends with 0 and outlives the call, no user and no data.
        unsafe {
            ReportEventW(handle as _, kind, 0, number, null_mut(), 1, 0, texts.as_ptr(), null());
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    type Told = Mutex<Vec<(Severity, String)>>;

    fn log(told: &'static Told) -> &'static EventLog<impl Fn(Severity, &str) -> bool + Send + Sync> {
        let write = |severity, text: &str| {
            told.lock().expect("a list").push((severity, text.to_owned()));
            true
        };
        Box::leak(Box::new(EventLog::new(write)))
    }

    fn told() -> &'static Told {
        Box::leak(Box::default())
    }

    #[test]
    fn warnings_and_errors_are_told_with_their_fields_and_nothing_else_is() {
        let told = told();
        let subscriber = tracing_subscriber::registry().with(Hears(log(told)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("watching");
            tracing::warn!(rule = "pay", path = %"C:\\in\\a b.csv", "the file waits");
            tracing::error!("the disk is full");
        });
        let told = told.lock().expect("a list");
        let expected = [
            (Severity::Warning, "the file waits\r\nrule: pay\r\npath: C:\\in\\a b.csv".to_owned()),
            (Severity::Error, "the disk is full".to_owned()),
        ];
        assert_eq!(*told, expected);
    }

    #[test]
    fn of_a_flood_so_many_are_told_each_minute_and_how_many_were_not() {
        let (told, begun) = (told(), Instant::now());
        let log = log(told);
        let count = || told.lock().expect("a list").len();
        for _ in 0..TOLD_MAX + 70 {
            log.tell(Severity::Error, "again", begun);
        }
        assert_eq!(count(), TOLD_MAX as usize);
        log.tell(Severity::Error, "again", begun + WITHIN);
        assert_eq!(count(), TOLD_MAX as usize + 2);
        let said = told.lock().expect("a list")[TOLD_MAX as usize].clone();
        assert!(said.0 == Severity::Warning && said.1.contains("left out here: 70;"), "{said:?}");
        log.note_left_out();
        assert_eq!(count(), TOLD_MAX as usize + 2, "none were since");
        for _ in 0..TOLD_MAX {
            log.tell(Severity::Error, "again", begun + WITHIN);
        }
        log.note_left_out();
        let told = told.lock().expect("a list");
        assert!(told.last().is_some_and(|(_, text)| text.contains("left out here: 1;")), "{:?}", told.last());
    }

    #[test]
    fn nobody_waits_for_a_log_that_stands_still_and_what_has_no_room_is_counted() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
        let log = EventLog::new(|severity, text: &str| queue.put(severity, text));
        for _ in 0..WAITING_MAX + 7 {
            log.note(Severity::Error, "again");
        }
        assert_eq!(log.flood().left_out, 7);
        assert!(!queue.is_written_within(Duration::from_millis(1)), "nobody writes");
        queue.write_next(|_, text| assert_eq!(text, "again"));
        log.note_left_out();
        let writer = std::thread::spawn(|| {
            let mut last = String::new();
            for _ in 0..WAITING_MAX {
                queue.write_next(|_, text| text.clone_into(&mut last));
            }
            last
        });
        assert!(queue.is_written_within(Duration::from_mins(1)));
        assert!(writer.join().expect("writes").contains("left out here: 7;"));
    }

    #[test]
    fn a_text_is_cut_at_a_character_and_has_no_place_for_another() {
        let text = |text| String::from_utf16(&units_of(text)).expect("is whole");
        assert_eq!(text("100%1 %%2 5% %a\0%"), "100% 1 %% 2 5% %a%\0");
        let long = "\u{1f600}".repeat(UNITS_MAX);
        let cut = text(&long);
        assert!(cut.encode_utf16().count() <= UNITS_MAX && cut.ends_with("\u{1f600}\0"));
    }
}
