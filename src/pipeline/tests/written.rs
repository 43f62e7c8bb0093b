//! Promise: a step that gives some columns other values leaves everything else of the record as it stood, byte for byte.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::model::rule::OnMisfit;
use crate::model::step::{Outcome, Record, RecordError, Step, StepPlan};
use crate::pipeline::StepContext;
use crate::pipeline::params::Params;

/// Gives one column a value: by itself, or among the values of all columns.
struct Put {
    value: String,
    by_all: Option<usize>,
}

impl Step for Put {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        let Some(position) = self.by_all else {
            record.set_column(0, self.value.as_bytes())?;
            return Ok(Outcome::On);
        };
        let mut values: Vec<Cow<'_, [u8]>> = Vec::new();
        for name in record.column_names().to_vec() {
            values.push(Cow::Owned(record.column_named(&name)?.bytes().to_vec()));
        }
        values[position] = Cow::Owned(self.value.as_bytes().to_vec());
        record.set_values(&values)?;
        Ok(Outcome::On)
    }
}

fn put(
    parameters: &serde_json::Map<String, Value>,
    _: &StepContext<'_>,
) -> Result<StepPlan, Vec<PipelineProblem>> {
    let mut params = Params::new(parameters);
    let (column, value) = (params.text("column").map(str::to_owned), params.text("value").map(str::to_owned));
    let by_all = params.count("by_all").map(|position| position as usize);
    let (column, value) = params.finish(column.zip(value))?;
    Ok(StepPlan::new(move |_| Put { value: value.clone(), by_all }).reading([column]))
}

/// What becomes of a record whose column at this position gets a value, in both ways, which must agree.
fn written(format: &Format, columns: &[&str], position: usize, value: &str, record: &str) -> Vec<u8> {
    let mut registry = Registry::with_builtin_steps();
    registry.register("put", put);
    let ways = [json!(null), json!(position)].map(|by_all| {
        let mut step = json!({ "step": "put", "column": columns[position], "value": value });
        if !by_all.is_null() {
            step["by_all"] = by_all;
        }
        let rule = rule(format.clone(), &["main"], &[step]);
        let Ok(pipeline) = Pipeline::build(&rule, &registry) else { panic!("it is built") };
        let mut worker = Arc::new(pipeline).worker(JobId::from_parts(1, 1));
        let result = worker.run(&slice(&[record]), &shape(columns)).expect("a result");
        assert_eq!(result.failed, [], "{record}");
        result.chunks[0].bytes.strip_suffix(b"\n").expect("a line end").to_vec()
    });
    assert_eq!(ways[0], ways[1], "{record}");
    let [one, _] = ways;
    one
}

/// A field as it may stand in a file, and what it says.
fn field() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        "[a-c ]{0,4}".prop_map(|text| (text.clone(), text)),
        "[a-c, ]{0,4}".prop_map(|text| (format!("\"{text}\""), text)),
        "[a-c]{0,2}".prop_map(|text| (format!("\"{text}\"\"\""), format!("{text}\""))),
    ]
}

proptest! {
    #[test]
    fn other_fields_of_a_csv_row_stand_as_they_stood_however_many_it_has(
        fields in prop::collection::vec(field(), 1..7),
        position in 0usize..4,
        value in "[x-z]{1,3}",
    ) {
        let columns = ["a", "b", "c", "d"];
        let raw: Vec<&str> = fields.iter().map(|(raw, _)| raw.as_str()).collect();
        prop_assume!(!raw.join(",").is_empty());
        let mut expected = raw.clone();
        expected.resize(expected.len().max(position + 1), "");
        expected[position] = &value;
        let record = raw.join(",");
        let written = written(&csv(), &columns, position, &value, &record);
        prop_assert_eq!(String::from_utf8(written).expect("text"), expected.join(","));
    }

    #[test]
    fn a_value_that_is_the_same_changes_nothing(fields in prop::collection::vec(field(), 1..7), position in 0usize..4) {
        let columns = ["a", "b", "c", "d"];
        let record = fields.iter().map(|(raw, _)| raw.as_str()).collect::<Vec<_>>().join(",");
        prop_assume!(!record.is_empty());
        let same = fields.get(position).map_or("", |(_, says)| says.as_str());
        let written = written(&csv(), &columns, position, same, &record);
        prop_assert_eq!(String::from_utf8(written).expect("text"), record);
    }

    #[test]
    fn other_fields_of_a_fixed_record_keep_their_blanks_and_so_does_what_lies_behind_them(
        record in "[ab ]{0,14}",
        position in 0usize..3,
        value in "[x-z]{1,3}",
    ) {
        let (columns, widths) = (["a", "b", "c"], [3usize, 4, 3]);
        let Format::Fixed(fixed) = fixed(&[("a", 3), ("b", 4), ("c", 3)]) else { panic!("it is fixed") };
        let format = Format::Fixed(Fixed { on_misfit: OnMisfit::Allow, ..fixed });
        let start: usize = widths[..position].iter().sum();
        let end = start + widths[position];
        // What a short record lacks before the column are blanks.
        let before = format!("{record:<start$}");
        let behind = record.get(end..).unwrap_or_default();
        let expected = format!("{}{value:<width$}{behind}", &before[..start], width = widths[position]);
        let written = written(&format, &columns, position, &value, &record);
        prop_assert_eq!(String::from_utf8(written).expect("text"), expected);
    }
}

#[test]
fn a_value_for_no_column_and_too_few_values_are_errors() {
    struct Wrong(bool);
    impl Step for Wrong {
        fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
            if self.0 {
                record.set_column(7, b"x")?;
            } else {
                record.set_values(&[Cow::Borrowed(b"x")])?;
            }
            Ok(Outcome::On)
        }
    }
    for (is_column, error) in [(true, "the step's plan names no column 7"), (false, "1 values for 2 columns")]
    {
        let mut registry = Registry::with_builtin_steps();
        registry.register("wrong", move |_: &_, _: &StepContext<'_>| {
            Ok(StepPlan::new(move |_| Wrong(is_column)))
        });
        let Ok(pipeline) = Pipeline::build(&rule(csv(), &["main"], &[json!({ "step": "wrong" })]), &registry)
        else {
            panic!("it is built")
        };
        let result =
            Arc::new(pipeline).worker(JobId::from_parts(1, 1)).run(&slice(&["1,2"]), &shape(&["a", "b"]));
        assert_eq!(result.expect("a result").failed[0].error, error);
    }
}
