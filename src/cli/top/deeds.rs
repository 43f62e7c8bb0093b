//! What is done with a job by a key: the act of the command of the same name, and what became of it in a line.

use super::columns::short;
use super::model::{Deed, What};
use crate::cli::pause::{Patience, goes_on};
use crate::engine::{Act, Door, Refusal};

/// What became of it; the error: why nothing did.
pub(super) fn carry_out(door: &dyn Door, deed: &Deed) -> Result<String, String> {
    if deed.what == What::Retry {
        // The rule may have been mended a moment ago. What cannot be read now is told by `landfall check`.
        door.reload().ok();
    }
    let job = deed.job.to_string();
    door.act(&act(deed.what, job.clone())).map_err(|refusal| told(&refusal))?;
    let short = short(deed.job);
    Ok(match deed.what {
        What::Pause => format!("{short}: paused"),
        What::Resume => format!("{short}: resumed; {}", goes_on(door, &job, &Patience::none())),
        What::Retry => format!("{short}: queued again; {}", goes_on(door, &job, &Patience::none())),
        What::Abort => format!("{short}: aborted; its source goes to quarantine"),
        What::Set(priority) => format!("{short}: priority {}", priority.get()),
    })
}

fn act(what: What, job: String) -> Act {
    match what {
        What::Pause => Act::Pause { job },
        What::Resume => Act::Resume { job },
        What::Retry => Act::retry(job),
        What::Abort => Act::Abort { job },
        What::Set(priority) => Act::Set { job, priority },
    }
}

fn told(refusal: &Refusal) -> String {
    match refusal.hint() {
        Some(hint) => format!("{refusal}; {hint}"),
        None => refusal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::model::job::Job;
    use crate::model::job_state::JobState;
    use crate::model::job_view::tests::sample_job;
    use crate::model::priority::Priority;
    use crate::store::Store;

    #[test]
    fn a_deed_is_done_with_its_job_and_one_that_cannot_be_says_why() {
        let store = Store::in_memory();
        let job = Job { state: JobState::Queued.into(), waiting: None, ..sample_job() };
        store.change().job(&job).apply().expect("applied");
        let door = Engine::over(store.clone(), &[]);
        let done = |what| carry_out(&door, &Deed { job: job.id, what });
        let row = || store.job(job.id).expect("reads").expect("is there");
        let sooner = Priority::new(40).expect("is one");
        assert!(done(What::Set(sooner)).is_ok_and(|told| told.ends_with("priority 40")));
        assert_eq!(row().priority, sooner);
        assert!(done(What::Pause).is_ok_and(|told| told.ends_with("paused")));
        assert_eq!(row().state, JobState::Paused);
        assert!(done(What::Resume).is_ok_and(|told| told.contains("resumed; `landfall run` takes it")));
        assert_eq!(row().state, JobState::Queued);
        let refused = done(What::Retry).expect_err("it did not fail");
        assert!(refused.contains("only a failed, refused or aborted job"), "{refused}");
        assert!(done(What::Abort).is_ok_and(|told| told.contains("quarantine")));
        assert!(row().is_aborting() || row().state == JobState::Aborted);
    }
}
