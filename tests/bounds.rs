//! Promise: whatever a file asks of the machine, memory and time stay bounded, and files of other rules are published beside it.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use support::{Service, World, wait_until};

/// What the process may hold at its most, with `memory_max` as it is by default.
const PEAK_BYTES_MAX: u64 = 256 << 20;
/// An innocent file is published within this, whatever lies beside it; on a machine that does other work as well.
const INNOCENT_MAX: Duration = Duration::from_secs(10);

/// A world with a rule for hostile files (the rule's own TOML) and one for innocent ones; two workers.
fn world(hostile: &str) -> World {
    world_with("workers = 2", hostile)
}

fn world_with(service: &str, hostile: &str) -> World {
    let world = World::new("");
    let hostile =
        format!("name = \"hostile\"\npaths = [\"hostile/*\"]\nready = {{ stable_for = \"0s\" }}\n{hostile}");
    let innocent = "name = \"innocent\"\nready = { stable_for = \"0s\" }";
    world.configure(service, &[&hostile, innocent]);
    std::fs::create_dir_all(world.path("hostile")).expect("the folder is new");
    world
}

/// Drops the hostile files, and an innocent one once they are being read; that one's time.
fn beside(world: &World, service: &mut Service, files: &[(String, Vec<u8>)]) -> Duration {
    for (name, bytes) in files {
        world.move_in(&format!("hostile/{name}"), bytes);
    }
    service.wait_until("a hostile file is claimed", || {
        let claimed = world.files("hostile");
        claimed.iter().any(|name| name.starts_with(".landfall/")).then_some(())
    });
    let begun = Instant::now();
    world.move_in("in/innocent", "a record\n");
    service.wait_for(world, "out/innocent.main");
    let took = begun.elapsed();
    assert!(took < INNOCENT_MAX, "the innocent file took {took:?}\n{}", service.log());
    took
}

fn hostile_jobs(world: &World) -> Vec<Value> {
    world.jobs().into_iter().filter(|job| job["rule"] == "hostile").collect()
}

/// Waits until all hostile jobs failed, and holds their memory; each error must say all these words.
fn all_refused(world: &World, service: &mut Service, count: usize, words: &[&str]) {
    let jobs = wait_until("all hostile jobs have failed", || {
        std::thread::sleep(Duration::from_millis(100)); // each look is a process
        let jobs = hostile_jobs(world);
        (jobs.len() == count && jobs.iter().all(|job| job["state"] == "failed")).then_some(jobs)
    });
    for job in jobs {
        let said = format!("{} ({})", job["error"]["message"], job["error"]["hint"]);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in: {said}");
    }
    let peak = service.peak_memory_bytes();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn named(count: usize, suffix: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|number| (format!("h{number}{suffix}"), bytes.to_vec())).collect()
}

#[test]
fn headers_of_eight_megabytes_of_commas_are_refused_by_columns_max() {
    let world = world(
        "records = { format = \"csv\" }\npipeline = [ { step = \"validate\", columns = { id = { type = \"integer\" } } } ]\noutput = { invalid = { path = \"out/{stem}.invalid\" } }",
    );
    let mut service = world.start();
    let header = [vec![b','; (8 << 20) - 100], b"\n1\n".to_vec()].concat();
    beside(&world, &mut service, &named(8, ".csv.gz", &gzip(&header)));
    all_refused(&world, &mut service, 8, &["8388509 columns", "records.columns_max", "10000"]);
}

#[test]
fn rows_of_eight_megabytes_of_commas_are_failed_records() {
    let world = world(
        "records = { format = \"csv\" }\npipeline = [ { step = \"validate\", columns = { id = { type = \"integer\" } } } ]\noutput = { invalid = { path = \"out/{stem}.invalid\" } }\n",
    );
    let mut service = world.start();
    let row = [b"id\n1".to_vec(), vec![b','; (8 << 20) - 100], b"\n".to_vec()].concat();
    beside(&world, &mut service, &named(8, ".csv.gz", &gzip(&row)));
    all_refused(&world, &mut service, 8, &["more than `records.columns_max` = 10000 fields"]);
}

