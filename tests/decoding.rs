//! Promise: what the real tools pack, in any nesting, comes out whole; what is damaged or unknown is refused with a reason.
#![cfg(unix)]

mod support;

use support::{World, lines};

const RULE: &str = r#"
decode = { identities = ["key.txt", "ssh_key"], passphrase_file = "passphrase" }
output = { main = { path = "out/{rule}" } }
"#;

/// A world with `plain`, keys, and what a script makes of them; `$R` is the age recipient.
fn made_by(rule: &str, script: &str) -> World {
    let world = World::new(rule);
    let recipient = world.age_key();
    world.sh("ssh-keygen -q -t ed25519 -N '' -f ssh_key; printf 'correct horse\n' > passphrase");
    world.write("plain", lines(2000));
    world.sh(&format!("R={recipient}\n{script}"));
    world
}

macro_rules! decodes {
    ($($promise:ident: $script:literal;)*) => {$(
        #[test]
        fn $promise() {
            let world = made_by(RULE, $script);
            world.ingest(&["sample"]).done();
            assert!(world.text("out/payments") == lines(2000), "it came out changed");
            assert_eq!(world.completed()["records_in"], 2000);
        }
    )*};
}

decodes! {
    a_plain_file_is_read: "cp plain sample";
    gzip_is_read: "gzip -c plain > sample";
    gzip_with_a_name_and_a_comment_in_its_header_is_read: "cp plain named; gzip -N9 named; mv named.gz sample";
    pigz_is_read: "pigz -c -b 128 plain > sample";
    pigz_with_zopfli_like_blocks_is_read: "pigz -c -i plain > sample";
    every_member_of_a_gzip_is_read: "head -n 700 plain | gzip > sample; tail -n +701 plain | gzip >> sample";
    a_gzip_that_a_tape_filled_up_with_zeros_is_read: "gzip -c plain > sample; head -c 300000 /dev/zero >> sample";
    an_empty_member_in_the_middle_of_a_gzip_is_read:
        "head -n 9 plain | gzip > sample; gzip < /dev/null >> sample; tail -n +10 plain | gzip >> sample";
    a_line_across_two_members_of_a_gzip_stays_one:
        "head -c 1111 plain | gzip > sample; tail -c +1112 plain | gzip >> sample";
    seven_zips_gzip_is_read: "7z a -tgzip made.gz plain >/dev/null; mv made.gz sample";
    bzip2_is_read: "bzip2 -c plain > sample";
    every_stream_of_a_bzip2_is_read: "head -n 700 plain | bzip2 > sample; tail -n +701 plain | bzip2 >> sample";
    xz_is_read: "xz -c plain > sample";
    every_stream_and_block_of_an_xz_is_read:
        "head -n 700 plain | xz --block-size=4096 > sample; tail -n +701 plain | xz >> sample";
    zstd_is_read: "zstd -qc plain > sample";
    zstd_without_checksum_is_read: "zstd -qc --no-check plain > sample";
    every_frame_of_a_zstd_is_read: "head -n 700 plain | zstd -qc > sample; tail -n +701 plain | zstd -qc >> sample";
    zip_is_read: "zip -q made.zip plain; mv made.zip sample";
    a_stored_zip_entry_is_read: "zip -q0 made.zip plain; mv made.zip sample";
    a_zip_written_to_a_pipe_with_data_descriptors_is_read: "cat plain | zip -q - - | cat > sample";
    a_zip64_is_read: "zip -q -fz made.zip plain; mv made.zip sample";
    a_zip_by_bzip2_is_read: "zip -q -Z bzip2 made.zip plain; mv made.zip sample";
    a_zip_by_deflate64_is_read: "7z a -tzip -mm=Deflate64 made.zip plain >/dev/null; mv made.zip sample";
    a_zip_by_lzma_is_read: "7z a -tzip -mm=LZMA made.zip plain >/dev/null; mv made.zip sample";
    a_zip_by_ppmd_is_read: "7z a -tzip -mm=PPMd made.zip plain >/dev/null; mv made.zip sample";
    a_tar_is_read: "tar -cf sample plain";
    a_tar_of_the_posix_format_is_read: "tar --format=posix -cf sample plain";
    a_tar_with_a_long_name_is_read:
        "d=$(printf 'd%.0s' {1..90}); mkdir -p $d/$d; cp plain $d/$d/plain; tar -cf sample $d/$d/plain";
    tar_in_gzip_is_read: "tar -czf sample plain";
    tar_in_zstd_is_read: "tar -c plain | zstd -qc > sample";
    tar_in_xz_is_read: "tar -cJf sample plain";
    gzip_in_zip_is_read: "gzip plain; zip -q made.zip plain.gz; mv made.zip sample";
    gzip_in_tar_is_read: "gzip plain; tar -cf sample plain.gz";
    zip_in_tar_in_gzip_is_read: "zip -q plain.zip plain; tar -czf sample plain.zip";
    gzip_in_gzip_is_read: "gzip -c plain | gzip > sample";
    age_is_read: "age -r $R -o sample plain";
    armored_age_is_read: "age -a -r $R -o sample plain";
    armored_age_with_blank_lines_around_it_is_read:
        "{ printf '\\xef\\xbb\\xbf\n \r\n'; age -a -r $R plain; printf '\n\n'; } > sample";
    age_to_an_ssh_key_is_read: "age -R ssh_key.pub -o sample plain";
    gzip_in_age_is_read: "gzip -c plain | age -r $R > sample";
    zip_in_age_is_read: "zip -q made.zip plain; age -r $R -o sample made.zip";
    tar_in_gzip_in_age_is_read: "tar -cz plain | age -r $R > sample";
    xz_in_age_is_read: "xz -c plain | age -r $R > sample";
    age_in_zip_is_read: "age -r $R -o plain.age plain; zip -q made.zip plain.age; mv made.zip sample";
    age_in_gzip_is_read: "age -r $R plain | gzip > sample";
    age_in_age_is_read: "age -r $R plain | age -R ssh_key.pub > sample";
    text_in_utf_16_with_its_mark_is_read: "iconv -f utf-8 -t utf-16 plain > sample";
    text_in_big_endian_utf_16_with_its_mark_is_read:
        "{ printf '\\xfe\\xff'; iconv -f utf-8 -t utf-16be plain; } | gzip > sample";
    a_utf_8_mark_is_removed: "{ printf '\\xef\\xbb\\xbf'; cat plain; } > sample";
}

