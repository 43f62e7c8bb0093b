//! Which rule takes a file, what keeps each other from it, what it waits for, and which jobs it became.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Stop;
use super::explain_found::Found;
use super::named_path::as_watched;
use super::rules::rules_gone_by;
use crate::durable_fs::{self, Kind};
use crate::engine::{Door, Refusal};
use crate::model::job_view::{VIEW_VERSION, path_json};
use crate::model::os_text::escaped_path;
use crate::model::overriding::Override;
use crate::model::pattern::os_chars::as_chars;
use crate::model::pattern::{Pattern, Values};
use crate::model::rule::{Mode, Rule};
use crate::model::shown_json;
use crate::watch::companion::Companion;
use crate::watch::exclude::Excludes;
use crate::watch::links::{self, Lead};
use crate::watch::rules::RuleSet;

/// How a rule stands to a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Takes {
        values: Values,
        overriding: Option<Override>,
    },
    /// It would, but the named rule comes first.
    After(String),
    /// Its pattern fits, and the rule is off: it keeps the file from rules behind it.
    Off {
        overriding: Option<Override>,
    },
    /// It looks at the file and touches nothing; rules behind it have it all the same.
    Shadow,
    Excluded(String),
    /// The file is what another one waits for.
    Companion(&'static str),
    /// Something else than a file has a name that it takes.
    NoFile(Kind),
    /// It takes this file, to which a link with a name that it takes leads.
    ByLink(PathBuf),
    /// A link has a name that it takes, or lies on the way, and leads to nothing that it takes: why.
    NoFileByLink(String),
    NoPattern,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Takes { .. } => "takes",
            Self::After(_) => "after",
            Self::Off { .. } => "off",
            Self::Shadow => "shadow",
            Self::Excluded(_) => "excluded",
            Self::Companion(_) => "companion",
            Self::NoFile(_) | Self::NoFileByLink(_) => "no_file",
            Self::ByLink(_) => "takes_by_link",
            Self::NoPattern => "no_pattern",
        }
    }

    fn overriding(&self) -> Option<&Override> {
        match self {
            Self::Takes { overriding, .. } | Self::Off { overriding } => overriding.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn target(&self) -> Option<&PathBuf> {
        if let Self::ByLink(target) = self { Some(target) } else { None }
    }

    /// Of a file that stays where it lies, by a job or an adoption, or of another one.
    pub(crate) fn told(&self, is_kept: bool) -> String {
        match self {
            Self::Takes { values, overriding } => {
                let values: Vec<_> = values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                let with =
                    if values.is_empty() { String::new() } else { format!(", with {}", values.join(", ")) };
                let keys = overriding
                    .as_ref()
                    .map(|it| format!("; its override for {it} sets {}", it.keys.join(", ")));
                let does = if is_kept { "its pattern fits, but it is not taken (see below)" } else { "takes it" };
                format!("{does}{with}{}", keys.unwrap_or_default())
            }
            Self::After(first) => format!("would take it, but rule \"{first}\" comes first and has it"),
            Self::Off { overriding: None } => {
                "its pattern fits, but the rule is off: no rule behind it gets the file".to_owned()
            }
            Self::Off { overriding: Some(overriding) } => format!(
                "its pattern fits, but its override for {overriding} is off: no rule behind it gets the file"
            ),
            Self::Shadow => {
                "is a shadow: it reads the file where it lies, and touches nothing; `landfall shadow` tells what came of it".to_owned()
            }
            Self::Excluded(by) => format!("its pattern fits, but the file is excluded by {by}"),
            Self::Companion(key) => {
                format!("its pattern fits, but a file of this name is what others wait for (`ready.{key}`)")
            }
            Self::NoFile(kind) => {
                format!("its pattern fits, but what lies there is {kind}: only regular files are taken, and links are not followed")
            }
            Self::ByLink(target) if is_kept => format!(
                "follows links, and one leads from this name to {}, which is not taken (see below)",
                escaped_path(target)
            ),
            Self::ByLink(target) => format!(
                "follows links, and one leads from this name to {}: it takes that file, under its own name, and the link stays",
                escaped_path(target)
            ),
            Self::NoFileByLink(why) => format!("its pattern fits, but this is a link, or lies behind one: {why}"),
            Self::NoPattern => "none of its patterns fits".to_owned(),
        }
    }
}

/// Of the running service by itself. What a shadow knows of the file is known to the engine that stands aside, and not told.
pub(crate) fn json_of_service(out: &mut dyn Write, door: &dyn Door, path: &Path) -> Result<(), Stop> {
    let rules = rules_gone_by(Some(door)).unwrap_or_default();
    let set = RuleSet::new(rules.clone()).map_err(|error| Refusal::from_fault(&error))?;
    let path = as_watched(path, &set)?;
    let bases: Vec<_> = rules.iter().filter(|rule| rule.is_base()).collect();
    let verdicts = verdicts(&bases, &rules, &path);
    let taker = taker(&rules, &set, &path, &verdicts);
    let target = verdicts.iter().find_map(Verdict::target).unwrap_or(&path);
    let found = Found::of(Some(door), (&path, target), taker, companion_of(&rules, &path))?;
    print_json(out, &path, &bases, &verdicts, (&found, None))
}

/// The rule that has the file, with the override that counts for it.
pub(crate) fn taker<'r>(
    rules: &'r [Rule],
    set: &RuleSet,
    path: &Path,
    verdicts: &[Verdict],
) -> Option<&'r Rule> {
    let has_it = |verdict: &Verdict| matches!(verdict, Verdict::Takes { .. } | Verdict::ByLink(_));
    let taker = set.assign(path).and_then(|(at, _)| rules.get(at));
    taker.filter(|_| verdicts.iter().any(has_it))
}

