//! One `[[rule]]`, from its tables to a [`Rule`]. What this file does not read, its neighbours do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::paths::{self, Kind};
use super::raw::{Layer, Node};
use super::report::Report;
use super::section::{Section, absolute_item, is_plain_name};
use super::suffixes::not_plain;
use super::{decode, delivery, output, pace, pipeline, priority_when, records};
use crate::format;
use crate::model::expected::{Expect, ExpectOf};
use crate::model::mistake::Mistake;
use crate::model::priority::Priority;
use crate::model::rule::{
    ArchiveOwner, EmptyFile, Errors, LastLine, Limit, MarkerFor, Mode, OnComplete, OnRecordError, OnSuccess,
    Order, Patterns, Publish, Ready, ReadyStrategy, Records, Rule, Sequence, Service, SourceEnd, TrustClose,
};
use crate::model::template::variables;
use crate::model::window::{DayTime, Window, WindowEnd};
use crate::watch::companion::Companion;

/// A window that is none, where the defaults have one.
const ALWAYS: &str = "always";
/// Nothing is expected, where the defaults expect something.
const NEVER: &str = "never";
/// The same of a deadline.
const NONE: &str = "none";

/// Reads a rule that has inherited; what is wrong stands in the report, and in its place the rule has a default.
pub(super) fn read(node: &Node, owner: &str, partial: bool, service: &Service, report: &Report) -> Rule {
    let section = Section::new(node, owner, partial, report);
    let orders = [("arrival", Order::Arrival), ("name", Order::Name), ("modified", Order::Modified)];
    let sequences = [("none", Sequence::None), ("folder", Sequence::Folder), ("rule", Sequence::Rule)];
    let identity = Identity {
        name: name(&section, partial),
        paths: patterns(&section).into(),
        exclude: exclude(&section).into(),
        order: section.choice("order", &orders, &[]).unwrap_or(Order::Arrival),
        sequence: section.choice("sequence", &sequences, &[]).unwrap_or_default(),
    };
    read_body(node, &section, identity, service)
}

/// The same of what an override makes of a rule.
pub(super) fn read_overridden(
    node: &Node,
    owner: &str,
    base: &Rule,
    partial: bool,
    service: &Service,
    report: &Report,
) -> Rule {
    let identity = Identity {
        name: base.name.clone(),
        paths: base.paths.clone(),
        exclude: Arc::clone(&base.exclude),
        order: base.order,
        sequence: base.sequence,
    };
    read_body(node, &Section::new(node, owner, partial, report), identity, service)
}

/// What a rule and its overrides have in common.
struct Identity {
    name: String,
    paths: Patterns,
    exclude: Arc<[String]>,
    order: Order,
    sequence: Sequence,
}

fn read_body(node: &Node, section: &Section<'_>, identity: Identity, service: &Service) -> Rule {
    let Identity { name, paths, exclude, order, sequence } = identity;
    let mode = mode(section);
    let records = records::read(&section.section("records"), service);
    let pipeline = pipeline::read(section);
    let expect = expect(section, &paths);
    let rule = Rule {
        mode,
        paths,
        exclude,
        order,
        sequence,
        follow_links: section.boolean("follow_links").unwrap_or(false),
        encrypt_at_rest: section.boolean("encrypt_at_rest").unwrap_or(false),
        window: window(section),
        deadline: deadline(section),
        expect,
        priority: section.integer("priority", 1..=100).and_then(Priority::new).unwrap_or_default(),
        priority_when: priority_when::read(section),
        pace: pace::read(section),
        ready: ready(&section.section("ready"), &records),
        decode: decode::read(&section.section("decode"), &records),
        outputs: output::read_all(
            &section.section("output"),
            &*format::of(&records),
            &pipeline,
            &service.data_dir,
        ),
        publish: publish(&section.section("publish")),
        errors: errors(&section.section("errors")),
        source: source(&section.section("source")),
        delivery: section.get("delivery").is_some().then(|| delivery::read(&section.section("delivery"))),
        base_dir: command_folder(node),
        timezone: service.timezone.clone(),
        overriding: None,
        stands_for: None,
        compare: folder(section, "compare").filter(|_| mode == Mode::Shadow),
        name,
        records,
        pipeline,
    };
    // Read by `rule_test` and `overriding`.
    for (key, message, hint) in [
        ("test", "a test cannot be a default", "put it into the rule that it tests"),
        ("override", "an override cannot be a default", "put it into the rule that it changes"),
    ] {
        if section.get(key).is_some_and(|node| node.place.layer == Layer::Defaults) {
            section.problem(key, message, Some(hint.into()));
        }
    }
    check_sequence(section, &rule);
    section.finish(&[]);
    rule
}