/// age asks for a passphrase on a terminal only.
#[test]
fn age_with_a_passphrase_is_read() {
    let world = made_by(
        RULE,
        r#"python3 - <<'END'
import os, pty
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("age", ["age", "-p", "-o", "sample", "plain"])
for _ in range(2):
    seen = b""
    while not seen.rstrip().endswith(b":"):
        seen += os.read(terminal, 1024)
    os.write(terminal, b"correct horse\n")
try:
    while os.read(terminal, 1024):
        pass
except OSError:
    pass
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END"#,
    );
    world.ingest(&["sample"]).done();
    assert!(world.text("out/payments") == lines(2000));
}

#[test]
fn every_entry_of_an_archive_is_read_in_its_order() {
    let world = made_by(
        RULE,
        "printf 'b\n' > 2; printf 'a\n' > 1; mkdir sub; printf 'c\n' > sub/3; zip -q sample 2 1 sub/3",
    );
    world.ingest(&["sample.zip"]).done();
    assert_eq!(world.text("out/payments"), "b\na\nc\n");
    let job = world.completed();
    let names: Vec<_> =
        job["entries"].as_array().expect("a list").iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["2", "1", "sub/3"]);
}

#[test]
fn only_the_entries_that_the_rule_picks_are_read() {
    let rule = "decode = { entries = [\"*.csv\"] }\noutput = { main = { path = \"out/{rule}\" } }";
    for archive in ["zip -q sample a.csv b.txt", "tar -cf sample.zip a.csv b.txt"] {
        let world = made_by(rule, &format!("printf 'yes\n' > a.csv; printf 'no\n' > b.txt; {archive}"));
        world.ingest(&["sample.zip"]).done();
        assert_eq!(world.text("out/payments"), "yes\n");
    }
}

#[test]
fn layers_that_are_spelled_out_are_taken_at_their_word() {
    let rule = r#"decode = { layers = ["age", "gzip"], identities = ["key.txt"] }"#;
    let world = made_by(rule, "gzip -c plain | age -r $R > sample.age; gzip -c plain > bare.gz");
    world.ingest(&["sample.age"]).done();
    let world = made_by(rule, "gzip -c plain > bare.gz");
    world.refuses("bare.gz", &["bare.gz", "age"]);
}

macro_rules! refuses {
    ($($promise:ident: $script:literal, $words:expr;)*) => {$(
        #[test]
        fn $promise() {
            let mut words = vec!["sample"];
            words.extend($words);
            made_by(RULE, $script).refuses("sample", &words);
        }
    )*};
}

