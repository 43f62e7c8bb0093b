//! What a job moves through beside its states: see [`super::standing`].

use jiff::Timestamp;

use super::account::Account;
use super::delivery::Delivery;
use super::fault::{JobError, WaitsFor};
use super::job::{Job, Moment, Waiting};
use super::job_id::JobId;
use super::job_state::{IllegalTransition, JobEvent};
use super::os_text::OsText;
use super::standing::Phase;

/// What the moment says in which an operator ends a job; then who that is.
const ABORTED_BY: &str = "aborted by ";

impl Job {
    /// Says where its source goes, or lies. A copy that was on its way to another name is none for this one.
    pub(crate) fn retire_to(&mut self, name: Option<OsText>) {
        self.retired_to = name;
        self.source.copied_as = None;
    }

    /// Whether the job is on its way to `failed`, `refused` or `aborted`: the reason is written down, its source is being moved to
    /// quarantine.
    pub(crate) fn is_failing(&self) -> bool {
        self.state.phase().is_last()
    }

    /// Whether that is because it was published before.
    pub(crate) fn is_refusing(&self) -> bool {
        *self.state.phase() == Phase::Refusing
    }

    /// Whether that is because an operator aborted it.
    pub(crate) fn is_aborting(&self) -> bool {
        *self.state.phase() == Phase::Aborting
    }

    /// An operator stopped it: it goes on when told.
    pub(crate) fn pause(&mut self, at: Timestamp, by: &str) -> Result<(), IllegalTransition> {
        self.take(JobEvent::Paused, at, &format!("paused by {by}"))?;
        let detail = format!("paused by {by}: `landfall resume {}` lets it go on", self.id);
        self.waiting = Some(Waiting { behind: None, waits_for: WaitsFor::Pause, until: None, detail });
        Ok(())
    }

    /// An operator ends it: nothing of it is published. Where it was being retrieved, its source stays where that is from.
    pub(crate) fn abort(&mut self, at: Timestamp, by: &str) -> Result<(), IllegalTransition> {
        let retrieved_from = self.retrieved_from().cloned();
        self.state.enter(Phase::Aborting)?;
        self.retire_to(retrieved_from);
        self.waiting = None;
        self.error = None;
        self.note(at, &format!("{ABORTED_BY}{by}"));
        Ok(())
    }

    /// Writes down why the job fails. Where it was being retrieved, its source goes back to where that was from.
    pub(crate) fn fail(&mut self, error: JobError) -> Result<(), IllegalTransition> {
        self.begin_end(Phase::Failing, error)
    }

    /// Writes down that the job is refused, since `of` published the same: nothing of it counts. What was decided on its failed records does
    /// where it is retried.
    pub(crate) fn refuse(&mut self, of: JobId, error: JobError) -> Result<(), IllegalTransition> {
        self.begin_end(Phase::Refusing, error)?;
        self.delivery = Delivery { duplicate_of: Some(of), ..Delivery::default() };
        self.account = Account::default();
        self.held_records.waiting = 0;
        Ok(())
    }

    fn begin_end(&mut self, phase: Phase, error: JobError) -> Result<(), IllegalTransition> {
        let retrieved_from = self.retrieved_from().cloned();
        self.state.enter(phase)?;
        self.retire_to(retrieved_from);
        self.waiting = None;
        self.error = Some(error);
        Ok(())
    }

    /// Ends a job that fails or is refused.
    pub(crate) fn end_failing(&mut self, at: Timestamp) -> Result<(), IllegalTransition> {
        let event = match self.state.phase() {
            Phase::Refusing => JobEvent::Refused,
            Phase::Aborting => {
                let is_the_word = |moment: &&Moment| moment.detail.starts_with(ABORTED_BY);
                let word = self.timeline.iter().rev().find(is_the_word);
                let said = word.map_or_else(String::new, |moment| moment.detail.clone());
                return self.take(JobEvent::Aborted, at, &said);
            }
            _ => JobEvent::Broke,
        };
        let message = self.error.as_ref().map_or_else(String::new, |error| error.message.clone());
        self.take(event, at, &message)
    }

    /// Holds the job until an operator says what becomes of it.
    pub(crate) fn settle(&mut self, at: Timestamp, error: JobError) -> Result<(), IllegalTransition> {
        if *self.state.phase() != Phase::Plain {
            return Err(self.state.cannot(Phase::Settling));
        }
        self.take(JobEvent::Hindered, at, &error.message)?;
        self.state.enter(Phase::Settling)?;
        let detail = error.message.clone();
        self.waiting = Some(Waiting { behind: None, waits_for: WaitsFor::Settling, until: None, detail });
        self.error = Some(error);
        Ok(())
    }

    /// Whether it waits for an operator's word, which nothing but that word ends.
    pub(crate) fn waits_for_settling(&self) -> bool {
        *self.state.phase() == Phase::Settling
    }

