//! Promise: the code keeps the boundaries and the style that ARCHITECTURE.md describes.
//!
//! Reads the sources as text: imports by their paths, with comments and literals blanked and unit tests left out. Each rule is
//! a test of its own, and says what to do instead.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/circles.rs"]
mod circles;

/// Which modules a top-level module may name. What is not listed here lies above and may name anything.
const DIRECTION: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("allocator", &[]),
    ("allowance", &[]),
    ("group_sync", &[]),
    ("supervisor", &[]),
    ("telemetry", &["model", "clock"]),
    // Syncs are timed where they are.
    ("durable_fs", &["model", "clock", "group_sync", "telemetry"]),
    ("confinement", &["model", "durable_fs"]),
    ("watch", &["model", "clock", "durable_fs", "telemetry"]),
    ("key_file", &["durable_fs"]),
    ("openpgp", &["allowance"]),
    // A program that prints keys is started and ended as those of steps are.
    ("at_rest", &["model", "durable_fs", "key_file", "pipeline"]),
    ("decode", &["model", "allowance", "at_rest", "clock", "durable_fs", "key_file", "openpgp", "telemetry"]),
    ("format", &["model"]),
    ("record", &["model", "allowance", "format", "clock", "durable_fs", "telemetry"]),
    // Steps split and quote values by the rules of the format that the records were cut by.
    ("pipeline", &["model", "clock", "confinement", "durable_fs", "telemetry", "format", "record"]),
    ("output", &["model", "clock", "durable_fs", "key_file", "openpgp", "telemetry"]),
    // A checkpoint names partials and the framing's version, an intent names outputs: the store keeps them.
    (
        "store",
        &[
            "model",
            "clock",
            "group_sync",
            "durable_fs",
            "telemetry",
            "output",
            "record",
            "at_rest",
            "key_file",
        ],
    ),
    // Checking a rule means parsing its patterns, building its pipeline and its templates.
    (
        "config",
        &[
            "model",
            "clock",
            "confinement",
            "durable_fs",
            "telemetry",
            "format",
            "watch",
            "pipeline",
            "output",
        ],
    ),
    ("audit", &["model", "clock", "durable_fs", "store"]),
    ("posting", &["model", "durable_fs"]),
    // A program is started and ended as those of steps are.
    ("hooks", &["model", "clock", "telemetry", "pipeline", "posting", "store"]),
    ("published", &["model", "allowance", "at_rest", "durable_fs", "decode", "record", "output"]),
    (
        "engine",
        &[
            "model",
            "clock",
            "allocator",
            "allowance",
            "at_rest",
            "durable_fs",
            "telemetry",
            "watch",
            "decode",
            "record",
            "pipeline",
            "output",
            "store",
        ],
    ),
];