refuses! {
    a_truncated_gzip_is_refused: "gzip -c plain | head -c -20 > sample", ["end"];
    a_gzip_without_its_trailer_is_refused: "gzip -c plain | head -c -8 > sample", ["end"];
    a_gzip_cut_in_its_second_member_is_refused:
        "gzip -c plain > sample; gzip -c plain | head -c 500 >> sample", ["end"];
    a_gzip_with_a_wrong_checksum_is_refused:
        "gzip -c plain > sample; printf 'XXXX' | dd of=sample bs=1 seek=$(($(stat -c %s sample) - 8)) conv=notrunc status=none", ["gzip"];
    a_corrupt_gzip_is_refused:
        "gzip -c plain > sample; printf '\\xff\\xff\\xff\\xff' | dd of=sample bs=1 seek=3000 conv=notrunc status=none", ["gzip"];
    garbage_after_a_gzip_is_refused: "gzip -c plain > sample; printf 'garbage' >> sample", ["after"];
    garbage_after_a_zstd_is_refused: "zstd -qc plain > sample; printf 'garbage' >> sample", [""];
    garbage_after_a_bzip2_is_refused: "bzip2 -c plain > sample; printf 'garbage' >> sample", [""];
    garbage_after_an_xz_is_refused: "xz -c plain > sample; printf 'garbage!' >> sample", [""];
    a_member_after_the_padding_of_a_gzip_is_refused:
        "gzip -c plain > sample; head -c 1000 /dev/zero >> sample; gzip -c plain >> sample", ["after the end of the gzip"];
    garbage_after_an_age_is_refused_as_what_it_may_be:
        "age -r $R -o sample plain; printf garbage >> sample", ["other data follows"];
    a_truncated_zstd_is_refused: "zstd -qc plain | head -c -20 > sample", ["end"];
    a_truncated_bzip2_is_refused: "bzip2 -c plain | head -c -20 > sample", ["end"];
    a_truncated_xz_is_refused: "xz -c plain | head -c -20 > sample", ["end"];
    a_truncated_zip_is_refused: "zip -q made.zip plain; head -c -40 made.zip > sample", ["zip"];
    a_truncated_tar_is_refused: "tar -cf made plain; head -c 5000 made > sample", ["end"];
    a_truncated_age_is_refused: "age -r $R plain | head -c -20 > sample", ["age"];
    a_truncated_gzip_in_an_intact_age_is_refused: "gzip -c plain | head -c -20 | age -r $R > sample", ["end"];
    a_tampered_age_is_refused:
        "age -r $R -o sample plain; printf 'XXXX' | dd of=sample bs=1 seek=$(($(stat -c %s sample) - 60)) conv=notrunc status=none", [""];
    a_zip_whose_entry_is_corrupt_is_refused:
        "zip -q made.zip plain; mv made.zip sample; printf '\\xff\\xff\\xff\\xff' | dd of=sample bs=1 seek=3000 conv=notrunc status=none", ["plain"];
    an_encrypted_zip_entry_is_refused_by_its_name: "zip -qP secret made.zip plain; mv made.zip sample", ["plain", "encrypt"];
    an_aes_zip_entry_is_refused_by_its_name:
        "7z a -tzip -psecret -mem=AES256 made.zip plain >/dev/null; mv made.zip sample", ["plain", "encrypt"];
    seven_zip_is_refused_by_its_name: "7z a made.7z plain >/dev/null; mv made.7z sample", ["7z"];
    rar_is_refused_by_its_name: "printf 'Rar!\\x1a\\x07\\x01\\x00 and so on' > sample", ["rar"];
    lzma_without_a_container_is_refused_by_its_name: "xz --format=lzma -c plain > sample", ["lzma", "xz"];
    lzip_is_refused_by_its_name: "lzip -c plain > sample", ["lzip"];
    lz4_is_refused_by_its_name: "lz4 -qc plain > sample", ["lz4"];
    compress_is_refused_by_its_name: "compress -c plain > sample", ["compress"];
    cpio_is_refused_by_its_name: "echo plain | cpio -o -H newc > sample 2>/dev/null", ["cpio", "tar"];
    old_cpio_is_refused_by_its_name: "echo plain | cpio -o -H odc > sample 2>/dev/null", ["cpio"];
    binary_cpio_is_refused_by_its_name: "echo plain | cpio -o -H bin > sample 2>/dev/null", ["cpio"];
    ar_is_refused_by_its_name: "ar rc made.ar plain; mv made.ar sample", ["ar archive"];
    a_part_of_a_split_zip_is_refused_by_its_name:
        "head -c 200000 /dev/urandom > noise; zip -q -s 64k made.zip noise; mv made.z01 sample", ["split zip"];
    a_self_extracting_zip_is_refused_by_its_name:
        "{ echo '#!/bin/sh'; zip -q - plain | cat; } > made.zip; zip -qA made.zip; mv made.zip sample", ["self-extracting zip"];
    a_zip_behind_other_bytes_is_refused_by_its_name: "{ echo text; zip -q - plain | cat; } > sample", ["self-extracting zip"];
    the_last_part_of_a_split_zip_is_refused_under_any_name:
        "head -c 200000 /dev/urandom > noise; zip -q -s 64k made.zip noise plain; mv made.zip sample", ["split zip"];
    zeros_instead_of_content_are_refused: "head -c 4096 /dev/zero > sample", ["nul"];
    age_behind_white_space_in_binary_is_refused: "{ echo; age -r $R plain; } > sample", ["age", "byte 1"];
    parquet_is_refused_by_its_name: "printf 'PAR1\\x15\\x04\\x15\\x00 and so on PAR1' > sample", ["parquet"];
    open_pgp_is_refused_by_its_name:
        "printf -- '-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n' > sample", ["pgp"];
    a_workbook_is_refused_by_its_name:
        "mkdir xl; printf '<Types/>' > '[Content_Types].xml'; printf '<workbook/>' > xl/workbook.xml
         zip -q made.zip '[[]Content_Types].xml' xl/workbook.xml; mv made.zip sample", ["spreadsheet"];
    what_is_unknown_inside_a_gzip_is_refused_too: "7z a made.7z plain >/dev/null; gzip -c made.7z > sample", ["7z"];
    nul_bytes_in_text_are_refused: "printf 'one\ntwo\\0two\nthree\n' > sample", ["nul"];
    bytes_that_are_not_in_the_encoding_are_refused: "printf 'one\ntw\\xff\n' > sample", ["utf-8"];
    layers_deeper_than_the_limit_are_refused: "gzip -c plain | gzip | gzip | gzip > sample", ["depth_max"];
}

