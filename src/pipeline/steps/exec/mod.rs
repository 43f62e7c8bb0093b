//! `exec`: asks a program about each record.
//!
//! One child for each worker and job, started at its first record in a folder of its own, with little of our environment, and kept from what is
//! not its to reach (`confined`); unless its step says `confine = false`, then in the folder of the rule's file. A command with a separator in
//! it is relative to that folder in any case, and so is an argument that begins with `./` or `../`. A child that dies, times out, or says what is not understood breaks the step: the attempt of the slice
//! is spent and the next one gets a new child. So a child sees a record at least once, perhaps more often.
//!
//! Protocol `line`: a record is a line, the answer another that takes its place, in order; a record with a line end inside
//! fails. Protocol `jsonl`: a question is `{"job","record","data"}` in one line, where `data` is the line as a string (lines),
//! an object of column and text (csv, fixed; `null` for a field that a short row lacks), or the value itself (jsonl). The
//! answer is `{"data"}` for the record from here on, `{"to","data"}` with its category (`data` may be left out),
//! `{"drop":true}`, or `{"fail":"why"}`, in the order of the questions.

mod child;
mod confined;
pub(crate) mod environment;
pub(crate) mod fate;
pub(crate) mod groups;
mod interpreter;
mod programs;
mod protocol;
pub(crate) mod reaper;
mod starter;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use self::child::{Child, Confined, Launch};
pub(crate) use self::interpreter::interpreters_of;
use self::programs::argument_of;
pub(crate) use self::programs::{
    arguments_of, around_of, is_confined, paths_of, places_of, program_of, resolved,
};
use self::protocol::Protocol;
use super::Planned;
use crate::format::RecordFormat;
use crate::model::amount;
use crate::model::category::Category;
use crate::model::nearest::nearest;
use crate::model::step::{Broken, RecordError, Run, RunStep, StepPlan, StepStart};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;

/// An answer may always be this long, whatever `record_max` is.
const ANSWER_BYTES_MIN: u64 = 64 << 10;
/// What a program may be limited to, in bytes.
const MEMORY_MAX: RangeInclusive<u64> = 1 << 20..=1 << 50;
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
    let environment = variables(&mut params);
    let memory_max = memory_max(&mut params);
    let confined = confined(&mut params, context);
    let (command, timeout) = params.finish(command.zip(timeout))?;
    let (program, arguments) =
        command.split_first().map(|(first, rest)| (first.clone(), rest)).unwrap_or_default();
    let arguments = arguments.iter().map(|argument| argument_of(argument, context.base_dir)).collect();
    let settings = Arc::new(Settings {
        launch: Launch {
            program: resolved(&program, context.base_dir),
            arguments,
            folder: context.base_dir.to_owned(),
            timeout,
            environment,
            memory_max,
            confined,
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

/// `env`: what the program has beside what every program has.
fn variables(params: &mut Params<'_>) -> Vec<(String, String)> {
    let Some(table) = params.table("env") else { return Vec::new() };
    let mut variables = Vec::new();
    for (name, value) in table {
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        if let Some(value) = value.as_str().filter(|value| is_name && !value.contains('\0')) {
            variables.push((name.clone(), value.to_owned()));
        } else {
            let message = format!("`{}` is no variable with a text", name.escape_default());
            params.problem("env", message, Some("write it like env = { REGION = \"eu\" }".into()));
        }
    }
    variables
}

fn memory_max(params: &mut Params<'_>) -> Option<u64> {
    let text = params.text("memory_max")?;
    if cfg!(not(unix)) {
        let hint = "leave it out: this system has no such limit for a program";
        params.problem(
            "memory_max",
            "a program's memory is not limited on this system".into(),
            Some(hint.into()),
        );
        return None;
    }
    let bytes = amount::size(text).filter(|bytes| MEMORY_MAX.contains(bytes));
    if bytes.is_none() {
        let hint = "write it like \"512MiB\"; 1 MiB at least";
        params.problem("memory_max", format!("`{text}` is no size of a program's memory"), Some(hint.into()));
    }
    bytes
}

/// `confine`, `read` and `write`.
fn confined(params: &mut Params<'_>, context: &StepContext<'_>) -> Option<Confined> {
    let is_confined = params.flag("confine").unwrap_or(true);
    let mut paths = |key| {
        let texts = if params.get(key).is_some() { params.texts(key) } else { None };
        if texts.is_some() && !is_confined {
            let hint = "leave it out, or take out `confine = false`";
            params.problem(
                key,
                format!("`{key}` says nothing where the program is not confined"),
                Some(hint.into()),
            );
        }
        texts.unwrap_or_default().iter().map(|text| context.base_dir.join(text)).collect::<Vec<_>>()
    };
    let (read, write) = (paths("read"), paths("write"));
    let surroundings = Arc::clone(context.surroundings);
    is_confined.then_some(Confined { read, write, surroundings })
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