/// Which modules, or folders in them, may name a foreign crate: its types stay out of everyone else's signatures.
const OWNERS: &[(&str, &[&str])] = &[
    ("sled", &["store/sled"]),
    ("async_nats", &["store/jetstream"]),
    ("futures_util", &["store/jetstream"]),
    ("lz4_flex", &["store"]),
    ("notify", &["watch"]),
    ("landlock", &["confinement"]),
    ("glob", &["model/pattern", "decode"]),
    ("age", &["decode", "output", "at_rest"]),
    ("chacha20poly1305", &["at_rest"]),
    ("zeroize", &["at_rest", "decode", "key_file", "openpgp"]),
    ("pgp", &["openpgp"]),
    ("cfb_mode", &["openpgp"]),
    ("sha1", &["openpgp"]),
    ("rand", &["openpgp", "store/jetstream"]),
    ("age_core", &["decode"]),
    ("aes", &["decode", "openpgp"]),
    ("aes_gcm", &["decode"]),
    ("cbc", &["decode"]),
    ("ctr", &["decode"]),
    ("ghash", &["decode"]),
    ("subtle", &["decode"]),
    ("async_compression", &["decode", "output"]),
    ("flate2", &["decode", "openpgp", "output"]),
    ("zip", &["decode"]),
    ("tar", &["decode"]),
    // Which labels there are is the crate's own list: `config` checks against it, `record` cuts encoded fields.
    ("encoding_rs", &["decode", "record", "config"]),
    ("toml", &["config"]),
    ("windows_service", &["cli/service/windows"]),
    ("clap", &["cli", "main"]),
    ("indicatif", &["cli"]),
    ("similar", &["cli"]),
    ("ratatui", &["cli/top"]),
    ("anyhow", &["cli", "main"]),
    ("tokio", &["cli", "engine", "control", "service", "api", "store/jetstream"]),
    ("tracing_subscriber", &["telemetry"]),
    ("prometheus_client", &["api", "telemetry"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("axum", &["api"]),
    ("hyper", &["api"]),
    ("hyper_util", &["api"]),
    ("tokio_rustls", &["api", "posting"]),
    ("rustls_native_certs", &["posting"]),
];

/// Folders whose files still import each other in circles. The list only shrinks.
const WITH_CIRCLES: &[&str] = &[];

const FILE_LINES_MAX: usize = 600;
/// Renews the fuzz targets' lock file by what the program's `Cargo.toml` has.
const FUZZ_LOCK: &str = "cargo metadata --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null";

#[test]
fn modules_import_only_what_lies_below_them() {
    let mut offences = Offences::default();
    for source in sources() {
        let Some((_, allowed)) = DIRECTION.iter().find(|(module, _)| *module == source.module) else {
            continue;
        };
        for (line, named) in source.crate_paths() {
            if named != source.module && is_module(&named) && !allowed.contains(&named.as_str()) {
                offences.add(&source, line, &format!("`{}` must not know `{named}`", source.module));
            }
        }
    }
    offences.must_be_none("let a layer above hand in what is needed, or move the vocabulary to `model`");
    for name in
        DIRECTION.iter().flat_map(|(module, allowed)| [*module].into_iter().chain(allowed.iter().copied()))
    {
        assert!(is_module(name), "`{name}` in `DIRECTION` is no module");
    }
}

/// A format is chosen once, from the rule, and asked from then on: to add one nobody else need be found.
#[test]
fn formats_are_told_apart_in_one_place() {
    let told_in = ["src/config/records.rs", "src/format/mod.rs", "src/model/rule.rs"];
    let mut offences = Offences::default();
    for source in sources().into_iter().filter(|source| source.module != "fuzz") {
        if !told_in.iter().any(|file| source.path.ends_with(file)) {
            let words = ["Format::Lines", "Format::Csv", "Format::Fixed", "Format::Jsonl"];
            offences.add_lines_with(&source, &words);
        }
    }
    offences.must_be_none("ask the format (`src/format`) through its traits");
}

/// What commands are told is the same with and without a running service: they ask through one door.
#[test]
fn no_command_reads_rows_by_itself() {
    let mut offences = Offences::default();
    for source in sources().into_iter().filter(|source| source.module == "cli") {
        offences.add_lines_with(&source, &["Store::", "store::Store;", "Store,"]);
    }
    offences.must_be_none("ask `control::open`, or the engine that the command runs");
}

/// Where outputs go is asked through `Destination`: another than folders can stand in their place.
#[test]
fn what_is_true_of_folders_alone_is_known_to_one_destination() {
    let folder_files = ["src/output/destination.rs", "src/output/folder.rs", "src/output/sample.rs"];
    let mut offences = Offences::default();
    for source in sources().into_iter().filter(|source| source.path.to_string_lossy().contains("src/output/"))
    {
        if !folder_files.iter().any(|file| source.path.ends_with(file)) {
            let words = [
                "FileIdentity",
                "FolderIdentity",
                "create_private",
                "rename_replace",
                "rename_no_replace",
                "sync_folder(",
                "symlink_metadata",
            ];
            offences.add_lines_with(&source, &words);
        }
    }
    offences.must_be_none("ask the destination (`src/output/destination.rs`)");
}

/// Files that import each other can be understood, tested and moved only together.
#[test]
fn files_of_a_folder_import_each_other_in_no_circle() {
    let house = circles::House::read();
    let mut offences = Offences::default();
    for folder in house.folders() {
        let path = root().join("src").join(folder.join("/"));
        let found = circles::circles(&house.imports(&folder));
        let may = WITH_CIRCLES.contains(&folder.join("/").as_str());
        if may && found.is_empty() {
            offences.add_at(&path, 0, "has no circle any more: take it off the list in `WITH_CIRCLES`");
        }
        for circle in found.iter().filter(|_| !may) {
            offences.add_at(&path, 0, &format!("import each other: {circle:?}"));
        }
    }
    offences.must_be_none("move what they share below them, or let who calls both hand it in");
}

/// A job goes from one to the next through the scheduler and its row, so that a restart takes the same path.
#[test]
fn stages_of_the_engine_import_none_of_each_other() {
    const STAGES: [&str; 5] = ["intake", "load", "work", "checkpoint", "finish"];
    let imports = circles::House::read().imports(&["engine".to_owned()]);
    let mut offences = Offences::default();
    for stage in STAGES {
        let imported = imports.get(stage).unwrap_or_else(|| panic!("src/engine/{stage}.rs is not there"));
        for other in STAGES.iter().filter(|other| **other != stage && imported.contains(**other)) {
            let path = root().join("src/engine").join(format!("{stage}.rs"));
            offences.add_at(&path, 0, &format!("imports the stage `{other}`"));
        }
    }
    offences.must_be_none("move what they share below them, or let who starts both hand it in");
}

/// A struct that every stage takes is a sign that nobody owns what is in it.
#[test]
fn what_the_stages_share_has_few_owners() {
    const OWNERS_MAX: usize = 10;
    let code = read(&root().join("src/engine/shared.rs"));
    let fields = code.split_once("pub(super) struct Shared {").expect("is there").1;
    let fields = fields.split_once("\n}").expect("ends").0;
    let fields = fields.lines().filter(|line| line.trim_start().starts_with("pub ")).count();
    assert!(
        (1..=OWNERS_MAX).contains(&fields),
        "`Shared` has {fields} fields: give what is new to an owner of its own"
    );
}

/// What has none is tested only with all others, where nobody sees which one broke.
#[test]
fn every_file_of_the_engine_has_tests_of_its_own() {
    let mut offences = Offences::default();
    for path in rust_files("src/engine") {
        let text = read(&path);
        // One that declares others and has no function of its own has nothing to be tested.
        if !is_test(&path)
            && text.contains("fn ")
            && !text.contains("cfg(test)")
            && !text.contains("cfg(all(test")
        {
            offences.add_at(&path, 0, "has no tests of its own");
        }
    }
    offences.must_be_none("add a `#[cfg(test)] mod tests` that holds its promise");
}

#[test]
fn every_foreign_crate_has_one_owner() {
    let mut offences = Offences::default();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            for (foreign, owners) in OWNERS {
                if names_crate(line, foreign) && !owners.iter().any(|owner| source.is_of(owner)) {
                    offences.add(&source, number + 1, &format!("`{foreign}` belongs to {owners:?}"));
                }
            }
            // `config` is also the name of our own module, which others reach as `crate::config`.
            if line.trim_start().starts_with("use config::") && source.module != "config" {
                offences.add(&source, number + 1, "the crate `config` belongs to our module `config`");
            }
        }
    }
    offences.must_be_none("ask the owning module for a function in our own words");
}

