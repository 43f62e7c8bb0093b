use super::*;

/// The reason why a value is refused by these checks; none if it passes.
fn judged(format: Format, checks: &Value, line: &str) -> Option<String> {
    let rule =
        rule(format, &["invalid", "main"], &[json!({ "step": "validate", "columns": { "v": checks } })]);
    let result = run(&rule, &["v", "w"], &[line]);
    result.account.reasons.keys().next().cloned()
}

fn in_csv(checks: &Value, value: &str) -> Option<String> {
    judged(csv(), checks, &format!("{value},x"))
}

#[test]
fn validate_knows_its_types() {
    let cases = [
        ("integer", "12", "1.5", "v: not an integer"),
        ("decimal", "-12.50", "N/A", "v: not a decimal"),
        ("boolean", "TRUE", "yes", "v: not a boolean"),
        ("date", "2024-02-29", "2023-02-29", "v: not a date"),
        ("datetime", "2024-02-29T10:00:00Z", "10:00", "v: not a datetime"),
    ];
    for (kind, good, bad, reason) in cases {
        assert_eq!(in_csv(&json!({ "type": kind }), good), None, "{kind} {good}");
        assert_eq!(in_csv(&json!({ "type": kind }), bad).as_deref(), Some(reason), "{kind} {bad}");
        assert_eq!(
            in_csv(&json!({ "type": kind }), ""),
            None,
            "{kind}: only `required` judges an empty value"
        );
    }
    assert_eq!(in_csv(&json!({ "type": "string" }), "anything"), None);
    assert_eq!(in_csv(&json!({ "type": "date", "format": "%d.%m.%Y" }), "31.01.2026"), None);
}

#[test]
fn validate_knows_its_limits() {
    let cases = [
        (json!({ "required": true }), "", "v: missing"),
        (json!({ "type": "decimal", "min": 0, "max": 1e6 }), "-0.01", "v: below 0"),
        (json!({ "type": "decimal", "min": 0, "max": 1e6 }), "1000000.01", "v: above 1000000"),
        (json!({ "type": "date", "min": "2026-01-01" }), "2025-12-31", "v: below 2026-01-01"),
        (json!({ "type": "datetime", "max": "2026-01-01" }), "2026-01-01T00:00:01Z", "v: above 2026-01-01"),
        (json!({ "one_of": ["a", "b"] }), "c", "v: not one of those allowed"),
        (json!({ "matches": "^[A-Z]+$" }), "Ab", "v: does not match"),
        (json!({ "length_min": 3 }), "äö", "v: shorter than 3"),
        (json!({ "length_max": 1 }), "äö", "v: longer than 1"),
    ];
    for (checks, value, reason) in cases {
        assert_eq!(in_csv(&checks, value).as_deref(), Some(reason), "{checks}");
    }
    assert_eq!(in_csv(&json!({ "type": "decimal", "max": 1e6 }), "1000000.00"), None);
    assert_eq!(in_csv(&json!({ "length_max": 2 }), "äö"), None);
}

#[test]
fn validate_counts_the_fields_of_csv() {
    assert_eq!(judged(csv(), &json!({}), "a").as_deref(), Some("fewer than 2 fields"));
    assert_eq!(judged(csv(), &json!({}), "a,b,c").as_deref(), Some("more than 2 fields"));
    let lax = json!({ "step": "validate", "fields_exact": false });
    let rule = rule(csv(), &["invalid", "main"], &[lax]);
    assert_eq!(outcome(&rule, &["v", "w"], &["a", "a,b,c"]), map(&[("main", "a\na,b,c\n")]));
}

