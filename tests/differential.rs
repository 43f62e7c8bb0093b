//! Promise: what GNU tar, bsdtar, unzip, Python, gzip, xz, zstd and bzip2 find in an archive is what comes out here, or it is refused with
//! a reason. Nothing is lost, and nothing comes out that was not in it.
//!
//! Random archives by real writers (`differential/archives.py`). `LANDFALL_DIFFERENTIAL` is how many; `LANDFALL_TEST_SEED` makes others.
//!
//! # Where ours differs on purpose
//! - A sparse member is refused by its name; a member of one name with another is refused.
//! - Hidden members are listed as passed over, links and FIFOs likewise. A hard link is a file.
//! - Anything but zeros behind an end is refused, where gzip and bzip2 warn. Zeros are passed over, where xz and zstd do not.
//! - What a writer left over behind a tar's end is taken within its last record only; GNU tar ends reading where the end is (seed
//!   196786611976993).
//! - GNU tar takes the size of a hard link for a lie always, bsdtar never in a pax archive: here what comes next decides, as GNU tar has it.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use landfall::Registry;
use landfall::doors::Rule;
use landfall::doors::load;
use landfall::doors::{DecodeError, DecodeRequest, Decoder, Progress};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::World;

/// Made in a usual run, the same ones each time: a change is judged by what it changes.
const ARCHIVES: u64 = 120;
const SEED: u64 = 3;
const MAKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/archives.py");

/// Names and contents, as hex.
type Files = BTreeMap<String, String>;

/// What came out: files, and what was passed over.
type Found = Result<(Files, Vec<String>), DecodeError>;

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn decode(rule: &Rule, file: &Path, spool_dir: &Path) -> Found {
    let request = DecodeRequest {
        shown_path: file,
        decode: &rule.decode,
        records: &rule.records,
        identities: &[],
        passphrase_file: None,
        signers: &[],
        spool_dir,
        progress: Arc::new(Progress::default()),
        allowance: landfall::doors::Allowance::alone(1 << 30),
    };
    let mut decoder = Decoder::open(File::open(file).expect("it was made"), &request)?;
    let mut files = Files::new();
    while let Some(mut entry) = decoder.next_entry()? {
        let mut content = Vec::new();
        entry.text.read_to_end(&mut content).map_err(|error| DecodeError::from_io(error, file))?;
        let name = entry.name.as_os_str().as_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let earlier = files.insert(hex(name), hex(&Sha256::digest(&content)));
        assert!(earlier.is_none(), "one name twice came out of {}", file.display());
    }
    let skipped = decoder.finish()?.skipped;
    let name = |name: &[u8]| hex(name.strip_prefix(b"./").unwrap_or(name));
    Ok((files, skipped.iter().map(|skipped| name(skipped.name.as_os_str().as_bytes())).collect()))
}

/// A rule that lets bytes pass as they are.
fn rule(world: &World, decode: &str) -> Rule {
    world.configure("", &[&format!("decode = {{ on_bad_encoding = \"raw\", {decode} }}")]);
    let settings = load(&world.path("landfall.toml"), &Registry::with_builtin_steps());
    settings.expect("the configuration is right").rules.remove(0)
}

fn files_of(reader: &Value) -> Files {
    let files = reader["files"].as_object().expect("a table");
    files.iter().map(|(name, hash)| (name.clone(), hash.as_str().expect("text").to_owned())).collect()
}

/// What ours has for an archive is what a reader has: the same files, hidden ones aside, which are told.
fn is_as(reader: &Value, found: &(Files, Vec<String>)) -> bool {
    let mut expected = files_of(reader);
    let before = expected.len();
    expected.retain(|name, _| !found.1.contains(name));
    expected == found.0 && before <= found.0.len() + found.1.len()
}

#[derive(Default)]
struct Tally {
    compared: BTreeMap<String, u64>,
    differing: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

impl Tally {
    fn differs(&mut self, how: &str) {
        *self.differing.entry(how.to_owned()).or_default() += 1;
    }

