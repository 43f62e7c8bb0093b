//! csv against Python's reader in its strict mode: the same rows with the same values, and the same first record that is no csv.
//!
//! Not compared: carriage returns that end no line (Python ends a record there), what follows the first fault (Python stops at it),
//! and escapes outside of quotes (ordinary characters here).

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::format::fields::{csv_value, split_csv};

const TEXTS: u64 = 4000;

/// One line a text: its rows, and whether there is a fault behind them.
const PYTHON: &str = r#"
import csv, io, json, sys
for line in sys.stdin:
    text, escape = json.loads(line)
    rows, fault = [], False
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, escapechar=escape)
    try:
        for row in reader:
            if row:
                rows.append(row)
    except csv.Error:
        fault = True
    print(json.dumps([rows, fault]))
"#;

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }
}

/// Pieces in any order: most texts have a fault.
fn wild(numbers: &mut Numbers) -> String {
    let pieces = ["a", "b ", ",", ",", "\"", "\"", "\n", "\r\n", "\"\"", "\"x\"", ",\"y\n\",", "é"];
    (0..numbers.below(25)).map(|_| numbers.pick(&pieces)).collect()
}

/// Rows that are mostly right, as a sender writes them who doubles or escapes quotes, with now and then one that is not protected.
fn tame(numbers: &mut Numbers, escape: Option<&str>) -> String {
    let mut text = String::new();
    for _ in 0..=numbers.below(6) {
        for field in 0..=numbers.below(3) {
            text.push_str(if field > 0 { "," } else { "" });
            if numbers.below(3) == 0 {
                text.push_str(numbers.pick(&["1", "plain", "a b", "5\" pipe"]));
                continue;
            }
            text.push('"');
            for _ in 0..numbers.below(6) {
                let part = numbers.pick(&["x", ",", "\n", " ", "\"", "\\", "é", "\r\n"]);
                match (part, escape) {
                    ("\"", None) if numbers.below(12) == 0 => {}
                    ("\"" | "\\", Some(escape)) => text.push_str(escape),
                    ("\"", None) => text.push('"'),
                    _ => {}
                }
                text.push_str(part);
            }
            text.push_str(if numbers.below(12) == 0 { "\"x" } else { "\"" });
        }
        text.push_str(numbers.pick(&["\n", "\n", "\r\n"]));
    }
    text
}

fn python(texts: &[(String, Option<&str>)]) -> Vec<(Vec<Vec<String>>, bool)> {
    let mut child = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut stdin = child.stdin.take().expect("is piped");
    let lines: String = texts.iter().map(|text| serde_json::json!(text).to_string() + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    let answers = String::from_utf8(output.stdout).expect("JSON");
    answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Rows up to the first that is no csv, and whether there is one.
fn ours(text: &str, escape: Option<&str>) -> (Vec<Vec<String>>, bool) {
    let csv = Csv { escape: escape.map(|escape| escape.as_bytes()[0]), ..csv(false) };
    let whole = try_cut(text.as_bytes(), &records(Format::Csv(csv.clone()))).expect("is cut");
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    for slice in &whole.slices {
        for span in &slice.records {
            let record = of(slice, *span);
            if slice.oversized.is_some() || split_csv(record, &csv, &mut spans).is_err() {
                return (rows, true);
            }
            let value = |span| String::from_utf8_lossy(&csv_value(record, span, &csv)).into_owned();
            rows.push(spans.iter().copied().map(value).collect());
        }
    }
    (rows, false)
}

#[test]
fn rows_are_those_of_pythons_strict_reader_up_to_the_first_fault() {
    let mut numbers = Numbers(7);
    let texts: Vec<(String, Option<&str>)> = (0..TEXTS)
        .map(|index| match index % 3 {
            0 => (wild(&mut numbers), None),
            1 => (tame(&mut numbers, None), None),
            _ => (tame(&mut numbers, Some("\\")), Some("\\")),
        })
        .collect();
    let expected = python(&texts);
    assert_eq!(expected.len(), texts.len());
    let faults = expected.iter().filter(|(_, fault)| *fault).count();
    assert!(faults > texts.len() / 5 && faults < texts.len() * 4 / 5, "{faults} faults say little");
    for ((text, escape), expected) in texts.iter().zip(expected) {
        assert_eq!(ours(text, *escape), expected, "of {text:?} with escape {escape:?}");
    }
}
