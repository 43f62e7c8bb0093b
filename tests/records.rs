//! Promise: text is cut into exactly the records that its format has, and none is lost, glued or invented.
#![cfg(unix)]

mod support;

use support::World;

fn main_of(rule: &str, text: impl AsRef<[u8]>) -> (World, String) {
    let world = World::new(rule);
    world.write("sample.txt", text);
    world.ingest(&["sample.txt"]).done();
    world.completed();
    let main = world.text("out/sample.main");
    (world, main)
}

fn counts(world: &World) -> (u64, u64, u64) {
    let job = world.completed();
    let count = |key: &str| job[key].as_u64().expect("a count");
    (count("records_in"), count("records_failed"), count("records_skipped"))
}

#[test]
fn the_last_line_without_a_line_end_is_a_record() {
    let (world, main) = main_of("", "one\ntwo");
    assert_eq!(main, "one\ntwo\n");
    assert_eq!(counts(&world), (2, 0, 0));
}

#[test]
fn both_line_ends_end_a_line_each_for_itself() {
    let (world, main) = main_of("", "one\r\ntwo\nth\rree\r\n");
    assert_eq!(main, "one\ntwo\nth\rree\n");
    assert_eq!(counts(&world), (3, 0, 0));
}

#[test]
fn blank_lines_are_records_in_lines() {
    let (world, main) = main_of("", "\none\n\n\ntwo\n");
    assert_eq!(main, "\none\n\n\ntwo\n");
    assert_eq!(counts(&world), (5, 0, 0));
}

#[test]
fn a_file_of_no_bytes_is_a_source_without_records() {
    let (world, main) = main_of("", "");
    assert_eq!(main, "");
    assert_eq!(counts(&world), (0, 0, 0));
}

#[test]
fn a_packed_file_of_no_bytes_is_a_source_without_records() {
    let world = World::new("");
    world.sh("gzip -c < /dev/null > sample.txt.gz");
    world.ingest(&["sample.txt.gz"]).done();
    assert_eq!(world.text("out/sample.main"), "");
}

#[test]
fn leading_lines_can_be_skipped_and_are_counted() {
    let (world, main) = main_of("records = { format = \"lines\", skip_lines = 2 }", "a\nb\nc\nd\n");
    assert_eq!(main, "c\nd\n");
    assert_eq!(counts(&world), (2, 0, 2));
}

#[test]
fn a_longer_record_than_allowed_fails_and_the_file_goes_on() {
    let long = "x".repeat(5000);
    let rule = "records = { format = \"lines\", record_max = \"4KiB\" }\nerrors = { failed_max = 10 }";
    let (world, main) = main_of(rule, format!("one\n{long}\nthree\n"));
    assert_eq!(main, "one\nthree\n");
    assert_eq!(counts(&world), (3, 1, 0));
    let failed = world.failed_records(&world.job());
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["record"], 2);
    assert_eq!(failed[0]["offset"], 4);
}

#[test]
fn a_record_longer_than_a_slice_passes() {
    let long = "x".repeat(300_000);
    let text = format!("one\n{long}\nthree\n");
    let (_world, main) = main_of("", &text);
    assert!(main == text);
}

#[test]
fn a_record_that_no_step_changed_comes_out_byte_for_byte() {
    let text = "id,name\n1,\"a, b\"\n 2 ,\"say \"\"hi\"\"\"\n3,\"\"\n4\n5,a,b,c\n6,un\"quoted\n";
    let (world, main) = main_of("records = { format = \"csv\" }", text);
    assert_eq!(main, text);
    assert_eq!(counts(&world), (6, 0, 0));
}

#[test]
fn a_quoted_line_end_does_not_end_a_record() {
    let text = "id,note\n1,\"two\nlines\"\n2,\"and\r\n\r\nthree\"\n";
    let (world, main) = main_of("records = { format = \"csv\" }", text);
    assert_eq!(main, text);
    assert_eq!(counts(&world), (2, 0, 0));
}

#[test]
fn the_same_records_come_out_wherever_slices_are_cut() {
    use std::fmt::Write as _;
    let text = (0..3000).fold(String::from("id,note\n"), |mut text, id| {
        writeln!(text, "{id},\"line one\nline \"\"two\"\" {id}\"").expect("a string takes all");
        text
    });
    for slice_records in [1, 7, 1000] {
        let rule = format!("records = {{ format = \"csv\", slice_records = {slice_records} }}");
        let (world, main) = main_of(&rule, &text);
        assert!(main == text, "slices of {slice_records}");
        assert_eq!(counts(&world), (3000, 0, 0));
    }
}