    fn archive(&mut self, made: &Value, found: &Found) {
        let readers = made["readers"].as_object().expect("a table");
        let mut agreeing = Vec::new();
        for (name, reader) in readers {
            *self.compared.entry(format!("{} by {name}", made["family"])).or_default() += 1;
            match found {
                Ok(found) if is_as(reader, found) => agreeing.push(name.as_str()),
                Ok(_) => self.differs(&format!("{} of {}: {name}", made["family"], made["writer"])),
                Err(_) => {}
            }
        }
        match found {
            Err(error) if error.to_string().contains("sparse") => self.differs("sparse, refused by name"),
            // A folder alone.
            Err(DecodeError::NoEntry { .. }) if readers.values().all(has_no_file) => {
                self.differs("no file but hidden ones, refused");
            }
            Ok(_) if agreeing.contains(&"tar") || agreeing.contains(&"unzip") || agreeing.len() > 1 => {}
            found => self.wrong.push(format!("{found:?}\n{made:#}")),
        }
    }

    fn stream(&mut self, made: &Value, found: &Found) {
        let family = made["family"].as_str().expect("text");
        let (reader, note) = (&made["readers"][family], made["note"].as_str().expect("text"));
        *self.compared.entry(format!("{family} by itself")).or_default() += 1;
        let (is_ok, its) = (reader["ok"] == true, files_of(reader));
        let is_right = match found {
            Ok((files, _)) if is_ok => *files == its,
            Ok((files, _)) => {
                self.differs(&format!("{family} refuses, ours takes: {note}"));
                note.starts_with("zeros") && files.get("").map(String::as_str) == made["whole"].as_str()
            }
            Err(_) if is_ok => {
                self.differs(&format!("{family} takes, ours refuses: {note}"));
                matches!(note, "garbage" | "zeros between") || (note == "cut" && its[""] != made["whole"])
            }
            Err(_) => true,
        };
        if !is_right {
            self.wrong.push(format!("{found:?}\n{made:#}"));
        }
    }
}

/// Nothing that ours would take: none at all, or hidden ones only.
fn has_no_file(reader: &Value) -> bool {
    let is_hidden = |name: &String| name.starts_with("2e") || name.contains("2f2e");
    files_of(reader).keys().all(is_hidden)
}

#[test]
fn what_the_real_tools_find_in_an_archive_is_what_comes_out() {
    let count =
        std::env::var("LANDFALL_DIFFERENTIAL").map_or(ARCHIVES, |text| text.parse().expect("a number"));
    let world = World::new("");
    let asked = std::env::var("LANDFALL_TEST_SEED");
    let seed = asked.map_or(SEED, |text| text.parse().expect("LANDFALL_TEST_SEED is a number"));
    let made = world.sh(&format!("mkdir made; python3 {MAKER} \"$PWD/made\" {seed} {count}"));
    println!("LANDFALL_TEST_SEED={seed}");
    let mut tally = Tally::default();
    let archives = rule(&world, "depth_max = 3");
    let spool_dir = world.path("in");
    for line in made.lines() {
        let made: Value = serde_json::from_str(line).expect("a line of JSON");
        let file = world.path(made["file"].as_str().expect("a path"));
        let family = made["family"].as_str().expect("text");
        if matches!(family, "tar" | "zip") {
            tally.archive(&made, &decode(&archives, &file, &spool_dir));
        } else {
            let spelled_out = rule(&world, &format!("layers = [\"{family}\"]"));
            tally.stream(&made, &decode(&spelled_out, &file, &spool_dir));
        }
    }
    println!("compared {:#?}\ndiffering {:#?}", tally.compared, tally.differing);
    assert!(tally.compared.values().sum::<u64>() >= count, "too few were made");
    let shown = tally.wrong.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(tally.wrong.is_empty(), "{} of {count} are wrong; the first:\n{shown}", tally.wrong.len());
}