#[test]
fn the_model_does_no_io_and_has_no_clock() {
    let banned = [
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env",
        "fs::File",
        "Instant::now",
        "SystemTime",
        "Timestamp::now",
        "Zoned::now",
        "println!",
        "eprintln!",
    ];
    let mut offences = Offences::default();
    for source in sources().into_iter().filter(|source| source.module == "model") {
        offences.add_lines_with(&source, &banned);
    }
    offences.must_be_none("`model` is pure vocabulary: take what is read as a parameter");
}

/// Who hangs says where: `jobs`, `status`, a start and a stop go by it.
#[test]
fn who_may_not_hang_unseen_notes_a_path_before_its_links_are_followed() {
    let mut offences = Offences::default();
    for source in sources()
        .into_iter()
        .filter(|source| ["engine", "watch", "service"].contains(&source.module.as_str()))
    {
        offences.add_lines_with(&source, &[".canonicalize(", "fs::canonicalize("]);
    }
    offences.must_be_none("use `durable_fs::real_path`");
}

/// A copy that was made for one name is not taken for that of another.
#[test]
fn where_a_source_goes_is_said_by_one_setter() {
    let banned = ["retired_to = ", "retired_to) = ", "retired_to.take(", "copied_as = ", "copied_as) = "];
    let mut offences = Offences::default();
    for source in sources().into_iter().filter(|source| source.module != "model") {
        offences.add_lines_with(&source, &banned);
    }
    offences.must_be_none("use `retire_to` of `Job` or `Companion`");
}

#[test]
fn commands_say_nothing_by_macros_that_panic() {
    let banned = [" println!(", " print!(", " eprintln!(", " eprint!("];
    let mut offences = Offences::default();
    for source in sources().into_iter().filter(|source| source.module != "fuzz") {
        offences.add_lines_with(&source, &banned);
    }
    offences.must_be_none("use `say!` and `say_aside!` of `cli/say.rs`: a reader may be gone");
}