/// Records that are JSON, or nearly: of many values, of many keys, of keys one level down, and of control characters, which JSON writes in six
/// bytes each. What is made of a record counts, and is made of few at once.
#[test]
fn json_records_of_eight_megabytes_take_little_more_than_their_bytes() {
    let world = world(
        "records = { format = \"jsonl\" }\ndecode = { ratio_max = 100000 }\nerrors = { failed_max = \"100%\" }\n\
         pipeline = [ { step = \"validate\", columns = { id = { type = \"integer\" }, \"a.b\" = { type = \"string\" } } } ]\n\
         output = { invalid = { path = \"out/{name}.invalid\", max = \"100%\", annotate = true } }",
    );
    let mut service = world.start();
    let long = |begin: &str, part: &str, end: &str| {
        let record = [begin, &part.repeat(((8 << 20) - 100) / part.len()), end, "\n"].concat();
        gzip(record.as_bytes())
    };
    let records = [
        long("[", "{},", "{}]"),
        long("{", "\"\":0,", "\"id\":1}"),
        long("{\"a\":{", "\"\":0,", "\"b\":1}}"),
        long("", "\u{1}", ""),
    ];
    let files: Vec<_> =
        records.iter().enumerate().flat_map(|(kind, file)| named(1, &format!(".{kind}.gz"), file)).collect();
    beside(&world, &mut service, &files);
    service
        .wait_until("all are published", || (world.files("archive").len() == files.len() + 1).then_some(()));
    let peak = service.peak_memory_bytes();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
}

/// Columns within the limit, whose names are long, other ones in each entry: an output for each entry takes them all.
#[test]
fn an_archive_of_many_large_headers_holds_few_of_them_at_once() {
    let world = world(
        "records = { format = \"csv\" }\noutput = { main = { path = \"out/{stem}/{entry}\" } }\ndecode = { ratio_max = 100000 }",
    );
    let mut service = world.start();
    world.sh(r#"python3 - <<'END'
import zipfile
with zipfile.ZipFile("staged.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for entry in range(8):
        names = (str(entry) + "x" * 780 + str(column) for column in range(9999))
        archive.writestr(f"{entry}.csv", ",".join(names) + "\n1\n")
END"#);
    let archive = world.bytes("staged.zip");
    beside(&world, &mut service, &named(1, ".zip", &archive));
    service.wait_until("all are published", || (world.files("archive").len() == 2).then_some(()));
    let peak = service.peak_memory_bytes();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
}

/// As above, one of the entries without a record; each archive has room alone, and three have not.
#[test]
fn archives_of_large_headers_wait_for_each_other_and_begin_anew_at_most_once_for_each_need() {
    let world = world_with(
        "workers = 2\nmemory_max = \"16MiB\"",
        "records = { format = \"csv\" }\noutput = { main = { path = \"out/{stem}/{entry}\" } }\ndecode = { ratio_max = 100000 }",
    );
    let mut service = world.start();
    world.sh(r#"python3 - <<'END'
import zipfile
with zipfile.ZipFile("staged.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for entry in range(3):
        names = (str(entry) + "x" * 780 + str(column) for column in range(1500))
        archive.writestr(f"{entry}.csv", ",".join(names) + ("\n" if entry == 1 else "\n1\n"))
END"#);
    let archive = world.bytes("staged.zip");
    beside(&world, &mut service, &named(3, ".zip", &archive));
    service.wait_until("all are published", || (world.files("archive").len() == 4).then_some(()));
    for job in hostile_jobs(&world) {
        let held = format!("waiting; it goes on by itself job={}", job["id"].as_str().unwrap_or_default());
        let log = service.log();
        // Its records, and the columns of its entries, are asked for at different moments.
        let reasons: Vec<_> =
            log.lines().filter_map(|line| line.split_once(&held)?.1.split_once("error=")).collect();
        let different: BTreeSet<_> = reasons.iter().map(|(_, reason)| reason).collect();
        assert_eq!(reasons.len(), different.len(), "{log}");
        assert_eq!((&job["state"], &job["attempts"]), (&"completed".into(), &1.into()), "{job}");
    }
    let peak = service.peak_memory_bytes();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
}

#[test]
fn nested_windows_are_refused_with_their_need_and_the_key() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    world.sh("seq 100000 | zstd -q --long=26 | zstd -q --long=26 | zstd -q --long=26 > staged");
    let nested = world.bytes("staged");
    beside(&world, &mut service, &named(8, ".zst", &nested));
    all_refused(&world, &mut service, 8, &["65 MiB of memory beside", "96 MiB", "service.memory_max"]);
}

#[test]
fn one_window_past_the_limit_is_refused_with_its_need_and_the_key() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    beside(&world, &mut service, &named(4, ".zst", &zstd_frame(128 << 20)));
    all_refused(&world, &mut service, 4, &["129 MiB", "96 MiB", "service.memory_max"]);
}

/// A frame with a window of so many bytes (a power of two) and nothing in it but a raw block of two bytes.
fn zstd_frame(window: u64) -> Vec<u8> {
    let exponent = (window.ilog2() - 10) as u8;
    [&b"\x28\xb5\x2f\xfd"[..], &[0x00, exponent << 3], &[0x11, 0x00, 0x00], b"a\n"].concat()
}

/// Windows that fit alone, but not all at once, one within the other.
#[test]
fn windows_that_fit_one_after_another_wait_their_turn() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    let frame = zstd_frame(64 << 20);
    let files = named(8, ".zst", &[frame.clone(), frame].concat());
    beside(&world, &mut service, &files);
    service.wait_until("all are published", || (world.files("archive").len() == 9).then_some(()));
    let peak = service.peak_memory_bytes();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
}

#[test]
fn an_xz_dictionary_past_the_limit_is_refused_with_its_need_and_the_key() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    world.sh("seq 10 | xz --lzma2=dict=1536MiB > staged");
    let bytes = world.bytes("staged");
    beside(&world, &mut service, &named(2, ".xz", &bytes));
    all_refused(&world, &mut service, 2, &["1537 MiB", "96 MiB", "service.memory_max"]);
}