/// It begins in the middle of a member.
#[test]
fn the_last_part_of_a_split_zip_is_refused_by_its_name_too() {
    let world = made_by(RULE, "head -c 200000 /dev/urandom > noise; zip -q -s 64k made.zip noise");
    world.refuses("made.zip", &["made.zip", "split zip"]);
}

#[test]
fn members_that_are_no_files_are_listed_with_their_reason_and_named_once_in_the_log() {
    let world = made_by(
        RULE,
        "ln -s plain link; ln plain same; mkfifo pipe; touch .DS_Store; tar -czf sample plain link same pipe .DS_Store",
    );
    let ran = world.ingest(&["sample"]).done();
    let job = world.completed();
    assert_eq!(job["records_in"], 4000, "a hard link has its target's records");
    let skipped = |name: &str| {
        let entries = job["entries"].as_array().expect("a list");
        let entry = entries.iter().find(|entry| entry["name"] == name).expect("it is listed");
        entry["skipped"].as_str().map(str::to_owned)
    };
    assert_eq!(skipped("plain"), None);
    assert_eq!(skipped("same"), None);
    assert_eq!(skipped("link").as_deref(), Some("symbolic link"));
    assert_eq!(skipped("pipe").as_deref(), Some("FIFO"));
    assert_eq!(skipped(".DS_Store").as_deref(), Some("hidden"));
    let told = ran.stderr.lines().filter(|line| line.contains("passed over")).count();
    assert_eq!(told, 1, "of links and FIFOs, however many: {}", ran.stderr);
    let shown = world.landfall(&["show", job["id"].as_str().expect("an id")]).stdout;
    assert!(shown.contains("link (symbolic link)"), "{shown}");
}

#[test]
fn no_matching_entry_is_an_error() {
    let world = made_by("decode = { entries = [\"*.csv\"] }", "zip -q sample plain");
    world.refuses("sample.zip", &["sample.zip", "decode.entries"]);
}

#[test]
fn what_must_be_encrypted_and_is_not_is_refused() {
    let rule = "decode = { require = [\"encrypted\"], identities = [\"key.txt\"] }";
    made_by(rule, "gzip -c plain > sample.gz").refuses("sample.gz", &["encrypted"]);
    made_by(rule, "age -r $R -o sample.age plain").ingest(&["sample.age"]).done();
}

#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    let world = made_by(
        "decode = { ratio_max = 50 }",
        "line=$(printf 'a%.0s' {1..9000}); { yes $line || true; } | head -c 40000000 | gzip > sample.gz",
    );
    world.refuses("sample.gz", &["ratio_max"]);
}

