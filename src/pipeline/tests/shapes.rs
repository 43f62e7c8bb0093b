use super::*;
use crate::model::fault::Fault as _;
use crate::model::quoted::Quotes;

fn validate() -> Value {
    json!({ "step": "validate", "columns": { "amount": { "type": "decimal" } } })
}

#[test]
fn all_missing_columns_are_told_at_once_with_the_nearest_names() {
    let filter = json!({ "step": "filter", "keep": { "column": "state", "equals": "A" } });
    let rule = rule(csv(), &["invalid", "main"], &[validate(), filter]);
    let error = built(&rule).check_shape(&shape(&["id", "amuont", "x"])).expect_err("missing columns");
    insta::assert_snapshot!(error, @"step 1, validate needs column `amount`, which is not there; step 2, filter needs column `state`, which is not there");
    let hint = Quotes::Shown.within(|| error.hint());
    assert_eq!(hint.as_deref(), Some("perhaps the rule means `amuont` for `amount`"));
    assert!(built(&rule).check_shape(&shape(&["state", "amount"])).is_ok());
}

#[test]
fn columns_that_the_rule_tells_are_checked_beforehand() {
    let amounts = fixed(&[("id", 2), ("amuont", 3)]);
    assert_eq!(
        shown(&rule(amounts, &["invalid", "main"], &[validate()])),
        ["pipeline.0: there is no column `amount` here (did you mean `amuont`?)"]
    );
    let select = json!({ "step": "select", "columns": ["id"] });
    assert_eq!(
        shown(&rule(csv(), &["invalid", "main"], &[select, validate()])),
        ["pipeline.1: there is no column `amount` here"]
    );
    let filter = json!({ "step": "filter", "keep": { "column": "a", "equals": "A" } });
    assert_eq!(problems(&rule(Format::Lines, &["main"], &[filter])).len(), 1);
}

#[test]
fn categories_without_outputs_and_outputs_without_records_are_problems() {
    assert_eq!(
        shown(&rule(csv(), &["main"], &[validate()])),
        ["pipeline.0.to: category `invalid` has no output (give it [rule.output.invalid])"]
    );
    assert_eq!(problems(&rule(csv(), &["main", "other"], &[]))[0].key, ["output", "other"]);
    assert_eq!(problems(&rule(csv(), &[], &[]))[0].key, ["output", "main"]);
    let early = json!({ "step": "filter", "on": ["invalid"], "keep": { "empty": false } });
    assert_eq!(
        problems(&rule(csv(), &["invalid", "main"], &[early, validate()]))[0].key,
        ["pipeline", "0", "on", "0"]
    );
}

#[test]
fn records_of_different_columns_never_meet_in_a_category() {
    let select = json!({ "step": "select", "columns": ["amount"] });
    let found = problems(&rule(csv(), &["invalid", "main"], &[validate(), select.clone(), validate()]));
    assert_eq!(found[0].message, "records of different columns would meet in category `invalid`");
    assert!(problems(&rule(csv(), &["invalid", "main"], &[validate(), select])).is_empty());
}

#[test]
fn headers_are_repeated_byte_for_byte() {
    let mut rule = rule(csv(), &["invalid", "main"], &[validate()]);
    let annotated = rule.outputs.get_mut("invalid").expect("an output");
    (annotated.annotate, annotated.line_end) = (true, LineEnd::Crlf);
    let header = Some(Arc::new(b"\"id\", amount".to_vec()));
    let shape = EntryShape { header, ..EntryShape::clone(&shape(&["id", " amount"])) };
    let pipeline = built(&rule);
    assert_eq!(pipeline.header(0, &shape).as_deref(), Some(&b"\"id\", amount,_record,_reason\r\n"[..]));
    assert_eq!(pipeline.header(1, &shape).as_deref(), Some(&b"\"id\", amount\n"[..]));
    rule.outputs.get_mut("main").expect("an output").header = false;
    assert_eq!(built(&rule).header(1, &shape), None);
}

#[test]
fn annotations_say_number_and_reason() {
    let mut invalid = rule(csv(), &["invalid", "main"], &[validate()]);
    invalid.outputs.get_mut("invalid").expect("an output").annotate = true;
    let out = outcome(&invalid, &["id", "amount"], &["1,2", "2,x"]);
    assert_eq!(out, map(&[("invalid", "2,x,2,amount: not a decimal\n"), ("main", "1,2\n")]));
    let mut invalid = rule(Format::Jsonl, &["invalid", "main"], &[validate()]);
    invalid.outputs.get_mut("invalid").expect("an output").annotate = true;
    let out = outcome(&invalid, &[], &[r#"{"amount":"x"}"#, "oops"]);
    let expected = "{\"amount\":\"x\",\"_record\":1,\"_reason\":\"amount: not a decimal\"}\n{\"_text\":\"oops\",\"_record\":2,\"_reason\":\"not JSON\"}\n";
    assert_eq!(out, map(&[("invalid", expected)]));
    let mut lines = rule(Format::Lines, &["main"], &[]);
    lines.outputs.get_mut("main").expect("an output").annotate = true;
    assert_eq!(problems(&lines)[0].key, ["output", "main", "annotate"]);
}
