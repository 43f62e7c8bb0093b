//! `landfall shadow RULE`: what a rule would publish that touches nothing, and how that compares with what the old system published.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::check::counted;
use super::complete;
use super::exit::FAILED;
use super::say::complain;
use super::shadow_theirs::Theirs;
use super::view::{self, Stop};
use crate::durable_fs;
use crate::engine::{self, Answers, JobFilter};
use crate::model::fault::FaultKind;
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_state::JobState;
use crate::model::job_view::VIEW_VERSION;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{Mode, Rule, Settings};
use crate::model::shadow::{Compared, Shadowed, Verdict};
use crate::model::shown_json;
use crate::service::shadow::{candidates, settings_aside, step_not_run};
use crate::watch;

/// The arguments of `landfall shadow`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit code 0: whatever was compared is the same; what is not there yet, and files that were gone before they were read, do \
                  not change that. 1: an output differs, is ours or theirs only, or cannot be compared; a file would have failed, or been \
                  refused or held; files still wait to be read; or there is nothing to tell."
)]
pub(super) struct ShadowArgs {
    /// A rule with `mode = "shadow"`
    #[arg(add = complete::of_rules())]
    rule: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What all files come to.
#[derive(Default)]
struct Sum {
    files: u64,
    records: u64,
    /// Outputs by verdict; those that are not to be compared count nowhere.
    matching: u64,
    differing: u64,
    ours_only: u64,
    not_there_yet: u64,
    not_compared: u64,
    theirs_only: u64,
    /// Files that would have failed, or been refused.
    failed: u64,
    /// Files that would wait for somebody to mend or settle something.
    held: u64,
    gone: u64,
    /// Files that are not done.
    unfinished: u64,
    /// Files that are seen, and not begun, by where they lie.
    waiting: HashSet<OsText>,
}

impl Sum {
    fn note(&mut self, job: &Job) {
        if self.waiting.contains(&job.source.path) && is_told_by(job) {
            self.waiting.remove(&job.source.path);
        }
        self.files += 1;
        self.records += job.account.records_in;
        match job.state.get() {
            JobState::Completed => {}
            JobState::Failed if would_be_held(job) => self.held += 1,
            JobState::Failed | JobState::Refused => self.failed += 1,
            JobState::Aborted => self.gone += 1, // one that only comes again is not told
            _ => self.unfinished += 1,
        }
        for (_, shadowed) in outputs(job) {
            let Some(compared) = &shadowed.compared else { continue };
            *match compared.verdict {
                Verdict::Match => &mut self.matching,
                Verdict::Differs => &mut self.differing,
                Verdict::OursOnly => &mut self.ours_only,
                Verdict::NotThereYet => &mut self.not_there_yet,
                Verdict::NotCompared => &mut self.not_compared,
            } += 1;
        }
    }

    /// Once all jobs are noted.
    fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Whether nothing was compared with the old system: no proof of anything, and no difference either.
    fn lacks_proof(&self) -> bool {
        self.files > 0 && self.matching + self.differing + self.ours_only == 0
    }

    fn is_good(&self) -> bool {
        let bad =
            self.differing + self.ours_only + self.theirs_only + self.not_compared + self.failed + self.held;
        bad + self.unfinished + self.waiting() == 0 && self.files > 0
    }