fn window(section: &Section<'_>) -> Option<Window> {
    let ends = [("finish", WindowEnd::Finish), ("pause", WindowEnd::Pause)];
    let end = section.choice("window_end", &ends, &[]).unwrap_or_default();
    if !section.has("window") {
        section.refuse(
            &["window_end"],
            "what becomes of running jobs at the end of a window is said, but there is no window",
            "add `window = \"22:00-06:00\"`, or take it out",
        );
    }
    let text = section.text("window").filter(|text| *text != ALWAYS)?;
    let parsed = Window::parse(text, end);
    let refused = |Mistake { message, hint }| section.problem("window", message, hint);
    parsed.map_err(refused).ok()
}

fn expect(section: &Section<'_>, paths: &Patterns) -> Option<Expect> {
    let words = [("rule", ExpectOf::Rule), ("sender", ExpectOf::Sender)];
    let of = section.choice("expect_of", &words, &[]).unwrap_or_default();
    if !section.has("expect_every") {
        section.refuse(
            &["expect_of"],
            "from whom files are expected is said, but not how often",
            "add `expect_every = \"24h\"`, or take it out",
        );
    }
    if of == ExpectOf::Sender && section.says("expect_of") && !paths.names().contains("sender") {
        let hint =
            "write `{sender}` into `paths` where its name stands, like \"in/{sender}/*.csv\"".to_owned();
        section.problem("expect_of", "no pattern of the rule tells who sent a file", Some(hint));
    }
    let every = section.duration_unless("expect_every", NEVER, Duration::from_secs(1))?;
    Some(Expect { every, of })
}

fn deadline(section: &Section<'_>) -> Option<DayTime> {
    let text = section.text("deadline").filter(|text| *text != NONE)?;
    let refused = |Mistake { message, hint }| section.problem("deadline", message, hint);
    text.parse().map_err(refused).ok()
}

/// Deliveries of one key go in the order of their claims: a line in another order could wait for itself.
fn check_sequence(section: &Section<'_>, rule: &Rule) {
    let has_key = rule.delivery.as_ref().is_some_and(|delivery| delivery.key.is_some());
    if rule.sequence != Sequence::None && rule.order != Order::Arrival && has_key {
        let hint = "write `order = \"arrival\"`, or take `sequence` or `delivery.key` out";
        let message = "deliveries of a key go in the order in which they came, and this sequence does not";
        section.problem("sequence", message, Some(hint.into()));
    }
}

fn mode(section: &Section<'_>) -> Mode {
    let words = [Mode::Live, Mode::Off, Mode::Shadow].map(|mode| (mode.word(), mode));
    let mode = section.choice("mode", &words, &[]).unwrap_or(Mode::Live);
    if mode != Mode::Shadow {
        section.refuse(
            &["compare"],
            "the old system's folder is named, but nothing is compared with it",
            "write `mode = \"shadow\"`, or take the folder out",
        );
    }
    mode
}

/// Relative commands start in the folder of the file that names the steps, which may be that of the defaults.
fn command_folder(node: &Node) -> PathBuf {
    node.child("pipeline").unwrap_or(node).place.folder().to_path_buf()
}

fn name(section: &Section<'_>, partial: bool) -> String {
    section.missing("name", "the rule's name", "add `name = \"…\"`: letters, digits, - and _");
    let Some(name) = section.text("name") else { return String::new() };
    if partial && !section.says("name") {
        section.problem("name", "a name cannot be a default", Some("give each rule its own".into()));
    } else if !is_plain_name(name) {
        let hint = "use letters, digits, - and _ (1 to 100 of them)".to_owned();
        section.problem("name", format!("\"{name}\" cannot be a rule's name"), Some(hint));
    }
    name.to_owned()
}

fn patterns(section: &Section<'_>) -> Vec<String> {
    const HINT: &str = "add the files' patterns, like `paths = [\"inbox/*.csv\"]`";
    section.missing("paths", "which files the rule takes", HINT);
    let Some(items) = section.texts("paths") else { return Vec::new() };
    if items.is_empty()
        && section.get("paths").is_some_and(|node| node.value == super::raw::Value::Array(Vec::new()))
    {
        section.problem("paths", "no pattern", Some(HINT.to_owned()));
    }
    items.iter().filter_map(|item| absolute_item(section, item, Kind::Pattern)).collect()
}

