//! `[[hook]]`: whom the service tells that something happened, and of what.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job_id::JobId;
use super::job_state::JobState;
use super::os_text::OsText;

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// A job is completed.
    Completed,
    /// A job failed.
    Failed,
    /// A job was refused.
    Refused,
    /// A job is held, and was not held for this before.
    Held,
    /// A rule claims nothing any more (`errors.stop_after`).
    RuleStopped,
    /// A file waits longer than `ready.late_after`.
    Late,
    /// As it goes now, a job will not be done by its deadline, or was not.
    DeadlineAtRisk,
    /// A file system has less room than `service.free_min`.
    DiskLow,
    /// No file came for as long as `expect_every` says.
    NothingCame,
}

impl HookEvent {
    /// All of them, with the words of the configuration.
    pub const ALL: [(&'static str, Self); 9] = [
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("refused", Self::Refused),
        ("held", Self::Held),
        ("rule_stopped", Self::RuleStopped),
        ("late", Self::Late),
        ("deadline_at_risk", Self::DeadlineAtRisk),
        ("disk_low", Self::DiskLow),
        ("nothing_came", Self::NothingCame),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, event)| *event == self).map_or("", |(word, _)| word)
    }

    /// What it is that a job came to this state.
    pub fn of_state(state: JobState) -> Option<Self> {
        match state {
            JobState::Completed => Some(Self::Completed),
            JobState::Failed => Some(Self::Failed),
            JobState::Refused => Some(Self::Refused),
            JobState::Held => Some(Self::Held),
            _ => None,
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One `[[hook]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Unique among hooks: what it was not told yet is kept under it.
    pub name: String,
    /// What it is told.
    pub events: Vec<HookEvent>,
    /// Of which rules; empty: of all, and of what is no rule's.
    pub rules: Vec<String>,
    /// How.
    pub target: HookTarget,
    /// Then a try counts as failed; a command is killed.
    pub timeout: Duration,
}

impl Hook {
    /// Whether it is told this.
    pub fn wants(&self, event: HookEvent, rule: Option<&str>) -> bool {
        let is_of_rule =
            || self.rules.is_empty() || rule.is_some_and(|rule| self.rules.iter().any(|of| of == rule));
        self.events.contains(&event) && is_of_rule()
    }
}

/// How a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookTarget {
    /// A program is run.
    Command {
        /// The program, absolute or to be found in `PATH`, and its arguments.
        command: Vec<String>,
        /// Where it runs.
        folder: PathBuf,
    },
    /// JSON is posted.
    Url {
        /// Where to.
        url: HookUrl,
        /// A file with the token of `Authorization: Bearer`.
        bearer_file: Option<PathBuf>,
    },
}

/// Where JSON is posted to. Shown without what may be secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    /// `https`.
    pub is_tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Of the host.
    pub port: u16,
    /// As it stands in the request's `Host`.
    pub authority: String,
    /// Path and query, as they stand in the request.
    pub path: String,
}

impl HookUrl {
    /// What is wrong with a text that is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(|c| c.is_ascii_control() || c == ' ' || !c.is_ascii()) {
            return Err("a URL is of ASCII characters without spaces: write others as %XX");
        }
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("a URL begins with `https://` or `http://`"),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(
                "a URL with a user or a password in it is not taken: put the token into a file, as `bearer_file`",
            );
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or((port.is_empty()).then_some(""))),
            None if authority.contains(['[', ']']) => (authority, None),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("")),
            },
        };
        let default = if is_tls { 443 } else { 80 };
        let port = match port {
            Some("") => Some(default),
            Some(digits) => digits.parse().ok().filter(|port| *port > 0),
            None => None,
        };
        let port = port.ok_or("what stands behind the host is no port: a number from 1 to 65535")?;
        if host.is_empty() {
            return Err("a URL names a host");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_tls, host: host.to_owned(), port, authority: authority.to_owned(), path })
    }

    /// Whether it stays on this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<core::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Without path and query: tokens are in them with many receivers.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority)
    }
}

/// The same.
impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that happened, and that hooks are to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// What.
    pub event: HookEvent,
    /// When.
    pub at: Timestamp,
    /// Of which rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Of which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Of which file or folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<OsText>,
    /// What there is to say.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a hook fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookState {
    /// The hook's name.
    pub name: String,
    /// How many events it was not told yet.
    pub waiting: u64,
    /// Tries that failed since the last one that did not.
    pub failures: u32,
    /// Since when they fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many events it was never told, since the service started.
    pub lost: u64,
    /// When the last one of these was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_what_may_be_secret() {
        let url =
            HookUrl::parse("https://hooks.example:8443/services/T0/secret?token=secret#x").expect("is one");
        assert_eq!((url.is_tls, url.host.as_str(), url.port), (true, "hooks.example", 8443));
        assert_eq!(url.path, "/services/T0/secret?token=secret");
        assert_eq!(
            (url.to_string(), format!("{url:?}").contains("secret")),
            ("https://hooks.example:8443/…".into(), false)
        );
        let plain = HookUrl::parse("http://[::1]:80").expect("is one");
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("::1", 80, "/"));
        assert!(plain.is_loopback() && !url.is_loopback());
        assert_eq!(HookUrl::parse("http://localhost?a=b").expect("is one").path, "/?a=b");
    }

    #[test]
    fn what_is_no_url_or_has_a_secret_where_it_would_be_logged_is_refused() {
        for text in [
            "ftp://a",
            "a.example",
            "https://",
            "https://a:0/",
            "https://a:b/",
            "http://[::1",
            "https://u:p@a/",
            "https://a/ b",
            "https://ä/",
        ] {
            assert!(HookUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hook_of_some_rules_is_told_of_these_and_of_nothing_that_is_no_rules() {
        let target = HookTarget::Command { command: vec!["true".into()], folder: "/".into() };
        let (name, timeout) = ("ops".to_owned(), Duration::from_secs(1));
        let mut hook = Hook { name, events: vec![HookEvent::Failed], rules: vec![], target, timeout };
        assert!(hook.wants(HookEvent::Failed, None) && !hook.wants(HookEvent::Completed, None));
        hook.rules.push("pay".into());
        assert!(hook.wants(HookEvent::Failed, Some("pay")));
        assert!(!hook.wants(HookEvent::Failed, Some("other")) && !hook.wants(HookEvent::Failed, None));
    }
}