    fn json(&self) -> Value {
        json!({
            "files": self.files,
            "records": self.records,
            "match": self.matching,
            "differs": self.differing,
            "ours_only": self.ours_only,
            "theirs_only": self.theirs_only,
            "not_there_yet": self.not_there_yet,
            "not_compared": self.not_compared,
            "failed": self.failed,
            "held": self.held,
            "gone": self.gone,
            "unfinished": self.unfinished,
            "waiting": self.waiting(),
        })
    }
}

pub(super) fn run(args: &ShadowArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let rule = settings.rules.iter().filter(|rule| rule.name == args.rule);
    let shadow = rule.clone().find(|rule| rule.mode == Mode::Shadow).or_else(|| rule.clone().next());
    let door = view::door(&settings_aside(settings))?;
    let of_rule = JobFilter { rule: Some(args.rule.clone()), ..JobFilter::default() };
    let jobs: Answers<'_, Job> = match &door {
        Some(door) => door.list(&of_rule),
        None => Box::new(std::iter::empty()),
    };
    let mut jobs = jobs.filter(|job| !matches!(job, Ok(job) if comes_again(job)));
    let jobs = match view::any(&mut jobs) {
        Ok(jobs) => jobs,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    let is_shadow = shadow.is_some_and(|rule| rule.mode == Mode::Shadow);
    let Some(jobs) = jobs
        .map(|jobs| Box::new(jobs) as Answers<'_, Job>)
        .or_else(|| is_shadow.then(|| Box::new(std::iter::empty()) as _))
    else {
        let Some(rule) = shadow else { return Err(engine::unknown_rule(&settings.rules, &args.rule).into()) };
        let message = format!("rule \"{}\" is {}, and was no shadow", rule.name, rule.mode.word());
        complain(&message, Some("write `mode = \"shadow\"` to see what it would do"));
        return Ok(ExitCode::from(FAILED));
    };
    let waiting = door.iter().flat_map(|door| door.files_waiting(None)).filter_map(|file| {
        let file = file.ok()?; // what is asked next says so
        let fits = |rule: &Rule| rule.paths.values_of(file.path.as_path()).is_some();
        (!watch::is_of_folder(&file.reason) && shadow.is_some_and(fits)).then_some(file.path)
    });
    let mut sum = Sum { waiting: waiting.collect(), ..Sum::default() };
    let printed = view::print(|out| {
        let mut report = Report::new(&args.rule, shadow, settings);
        if args.json {
            report.print_json(out, jobs, &mut sum)
        } else {
            report.print_text(out, jobs, &mut sum)
        }
    })?;
    Ok(if printed == ExitCode::SUCCESS && !sum.is_good() { ExitCode::from(FAILED) } else { printed })
}

/// What is told while the jobs are read, one after another.
struct Report<'a> {
    name: &'a str,
    rule: Option<&'a Rule>,
    settings: &'a Settings,
    /// From the first file on, where all of ours are known.
    theirs: Option<Theirs>,
}

impl<'a> Report<'a> {
    fn new(name: &'a str, rule: Option<&'a Rule>, settings: &'a Settings) -> Self {
        Self { name, rule, settings, theirs: None }
    }

    fn compare(&self) -> Option<&'a Path> {
        self.rule.and_then(|rule| rule.compare.as_deref())
    }

    fn note(&mut self, job: &Job, sum: &mut Sum) {
        sum.note(job);
        let Some(compare) = self.compare() else { return };
        let knows_all = self.rule.is_some_and(|rule| step_not_run(rule).is_none());
        if self.theirs.is_none() && knows_all {
            let rules = self.settings.rules.iter().filter(|rule| rule.name == self.name);
            let theirs = Theirs::list(compare, rules, job.created_at); // the oldest comes first
            sum.not_compared += theirs.unread.len() as u64;
            self.theirs = Some(theirs);
        }
        let Some(theirs) = &mut self.theirs else { return };
        let made_by = self.settings.rules.iter().find(|rule| rule.is_for(&job.rule, &job.vars));
        for (output, shadowed) in outputs(job) {
            let template = template_of(made_by, output);
            match shadowed.compared.as_ref().and_then(|compared| compared.theirs.as_ref()) {
                Some(path) => theirs.have(path.as_path()),
                None => candidates(compare, template, output.path.as_path())
                    .iter()
                    .for_each(|path| theirs.have(path)),
            }
        }
    }

    /// Files of the old system that none of ours is to be compared with; where not all of ours are known, nothing is said.
    fn tell_theirs_only(
        &self,
        sum: &mut Sum,
        mut tell: impl FnMut(&Path) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let Some(theirs) = &self.theirs else { return Ok(()) };
        theirs.tell_left(|path| {
            sum.theirs_only += 1;
            tell(path)
        })
    }

    /// Where theirs is looked for, packed in whatever way, as long as it is not found.
    fn sought(&self, job: &Job, output: &PublishedOutput, compared: &Compared) -> Vec<PathBuf> {
        let (Some(compare), None) = (self.compare(), &compared.theirs) else { return Vec::new() };
        let made_by = self.settings.rules.iter().find(|rule| rule.is_for(&job.rule, &job.vars));
        let ours = output.path.as_path();
        let mut found = candidates(compare, template_of(made_by, output), ours);
        let name = ours.file_name().map(|name| compare.join(name));
        let mut is_first = true;
        found.retain(|path| std::mem::take(&mut is_first) || Some(path) == name.as_ref());
        found
    }

    fn unread(&self) -> &[String] {
        self.theirs.as_ref().map_or(&[], |theirs| &theirs.unread)
    }