#[test]
fn production_code_does_not_panic() {
    let banned = [".unwrap()", ".unwrap_err()", ".expect(", ".expect_err(", "panic!(", "unreachable!("];
    let mut offences = Offences::default();
    for source in sources() {
        offences.add_lines_with(&source, &banned);
    }
    offences.must_be_none("return an error of the module's own enum: a panic loses the job's error");
}

#[test]
fn nothing_unfinished_is_left() {
    let marks = [concat!("SKEL", "ETON"), concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let macros = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!(")];
    let mut offences = Offences::default();
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().chain(&macros).find(|mark| line.contains(**mark)) {
                offences.add_at(&path, number + 1, mark);
            }
        }
    }
    offences.must_be_none("finish it, or open an issue and say nothing here");
}

#[test]
fn lines_of_markdown_are_short_enough_to_compare() {
    let mut offences = Offences::default();
    for path in tracked_files().into_iter().filter(|path| path.extension().is_some_and(|it| it == "md")) {
        let text = fs::read_to_string(root().join(&path)).expect("it can be read");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.chars().count() > 120) {
            offences.add_at(&path, number + 1, line);
        }
    }
    offences.must_be_none("wrap the paragraph at 120 characters");
}

/// What a document names can be opened: a path as it is, or below `src`; a Rust file by its name alone.
#[test]
fn documents_name_files_that_are_there() {
    let folders = ["src", "tests", "benches", "examples"];
    let names: BTreeSet<String> = folders
        .iter()
        .flat_map(|folder| rust_files(folder))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let is_there = |named: &str| {
        let is_path = |below: PathBuf| fs::metadata(below.join(named)).is_ok();
        names.contains(named) || named.contains('/') && (is_path(root()) || is_path(root().join("src")))
    };
    let is_document = |path: &Path| {
        let is_markdown = path.extension().is_some_and(|it| it == "md");
        is_markdown && (path.starts_with(root().join("docs")) || path == root().join("ARCHITECTURE.md"))
    };
    let mut offences = Offences::default();
    for path in tracked_files().into_iter().filter(|path| is_document(path)) {
        for (number, line) in read(&path).lines().enumerate() {
            for named in files_named(line).into_iter().filter(|named| !is_there(named)) {
                offences.add_at(&path, number + 1, &format!("there is no `{named}`"));
            }
        }
    }
    offences.must_be_none("name the file that has it now, from `src` on");
}

#[test]
fn files_stay_short_enough_to_read() {
    let mut offences = Offences::default();
    for path in rust_files("src") {
        let lines = read(&path).lines().count();
        if lines > FILE_LINES_MAX {
            offences.add_at(&path, lines, &format!("{lines} lines are more than {FILE_LINES_MAX}"));
        }
    }
    offences.must_be_none("split it by nouns: one folder for a noun, small files in it");
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut offences = Offences::default();
    for path in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("examples")) {
        let is_unit_test = path.starts_with(root().join("src")) && is_test(&path);
        if !is_unit_test && !read(&path).starts_with("//! ") {
            offences.add_at(&path, 1, "the file does not open with `//! `");
        }
    }
    offences.must_be_none("open it with its purpose, its invariants, and what it deliberately does not do");
}

/// The first line of a file in `tests/` is what it promises.
#[test]
fn every_test_file_opens_with_its_promise() {
    let mut offences = Offences::default();
    let list = read(&root().join("tests/README.md"));
    for entry in fs::read_dir(root().join("tests")).expect("tests/ is there").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = read(&path);
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.len() < 40 {
            offences.add_at(&path, 1, "the file does not open with a `//!` line that says what it promises");
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !list.contains(&format!("`{name}`")) {
            offences.add_at(&path, 1, "tests/README.md does not list it");
        }
    }
    offences.must_be_none("one file for one promise area: say it in a sentence");
}

#[test]
fn no_path_of_a_machine_is_committed() {
    let paths = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
        concat!("C:\\Us", "ers"),
    ];
    let mut offences = Offences::default();
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = paths.iter().find(|found| line.contains(**found)) {
                offences.add_at(&path, number + 1, found);
            }
        }
    }
    offences.must_be_none("use a path relative to the repository, or one that every machine has");
}

