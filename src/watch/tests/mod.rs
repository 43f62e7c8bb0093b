//! The watch on real folders. Nothing sleeps: tests wait for offers, or for the watch's own word.

#![allow(
    clippy::disallowed_methods,
    reason = "tests play the senders, who rename and remove files as they like"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::handle::INBOX_MAX;
use super::message::Message;
use super::notifier::{Hints, Notifier};
use super::ready::FOREVER;
use super::watcher::Links;
use super::*;
use crate::model::complete_by::CompleteBy;
use crate::model::fault::{Fault as _, FaultKind};
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;
use crate::model::rule::*;

mod answers;
mod exchange;
mod folders;
mod ready;
mod rules;
mod tally;
#[cfg(target_os = "linux")]
mod writers;

/// Longer than any machine needs; only a broken watch waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const STABLE_FOR: Duration = Duration::from_millis(50);
/// So long that no test sees its end.
const NEVER: Duration = Duration::from_hours(1);

/// A folder, a watch on it, and its offers.
struct World {
    folder: TempDir,
    watch: Watch,
    offers: Receiver<Vec<Offer>>,
    at_hand: std::collections::VecDeque<Offer>,
}

/// How a world is set up.
struct Plan {
    rules: Vec<Rule>,
    folder: TempDir,
    events: bool,
    scan_every: Duration,
    kept: fn(&Path, &FileIdentity) -> bool,
}

impl Plan {
    fn new(change: impl FnOnce(&mut Rule)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut rule = rule("r", &folder.path().join("*"));
        change(&mut rule);
        Self { rules: vec![rule], folder, events: true, scan_every: NEVER, kept: |_, _| false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(self) -> World {
        let (sender, offers) = mpsc::sync_channel(64);
        let links = Links {
            manner: super::probe::Manner::Asks,
            went_away: None,
            outlets: sender.into(),
            known: super::watcher::Known::kept(self.kept),
            content: super::offer::Content {
                proves_its_end: |head| head.starts_with(b"\x1f\x8b"),
                breaks_off: |_, text, _| text.ends_with(b"...").then(|| "breaks off".to_owned()),
            },
        };
        let watch =
            Watch::start_with(shared(self.rules), self.scan_every, self.events, links).expect("starts");
        World { folder: self.folder, watch, offers, at_hand: std::collections::VecDeque::new() }.settled()
    }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes under a name that no rule takes, then renames, as a careful sender does.
    fn move_in(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let (hidden, path) = (self.path("upload.part"), self.path(name));
        fs::write(&hidden, bytes).expect("writes");
        fs::rename(&hidden, &path).expect("renames");
        path
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("writes");
        path
    }

    fn next(&mut self) -> Offer {
        if self.at_hand.is_empty() {
            let batch = self.offers.recv_timeout(PATIENCE);
            self.at_hand.extend(batch.unwrap_or_else(|_| {
                panic!("no offer; waiting: {:?}", self.watch.waiting(PATIENCE.into(), None))
            }));
        }
        self.at_hand.pop_front().expect("a batch is never empty")
    }

    fn next_name(&mut self) -> String {
        let offer = self.next();
        offer.path.file_name().expect("has a name").to_string_lossy().into_owned()
    }

    /// Nothing but this marker file, which comes last, is offered.
    fn assert_only_the_last_is_offered(&mut self) {
        self.move_in("zz-last", b"x");
        assert_eq!(self.next_name(), "zz-last");
    }

    /// Claims as the engine does: renames into the claim folder, then answers.
    fn claim(&self, offer: &Offer) -> PathBuf {
        let folder = self.path(".landfall");
        fs::create_dir_all(&folder).expect("creates");
        let claimed = folder.join(offer.path.file_name().expect("has a name"));
        fs::rename(&offer.path, &claimed).expect("claims");
        self.watch.answer(&offer.path, Answer::Taken);
        claimed
    }

    fn waits_with(&self, name: &str, reason: &str) -> bool {
        let path = self.path(name);
        self.watch.waiting(PATIENCE.into(), None).iter().any(|(at, why)| *at == path && why.contains(reason))
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "{what}; waiting: {:?}",
                self.watch.waiting(PATIENCE.into(), None)
            );
            std::thread::yield_now();
        }
    }

    /// The first scan is done, so that events tell of what comes now.
    fn settled(self) -> Self {
        self.wait_until("the first scan ends", |world| world.watch.scans() > 0);
        self
    }
}

fn rule(name: &str, pattern: &Path) -> Rule {
    Rule {
        name: name.into(),
        mode: Mode::Live,
        paths: vec![pattern.to_str().expect("UTF-8").into()].into(),
        exclude: Vec::new().into(),
        priority: crate::model::priority::Priority::default(),
        order: Order::Arrival,
        follow_links: false,
        encrypt_at_rest: false,
        priority_when: Vec::new(),
        window: None,
        deadline: None,
        expect: None,
        sequence: crate::model::rule::Sequence::None,
        ready: Ready {
            strategy: ReadyStrategy::Auto,
            trust_close: TrustClose::Framed,
            stable_for: STABLE_FOR,
            linger: Duration::ZERO,
            marker: None,
            marker_for: crate::model::rule::MarkerFor::File,
            totals: None,
            last_line: crate::model::rule::LastLine::Any,
            events: true,
            checksum: None,
            empty: crate::model::rule::EmptyFile::Take,
            late_after: None,
        },
        decode: Decode {
            layers: Vec::new(),
            require_encrypted: false,
            require_signed: false,
            signers: Vec::new(),
            identities: Vec::new(),
            passphrase_file: None,
            symmetric_encryption: Vec::new(),
            entries: Vec::new(),
            entries_max: 1,
            depth_max: 1,
            expanded_max: 1,
            ratio_max: 1,
            time_max: std::time::Duration::MAX,
            work_factor_max: 18,
            encoding: "utf-8".into(),
            on_bad_encoding: OnBadEncoding::Fail,
        },
        records: Records {
            format: Format::Lines,
            skip_lines: 0,
            record_max: 1,
            slice_records: 1,
            separator: None,
        },
        pipeline: Vec::new(),
        outputs: BTreeMap::new(),
        publish: Publish::default(),
        errors: Errors {
            on_record_error: OnRecordError::SetAside,
            failed_max: Limit::Count(0),
            attempts: 1,
            stop_after: None,
        },
        source: SourceEnd {
            on_success: OnSuccess::Delete,
            archive_dir: None,
            archive_keep: None,
            archive_owner: crate::model::rule::ArchiveOwner::Service,
            on_complete: crate::model::rule::OnComplete::Keep,
            claim_dir: None,
            quarantine_dir: None,
        },
        delivery: None,
        base_dir: PathBuf::new(),
        timezone: "UTC".into(),
        overriding: None,
        stands_for: None,
        compare: None,
        pace: crate::model::pace::Pace::default(),
    }
}

fn shared(rules: Vec<Rule>) -> Vec<Arc<Rule>> {
    rules.into_iter().map(Arc::new).collect()
}

fn never_stable(rule: &mut Rule) {
    rule.ready.stable_for = NEVER;
}

fn with_marker(rule: &mut Rule) {
    rule.ready.strategy = ReadyStrategy::Marker;
    rule.ready.marker = Some("{name}.done".into());
}