    /// Whether that is a word about each of its failed records.
    pub(crate) fn waits_for_records(&self) -> bool {
        self.waits_for_settling() && self.held_records.waiting > 0
    }

    /// An operator retried it: its source is to be taken out of quarantine.
    pub(crate) fn retrieve(&mut self, from: OsText) -> Result<(), IllegalTransition> {
        self.state.enter(Phase::Retrieving { from })
    }

    /// Where a retry takes the source from, until it lies under its claimed name again.
    pub(crate) fn retrieved_from(&self) -> Option<&OsText> {
        match self.state.phase() {
            Phase::Retrieving { from } => Some(from),
            _ => None,
        }
    }

    /// Its source is about to be renamed back to where it lay.
    pub(crate) fn give_back(&mut self) -> Result<(), IllegalTransition> {
        self.state.enter(Phase::GivingBack)
    }

    /// Whether its source is about to be renamed back, or was already.
    pub(crate) fn is_given_back(&self) -> bool {
        *self.state.phase() == Phase::GivingBack
    }

    /// Its source lies where it was claimed: it is retrieved, or was not given back after all.
    pub(crate) fn is_here_again(&mut self) -> Result<(), IllegalTransition> {
        self.state.enter(Phase::Plain)
    }

    /// Holds so many deaths of the process against the job; none: it got on.
    pub(crate) fn suspect(&mut self, deaths: Option<u32>) -> Result<(), IllegalTransition> {
        self.state.suspect(deaths)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::fault::FaultKind;
    use crate::model::job::RESTARTED;
    use crate::model::job::tests::job;
    use crate::model::job_state::JobState;
    use crate::model::standing::Standing;

    fn error() -> JobError {
        JobError { kind: FaultKind::Input, message: "cut short".into(), hint: None }
    }

    fn taken(job: &mut Job, event: JobEvent) -> Result<(), IllegalTransition> {
        job.take(event, Timestamp::UNIX_EPOCH, "")
    }

    type Move = fn(&mut Job) -> Result<(), IllegalTransition>;
    const MOVES: [Move; 22] = [
        |job| taken(job, JobEvent::Started),
        |job| taken(job, JobEvent::Recovered),
        |job| taken(job, JobEvent::Hindered),
        |job| taken(job, JobEvent::Mended),
        |job| taken(job, JobEvent::AccountBalanced),
        |job| taken(job, JobEvent::Published),
        |job| taken(job, JobEvent::Retired),
        |job| taken(job, JobEvent::Broke),
        |job| taken(job, JobEvent::GivenBack),
        |job| taken(job, JobEvent::Retried),
        |job| job.fail(error()),
        |job| job.refuse(JobId::from_parts(1, 9), error()),
        |job| job.end_failing(Timestamp::UNIX_EPOCH),
        |job| job.settle(Timestamp::UNIX_EPOCH, error()),
        |job| job.retrieve("quarantine/pay.csv".into()),
        Job::give_back,
        Job::is_here_again,
        |job| job.suspect(Some(1)),
        |job| job.pause(Timestamp::UNIX_EPOCH, "root"),
        |job| taken(job, JobEvent::Resumed),
        |job| job.abort(Timestamp::UNIX_EPOCH, "root"),
        |job| taken(job, JobEvent::Abandoned),
    ];

    proptest! {
        /// Whatever happens in whatever order: what is refused changes nothing, no row is written that would not be read again, and a job
        /// whose error is written down comes to the end that follows from it, and to nothing else.
        #[test]
        fn no_order_of_events_makes_a_standing_that_cannot_be(moves in prop::collection::vec(0..MOVES.len(), 0..60)) {
            let mut job = job();
            for at in moves {
                let before = job.clone();
                if MOVES[at](&mut job).is_err() {
                    prop_assert_eq!(&job.state, &before.state);
                }
                let row = serde_json::to_vec(&job).expect("serializes");
                prop_assert_eq!(&serde_json::from_slice::<Job>(&row).expect("is read again").state, &job.state);
                if before.is_failing() && job.state != before.state {
                    let end = match before.state.phase() {
                        Phase::Refusing => JobState::Refused,
                        Phase::Aborting => JobState::Aborted,
                        _ => JobState::Failed,
                    };
                    prop_assert_eq!(job.state.get(), end);
                    prop_assert!(!job.is_failing());
                }
                prop_assert!(!job.waits_for_settling() || job.state == JobState::Held);
                let runs = job.retrieved_from().is_some() && job.state == JobState::Running;
                prop_assert!(!runs, "its source is not where it would be read");
            }
        }
    }

    #[test]
    fn a_row_that_says_what_cannot_be_is_not_read() {
        for (state, phase) in [
            ("completed", r#""failing""#),
            ("running", r#""settling""#),
            ("publishing", r#""giving_back""#),
            ("running", r#"{"retrieving":{"from":"q/pay.csv"}}"#),
        ] {
            let row = format!(r#"{{"state":"{state}","phase":{phase}}}"#);
            serde_json::from_str::<Standing>(&row).expect_err(&row);
        }
        let row = r#"{"state":"held","phase":"settling","deaths":2}"#;
        let standing: Standing = serde_json::from_str(row).expect("can be");
        assert_eq!((standing.get(), standing.deaths()), (JobState::Held, Some(2)));
        assert_eq!(serde_json::to_string(&standing).expect("serializes"), row);
    }

    #[test]
    fn a_state_with_nothing_under_way_is_one_word_in_its_row() {
        let standing = Standing::from(JobState::Running);
        assert_eq!(serde_json::to_string(&standing).expect("serializes"), r#""running""#);
    }

    #[test]
    fn a_job_that_fails_before_it_is_retrieved_has_its_source_where_that_was_from() {
        let mut job = job();
        job.retrieve("quarantine/pay.csv".into()).expect("is queued");
        taken(&mut job, JobEvent::Started).expect_err("its source is still in quarantine");
        taken(&mut job, JobEvent::Hindered).expect("that disk is away");
        assert!(job.retrieved_from().is_some(), "it is tried again");
        job.fail(error()).expect("is held");
        assert_eq!(job.retired_to, Some("quarantine/pay.csv".into()));
    }

    #[test]
    fn what_a_job_is_held_for_is_known_until_it_is_queued_with_a_word_of_its_own() {
        let mut job = job();
        let hold = |job: &mut Job, reason: &str| {
            taken(job, JobEvent::Started).expect("starts");
            job.take(JobEvent::Hindered, Timestamp::UNIX_EPOCH, reason).expect("is held");
            taken(job, JobEvent::Mended).expect("is tried again");
        };
        hold(&mut job, "no key");
        assert!(job.was_held_for("no key") && !job.was_held_for("no disk"));
        job.take(JobEvent::Recovered, Timestamp::UNIX_EPOCH, RESTARTED).expect("goes on");
        hold(&mut job, "no disk");
        assert!(job.was_held_for("no key"), "a restart is no news of it");
        job.pause(Timestamp::UNIX_EPOCH, "root").expect("is paused");
        job.take(JobEvent::Resumed, Timestamp::UNIX_EPOCH, "resumed by root").expect("goes on");
        assert!(!job.was_held_for("no key"));
        hold(&mut job, "no key");
        assert!(job.was_held_for("no key") && !job.was_held_for("no disk"));
        let told = job.timeline.iter().filter(|moment| moment.detail == "no key");
        assert_eq!(told.count(), 2, "{:#?}", job.timeline);
    }

    #[test]
    fn a_job_that_is_paused_before_it_is_retrieved_is_retrieved_when_it_goes_on() {
        let mut job = job();
        job.retrieve("quarantine/pay.csv".into()).expect("is queued");
        job.pause(Timestamp::UNIX_EPOCH, "root").expect("is paused");
        taken(&mut job, JobEvent::Resumed).expect("goes on");
        assert!(job.retrieved_from().is_some() && job.state == JobState::Queued && job.waiting.is_none());
        job.abort(Timestamp::UNIX_EPOCH, "root").expect("is ended");
        job.pause(Timestamp::UNIX_EPOCH, "root").expect_err("nothing but its end follows");
        assert_eq!(job.retired_to, Some("quarantine/pay.csv".into()), "it stays there");
        job.end_failing(Timestamp::UNIX_EPOCH).expect("ends");
        assert!(job.state == JobState::Aborted && job.is_retriable() && job.error.is_none());
    }

    #[test]
    fn a_copy_that_was_made_for_one_name_is_forgotten_with_it_whatever_says_another() {
        let names: [fn(&mut Job); 4] = [
            |job| job.retire_to(Some("quarantine/other.csv".into())),
            |job| job.retire_to(None),
            |job| job.abort(Timestamp::UNIX_EPOCH, "root").expect("is running"),
            |job| job.fail(error()).expect("is running"),
        ];
        for name in names {
            let mut job = job();
            taken(&mut job, JobEvent::Started).expect("starts");
            job.retire_to(Some("archive/pay.csv".into()));
            job.source.note_copy(job.source.identity);
            name(&mut job);
            assert_eq!(job.source.copied_as, None);
        }
    }

    #[test]
    fn an_operators_word_is_waited_for_until_it_is_given_whatever_else_the_job_waits_for() {
        let mut job = job();
        taken(&mut job, JobEvent::Started).expect("starts");
        job.settle(Timestamp::UNIX_EPOCH, error()).expect("is held");
        job.waiting = None;
        assert!(job.waits_for_settling() && job.is_retriable() && !job.is_undecided());
        taken(&mut job, JobEvent::Mended).expect("goes on");
        assert!(!job.waits_for_settling() && job.is_undecided());
    }
}