    fn print_text(&mut self, out: &mut dyn Write, jobs: Answers<'_, Job>, sum: &mut Sum) -> Result<(), Stop> {
        let mode = self.rule.map_or("gone", |rule| rule.mode.word());
        write!(out, "rule \"{}\" ({mode})", self.name)?;
        match self.compare() {
            Some(compare) => writeln!(out, ", compared with {}, unpacked", escaped_path(compare))?,
            None => writeln!(out, ", compared with nothing: `compare` names no folder")?,
        }
        if let Some((number, step)) = self.rule.and_then(step_not_run) {
            writeln!(out, "  step {number}, {step}, is not run: what would be in the outputs is not known")?;
        }
        for job in jobs {
            let job = job?;
            self.note(&job, sum);
            for line in self.lines_of(&job) {
                writeln!(out, "{line}")?;
            }
        }
        self.tell_theirs_only(sum, |path| Ok(writeln!(out, "theirs only: {}", escaped_path(path))?))?;
        for unread in self.unread() {
            writeln!(out, "not compared: {unread}")?;
        }
        write!(out, "{}, {}", counted(sum.files, "file"), counted(sum.records, "record"))?;
        let judged = sum.matching + sum.differing + sum.ours_only + sum.not_there_yet + sum.not_compared;
        if self.compare().is_none() && judged == 0 {
            writeln!(out)?;
        } else {
            writeln!(
                out,
                "; outputs: {} match, {} differ, {} ours only, {} theirs only, {} not there yet, {} not compared",
                sum.matching,
                sum.differing,
                sum.ours_only,
                sum.theirs_only,
                sum.not_there_yet,
                sum.not_compared
            )?;
        }
        if sum.files == 0 {
            let none = if sum.waiting() > 0 { "none is complete yet" } else { "none has come" };
            writeln!(out, "there is nothing to tell yet: {none}")?;
        }
        if self.compare().is_some() && sum.lacks_proof() {
            writeln!(out, "no output was compared yet")?;
        }
        if sum.waiting() > 0 {
            let counted = counted(sum.waiting(), "file");
            writeln!(out, "{counted} more to be read: `landfall explain FILE` says what one waits for")?;
        }
        if sum.failed + sum.held + sum.gone + sum.unfinished > 0 {
            writeln!(
                out,
                "of the files {} would have failed, {} would be held, {} were gone before they were read, {} are not done",
                sum.failed, sum.held, sum.gone, sum.unfinished
            )?;
        }
        Ok(())
    }

    /// File by file, so that memory does not grow with their number.
    fn print_json(&mut self, out: &mut dyn Write, jobs: Answers<'_, Job>, sum: &mut Sum) -> Result<(), Stop> {
        let mode = self.rule.map(|rule| rule.mode.word());
        let not_run = self.rule.and_then(step_not_run).map(|(number, step)| format!("step {number}, {step}"));
        let compare = self.compare().map(escaped_path);
        write!(
            out,
            "{{\"version\":{VIEW_VERSION},\"rule\":{},\"mode\":{},\"compare\":{},\"not_run\":{},\"files\":[",
            json!(self.name),
            json!(mode),
            json!(compare),
            json!(not_run)
        )?;
        view::json_items(out, jobs, |job| {
            self.note(&job, sum);
            shown_json::to_string(&self.file_json(&job))
        })?;
        write!(out, ",\"theirs_only\":[")?;
        let mut comma = "";
        self.tell_theirs_only(sum, |path| {
            let path = shown_json::to_string(&escaped_path(path))?;
            Ok(write!(out, "{}{path}", std::mem::replace(&mut comma, ","))?)
        })?;
        let unread = shown_json::to_string(&self.unread())?;
        writeln!(out, "],\"theirs_not_read\":{unread},\"sum\":{}}}", sum.json())?;
        Ok(())
    }
}

/// A job's outputs with what they would be; none where that is not known.
fn outputs(job: &Job) -> impl Iterator<Item = (&PublishedOutput, &Shadowed)> {
    let shadowed = job.shadow.iter().flat_map(|shadow| &shadow.outputs);
    job.outputs.iter().zip(shadowed)
}

/// It was not complete, and is another job by now: the sum has each file once.
fn comes_again(job: &Job) -> bool {
    job.state == JobState::Aborted && !job.is_gone
}

/// Whether what waits at the job's path, as far as the watch has heard, is the file that the job tells of: it hears of that a moment later.
fn is_told_by(job: &Job) -> bool {
    match durable_fs::identity_at(job.source.path.as_path()) {
        Ok(Some(found)) => !job.is_gone && found.same_content(&job.source.identity),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Whether it ended because somebody would have to mend a rule or a key, or to settle it: nobody does that for a shadow.
fn would_be_held(job: &Job) -> bool {
    job.state == JobState::Failed && job.error.as_ref().is_some_and(|error| error.kind == FaultKind::Config)
}

/// What became of a file, in a word.
fn status(job: &Job) -> &'static str {
    match job.state.get() {
        JobState::Completed => "read",
        JobState::Failed if would_be_held(job) => "would be held",
        JobState::Failed => "would fail",
        JobState::Refused => "would be refused",
        JobState::Aborted => "gone",
        _ => "not done",
    }
}

/// Why it is not read, as far as that is known.
fn detail(job: &Job) -> Option<String> {
    let waiting = || job.waiting.as_ref().map(|waiting| waiting.detail.clone());
    let error = job.error.as_ref().map(ToString::to_string);
    let gone =
        (job.state == JobState::Aborted).then(|| job.timeline.last().map(|moment| moment.detail.clone()));
    error.or_else(waiting).or(gone.flatten()).filter(|detail| !detail.is_empty())
}

/// By which an output has its path; nothing where the rule is another by now.
fn template_of<'r>(made_by: Option<&'r Rule>, output: &PublishedOutput) -> &'r str {
    made_by.and_then(|rule| rule.outputs.get(&output.category)).map_or("", |output| output.path.as_str())
}

