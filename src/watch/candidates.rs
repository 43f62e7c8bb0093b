//! What a hint, a deadline or an answer means for a candidate.
//!
//! A look is one `lstat`, and one each for its marker and its totals. Only a candidate that seems complete is opened, to see whether
//! somebody else has it open for writing.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::beside::{closed_beside, half_beside};
use super::candidate::{Candidate, Phase, Reason, writer_pause};
use super::kept::Standing;
use super::links::Sought;
use super::look::{UNOPENED, UNREADABLE, has_writer};
use super::marker_reason::{self, Seen};
use super::message::{Sign, sign_of_rename};
use super::offer::Answer;
use super::probe::{Examined, Manner, examine_by};
use super::ready::{Evidence, FOREVER, MarkerSeen, Proof, Verdict, complete_by, judge};
use super::rules::{Part, WatchedRule};
use super::troubles::{Want, pause, told};
use super::watcher::Watcher;
use crate::clock;
use crate::durable_fs::{self, Kind};
use crate::model::identity::FileIdentity;
use crate::model::os_text::escaped_path;
use crate::model::rule::Order;

/// Pause before a candidate that was put off is offered again, if nobody says so before.
const PUT_OFF: Duration = Duration::from_secs(30);
/// Candidates of an ordered rule that are due within this come together, so that they can be put in order.
const ORDER_STEP: Duration = Duration::from_millis(50);

const STANDS_STILL_YET: Reason = Cow::Borrowed("until it has stood still for `ready.stable_for`");
const JUST_CAME: Reason =
    Cow::Borrowed("it came just now, and its sender may still ask for it (`ready.linger`)");
const HAS_WRITER: Reason = Cow::Borrowed("somebody has it open for writing");
const NO_MARKER: Reason = Cow::Borrowed("for its marker");
const TOTALS_WRITER: Reason = Cow::Borrowed("somebody has its totals open for writing");
const CHECKSUM_WRITER: Reason = Cow::Borrowed("somebody has its checksum open for writing");
const IS_EMPTY: Reason = Cow::Borrowed("it is empty (`ready.empty`)");
const GIVEN_BACK: Reason = Cow::Borrowed(
    "it changed while it was claimed, or ended too early; until it has stood still for `ready.stable_for`",
);

impl Watcher {
    /// Takes in what an event or the scan told of a path.
    pub(super) fn hint(&mut self, path: &Path, sign: Sign) {
        if let Some(key) = self.table.key(path) {
            // A scan may have been faster than the events.
            let sign = if sign == Sign::Appeared { self.sign_of_name(path) } else { sign };
            return self.sign(&key, sign, Instant::now());
        }
        let part = self.rules.part(path);
        self.hint_as(path, &part, sign);
    }