#[test]
fn the_repository_has_what_readers_look_for() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "Cargo.lock",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
        "docs/SUMMARY.md",
        "docs/book.toml",
        "tests/README.md",
        "tests/run",
        "tests/space",
        ".ci/run",
    ] {
        assert!(root().join(name).is_file(), "{name} is missing");
    }
}

/// They have a lock file of their own, which no build of the program renews.
#[test]
fn the_lock_file_of_the_fuzz_targets_has_the_dependencies_of_the_program() {
    let (manifest, lock) = (table("Cargo.toml"), table("fuzz/Cargo.lock"));
    let of_platforms = manifest["target"].as_table().expect("a table").values();
    let dependencies = of_platforms.filter_map(|platform| platform.get("dependencies"));
    let tables = dependencies.chain([&manifest["dependencies"]]).filter_map(toml::Value::as_table);
    let wanted: BTreeSet<&str> = tables.flat_map(|table| table.keys().map(String::as_str)).collect();
    let packages = lock["package"].as_array().expect("a list");
    let ours = packages.iter().find(|package| package["name"].as_str() == Some("landfall"));
    let locked = ours.expect("landfall is locked")["dependencies"].as_array().expect("a list");
    // A name has its version behind it where there are several.
    let locked: BTreeSet<&str> = locked.iter().filter_map(|name| name.as_str()?.split(' ').next()).collect();
    assert_eq!(locked, wanted, "renew fuzz/Cargo.lock and commit it: {FUZZ_LOCK}");
}

#[test]
fn the_changelog_has_a_place_for_what_is_not_released() {
    let changelog = read(&root().join("CHANGELOG.md"));
    assert!(
        changelog.contains("## [Unreleased]") || changelog.contains("## Unreleased"),
        "Keep a Changelog wants `## [Unreleased]`"
    );
}

/// A production source file, read as text.
struct Source {
    path: PathBuf,
    /// `store` for `src/store/keys.rs` and for `src/store.rs`.
    module: String,
    /// Comments and literals blanked, unit tests cut off; lines keep their numbers.
    code: String,
}

impl Source {
    /// Whether it is of a module, or in a folder of one.
    fn is_of(&self, owner: &str) -> bool {
        self.module == owner || self.path.starts_with(root().join("src").join(owner))
    }

    /// The first component after each `crate::`, with its line.
    fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            // `$crate::` and `crate` as the tail of another name are no imports of ours.
            if self.code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[at + "crate::".len()..];
            found.extend(first_components(rest).into_iter().map(|name| (line, name)));
        }
        found
    }
}

/// `a` for `a::b`, and `a`, `b` for `{a::c, b::{d, e}}`.
fn first_components(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return vec![identifier(path)] };
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && !character.is_whitespace() => {
                names.push(identifier(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// What stands in backticks and looks like a file or folder of ours; of several words the first, since arguments may follow.
fn files_named(line: &str) -> Vec<&str> {
    let is_ours = |word: &&str| {
        let is_folder = |top: &str| ["src", "tests", "benches"].contains(&top) || is_module(top);
        let top = word.split_once('/').map(|(top, _)| top);
        Path::new(word).extension().is_some_and(|it| it == "rs")
            || top.is_some_and(|top| top.starts_with(char::is_alphabetic) && is_folder(top))
    };
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_whitespace().next()).filter(is_ours).collect()
}

#[test]
fn the_reader_of_documents_knows_files_from_other_words() {
    let line =
        "`store/keys.rs` and `tests/run crash`, not `/srv/x`, `data/slices`, `a b` or store/no.rs; `keys.rs`";
    assert_eq!(files_named(line), ["store/keys.rs", "tests/run", "keys.rs"]);
}

/// Whether a line names `foreign::…` as a crate: not as the tail of another path or name, nor as `crate::foreign`.
fn names_crate(line: &str, foreign: &str) -> bool {
    line.match_indices(foreign).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + foreign.len()..]);
        let whole = after.starts_with("::") || (before.trim_end() == "use" && after.starts_with([';', ' ']));
        let global = before.ends_with("::")
            && !before[..before.len() - 2].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        whole
            && (global
                || !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '.'))
    })
}

