//! Text of a source within a message: shown where the rule lets it be, left out where the rule is private.
//!
//! A message reaches the log, hooks, traces and whoever looks at a job, and a file that came encrypted may not lie in clear there. So a
//! message holds what it quotes as [`Quoted`], and never as a plain text. Whether that is shown is decided where work for a job begins
//! (`Quotes::within`), for all messages that come to be in it. Where nobody decided it is left out: what is forgotten costs a hint
//! some of its use, and gives nothing away.
//!
//! Failed records keep their errors as they are: they lie beside the record, encrypted like it (decision 0078). Names of files and of
//! members of archives are no quotes: outputs and manifests have them too.

use std::cell::Cell;
use std::fmt;

use super::job::Job;
use super::privacy::Privacy;
use super::rule::{Layer, Rule};

/// What stands in a message in place of a quote.
pub(crate) const LEFT_OUT: &str = "(text of the file, left out)";

thread_local! {
    /// For the work that this thread does just now: in what it says, and in what others log for it.
    static QUOTES: Cell<(Quotes, Quotes)> = const { Cell::new((Quotes::LeftOut, Quotes::LeftOut)) };
}

/// Does work whose words stay beside the record that they are about, or go to who is shown the record itself. The log stays as it was.
pub(crate) fn shown_beside_the_record<R>(work: impl FnOnce() -> R) -> R {
    let _before = Before(QUOTES.replace((Quotes::Shown, Quotes::of_log())));
    work()
}

/// Whether messages quote a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    Shown,
    LeftOut,
}

impl Quotes {
    /// In messages about this job, which goes by this rule.
    pub(crate) fn of(job: &Job, rule: &Rule) -> Self {
        if job.is_private(rule) { Self::LeftOut } else { Self::Shown }
    }

    /// In the work that this thread does just now.
    fn here() -> Self {
        QUOTES.get().0
    }

    /// For a thread that this one starts, and that logs what it hears.
    pub(crate) fn of_log() -> Self {
        QUOTES.get().1
    }

    /// Does a job's work, whose messages are about its files.
    pub(crate) fn within<R>(self, work: impl FnOnce() -> R) -> R {
        let _before = Before(QUOTES.replace((self, self)));
        work()
    }
}

impl Job {
    /// Its records came encrypted, or may not lie in clear, by this rule of its own.
    pub(crate) fn is_private(&self, rule: &Rule) -> bool {
        self.privacy == Privacy::Private || rule.is_private()
    }
}

impl Rule {
    /// It decrypts its sources, or says that its records may not lie in clear: they are encrypted in the data folder unless somebody says
    /// otherwise, and messages about them quote nothing.
    pub(crate) fn is_private(&self) -> bool {
        let decode = &self.decode;
        let has_keys = !decode.identities.is_empty() || !decode.symmetric_encryption.is_empty();
        let decrypts = decode.require_encrypted || has_keys || decode.passphrase_file.is_some();
        let is_encryption = |layer: &Layer| matches!(layer, Layer::Age | Layer::Enc | Layer::Pgp);
        self.encrypt_at_rest || decrypts || decode.layers.iter().any(is_encryption)
    }
}

/// What held outside of a work holds again behind it, if it panics too: the thread goes on with another rule's.
struct Before((Quotes, Quotes));

impl Drop for Before {
    fn drop(&mut self) {
        QUOTES.set(self.0);
    }
}

/// A part of a message that says what a source says, or what a step said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// As it is to be shown, escaped.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match Quotes::here() {
            Quotes::Shown => &self.0,
            Quotes::LeftOut => LEFT_OUT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_left_out_unless_the_work_that_it_comes_from_shows_it() {
        let told = || Quoted::new("`name`").to_string();
        assert_eq!(told(), LEFT_OUT, "nobody decided");
        Quotes::Shown.within(|| {
            assert_eq!(told(), "`name`");
            assert_eq!(Quotes::LeftOut.within(told), LEFT_OUT);
            assert_eq!(told(), "`name`");
        });
        Quotes::LeftOut.within(|| {
            let beside = || (told(), Quotes::of_log());
            assert_eq!(shown_beside_the_record(beside), ("`name`".to_owned(), Quotes::LeftOut));
            assert_eq!(told(), LEFT_OUT);
        });
        std::panic::catch_unwind(|| Quotes::Shown.within(|| std::panic::panic_any("a step")))
            .expect_err("it panics");
        assert_eq!(told(), LEFT_OUT, "the next work of this thread may be a private rule's");
    }
}