    /// [`Self::hint`] of what is no candidate yet.
    pub(super) fn hint_as(&mut self, path: &Path, part: &Part, sign: Sign) {
        let now = Instant::now();
        if matches!(part, Part::Companion) {
            return self.marker_changed(path, now);
        }
        match sign {
            Sign::Gone => {
                self.name_gone(path, now);
                return self.folder_gone(path);
            }
            Sign::Changed if self.notifier.knows(path) => return,
            Sign::Changed | Sign::Written | Sign::Appeared | Sign::Closed | Sign::MovedIn => {}
        }
        if let Part::Candidate(rule, _) = part
            && self.admit(path, *rule, sign, now)
        {
            return;
        }
        if self.follow_link(path, Sought::ByEvent) {
            return;
        }
        // One that cannot be looked at is listed, and told, by the scan.
        if self.rules.could_match_below(path)
            && durable_fs::kind_at(path).is_ok_and(|kind| kind == Some(Kind::Folder))
        {
            self.scanner.walk(path.to_owned());
        } else if matches!(sign, Sign::Appeared | Sign::MovedIn) {
            match durable_fs::identity_at(path) {
                Ok(Some(identity)) => self.strangers.note(path.to_owned(), &identity),
                Ok(None) if sign == Sign::Appeared => self.strangers.note_unseen(path),
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Another name of a candidate's file may have gone: then the candidate was renamed.
    fn name_gone(&mut self, path: &Path, now: Instant) {
        let Some((candidate, file)) = self.strangers.gone(path) else { return };
        let Some(key) = self.table.key(&candidate) else { return };
        if self.table.get(&key).is_some_and(|it| (it.seen.device, it.seen.inode) == file) {
            self.sign(&key, sign_of_rename(path, &key), now);
        }
    }

    /// What it says that a candidate's name appeared: its file may have had another one.
    fn sign_of_name(&mut self, path: &Path) -> Sign {
        let Ok(Some(identity)) = durable_fs::identity_at(path) else { return Sign::Appeared };
        let renamed = self.strangers.renamed_to(path, &identity);
        renamed.map_or(Sign::Appeared, |from| sign_of_rename(&from, path))
    }

    fn folder_gone(&mut self, path: &Path) {
        if self.notifier.knows(path) {
            self.notifier.forget(path);
            // Whether it is there again, or missing, a walk finds out.
            let folders = self.fixed_folders.iter().filter(|folder| folder.starts_with(path));
            folders.for_each(|folder| self.scanner.walk(folder.clone()));
        }
    }

    /// Makes a file a candidate; false where there is no regular file.
    fn admit(&mut self, path: &Path, rule_at: usize, sign: Sign, now: Instant) -> bool {
        let identity = match durable_fs::identity_at(path) {
            Ok(Some(identity)) if self.is_led_to(path) => identity,
            Ok(_) => return false,
            Err(error) => {
                self.troubles.note(path.to_owned(), (UNREADABLE, Want::Read), &error, now);
                return true;
            }
        };
        let Some(rule) = self.rules.get(rule_at) else { return true };
        let (companions, late_after) = (rule.companions_of(path), rule.rule.ready.late_after);
        let elsewhere = match self.standing(path, &identity, rule_at) {
            Standing::Free => None,
            Standing::Kept => return true,
            Standing::KeptElsewhere(reason) => Some(reason),
        };
        let has_room = self.table.has_room(rule_at);
        let out_of_view = self.table.take_gave_way() + u64::from(!has_room);
        self.flags.counts.passed_over(out_of_view);
        self.tally.passed_over += out_of_view;
        if !has_room {
            return true;
        }
        let mut candidate = Candidate { companions, ..Candidate::new(rule_at, identity, now) };
        if self.table.was_taken(&identity) {
            candidate.distrusted = Some((identity.device, identity.inode));
        } else {
            let renamed = self.strangers.renamed_to(path, &identity);
            candidate.proof = proof_of(renamed.map_or(sign, |from| sign_of_rename(&from, path)));
        }
        candidate.is_late_after(late_after);
        let key = self.table.insert(path, candidate);
        match elsewhere {
            None => self.evaluate_as(&key, Ok(Some(identity)), now),
            Some(reason) => self.wait_elsewhere(&key, reason, now),
        }
        true
    }

    /// Takes in what was told of a candidate.
    pub(super) fn sign(&mut self, path: &Arc<Path>, sign: Sign, now: Instant) {
        let proof = proof_of(sign);
        let Some(candidate) = self.table.get_mut(path) else { return };
        if let Phase::Offered(later) = &mut candidate.phase {
            *later = proof;
            return;
        }
        if sign == Sign::Written {
            candidate.written = true;
        }
        let Ok(Some(identity)) = durable_fs::identity_at(path) else { return self.evaluate(path, now) };
        let changed = self.table.look(path, identity, now);
        let Some(candidate) = self.table.get_mut(path) else { return };
        if proof == Proof::None {
            // Its deadline stands; by then it is known that it changed.
            let only_waits = candidate.phase == Phase::Waiting && candidate.failures == 0;
            if only_waits {
                return;
            }
        } else {
            candidate.still_since = now;
        }
        if changed {
            candidate.start_afresh();
            if let Phase::Ready(_) = candidate.phase {
                self.table.wait(path, now, STANDS_STILL_YET);
            }
        }
        self.believe(path, &identity, proof);
        self.evaluate_as(path, Ok(Some(identity)), now);
    }

    /// Lets an event count, unless the file was given back: then also our own rename looks like an arrival.
    fn believe(&mut self, path: &Path, identity: &FileIdentity, proof: Proof) {
        let was_taken = self.table.was_taken(identity);
        let Some(candidate) = self.table.get_mut(path) else { return };
        let distrusted = was_taken || candidate.distrusted == Some((identity.device, identity.inode));
        if proof != Proof::None && !distrusted {
            candidate.proof = proof;
            candidate.written = false;
        }
    }

    /// Tells the operator of a candidate that waits too long, once.
    pub(super) fn tell_late(&mut self, path: &Path, now: Instant) {
        let Some(candidate) = self.table.get(path) else { return };
        if candidate.late_at.is_none_or(|at| now < at) {
            return;
        }
        let (waits, rule) = (candidate.reason.clone(), candidate.rule);
        self.table.note_late(path);
        let rule = self.rules.get(rule).map(|rule| rule.rule.name.as_str());
        let Some(others) = self.troubles.note_file(path, now) else { return };
        (self.links.known.tell_late)(path, rule, &waits, others);
        let (path, others) = (escaped_path(path), (others > 0).then_some(others));
        tracing::warn!(path, rule, waits = %waits, others, "this file waits longer than `ready.late_after`");
    }

    /// Looks at a candidate and decides what becomes of it.
    pub(super) fn evaluate(&mut self, path: &Arc<Path>, now: Instant) {
        self.evaluate_as(path, durable_fs::identity_at(path), now);
    }

    /// [`Self::evaluate`] as what it was found to be.
    fn evaluate_as(&mut self, path: &Arc<Path>, found: io::Result<Option<FileIdentity>>, now: Instant) {
        let Some(candidate) = self.table.get_mut(path) else { return };
        if matches!(candidate.phase, Phase::Offered(_)) {
            return;
        }
        let identity = match found {
            Ok(Some(identity)) => identity,
            Ok(None) => return self.vanished(path),
            Err(error) => {
                return self.failed(path, told("cannot be looked at", path, self.want_of(path), &error), now);
            }
        };
        let changed = self.table.look(path, identity, now);
        if self.table.get(path).is_some_and(|it| it.is_kept_elsewhere) && self.stays(path, now) {
            return;
        }
        let Some(candidate) = self.table.get_mut(path) else { return };
        if changed {
            candidate.start_afresh();
        } else if matches!(candidate.phase, Phase::Ready(_)) {
            return;
        }
        if let Some(at) = candidate.not_before.filter(|at| now < *at) {
            let reason = candidate.reason.clone();
            return self.table.wait(path, at, reason);
        }
        if identity.size == 0 && self.rules.get(candidate.rule).is_some_and(WatchedRule::leaves_empty) {
            return self.table.wait_for_others(path, now + self.scan_every, IS_EMPTY);
        }
        // How old totals and checksum are says nothing: their content does, and senders may write them first.
        let Some(beside) = self.look_beside(path, now) else { return };
        let marker = self.judge_marker(path, beside[0], &identity);
        let Some(candidate) = self.table.get_mut(path) else { return };
        let seen = Evidence {
            proof: candidate.proof,
            marker,
            still_since: candidate.still_since,
            companions_since: candidate.companions.look(beside, now),
        };
        let Some(rule) = self.rules.get(candidate.rule) else { return };
        let in_order = rule.rule.order != Order::Arrival;
        match judge(&rule.rule.ready, seen, now) {
            Verdict::Complete => self.look_closely(path, false, now),
            Verdict::CompleteIfFramed => self.look_closely(path, true, now),
            Verdict::Until(at) => self.table.wait(path, self.due(at, in_order), STANDS_STILL_YET),
            Verdict::Lingers(at) => self.table.wait(path, self.due(at, in_order), JUST_CAME),
            Verdict::Marker(marker) => {
                let place = candidate.companions.marker.as_deref();
                let reason = match place.zip(beside[0].as_ref()) {
                    Some(seen) => uncounted(marker, (path, &identity), seen),
                    None => NO_MARKER,
                };
                self.table.wait_for_others(path, now + self.scan_every, reason);
            }
        }
    }

    /// When it is looked at again: those that are put in order come together.
    fn due(&self, at: Instant, in_order: bool) -> Instant {
        if !in_order {
            return at;
        }
        let step = ORDER_STEP.as_nanos();
        let beyond = at.saturating_duration_since(self.started).as_nanos() % step;
        at + Duration::from_nanos(u64::try_from((step - beyond) % step).unwrap_or(0))
    }

    /// Opens a candidate that seems complete: is it free of writers, and does it prove its own end?
    fn look_closely(&mut self, path: &Arc<Path>, must_be_framed: bool, now: Instant) {
        let manner = self.links.manner;
        let examined = examine_by(path, must_be_framed, manner);
        let Some(candidate) = self.table.get_mut(path) else { return };
        let Some(rule) = self.rules.get(candidate.rule) else { return };
        let (identity, head) = match examined {
            Ok(Examined::Quiet { identity, head, is_blind }) => {
                if is_blind && candidate.written && candidate.proof != Proof::None {
                    // Perhaps only its times were set. But who writes it now would not be seen.
                    candidate.proof = Proof::None;
                    return self.table.wait(path, now, STANDS_STILL_YET);
                }
                if is_blind && candidate.proof == Proof::None && manner == Manner::Asks {
                    self.troubles.note_blind(path.parent().unwrap_or(path));
                }
                (identity, head)
            }
            Ok(Examined::Gone) => return self.vanished(path),
            Ok(Examined::HasWriter) => {
                let pause = candidate.has_writer(rule.rule.ready.stable_for, now);
                return self.table.wait(path, now + pause, HAS_WRITER);
            }
            Err(error) => {
                return self.failed(path, told(UNOPENED, path, self.want_of(path), &error), now);
            }
        };
        if self.table.look(path, identity, now) {
            return self.table.wait(path, now, STANDS_STILL_YET);
        }
        let Some(candidate) = self.table.get_mut(path) else { return };
        let proves_its_end = (self.links.content.proves_its_end)(&head);
        if must_be_framed && !proves_its_end {
            candidate.proof = Proof::None;
            let at = candidate.still_since.checked_add(rule.rule.ready.stable_for).unwrap_or(now + FOREVER);
            return self.table.wait(path, at, STANDS_STILL_YET);
        }
        if candidate.companions.totals.as_deref().is_some_and(|totals| has_writer(totals, manner)) {
            let pause = writer_pause(rule.rule.ready.stable_for);
            return self.table.wait(path, now + pause, TOTALS_WRITER);
        }
        if candidate.companions.checksum.as_deref().is_some_and(|checksum| has_writer(checksum, manner)) {
            let pause = writer_pause(rule.rule.ready.stable_for);
            return self.table.wait(path, now + pause, CHECKSUM_WRITER);
        }
        let ready = (&rule.rule.ready, &candidate.companions);
        if let Some(reason) = half_beside(path, &identity, ready, (self.links.content, &self.links.known)) {
            return self.table.wait(path, now + self.scan_every, reason);
        }
        let closed = if rule.keeps() { None } else { closed_beside(&candidate.companions) };
        if let Some(reason) = closed {
            return self.table.wait_for_others(path, now + self.scan_every, reason);
        }
        candidate.complete_by = Some(complete_by(&rule.rule.ready, candidate.proof, proves_its_end));
        self.table.queue(path, rule.rule.order);
    }

    /// What its rule wants of a candidate.
    pub(super) fn want_of(&self, path: &Arc<Path>) -> Want {
        let rule = self.table.get(path).and_then(|candidate| self.rules.get(candidate.rule));
        if rule.is_some_and(WatchedRule::keeps) { Want::Read } else { Want::Take }
    }

    /// A file that went away is nobody's trouble.
    fn vanished(&mut self, path: &Path) {
        let Some(candidate) = self.table.remove(path) else { return };
        if let Some(went_away) = &self.links.went_away
            && let Some(rule) = self.rules.get(candidate.rule)
            && let Some((_, values)) = self.rules.assign(path)
        {
            went_away(&rule.rule, path, &candidate.seen, &values);
        }
    }

    /// Puts a candidate off, longer each time; the operator is told.
    pub(super) fn failed(&mut self, path: &Arc<Path>, reason: String, now: Instant) {
        let Some(candidate) = self.table.get_mut(path) else { return };
        candidate.failures = candidate.failures.saturating_add(1);
        let until = now + pause(candidate.failures);
        candidate.not_before = Some(until);
        if candidate.failures == 1
            && let Some(others) = self.troubles.note_file(path, now)
        {
            let others = (others > 0).then_some(others);
            tracing::warn!(
                path = escaped_path(path),
                reason,
                others,
                "this file cannot be taken; trying again"
            );
        } else {
            tracing::debug!(
                path = escaped_path(path),
                reason,
                failures = candidate.failures,
                "this file still cannot be taken"
            );
        }
        self.table.wait_for_others(path, until, Cow::Owned(reason));
    }

    /// Takes in the engine's answer.
    pub(super) fn answered(&mut self, path: &Path, answer: Answer) {
        let now = Instant::now();
        match answer {
            Answer::Taken => self.taken(path),
            Answer::NotYet => self.not_yet(path, now),
            Answer::WasRead { identity, is_kept } => self.was_read(path, identity, is_kept),
            Answer::ComesBack(identity) => self.comes_back(path, identity, now),
            Answer::OtherRules => self.other_rules(path, now),
            Answer::Later(reason) => self.put_off(path, reason, now),
            Answer::Refused(reason) => {
                if let Some(key) = self.table.key(path) {
                    self.failed(&key, reason, now);
                }
            }
        }
    }

    /// Lets a candidate wait that the engine takes later; there may be very many, so that it is [`Self::hasten`] that brings them back.
    fn put_off(&mut self, path: &Path, reason: String, now: Instant) {
        let Some(key) = self.table.key(path) else { return };
        let Some(candidate) = self.table.get_mut(path) else { return };
        let until = now + PUT_OFF;
        candidate.not_before = Some(until);
        candidate.put_off = true;
        self.table.wait(&key, until, Cow::Owned(reason));
    }

    /// What was put off is looked at again now.
    pub(super) fn hasten(&mut self) {
        let now = Instant::now();
        let put_off: Vec<_> = self
            .table
            .iter()
            .filter(|(_, it)| it.put_off && it.phase == Phase::Waiting)
            .map(|(path, _)| Arc::clone(path))
            .collect();
        for path in put_off {
            let Some(candidate) = self.table.get_mut(&path) else { continue };
            candidate.put_off = false;
            candidate.not_before = None;
            let reason = candidate.reason.clone();
            self.table.wait(&path, now, reason);
        }
    }

    fn taken(&mut self, path: &Path) {
        let Some(candidate) = self.table.remove(path) else { return };
        let offered = candidate.seen;
        let keep = self.rules.get(candidate.rule).is_some_and(WatchedRule::keeps);
        if keep {
            self.table.remember_kept(path, offered, self.scan);
        } else {
            self.table.remember_taken(offered);
        }
        // A new file may have come to its place already.
        let Ok(Some(identity)) = durable_fs::identity_at(path) else { return };
        let is_another = (identity.device, identity.inode) != (offered.device, offered.inode);
        let sign = match candidate.phase {
            Phase::Offered(Proof::Closed) if is_another => Sign::Closed,
            Phase::Offered(Proof::MovedIn) if is_another => Sign::MovedIn,
            _ => Sign::Appeared,
        };
        self.hint(path, sign);
    }

    fn comes_back(&mut self, path: &Path, identity: FileIdentity, now: Instant) {
        self.table.remember_taken(identity);
        // The event of its coming may have been faster than this word, which was said before it; no offer was.
        if self.table.get(path).is_some_and(|candidate| candidate.seen.same_file(&identity)) {
            self.wait_anew(path, None, now);
        }
    }

    fn not_yet(&mut self, path: &Path, now: Instant) {
        let found = durable_fs::identity_at(path).ok().flatten();
        let again = found.and_then(|identity| self.given_back_again(path, &identity));
        self.wait_anew(path, again, now);
    }

    /// Lets a file that comes or came back wait as if it had just come; for longer where it does so `again`.
    fn wait_anew(&mut self, path: &Path, again: Option<(u32, Duration)>, now: Instant) {
        self.table.forget_kept(path); // it may be the very same file that comes again
        let offered = self.table.get(path).map(|candidate| candidate.seen);
        if let Some(identity) = offered {
            // Should it be given back after this answer, its coming back proves nothing either.
            self.table.remember_taken(identity);
        }
        let Ok(Some(identity)) = durable_fs::identity_at(path) else {
            self.table.remove(path); // who gave it back knows of it
            return;
        };
        if offered.is_none() {
            self.table.remember_taken(identity);
            self.hint(path, Sign::Appeared);
            return self.back_off(path, again, now);
        }
        let Some(key) = self.table.key(path) else { return };
        self.table.see(&key, identity, now);
        let Some(candidate) = self.table.get_mut(path) else { return };
        candidate.still_since = now;
        candidate.proof = Proof::None;
        candidate.distrusted = Some((identity.device, identity.inode));
        candidate.start_afresh();
        let Some(rule) = self.rules.get(candidate.rule) else { return };
        let at = now.checked_add(rule.rule.ready.stable_for).unwrap_or(now + FOREVER);
        candidate.not_before = Some(at);
        self.table.wait(&key, at, GIVEN_BACK);
        self.back_off(path, again, now);
    }

    /// How often a file was given back as it is now, and for how long it is left alone for that; none the first time.
    fn given_back_again(&mut self, path: &Path, identity: &FileIdentity) -> Option<(u32, Duration)> {
        let times = self.table.note_returned(path, identity);
        if times == 2 {
            tracing::warn!(
                path = escaped_path(path),
                "this file was given back again, though it did not change; it is tried less and less often"
            );
        }
        (times > 1).then(|| (times, pause(times)))
    }

    /// Leaves a file alone that was given back for nothing that it did.
    fn back_off(&mut self, path: &Path, again: Option<(u32, Duration)>, now: Instant) {
        let (Some((times, pause)), Some(key)) = (again, self.table.key(path)) else { return };
        let Some(candidate) = self.table.get_mut(path) else { return };
        let until = candidate.not_before.map_or(now + pause, |at| at.max(now + pause));
        candidate.not_before = Some(until);
        let reason =
            format!("given back {times} times, though it did not change; it is tried less and less often");
        self.table.wait(&key, until, Cow::Owned(reason));
    }
}

/// Why a marker that lies there does not count.
fn uncounted(judged: MarkerSeen, file: (&Path, &FileIdentity), marker: (&Path, &FileIdentity)) -> Reason {
    let file = Seen { path: file.0, identity: file.1 };
    let marker = Seen { path: marker.0, identity: marker.1 };
    match judged {
        MarkerSeen::Stale => Cow::Owned(marker_reason::of_file(file, marker, clock::now())),
        MarkerSeen::OfOthers => Cow::Owned(marker_reason::of_folder(file, marker, clock::now())),
        MarkerSeen::Missing | MarkerSeen::Valid => NO_MARKER,
    }
}

fn proof_of(sign: Sign) -> Proof {
    match sign {
        Sign::Closed => Proof::Closed,
        Sign::MovedIn => Proof::MovedIn,
        Sign::Appeared | Sign::Changed | Sign::Written | Sign::Gone => Proof::None,
    }
}