impl Report<'_> {
    fn lines_of(&self, job: &Job) -> Vec<String> {
        let account = &job.account;
        let mut lines = vec![format!("{}: {}", job.source.path, status(job))];
        if let Some(detail) = detail(job) {
            lines.push(format!("    {}", view::printable(detail.as_bytes(), usize::MAX)));
        }
        if job.state == JobState::Aborted {
            return lines;
        }
        let to = |(category, count): (&_, &u64)| format!(", {count} {category}");
        let out: String = account.records_out.iter().map(to).collect();
        lines.push(format!(
            "    {} in{out}, {} dropped, {} failed",
            counted(account.records_in, "record"),
            account.records_dropped(),
            account.records_failed
        ));
        if let Some(not_run) = job.shadow.as_ref().and_then(|shadow| shadow.not_run.as_ref()) {
            lines.push(format!("    outputs: not known, for {not_run}, is not run"));
        }
        for (output, shadowed) in outputs(job) {
            let said = shadowed.compared.as_ref().map_or("not compared", |compared| compared.verdict.word());
            lines.push(format!(
                "    {}: {said}: {}, {}, {} in {}",
                output.category,
                output.path,
                counted(output.records, "record"),
                counted(shadowed.bytes, "byte"),
                counted(shadowed.lines, "line")
            ));
            let Some(compared) = &shadowed.compared else { continue };
            let sought: Vec<_> =
                self.sought(job, output, compared).iter().map(|path| escaped_path(path)).collect();
            if !sought.is_empty() {
                lines.push(format!(
                    "        theirs is looked for as {}, or packed otherwise",
                    sought.join(", or ")
                ));
            }
            if let Some(theirs) = compared.theirs.as_ref().filter(|_| compared.verdict != Verdict::Match) {
                let size = compared.their_bytes.zip(compared.their_lines);
                let size = size.map_or_else(String::new, |(bytes, lines)| {
                    format!(", {} in {}", counted(bytes, "byte"), counted(lines, "line"))
                });
                lines.push(format!("        theirs: {theirs}{size}"));
            }
            if let Some(detail) = &compared.detail {
                lines.push(format!("        {}", view::printable(detail.as_bytes(), usize::MAX)));
            }
        }
        lines
    }

    fn file_json(&self, job: &Job) -> Value {
        let account = &job.account;
        json!({
            "source": job.source.path.to_string(),
            "job": job.id,
            "at": job.created_at,
            "status": status(job),
            "state": job.state.get(),
            "detail": detail(job),
            "content_hash": job.content_hash,
            "revision": job.delivery.revision,
            "records_in": account.records_in,
            "records_out": account.records_out,
            "records_dropped": account.records_dropped(),
            "records_failed": account.records_failed,
            "not_run": job.shadow.as_ref().and_then(|shadow| shadow.not_run.as_ref()),
            "outputs": outputs(job).map(|output| self.output_json(job, output)).collect::<Vec<_>>(),
        })
    }

    fn output_json(&self, job: &Job, (output, shadowed): (&PublishedOutput, &Shadowed)) -> Value {
        let compared = shadowed.compared.as_ref();
        let sought = compared.map(|compared| self.sought(job, output, compared)).unwrap_or_default();
        json!({
            "category": output.category,
            "entry": output.entry,
            "path": output.path.to_string(),
            "records": output.records,
            "bytes": output.bytes,
            "content_bytes": shadowed.bytes,
            "content_lines": shadowed.lines,
            "content_hash": shadowed.hash,
            "verdict": compared.map(|compared| compared.verdict),
            "theirs": compared.and_then(|compared| compared.theirs.as_ref()).map(ToString::to_string),
            "sought": sought.iter().map(|path| escaped_path(path)).collect::<Vec<_>>(),
            "their_bytes": compared.and_then(|compared| compared.their_bytes),
            "their_lines": compared.and_then(|compared| compared.their_lines),
            "detail": compared.and_then(|compared| compared.detail.as_ref()),
        })
    }
}
