//! The system's log of events (Windows): what an operator should see who does not read the service's own log.
//!
//! Warnings and errors go there as they are logged, and by [`note`] what is said of the service's life. No more than [`TOLD_MAX`] within
//! [`WITHIN`]: how many were left out is told with the first that is told again, or in the end ([`note_left_out`]).

use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// What was logged is told so often at most …
const TOLD_MAX: u32 = 30;
/// … in this time.
const WITHIN: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Information,
    Warning,
    Error,
}

/// Writes into the system's log what is logged.
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

impl<W: Fn(Severity, &str)> EventLog<W> {
    pub(super) const fn new(write: W) -> Self {
        Self { write, flood: Mutex::new(Flood { begun: None, told: 0, left_out: 0 }) }
    }

    fn tell(&self, severity: Severity, text: &str, now: Instant) {
        let admitted = self.flood.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
        if let Some(left_out) = admitted {
            self.tell_left_out(left_out);
            (self.write)(severity, text);
        }
    }

    fn tell_left_out(&self, count: u64) {
        if count > 0 {
            let text = format!(
                "warnings and errors that were left out here: {count}; the service's own log has them"
            );
            (self.write)(Severity::Warning, &text);
        }
    }

    pub(super) fn note_left_out(&self) {
        let left_out =
            std::mem::take(&mut self.flood.lock().unwrap_or_else(PoisonError::into_inner).left_out);
        self.tell_left_out(left_out);
    }
}

/// The part of a subscriber that hears what is logged.
pub(super) struct Hears<W: 'static>(pub(super) &'static EventLog<W>);

impl<S: Subscriber, W: Fn(Severity, &str) + 'static> Layer<S> for Hears<W>
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
pub(crate) use system::{note, note_left_out};

#[cfg(windows)]
pub(super) use system::SYSTEM;

#[cfg(windows)]
mod system {
    use std::ptr::{null, null_mut};
    use std::sync::OnceLock;

    use windows_sys::Win32::System::EventLog::{
        EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
        ReportEventW,
    };

    use super::{EventLog, Severity};
    use crate::telemetry::EVENT_SOURCE;

    /// Of one string, in the system's units.
    const UNITS_MAX: usize = 30_000;

    pub(crate) static SYSTEM: EventLog<fn(Severity, &str)> = EventLog::new(report);

    /// Something of the service's life: it is always told.
    pub(crate) fn note(severity: Severity, text: &str) {
        report(severity, text);
    }

    /// In the end.
    pub(crate) fn note_left_out() {
        SYSTEM.note_left_out();
    }

    /// What cannot be written is lost: there is nowhere to tell it but the log that it comes from.
    #[allow(unsafe_code, reason = "std knows no log of events")]
    fn report(severity: Severity, text: &str) {
        // A number, since a pointer would not go from thread to thread; 0 where there is none.
        static HANDLE: OnceLock<usize> = OnceLock::new();
        let handle = *HANDLE.get_or_init(|| {
            let source = wide(EVENT_SOURCE);
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
        let text = wide(text);
        let texts = [text.as_ptr()];
        // SAFETY: the handle is never closed; there is one text, which ends with 0 and outlives the call, no user and no data.
        unsafe {
            ReportEventW(handle as _, kind, 0, number, null_mut(), 1, 0, texts.as_ptr(), null());
        }
    }

    fn wide(text: &str) -> Vec<u16> {
        let units = text.encode_utf16().filter(|unit| *unit != 0).take(UNITS_MAX);
        units.chain([0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    type Told = Mutex<Vec<(Severity, String)>>;

    fn log(told: &'static Told) -> &'static EventLog<impl Fn(Severity, &str) + Send + Sync> {
        let write = |severity, text: &str| told.lock().expect("a list").push((severity, text.to_owned()));
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
}