pub(crate) fn verdicts<'r>(rules: &[&'r Rule], all: &'r [Rule], path: &Path) -> Vec<Verdict> {
    // Of rules that take files, and of shadows; one that is off holds its files from both.
    let (mut holder, mut shadow): (Option<&'r Rule>, Option<&'r Rule>) = (None, None);
    let mut verdict = |rule: &'r Rule| {
        let Some(values) = rule.paths.values_of(path) else { return Verdict::NoPattern };
        if let Some(by) = excluded_by(rule, path) {
            return Verdict::Excluded(by);
        }
        if let Some(key) = companion_of(all, path) {
            return Verdict::Companion(key);
        }
        let taking = all.iter().find(|one| one.is_for(&rule.name, &values)).unwrap_or(rule);
        let by_link = by_link(taking, all, path).or_else(|| behind_link(taking, all, path));
        if let Some(nothing @ Verdict::NoFileByLink(_)) = by_link {
            return nothing;
        }
        if let (None, Ok(Some(kind @ (Kind::Link | Kind::Folder | Kind::Other)))) =
            (&by_link, durable_fs::kind_at(path))
        {
            return Verdict::NoFile(kind);
        }
        let first = if taking.mode == Mode::Shadow { shadow } else { holder };
        if let Some(first) = first {
            return Verdict::After(first.name.clone());
        }
        if taking.mode != Mode::Live {
            shadow = Some(rule);
        }
        if taking.mode != Mode::Shadow {
            holder = Some(rule);
        }
        let overriding = taking.overriding.clone();
        match taking.mode {
            Mode::Live => by_link.unwrap_or(Verdict::Takes { values, overriding }),
            Mode::Off => Verdict::Off { overriding },
            Mode::Shadow => Verdict::Shadow,
        }
    };
    rules.iter().map(|rule| verdict(rule)).collect()
}

/// What a link gives the rule that this path is, or leads through; none where it is no link, or the rule follows none.
fn by_link(rule: &Rule, all: &[Rule], path: &Path) -> Option<Verdict> {
    match links::follow_for(rule, path)? {
        Lead::Nowhere(at) if path.starts_with(&at) => None,
        Lead::To(target, _) if target == path => None,
        Lead::To(target, Kind::File) => {
            let has_it = |one: &&Rule| {
                one.mode != Mode::Shadow
                    && one.paths.values_of(&target).is_some()
                    && excluded_by(one, &target).is_none()
            };
            let but = match (excluded_by(rule, &target), all.iter().find(has_it)) {
                (Some(by), _) => format!("which is excluded by {by}"),
                (None, Some(by_name)) => {
                    format!("whose own name fits rule \"{}\"; only that counts", by_name.name)
                }
                (None, None) => return Some(Verdict::ByLink(target)),
            };
            Some(Verdict::NoFileByLink(format!("it leads to {}, {but}", escaped_path(&target))))
        }
        other => Some(Verdict::NoFileByLink(other.told())),
    }
}