fn exclude(section: &Section<'_>) -> Vec<String> {
    let items = section.texts("exclude").unwrap_or_default();
    let made = items.iter().filter_map(|item| {
        // Without a separator it is about the file's name, wherever it lies.
        let by_name = !item.text.is_empty() && !item.text.contains(paths::is_separator);
        if by_name { Some(item.text.to_owned()) } else { absolute_item(section, item, Kind::Pattern) }
    });
    made.collect()
}

fn ready(section: &Section<'_>, records: &Records) -> Ready {
    let strategies =
        [("auto", ReadyStrategy::Auto), ("stable", ReadyStrategy::Stable), ("marker", ReadyStrategy::Marker)];
    let trusts =
        [("framed", TrustClose::Framed), ("always", TrustClose::Always), ("never", TrustClose::Never)];
    let strategy = section.choice("strategy", &strategies, &[]).unwrap_or(ReadyStrategy::Auto);
    let fors = [("file", MarkerFor::File), ("folder", MarkerFor::Folder)];
    let marker_for = section.choice("marker_for", &fors, &[]).unwrap_or_default();
    let marker = marker(section, marker_for);
    let (totals, checksum) = (companion(section, "totals"), companion(section, "checksum"));
    let empties = [("take", EmptyFile::Take), ("wait", EmptyFile::Wait)];
    if strategy != ReadyStrategy::Marker {
        section.refuse(
            &["marker", "marker_for"],
            "a marker is named, but the strategy does not wait for it",
            "add `strategy = \"marker\"`, or take the marker out",
        );
    }
    let ready = Ready {
        strategy,
        trust_close: section.choice("trust_close", &trusts, &[]).unwrap_or(TrustClose::Framed),
        stable_for: section.duration("stable_for", Duration::ZERO).unwrap_or(Duration::from_secs(10)),
        linger: section.duration("linger", Duration::ZERO).unwrap_or(Duration::from_secs(1)),
        marker: (strategy == ReadyStrategy::Marker).then(|| marker.unwrap_or("{name}.done").to_owned()),
        marker_for,
        totals: totals.map(str::to_owned),
        checksum: checksum.map(str::to_owned),
        last_line: last_line(section, records),
        events: section.boolean("events").unwrap_or(true),
        empty: section.choice("empty", &empties, &[]).unwrap_or_default(),
        late_after: late_after(section),
    };
    if ready.totals.is_some() && ready.totals == ready.marker {
        let hint = "give each its own name; a file waits for its totals as for a marker".to_owned();
        section.problem("totals", "this is the marker's name too", Some(hint));
    }
    if ready.checksum.is_some() && [&ready.marker, &ready.totals].contains(&&ready.checksum) {
        let hint = "give each its own name; a file waits for its checksum as for a marker".to_owned();
        section.problem("checksum", "this is the name of its marker or its totals too", Some(hint));
    }
    if strategy == ReadyStrategy::Marker && marker_for == MarkerFor::Folder && !section.has("marker") {
        let hint = "add `marker = \"_SUCCESS\"`, or what your senders call it";
        section.problem("marker_for", "a marker for a folder has a name of its own", Some(hint.into()));
    }
    section.finish(&[]);
    ready
}

fn late_after(section: &Section<'_>) -> Option<Duration> {
    let given = section.duration_unless("late_after", "never", Duration::from_secs(1));
    if section.has("late_after") { given } else { Some(Duration::from_hours(1)) }
}

/// Records of a length have no line ends that could be lacking.
fn last_line(section: &Section<'_>, records: &Records) -> LastLine {
    let words = [("any", LastLine::Any), ("complete", LastLine::Complete)];
    let last_line = section.choice("last_line", &words, &[]).unwrap_or_default();
    let by_length = records.record_length().is_some();
    if last_line == LastLine::Any || !by_length || records.separator.is_some() {
        return last_line;
    }
    section.refuse(
        &["last_line"],
        "records of a fixed length have no line ends",
        "take the key out: a file that ends within a record is refused anyway",
    );
    LastLine::Any
}

fn marker<'a>(section: &Section<'a>, marker_for: MarkerFor) -> Option<&'a str> {
    match marker_for {
        MarkerFor::File => named(section, "marker", |text| {
            let or_folder = |hint: String| {
                format!("{hint}; one for all files of a folder takes `marker_for = \"folder\"`")
            };
            Companion::parse(text).map_err(|it| match it.hint {
                Some(hint) if !text.contains('{') => Mistake { hint: Some(or_folder(hint)), ..it },
                hint => Mistake { hint, ..it },
            })
        }),
        MarkerFor::Folder => named(section, "marker", Companion::of_folder),
    }
}