#[test]
fn the_reader_of_this_file_understands_imports() {
    assert_eq!(first_components("store::Store;"), ["store"]);
    assert_eq!(
        first_components("{model::{job::Job, rule::Rule}, clock, store::Store};"),
        ["model", "clock", "store"]
    );
    assert!(names_crate("use zip::ZipArchive;", "zip"));
    assert!(names_crate("let x = ::age::Decryptor::new(y);", "age"));
    assert!(!names_crate("let pairs = a.iter().zip(b); std::iter::zip(a, b); storage::go()", "zip"));
    assert!(!names_crate("use crate::decode::zip::Layer; storage::go()", "zip"));
    assert!(!names_crate("storage::go()", "age"));
    let code = blanked(
        "let a = \"crate::x // no\"; // crate::y\nlet b = '\"'; /* crate::z */ r#\"crate::\"q\"#; fn c<'a>() {}",
    );
    assert!(!code.contains("crate::"), "{code}");
    assert!(code.contains("fn c<'a>"), "{code}");
}

fn is_module(name: &str) -> bool {
    let src = root().join("src");
    src.join(name).is_dir() || src.join(format!("{name}.rs")).is_file()
}

fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table(path: &str) -> toml::Table {
    read(Path::new(path)).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut sources = Vec::new();
    for path in rust_files("src") {
        let inside = path.strip_prefix(&src).expect("it was listed there");
        let top = inside.components().next().expect("it has a name").as_os_str().to_string_lossy();
        let module = top.strip_suffix(".rs").unwrap_or(&top).to_owned();
        if !is_test(inside) && module != "lib" {
            sources.push(Source { code: without_unit_tests(&blanked(&read(&path))), module, path });
        }
    }
    assert!(!sources.is_empty(), "there are no sources");
    sources
}

/// Whether a file below `src` has nothing but unit tests.
fn is_test(path: &Path) -> bool {
    let root = root();
    path.strip_prefix(&root).unwrap_or(path).components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        // Fuzz targets' checks are in no ordinary build.
        let is_fuzz = name == "fuzz" || name == "fuzz.rs";
        is_fuzz || name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs") || name == "testdata"
    })
}

/// Unit tests stand last in a file.
fn without_unit_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let tests_follow =
            lines.peek().is_some_and(|next| next.contains("mod ") && next.trim_end().ends_with('{'));
        if line.starts_with("#[cfg(") && line.contains("test") && tests_follow {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The code with comments and the insides of literals replaced by blanks; line ends stay.
fn blanked(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        code.extend(rest[..length].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// How many bytes at the beginning are a comment or a literal; 0: none.
fn literal_or_comment(text: &str) -> usize {
    let end_after =
        |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return end_after(2, "*/");
    }
    if text.starts_with("r\"") || text.starts_with("r#") {
        let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
        let is_string = text[1 + hashes..].starts_with('"');
        return if is_string { end_after(2 + hashes, &format!("\"{}", "#".repeat(hashes))) } else { 0 };
    }
    if text.starts_with('"') {
        return quoted_end(text, '"');
    }
    let mut characters = text.chars();
    let is_char = characters.next() == Some('\'')
        && match characters.next() {
            Some('\\') => true,
            Some(_) => characters.next() == Some('\''),
            None => false,
        };
    if is_char { quoted_end(text, '\'') } else { 0 }
}

fn quoted_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// Everything that is committed, as far as it can be told without git: build output and hidden folders left out.
fn tracked_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for name in
        ["src", "tests", "benches", "docs", "examples", "config", "packaging", ".ci", "fuzz/fuzz_targets"]
    {
        collect(&root().join(name), &mut files);
    }
    for entry in fs::read_dir(root()).expect("the root is there").flatten() {
        let name = entry.file_name();
        if entry.path().is_file() && name != "Cargo.lock" && name != ".git" {
            files.push(entry.path());
        }
    }
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// What breaks a rule, with its places.
#[derive(Default)]
struct Offences(String);

impl Offences {
    fn add(&mut self, source: &Source, line: usize, what: &str) {
        self.add_at(&source.path, line, what);
    }

    fn add_at(&mut self, path: &Path, line: usize, what: &str) {
        let root = root();
        let shown = path.strip_prefix(&root).unwrap_or(path).display();
        writeln!(self.0, "  {shown}:{line}: {what}").expect("a string takes all");
    }

    fn add_lines_with(&mut self, source: &Source, banned: &[&str]) {
        for (number, line) in source.code.lines().enumerate() {
            if let Some(found) = banned.iter().find(|banned| line.contains(**banned)) {
                self.add(source, number + 1, found);
            }
        }
    }

    #[track_caller]
    fn must_be_none(self, advice: &str) {
        assert!(self.0.is_empty(), "\n{}\n  {advice}\n", self.0);
    }
}