#[test]
fn a_bomb_is_stopped_by_its_size() {
    let world = made_by("decode = { expanded_max = \"50KiB\" }", "gzip -c plain > sample.gz");
    world.refuses("sample.gz", &["expanded_max"]);
}

#[test]
fn a_bomb_is_stopped_by_its_entries() {
    let world = made_by("decode = { entries_max = 3 }", "touch 1 2 3 4; zip -q sample 1 2 3 4");
    world.refuses("sample.zip", &["entries_max"]);
}

#[test]
fn a_name_in_an_archive_never_leaves_the_output_folder() {
    let world = World::new("output = { main = { path = \"out/{entry}\" } }");
    world.sh(r#"python3 - <<'END'
import zipfile
with zipfile.ZipFile("sample.zip", "w") as made:
    made.writestr("../../escaped", "one\n")
    made.writestr("/absolute", "two\n")
END"#);
    world.ingest(&["sample.zip"]).done();
    let outputs = world.files("out");
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    assert!(!world.has("escaped") && !world.has("../escaped"));
}

#[test]
fn other_encodings_are_decoded_before_records_are_cut() {
    let world = World::new("decode = { encoding = \"iso-8859-1\" }");
    world.sh("printf 'Müller\nGröße\n' | iconv -f utf-8 -t iso-8859-1 > sample.txt");
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.text("out/sample.main"), "Müller\nGröße\n");

    // U+0A0A is two line feeds, to whoever does not decode first.
    let world = World::new("decode = { encoding = \"utf-16le\" }");
    world.sh("printf 'a\u{a0a}b\nc\n' | iconv -f utf-8 -t utf-16le > sample.txt");
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.text("out/sample.main"), "a\u{a0a}b\nc\n");
}

#[test]
fn replaced_characters_are_counted() {
    let world = World::new("decode = { on_bad_encoding = \"replace\" }");
    world.write("sample.txt", b"one\ntw\xff\nthr\xfee\n");
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.text("out/sample.main"), "one\ntw\u{fffd}\nthr\u{fffd}e\n");
    assert_eq!(world.completed()["characters_replaced"], 2);
}

#[test]
fn raw_bytes_pass_as_they_are() {
    let world = World::new("decode = { on_bad_encoding = \"raw\" }");
    world.write("sample.txt", b"one\ntw\xff\n");
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.bytes("out/sample.main"), b"one\ntw\xff\n");
}

/// A sender's name is bytes, and may look like a wildcard of the rule.
#[test]
fn a_key_file_is_found_by_its_senders_name_byte_for_byte() {
    let world = World::new(
        r#"paths = ["in/{sender}/{kind}-*"]
        decode = { identities = ["keys/{sender}.{kind}"] }
        output = { main = { path = "out/{stem}.main" } }"#,
    );
    let recipient = world.age_key();
    world.sh(&format!(
        r"sender=$'caf\xe9{{kind}}'; mkdir -p keys in/$sender; mv key.txt keys/$sender.pay
        seq 3 | age -r {recipient} > pay.age; mv pay.age in/$sender/pay-1.age"
    ));
    let mut service = world.start();
    service.wait_for(&world, "out/pay-1.main");
    service.stop();
    assert_eq!(world.text("out/pay-1.main"), "1\n2\n3\n");
}

/// Goal: who comes from the ancestor brings its files and keys.
#[test]
fn files_of_the_symmetric_encryption_library_are_read_once_their_key_is_there() {
    let rule = r#"
decode.symmetric_encryption.keys = [{ version = 1, key_file = "enc.key", iv = "22222222222222222222222222222222" }]
output = { main = { path = "out/{stem}" } }
"#;
    let world = World::new(rule);
    let made = ["cbc-own-key", "frames-packed", "gcm-own-key"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/decode/testdata/enc");
    for name in made {
        world.sh(&format!("mkdir -p in; cp {folder}/{name}.enc in/"));
    }
    let mut service = world.start();
    service.wait_until("each waits for the key", || {
        let jobs = world.jobs();
        let waits = |job: &serde_json::Value| job["waiting"].to_string().contains("enc.key");
        (jobs.len() == made.len() && jobs.iter().all(waits)).then_some(())
    });
    world.write("enc.key", "11".repeat(32));
    let text = (0..64).map(|number| format!("payment {number}\n")).collect::<Vec<_>>().concat();
    for name in made {
        service.wait_for(&world, &format!("out/{name}"));
        assert_eq!(world.text(format!("out/{name}")), text);
    }
    service.stop();
}