#[test]
fn a_work_factor_past_the_limit_is_refused_with_the_key_and_never_derived() {
    let world = world("records = { format = \"lines\" }\ndecode = { passphrase_file = \"passphrase\" }");
    world.write("passphrase", "correct horse\n");
    let mut service = world.start();
    let header = "age-encryption.org/v1\n-> scrypt bBjlhJVYZeE4aqUdmtRHfw 21\nZV/AhotwSGqaPCU43cepl4WYUouAa17a3xpu4G2yi5k\n--- fgMiVLJHMlg9fW7CVG/hPS5EAU4Zeg19LyCP7SoH5nA\n";
    let file = [header.as_bytes(), &[7; 100]].concat();
    let before = service.cpu_seconds();
    beside(&world, &mut service, &named(16, ".age", &file));
    all_refused(&world, &mut service, 16, &["work factor of 21", "decode.work_factor_max", "18"]);
    assert!(service.cpu_seconds() - before < 5.0, "2^21 rounds take some seconds, each");
}

/// Its reader holds a line whole.
#[test]
fn a_line_of_armor_without_an_end_is_refused_and_not_held() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    let armor = [b"-----BEGIN AGE ENCRYPTED FILE-----\n".as_slice(), &vec![b'A'; 96 << 20]].concat();
    beside(&world, &mut service, &named(4, ".csv.gz", &gzip(&armor)));
    all_refused(&world, &mut service, 4, &["a line of its armor is too long"]);
}