#[test]
fn blank_lines_are_skipped_and_counted_in_csv_and_jsonl() {
    let (world, main) = main_of("records = { format = \"csv\" }", "id\n\n1\n\r\n2\n");
    assert_eq!(main, "id\n1\n2\n");
    assert_eq!(counts(&world), (2, 0, 2));
    let (world, main) = main_of("records = { format = \"jsonl\" }", "{\"a\":1}\n\n{\"a\":2}\n");
    assert_eq!(main, "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(counts(&world), (2, 0, 1));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    let rule = "records = { format = \"csv\" }\npipeline = [{ step = \"select\", columns = [\"id\"] }]";
    let (_world, main) = main_of(rule, "\u{feff}id,name\n1,a\n");
    assert_eq!(main, "id\n1\n");
}

#[test]
fn other_delimiters_and_quotes_are_known() {
    let rule = "records = { format = \"csv\", delimiter = \";\", quote = \"'\" }
                pipeline = [{ step = \"select\", columns = [\"b\"] }]";
    let (_world, main) = main_of(rule, "a;b\n1;'x;y'\n2;z\n");
    assert_eq!(main, "b\n'x;y'\nz\n");
}

#[test]
fn csv_without_a_header_takes_its_columns_from_the_rule() {
    let rule = "records = { format = \"csv\", header = false, columns = [\"a\", \"b\"] }
                output = { main = { path = \"out/{stem}.main\", header = false } }
                pipeline = [{ step = \"filter\", keep = { column = \"b\", equals = \"yes\" } }]";
    let (world, main) = main_of(rule, "1,yes\n2,no\n3,yes\n");
    assert_eq!(main, "1,yes\n3,yes\n");
    assert_eq!(counts(&world).0, 3);
}

#[test]
fn a_missing_column_is_refused_by_its_name() {
    let world = World::new("records = { format = \"csv\", columns = [\"id\", \"amount\"] }");
    world.write("sample.csv", "id,sum\n1,2\n");
    world.refuses("sample.csv", &["amount"]);
}

#[test]
fn a_column_that_a_step_needs_and_the_file_lacks_is_refused_by_its_name() {
    let world = World::new(
        "records = { format = \"csv\" }\npipeline = [{ step = \"select\", columns = [\"amount\"] }]",
    );
    world.write("sample.csv", "id,sum\n1,2\n");
    world.refuses("sample.csv", &["amount"]);
}

#[test]
fn an_unclosed_quote_fails_one_record_with_the_line_at_which_it_began() {
    let rule = "records = { format = \"csv\", record_max = \"4KiB\" }\nerrors = { failed_max = 100000 }";
    let world = World::new(rule);
    world.write("sample.csv", format!("id,note\n1,a\n2,\"open\n{}", "3,b\n".repeat(3000)));
    world.ingest(&["sample.csv"]).done();
    let failed = world.failed_records(&world.completed());
    assert_eq!(failed[0]["line"], 3, "{:#}", failed[0]);
    assert!(world.text("out/sample.main").contains("3,b\n3,b\n"), "the file did not go on");
}

#[test]
fn entries_with_one_header_go_into_one_output_with_one_header() {
    let world =
        World::new("records = { format = \"csv\" }\noutput = { main = { path = \"out/{stem}.main\" } }");
    world.sh("printf 'id\n1\n' > a; printf 'id\n2\n' > b; zip -q sample a b");
    world.ingest(&["sample.zip"]).done();
    assert_eq!(world.text("out/sample.main"), "id\n1\n2\n");
}

#[test]
fn entries_with_differing_headers_in_one_output_are_refused() {
    let world = World::new("records = { format = \"csv\" }");
    world.sh("printf 'id\n1\n' > a; printf 'key\n2\n' > b; zip -q sample a b");
    world.refuses("sample.zip", &["header", "b"]);
}

#[test]
fn fixed_fields_are_cut_by_characters() {
    let rule = "records = { format = \"fixed\", fields = [{ name = \"id\", width = 3 }, { name = \"name\", width = 5 }] }
                pipeline = [{ step = \"filter\", keep = { column = \"name\", equals = \"Größe\" } }]";
    let (world, main) = main_of(rule, "  1Größe\n002abc  \n");
    assert_eq!(main, "  1Größe\n");
    assert_eq!(counts(&world).0, 2);
}

#[test]
fn fixed_records_without_line_ends_are_cut_by_bytes() {
    let rule = "records = { format = \"fixed\", record_length = 6, fields = [{ name = \"id\", width = 2 }, { name = \"v\", width = 4 }] }";
    let (world, main) = main_of(rule, "01aaaa02bbbb03cccc");
    assert_eq!(counts(&world).0, 3);
    assert_eq!(main, "01aaaa\n02bbbb\n03cccc\n");
}

#[test]
fn a_rest_that_is_shorter_than_the_record_length_is_refused() {
    let rule = "records = { format = \"fixed\", record_length = 6, fields = [{ name = \"id\", width = 6 }] }";
    let world = World::new(rule);
    world.write("sample.dat", "01aaaa02b");
    world.refuses("sample.dat", &["record_length"]);
}

#[test]
fn a_json_line_that_is_not_json_fails_alone() {
    let rule = "records = { format = \"jsonl\" }
                errors = { failed_max = \"50%\" }
                pipeline = [{ step = \"filter\", keep = { column = \"a.b\", at_least = 2 } }]";
    let (world, main) = main_of(rule, "{\"a\":{\"b\":1}}\n{\"a\":\n{\"a\":{\"b\":2}}\n");
    assert_eq!(main, "{\"a\":{\"b\":2}}\n");
    assert_eq!(counts(&world), (3, 1, 0));
    assert_eq!(world.failed_records(&world.job())[0]["record"], 2);
}

#[test]
fn a_csv_with_the_line_ends_of_old_macs_is_refused_and_not_taken_for_one_header() {
    let world = World::new("records = { format = \"csv\" }");
    world.write("pay.csv", "a,b\r1,2\r3,4\r");
    world.refuses("pay.csv", &["line 1", "carriage return", "tr "]);
}

#[test]
fn text_with_the_line_ends_of_old_macs_is_refused_in_every_format() {
    let fields = "fields = [{ name = \"a\", width = 7 }]";
    for (format, text) in [
        ("format = \"lines\"", "{\"a\":1}\r{\"a\":2}\r"),
        ("format = \"jsonl\"", "{\"a\":1}\r{\"a\":2}\r"),
        ("format = \"csv\", header = false", "1,a\r2,b\r3,c"),
        ("format = \"csv\"", "id,name\n1,a\r2,b\r3,c\r"),
        (&format!("format = \"fixed\", {fields}"), "1234567\r7654321\r"),
    ] {
        let world = World::new(&format!("records = {{ {format} }}"));
        world.write("pay.txt", text);
        world.refuses("pay.txt", &["carriage returns", "records.separator"]);
    }
    let (_world, main) = main_of("records = { format = \"lines\", separator = \"\\r\" }", "one\rtwo\r");
    assert_eq!(main, "one\ntwo\n");
}

#[test]
fn records_end_where_the_rule_says() {
    for separator in ["~", "\\u001e", "\\u0000", "€", "<br>"] {
        let end: String =
            toml::from_str::<toml::Table>(&format!("end = \"{separator}\"")).expect("TOML")["end"]
                .as_str()
                .expect("text")
                .to_owned();
        for (format, rows) in [
            ("lines", ["a,b", "", "c"]),
            ("csv", ["id,\"x\ny\"", "1,\"a\nb\"", "2,c"]),
            ("jsonl", ["{}", "[1]", "2"]),
        ] {
            let rule = format!("records = {{ format = \"{format}\", separator = \"{separator}\" }}");
            let (world, main) = main_of(&rule, rows.join(&end) + &end);
            assert_eq!(main, rows.join("\n") + "\n", "{separator} in {format}");
            assert_eq!(world.completed()["unterminated"], false);
        }
    }
}

#[test]
fn what_is_misquoted_merges_no_rows() {
    let text = "id,name\n1,\"disk 12\\\"\"\n2,\"b\"\n3,\"c\"\n";
    let errors = "errors = { failed_max = 1 }\n";
    let validate = "pipeline = [{ step = \"validate\" }]
                    output = { invalid = { path = \"out/{stem}.invalid\" } }
                    records = { format = \"csv\" }";
    let (world, main) = main_of(validate, text);
    assert_eq!(main, "id,name\n2,\"b\"\n3,\"c\"\n");
    assert_eq!(world.text("out/sample.invalid"), "id,name\n1,\"disk 12\\\"\"\n");
    assert_eq!(world.job()["reasons"]["not csv: a misplaced quote"], 1);
    let needs = "pipeline = [{ step = \"filter\", drop = { column = \"name\", equals = \"b\" } }]
                 records = { format = \"csv\" }";
    let (world, main) = main_of(&format!("{errors}{needs}"), text);
    assert_eq!(main, "id,name\n3,\"c\"\n");
    assert_eq!(world.failed_records(&world.job())[0]["record"], 1);
    // Nobody looks into it: it comes out as it stands.
    assert_eq!(main_of("records = { format = \"csv\" }", text).1, text);
    let escaped = "records = { format = \"csv\", escape = \"\\\\\" }
                   pipeline = [{ step = \"filter\", keep = { column = \"name\", equals = 'disk 12\"' } }]";
    assert_eq!(main_of(escaped, text).1, "id,name\n1,\"disk 12\\\"\"\n");
}

#[test]
fn a_binary_record_keeps_its_last_byte() {
    let rule = "decode = { on_bad_encoding = \"raw\" }
                output = { main = { path = \"out/{stem}.main\", line_end = \"none\" } }
                records = { format = \"fixed\", record_length = 4, fields = [{ name = \"n\", width = 4 }] }";
    let world = World::new(rule);
    let text: Vec<u8> =
        b"\xef\xbb\xbf\n".iter().copied().chain((0..1000u32).flat_map(u32::to_be_bytes)).collect();
    world.write("sample.dat", &text);
    world.ingest(&["sample.dat"]).done();
    assert_eq!(counts(&world), (1001, 0, 0));
    assert!(world.bytes("out/sample.main") == text);
}

#[test]
fn a_separator_between_records_of_a_length_is_checked() {
    let rule = "records = { format = \"fixed\", record_length = 3, separator = \"\\n\", fields = [{ name = \"n\", width = 3 }] }";
    let (world, main) = main_of(rule, "001\n002\n003\n");
    assert_eq!((main.as_str(), counts(&world).0), ("001\n002\n003\n", 3));
    let world = World::new(rule);
    world.write("sample.dat", "001\n0002\n003\n");
    world.refuses("sample.dat", &["record 2", "separator"]);
}

#[test]
fn a_line_that_does_not_fit_its_layout_is_a_failed_record() {
    let rule = |more: &str| {
        format!(
            "errors = {{ failed_max = 2 }}
             records = {{ format = \"fixed\", {more} fields = [{{ name = \"id\", width = 2 }}, {{ name = \"v\", width = 2 }}] }}"
        )
    };
    let (world, main) = main_of(&rule(""), "01aa\n02b\n03ccc\n");
    assert_eq!((main.as_str(), counts(&world)), ("01aa\n", (3, 2, 0)));
    let errors = world.failed_records(&world.job());
    assert_eq!(errors[0]["error"], "3 characters, shorter than its fields (4 together)");
    assert_eq!(errors[1]["error"], "5 characters, longer than its fields (4 together)");
    let (world, main) = main_of(&rule("on_misfit = \"allow\","), "01aa\n02b\n03ccc\n");
    assert_eq!((main.as_str(), counts(&world)), ("01aa\n02b\n03ccc\n", (3, 0, 0)));
}

#[test]
fn a_last_record_without_its_line_end_is_told() {
    let (world, _) = main_of("", "one\ntw");
    assert_eq!(world.completed()["unterminated"], true);
    world
        .landfall(&["show", world.job()["id"].as_str().expect("an id")])
        .done()
        .says(&["the last record has no line end"]);
    let (world, _) = main_of("", "one\ntwo\n");
    assert_eq!(world.completed()["unterminated"], false);
    let world = World::new("output = { main = { path = \"out/{entry}\" } }");
    world.sh("printf 'one\\n' > a; printf 'two' > b; zip -q sample a b");
    world.ingest(&["sample.zip"]).done();
    let job = world.completed();
    assert_eq!(
        (&job["entries"][0]["unterminated"], &job["entries"][1]["unterminated"]),
        (&serde_json::Value::Null, &true.into())
    );
    let world = World::new("ready = { last_line = \"complete\" }");
    world.write("sample.txt", "one\ntw");
    world.refuses("sample.txt", &["the last record has no line end", "last_line"]);
}