/// A rule that follows no links does not see what lies behind one, unless a pattern begins there.
fn behind_link(rule: &Rule, all: &[Rule], path: &Path) -> Option<Verdict> {
    if rule.follow_links {
        return None;
    }
    let watched = all.iter().filter(|one| one.mode == rule.mode).flat_map(|one| one.paths.good());
    let roots: Vec<_> = watched.map(Pattern::fixed_folder).collect();
    let link = links::link_before(path, &roots)?;
    let own = path.canonicalize().map_or_else(
        |_| String::new(),
        |own| format!("; what lies there is taken by its own name alone, {}", escaped_path(&own)),
    );
    let why = format!("{} is one, and the rule follows none (`follow_links`){own}", escaped_path(&link));
    Some(Verdict::NoFileByLink(why))
}

fn excluded_by(rule: &Rule, path: &Path) -> Option<String> {
    if Excludes::default().excludes(path) {
        return Some(
            "its name: hidden files and unfinished uploads (*.part, *.tmp, *~ …) never count".to_owned(),
        );
    }
    let excludes = |text: &&String| {
        let alone = Excludes::parse(std::slice::from_ref(*text));
        alone.is_ok_and(|alone| alone.excludes(path))
    };
    rule.exclude.iter().find(excludes).map(|text| format!("`{text}`"))
}

/// Which key makes a file of this name one that others wait for, if any does.
pub(crate) fn companion_of(rules: &[Rule], path: &Path) -> Option<&'static str> {
    let (folder, name) = (path.parent()?, path.file_name()?);
    let is_shape = |companion: Companion| companion.shape().is_match(&as_chars(name));
    let is_called = |template: &Option<String>| {
        template.as_ref().and_then(|template| Companion::parse(template).ok()).is_some_and(is_shape)
    };
    // An override looks where its rule does.
    let alike = rules.chunk_by(|one, other| one.paths == other.paths);
    let looks_there = |alike: &&[Rule]| {
        alike.first().is_some_and(|rule| rule.paths.good().any(|it| it.could_match_in(folder)))
    };
    alike.filter(looks_there).flatten().find_map(|rule| {
        if Companion::marker_of(&rule.ready).and_then(Result::ok).is_some_and(is_shape) {
            return Some("marker");
        }
        let named = [("totals", &rule.ready.totals), ("checksum", &rule.ready.checksum)];
        named.into_iter().find(|(_, template)| is_called(template)).map(|(key, _)| key)
    })
}

pub(crate) fn print_json(
    out: &mut dyn Write,
    path: &Path,
    rules: &[&Rule],
    verdicts: &[Verdict],
    (found, aside): (&Found, Option<&Found>),
) -> Result<(), Stop> {
    let of_rule = |(rule, verdict): (&&Rule, &Verdict)| {
        let overriding = verdict.overriding().map(|it| json!({ "if": it.condition, "keys": it.keys }));
        json!({ "name": rule.name, "verdict": verdict.word(), "detail": verdict.told(found.is_kept()), "override": overriding })
    };
    let taker = rules
        .iter()
        .zip(verdicts)
        .find(|(_, verdict)| matches!(verdict, Verdict::Takes { .. } | Verdict::ByLink(_)));
    let mut all = found.json();
    all["version"] = VIEW_VERSION.into();
    let (shown, bytes) = path_json(&path.into());
    all["path"] = shown.into();
    if let Some(bytes) = bytes {
        all["path_bytes"] = bytes.into();
    }
    all["leads_to"] = json!(verdicts.iter().find_map(Verdict::target).map(|target| escaped_path(target)));
    all["rule"] = json!(taker.map(|(rule, _)| &rule.name));
    all["rules"] = rules.iter().zip(verdicts).map(of_rule).collect();
    if let Some(aside) = aside {
        all["shadow"] = aside.json();
    }
    writeln!(out, "{}", shown_json::to_string(&all)?)?;
    Ok(())
}