#[test]
fn validate_reads_json_and_refuses_what_is_none() {
    let decimal = json!({ "type": "decimal", "required": true });
    assert_eq!(judged(Format::Jsonl, &decimal, r#"{"v":1.5e3}"#), None);
    assert_eq!(judged(Format::Jsonl, &decimal, r#"{"v":"1.5"}"#), None);
    assert_eq!(judged(Format::Jsonl, &decimal, r#"{"v":true}"#).as_deref(), Some("v: not a decimal"));
    assert_eq!(judged(Format::Jsonl, &decimal, r#"{"v":null}"#).as_deref(), Some("v: missing"));
    assert_eq!(
        judged(Format::Jsonl, &json!({ "type": "string" }), r#"{"v":1}"#).as_deref(),
        Some("v: not a string")
    );
    assert_eq!(judged(Format::Jsonl, &decimal, "{oops").as_deref(), Some("not JSON"));
    assert_eq!(judged(Format::Jsonl, &decimal, r#"{"v":1}{"v":2}"#).as_deref(), Some("not JSON"));
    assert_eq!(judged(Format::Jsonl, &decimal, r#"{"v":1,"v":2}"#).as_deref(), Some("v: stands twice"));
}

fn kept(condition: &Value, value: &str) -> bool {
    let rule = rule(csv(), &["main"], &[json!({ "step": "filter", "keep": condition })]);
    let result = run(&rule, &["v", "w"], &[&format!("{value},x")]);
    assert_eq!(result.account.records_dropped() + result.chunks[0].records, 1);
    result.chunks[0].records == 1
}

#[test]
fn conditions_hold_as_they_say() {
    let cases = [
        (json!({ "equals": "A" }), "A", "a"),
        (json!({ "equals": 5 }), "5.0", "x"),
        (json!({ "not_equals": 5 }), "x", "5.00"),
        (json!({ "one_of": ["A", 7] }), "7.0", "B"),
        (json!({ "matches": "^A" }), "AB", "BA"),
        (json!({ "less_than": 10 }), "9", "10"),
        (json!({ "less_than": "10" }), "1", "9"),
        (json!({ "at_most": 10 }), "10.0", "10.01"),
        (json!({ "greater_than": 10 }), "11", "x"),
        (json!({ "at_least": 10 }), "10", "9"),
        (json!({ "at_least": "2026-01-01" }), "2026-02-01", "2025-02-01"),
        (json!({ "length_below": 3 }), "äö", "abc"),
        (json!({ "length_above": 2 }), "abc", "äö"),
        (json!({ "empty": true }), "", "x"),
        (json!({ "empty": false }), "x", ""),
    ];
    for (mut test, holds, fails) in cases {
        test["column"] = json!("v");
        assert!(kept(&test, holds), "{test} for {holds}");
        assert!(!kept(&test, fails), "{test} for {fails}");
        assert!(!kept(&json!({ "not": test.clone() }), holds), "not {test}");
        let never = json!({ "column": "w", "equals": "y" });
        assert!(!kept(&json!({ "all": [test.clone(), never.clone()] }), holds), "all {test}");
        assert!(kept(&json!({ "any": [never, test] }), holds), "any");
    }
    assert!(kept(&json!({ "equals": "A,x" }), "A"), "without a column it is the whole record");
}

#[test]
fn filter_drops_what_it_is_told_to_drop() {
    let drop = json!({ "step": "filter", "drop": { "equals": "b" } });
    let rule = rule(Format::Lines, &["main"], &[drop]);
    let result = run(&rule, &[], &["a", "b", "c"]);
    assert_eq!(texts(&rule, &result), map(&[("main", "a\nc\n")]));
    assert_eq!(result.account.dropped_by["step 1, filter"], 1);
}

#[test]
fn route_takes_the_first_condition_that_holds() {
    let when = json!([
        { "if": { "column": "v", "at_least": 100 }, "to": "large" },
        { "if": { "column": "v", "at_least": 10 }, "to": "middle" },
    ]);
    let rule = rule(csv(), &["large", "main", "middle"], &[json!({ "step": "route", "when": when })]);
    let out = outcome(&rule, &["v"], &["5", "50", "500", "x"]);
    assert_eq!(out, map(&[("large", "500\n"), ("main", "5\nx\n"), ("middle", "50\n")]));
}

#[test]
fn select_copies_columns_as_they_are_written() {
    let select = json!({ "step": "select", "columns": ["c", "a"], "rename": { "a": "x" } });
    let rule = rule(csv(), &["main"], &[select]);
    let out = outcome(&rule, &["a", "b", "c"], &["1,2,\"3,3\"", "1"]);
    assert_eq!(out, map(&[("main", "\"3,3\",1\n,1\n")]));
    let header = built(&rule).header(0, &shape(&["a", "b", "c"]));
    assert_eq!(header.as_deref(), Some(&b"c,x\n"[..]));
}

/// A blank line is no record to a reader of csv.
#[test]
fn a_row_of_one_empty_value_is_written_in_quotes() {
    let rule = rule(csv(), &["main"], &[json!({ "step": "select", "columns": ["b"] })]);
    let out = outcome(&rule, &["a", "b"], &["1,x", "2,", "3", "4,\"\""]);
    assert_eq!(out, map(&[("main", "x\n\"\"\n\"\"\n\"\"\n")]));
}

#[test]
fn select_on_json_makes_an_object_of_the_paths() {
    let select = json!({ "step": "select", "columns": ["n", "a.b", "zz"], "rename": { "a.b": "a.c" } });
    let rule = rule(Format::Jsonl, &["main"], &[select]);
    let lines = [r#"{"a":{"b":1.50,"x":2},"n":12345678901234567890123}"#, "[1]", r#"{"n":1,"n":2}"#];
    let result = run(&rule, &[], &lines);
    assert_eq!(
        texts(&rule, &result),
        map(&[("main", "{\"n\":12345678901234567890123,\"a\":{\"c\":1.50}}\n")])
    );
    assert_eq!(result.failed[0].error, "not a JSON object");
    assert_eq!(result.failed[1].error, "a key of `n` stands twice, and what it means is not known");
}

#[test]
fn select_on_fixed_keeps_the_widths() {
    let select = json!({ "step": "select", "columns": ["b", "a"] });
    let mut rule = rule(fixed(&[("a", 3), ("b", 4)]), &["main"], &[select]);
    let lines = ["  1ä  4", "12", "  1ä  4 and more"];
    let result = run(&rule, &["a", "b"], &lines);
    assert_eq!(texts(&rule, &result), map(&[("main", "ä  4  1\n")]));
    let errors: Vec<&str> = result.failed.iter().map(|failed| failed.error.as_str()).collect();
    let expected = [
        "2 characters, shorter than its fields (7 together)",
        "16 characters, longer than its fields (7 together)",
    ];
    assert_eq!(errors, expected);
    let Format::Fixed(fixed) = &mut rule.records.format else { unreachable!("made so") };
    fixed.on_misfit = OnMisfit::Allow;
    let lax = outcome(&rule, &["a", "b"], &lines);
    assert_eq!(lax, map(&[("main", "ä  4  1\n    12 \nä  4  1\n")]));
}

#[test]
fn a_record_that_does_not_fit_its_layout_fails_whether_a_step_sees_it_or_not() {
    let fields = fixed(&[("a", 2), ("b", 1)]);
    let check = json!({ "step": "validate", "columns": { "a": { "required": true } } });
    for steps in [vec![], vec![check]] {
        let outputs: &[&str] = if steps.is_empty() { &["main"] } else { &["invalid", "main"] };
        let rule = rule(fields.clone(), outputs, &steps);
        let result = run(&rule, &["a", "b"], &["äb1", "ab12", "a", "", "ab1\r2\r3\r"]);
        assert_eq!(texts(&rule, &result), map(&[("main", "äb1\n")]), "{steps:?}");
        let failed: Vec<_> =
            result.failed.iter().map(|failed| (failed.record, failed.step.as_str())).collect();
        assert_eq!(failed, [(2, "records"), (3, "records"), (4, "records"), (5, "records")]);
    }
}

/// Packed decimals hold bytes that look like UTF-8.
#[test]
fn raw_records_of_a_length_are_split_by_bytes() {
    let select = json!({ "step": "select", "columns": ["b"] });
    let mut rule = rule(fixed(&[("a", 2), ("b", 3)]), &["main"], &[select]);
    rule.decode.on_bad_encoding = OnBadEncoding::Raw;
    let Format::Fixed(fixed) = &mut rule.records.format else { unreachable!("made so") };
    fixed.record_length = Some(5);
    assert_eq!(outcome(&rule, &["a", "b"], &["ä123"]), map(&[("main", "123\n")]));
}

#[test]
fn misplaced_quotes_are_not_csv_wherever_a_step_looks() {
    let misplaced = ["\"a\"b,1", "\"x\" \"y\",1", "1,\"disk 12\\\"\"", "1,\"open", "\"\"\"a,1"];
    for line in misplaced {
        assert_eq!(judged(csv(), &json!({}), line).as_deref(), Some("not csv: a misplaced quote"), "{line}");
        let select = json!({ "step": "select", "columns": ["w"] });
        let result = run(&rule(csv(), &["main"], &[select]), &["v", "w"], &[line, "a,b"]);
        assert_eq!((result.failed.len(), result.chunks[0].records), (1, 1), "{line}");
        assert!(result.failed[0].error.starts_with("not csv: field "), "{}", result.failed[0].error);
        // Nobody looks: it comes out as it stands.
        let plain = outcome(&rule(csv(), &["main"], &[]), &["v", "w"], &[line]);
        assert_eq!(plain, map(&[("main", &format!("{line}\n"))]));
    }
    for line in ["5\" pipe,1", " \"a\",1", "\"say \"\"hi\"\"\",\"\""] {
        assert_eq!(judged(csv(), &json!({}), line), None, "{line}");
    }
    let Format::Csv(escaped) = csv() else { unreachable!("made so") };
    let escaped = Format::Csv(Csv { escape: Some(b'\\'), ..escaped });
    let select = json!({ "step": "select", "columns": ["w"] });
    let filter = json!({ "step": "filter", "keep": { "column": "w", "equals": r#"disk "12\" \n"# } });
    let rule = rule(escaped, &["main"], &[filter, select]);
    let lines = [r#"1,"disk \"12\\\" \n""#, r#"1,"disk ""12\\"" \n""#, r#"1,"12\""#];
    let result = run(&rule, &["v", "w"], &lines);
    assert_eq!(texts(&rule, &result), map(&[("main", &format!("{}\n{}\n", &lines[0][2..], &lines[1][2..]))]));
    assert_eq!(result.failed.len(), 1, "{:?}", result.failed);
}

#[test]
fn a_reason_behind_a_misquoted_record_stays_a_field_of_its_own() {
    let mut rule = rule(csv(), &["invalid", "main"], &[json!({ "step": "validate" })]);
    rule.outputs.values_mut().for_each(|output| output.annotate = true);
    let out = outcome(&rule, &["v", "w"], &["1,\"open", "1"]);
    let expected = "\"1,\"\"open\",1,not csv: a misplaced quote\n1,2,fewer than 2 fields\n";
    assert_eq!(out, map(&[("invalid", expected)]));
}

#[test]
fn a_record_between_separators_that_would_be_split_by_its_output_fails() {
    let separated = |format| {
        let mut rule = rule(format, &["main"], &[]);
        rule.records.separator = Some("~".into());
        rule
    };
    let cases: [(Format, &str, &str); 4] = [
        (Format::Lines, "a\nb", "ab"),
        (csv(), "a\nb,c", "\"a\nb\",c"),
        (Format::Jsonl, "{\n}", "\n{}\r\n"),
        (fixed(&[("a", 3)]), "a\nb", "abc"),
    ];
    for (format, split, whole) in cases {
        let mut rule = separated(format);
        let result = run(&rule, &["v", "w"], &[split, whole]);
        assert_eq!((result.failed.len(), result.chunks[0].records), (1, 1), "{split:?}");
        assert_eq!(texts(&rule, &result)["main"], format!("{}\n", whole.trim()));
        rule.outputs.values_mut().for_each(|output| output.line_end = LineEnd::None);
        assert!(run(&rule, &["v", "w"], &[split]).failed.is_empty(), "nothing ends records there");
    }
}

#[test]
fn reverse_turns_lines_around_by_characters() {
    let rule = rule(Format::Lines, &["main"], &[json!({ "step": "reverse" })]);
    assert_eq!(outcome(&rule, &[], &["abc", "äö", ""]), map(&[("main", "cba\nöä\n\n")]));
}

#[test]
fn parameters_that_make_no_sense_are_all_told() {
    let steps = [
        json!({ "step": "validte" }),
        json!({ "step": "validate", "columns": { "a": { "type": "decimel", "mni": 1 }, "b": 1 }, "to": "invald" }),
        json!({ "step": "filter" }),
        json!({ "step": "filter", "keep": { "column": "v" } }),
        json!({ "step": "filter", "keep": { "equals": 1, "empty": true } }),
        json!({ "step": "filter", "drop": { "matches": "(" } }),
        json!({ "step": "route", "by": "type" }),
        json!({ "step": "route", "when": [{ "to": "main" }, 1] }),
        json!({ "step": "select", "columns": ["a", "b"], "rename": { "c": "d", "a": "b" } }),
        json!({ "step": "select" }),
        json!({ "step": "reverse" }),
        json!({ "step": "exec", "command": [], "protocol": "json", "timeout": "soon" }),
        json!({ "step": "validate", "columns": { "a": { "type": "date", "format": "%d", "min": 3 }, "b": { "min": 1 },
            "c": { "length_min": 2, "length_max": 1 }, "d": { "type": "integer", "min": 2, "max": 1 } } }),
    ];
    insta::assert_debug_snapshot!(shown(&rule(csv(), &["invalid", "main"], &steps)));
}