/// The name of a marker, or of a file with totals.
fn companion<'a>(section: &Section<'a>, key: &'static str) -> Option<&'a str> {
    named(section, key, Companion::parse)
}

fn named<'a>(
    section: &Section<'a>,
    key: &'static str,
    parse: fn(&str) -> Result<Companion, Mistake>,
) -> Option<&'a str> {
    let text = section.text(key)?;
    if let Err(mistake) = parse(text) {
        section.problem(key, mistake.message, mistake.hint);
    }
    Some(text)
}

fn publish(section: &Section<'_>) -> Publish {
    let publish = Publish {
        marker: section.template("marker"),
        manifest: section.template("manifest"),
        mount: folder(section, "mount"),
    };
    for (key, path) in [("marker", &publish.marker), ("manifest", &publish.manifest)] {
        if let Some(suffix) = path.as_deref().and_then(not_plain) {
            let message = format!("this name promises .{suffix}, and a {key} is written as it is");
            section.problem(key, message, Some("take the suffix off".into()));
        }
    }
    section.finish(&[]);
    publish
}

fn errors(section: &Section<'_>) -> Errors {
    let words = [
        ("set_aside", OnRecordError::SetAside),
        ("hold", OnRecordError::Hold),
        ("fail", OnRecordError::Fail),
    ];
    let errors = Errors {
        on_record_error: section.choice("on_record_error", &words, &[]).unwrap_or(OnRecordError::SetAside),
        failed_max: section.limit("failed_max").unwrap_or(Limit::Percent(1.0)),
        attempts: section.integer("attempts", 1..=100).unwrap_or(3) as u32,
        stop_after: stop_after(&section.section("stop_after")),
    };
    section.finish(&[]);
    errors
}

fn stop_after(section: &Section<'_>) -> Option<u32> {
    let failures = section.integer("failures", 1..=1_000_000).map(|failures| failures as u32);
    section.finish(&[]);
    failures
}

fn source(section: &Section<'_>) -> SourceEnd {
    const HINT: &str =
        "add `on_success = \"archive\"` (with `archive_dir`), \"delete\" or \"keep\"; there is no default";
    section.missing("on_success", "what becomes of a source that was processed", HINT);
    let words = [("archive", OnSuccess::Archive), ("delete", OnSuccess::Delete), ("keep", OnSuccess::Keep)];
    let on_success = section.choice("on_success", &words, &[]);
    if on_success == Some(OnSuccess::Archive) {
        section.missing(
            "archive_dir",
            "the folder to archive to",
            "add `archive_dir = \"archive/{rule}/{date}\"`",
        );
    }
    if on_success.is_some_and(|end| end != OnSuccess::Archive) {
        section.refuse(
            &["archive_dir"],
            "a folder to archive to is named, but `on_success` does not archive",
            "write `on_success = \"archive\"`, or take the folder out",
        );
        section.refuse(
            &["archive_keep", "archive_owner"],
            "this is about archived sources, but `on_success` does not archive",
            "write `on_success = \"archive\"`, or take it out",
        );
    }
    let completes = [("keep", OnComplete::Keep), ("destroy", OnComplete::Destroy)];
    let owners = [("service", ArchiveOwner::Service), ("sender", ArchiveOwner::Sender)];
    let end = SourceEnd {
        // `keep` harms nothing; a rule with a problem is never run anyway.
        on_success: on_success.unwrap_or(OnSuccess::Keep),
        archive_dir: section.template("archive_dir"),
        archive_keep: section.duration_unless("archive_keep", "forever", Duration::from_secs(1)),
        archive_owner: section.choice("archive_owner", &owners, &[]).unwrap_or_default(),
        on_complete: section.choice("on_complete", &completes, &[]).unwrap_or_default(),
        claim_dir: folder(section, "claim_dir"),
        quarantine_dir: folder(section, "quarantine_dir"),
    };
    section.finish(&[]);
    end
}

/// A folder that takes no variables.
fn folder(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = section.path(key)?;
    if section.text(key).is_some_and(|text| !variables(text).is_empty()) {
        section.problem(
            key,
            "this folder takes no variables",
            Some("write one folder for all sources".into()),
        );
    }
    Some(path)
}
