//! `exec`: asks a program about each record.
//!
//! One child for each worker and job, started at its first record in the folder of the rule's file; a command with a separator in it is relative to
//! that folder too. A child that dies, times out, or says what is not understood breaks the step: the attempt of the slice
//! is spent and the next one gets a new child. So a child sees a record at least once, perhaps more often.
//!
//! Protocol `line`: a record is a line, the answer another that takes its place, in order; a record with a line end inside
//! fails. Protocol `jsonl`: a question is `{"job","record","data"}` in one line, where `data` is the line as a string (lines),
//! an object of column and text (csv, fixed; `null` for a field that a short row lacks), or the value itself (jsonl). The
//! answer is `{"data"}` for the record from here on, `{"to","data"}` with its category (`data` may be left out),
//! `{"drop":true}`, or `{"fail":"why"}`, in the order of the questions.

mod child;
pub(crate) mod fate;
pub(crate) mod groups;
mod protocol;
pub(crate) mod reaper;
mod starter;

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use self::child::{Child, Launch};
use self::protocol::Protocol;
pub(crate) use self::starter::places_of;
use super::Planned;
use crate::format::RecordFormat;
use crate::model::amount;
use crate::model::category::Category;
use crate::model::nearest::nearest;
use crate::model::rule::StepSpec;
use crate::model::step::{Broken, RecordError, Run, RunStep, StepPlan, StepStart};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;

/// An answer may always be this long, whatever `record_max` is.
const ANSWER_BYTES_MIN: u64 = 64 << 10;
/// How long an answer may be waited for.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

struct Settings {
    launch: Launch,
    protocol: Protocol,
    format: Arc<dyn RecordFormat>,
    categories: Vec<Category>,
}

pub(crate) fn plan(table: &Map<String, Value>, context: &StepContext<'_>) -> Planned {
    let mut params = Params::new(table);
    let command = params.texts("command");
    if !table.contains_key("command") {
        params.missing("command", "the program and its arguments, like command = [\"./enrich\"]");
    }
    let protocol = match params.text("protocol") {
        None | Some("line") => Protocol::Line,
        Some("jsonl") => Protocol::Jsonl,
        Some(other) => {
            let near = nearest(other, ["line", "jsonl"]).unwrap_or("line");
            params.problem(
                "protocol",
                format!("unknown protocol `{other}`"),
                Some(format!("did you mean `{near}`?")),
            );
            Protocol::Line
        }
    };
    let timeout = params.text("timeout").map_or(Some(Duration::from_secs(30)), |text| {
        let duration = amount::duration(text).filter(|duration| TIMEOUTS.contains(duration));
        if duration.is_none() {
            let hint = "write it like \"500ms\", \"30s\" or \"5m\"; a day at most";
            params.problem(
                "timeout",
                format!("`{text}` is no time to wait for an answer"),
                Some(hint.into()),
            );
        }
        duration
    });
    let (command, timeout) = params.finish(command.zip(timeout))?;
    let (program, arguments) =
        command.split_first().map(|(first, rest)| (first.clone(), rest.to_vec())).unwrap_or_default();
    let settings = Arc::new(Settings {
        launch: Launch {
            program: resolved(&program, context.base_dir),
            arguments,
            folder: context.base_dir.to_owned(),
            timeout,
            answer_max: context.records.record_max.max(ANSWER_BYTES_MIN) as usize,
        },
        protocol,
        format: Arc::clone(context.format),
        categories: context.categories.to_vec(),
    });
    let plan = StepPlan::of_runs(move |start| Exec {
        settings: Arc::clone(&settings),
        start: start.clone(),
        child: None,
    });
    Ok(if protocol == Protocol::Jsonl { plan.sending_anywhere() } else { plan })
}

/// A name alone is looked up in `PATH`; anything with a separator starts from the rule's folder.
pub(crate) fn resolved(program: &str, base_dir: &Path) -> PathBuf {
    let path = Path::new(program);
    let mut components = path.components();
    let is_name = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if is_name && !program.contains(std::path::is_separator) {
        return path.to_owned();
    }
    // `./x` would stand in the path as it is shown.
    base_dir.join(path.strip_prefix(".").unwrap_or(path))
}

/// The program of a step of this kind, as it is looked up.
pub(crate) fn program_of(step: &StepSpec, base_dir: &Path) -> Option<PathBuf> {
    let program = step.params.get("command").filter(|_| step.step == "exec")?.get(0)?.as_str()?;
    Some(resolved(program, base_dir))
}

struct Exec {
    settings: Arc<Settings>,
    start: StepStart,
    child: Option<Child>,
}

impl Exec {
    fn converse(&self, child: &mut Child, run: &mut dyn Run) -> Result<(), Broken> {
        let settings = &*self.settings;
        let mut questions = Vec::new();
        let mut refused: Vec<Option<RecordError>> = Vec::new();
        for position in 0..run.len() {
            run.look(position, &mut |record| {
                let before = questions.len();
                let asked = settings.protocol.ask(&*settings.format, self.start.job, record, &mut questions);
                if asked.is_err() {
                    questions.truncate(before);
                }
                refused.push(asked.err());
            });
        }
        if !questions.is_empty() {
            child.ask(questions)?;
        }
        let mut line = Vec::new();
        for (position, refused) in refused.into_iter().enumerate() {
            if let Some(error) = refused {
                run.settle(position, &mut |_| Err(error.clone()));
                continue;
            }
            child.answer(&mut line)?;
            let answer = settings.protocol.read(&line, &settings.categories)?;
            run.settle(position, &mut |record| answer.settle(&*settings.format, record));
        }
        child.check_silence()
    }
}

impl RunStep for Exec {
    fn process_run(&mut self, run: &mut dyn Run) -> Result<(), Broken> {
        let mut child = match self.child.take() {
            Some(child) => child,
            None => Child::start(&self.settings.launch, &self.start)?,
        };
        // A child that broke is dropped, and so killed, here.
        self.converse(&mut child, run)?;
        self.child = Some(child);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        self.child.take().map_or(Ok(()), Child::finish)
    }
}