/// Nor are the NUL bytes of a sparse file, which takes no room on its sender's disk.
#[test]
fn armor_that_goes_on_as_a_hole_is_refused_and_not_held() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    let sparse = std::fs::File::create(world.path("sparse")).expect("made");
    (&sparse).write_all(b"-----BEGIN AGE ENCRYPTED FILE-----\n").expect("written");
    sparse.set_len(1 << 30).expect("as long as that");
    drop(sparse); // else it has a writer
    support::rename(&world.path("sparse"), &world.path("hostile/sparse.csv"));
    // Given back once: the rest might have come.
    service.wait_for(&world, "hostile/.landfall/quarantine/sparse.csv");
    let peak = service.peak_memory_bytes();
    service.stop();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
}

/// Each line would have all before it read again.
#[test]
fn a_header_of_endless_recipients_is_refused_and_soon() {
    let world = world("records = { format = \"lines\" }");
    let mut service = world.start();
    let stanza = "-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\nZV/AhotwSGqaPCU43cepl4WYUouAa17a3xpu4G2yi5k\n";
    let file = format!("age-encryption.org/v1\n{}", stanza.repeat(30_000));
    let before = service.cpu_seconds();
    beside(&world, &mut service, &named(4, ".age.gz", &gzip(file.as_bytes())));
    all_refused(&world, &mut service, 4, &["its header is too long"]);
    let took = service.cpu_seconds() - before;
    assert!(took < 30.0, "{took} s of the processor");
}

/// Newlines at a ratio just under the limit, more files than there are loaders and places.
#[test]
fn endless_expansion_holds_up_nobody_else() {
    let world = world(
        "records = { format = \"csv\", header = false, columns = [\"id\"] }\ndecode = { ratio_max = 2000 }",
    );
    let mut service = world.start();
    // 60 times 32 MiB of newlines, each a member of its own: blank lines, which make no slice.
    let member = gzip(&vec![b'\n'; 32 << 20]);
    let file = member.repeat(60);
    beside(&world, &mut service, &named(24, ".csv.gz", &file));
    assert!(
        hostile_jobs(&world).iter().any(|job| job["state"] == "running"),
        "it was too short to hold up anybody"
    );
    let peak = service.peak_memory_bytes();
    assert!(peak < PEAK_BYTES_MAX, "{} MB", peak >> 20);
    let stopping = Instant::now();
    service.stop();
    assert!(stopping.elapsed() < Duration::from_secs(8), "reading does not wait for its end to stop");
}

#[test]
fn reading_that_takes_longer_than_its_time_is_refused_with_the_key() {
    let world = world(
        "records = { format = \"csv\", header = false, columns = [\"id\"] }\ndecode = { ratio_max = 2000, time_max = \"1s\" }",
    );
    let mut service = world.start();
    let file = gzip(&vec![b'\n'; 32 << 20]).repeat(200);
    beside(&world, &mut service, &named(1, ".csv.gz", &file));
    all_refused(&world, &mut service, 1, &["decode.time_max"]);
}

/// Ten times the members take about ten times as long, not a hundred times.
#[test]
fn members_of_an_archive_cost_the_same_each_however_many_there_are() {
    let time = |members: usize, output: &str| {
        let world = World::new(&format!(
            "decode = {{ entries_max = 1000000 }}\noutput = {{ main = {{ path = \"{output}\" }} }}\npipeline = [ {{ step = \"exec\", confine = false, command = [\"sh\", \"-c\", \"sleep 0.5; exec cat\"], protocol = \"line\" }} ]"
        ));
        world.sh(&format!(
            r#"python3 - <<'END'
import io, tarfile
with tarfile.open("s.tar", "w") as archive:
    for member in range({members}):
        entry = tarfile.TarInfo(f"{{member:06}}.txt"); entry.size = 2
        archive.addfile(entry, io.BytesIO(b"a\n"))
END"#
        ));
        let begun = Instant::now();
        world.ingest(&["s.tar"]).done();
        assert_eq!(world.completed()["records_in"], members as u64);
        begun.elapsed()
    };
    let (few, many) = (time(2_000, "out/{stem}"), time(20_000, "out/{stem}"));
    assert!(many < few * 15, "2,000 members take {few:?}, 20,000 {many:?}");
}
