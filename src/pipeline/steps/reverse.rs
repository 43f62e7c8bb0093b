//! `reverse`: turns each line around, by characters.

use serde_json::{Map, Value};

use super::Planned;
use crate::model::step::{Outcome, Record, RecordError, Step, StepPlan};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;

/// Characters are Unicode scalar values: a letter and an accent that is written apart from it change places.
#[derive(Default)]
struct Reverse {
    reversed: Vec<u8>,
}

pub(crate) fn plan(table: &Map<String, Value>, context: &StepContext<'_>) -> Planned {
    let mut params = Params::new(table);
    if context.format.has_columns() {
        let hint = "set `records.format` to \"lines\", or leave this step out";
        params.problem("step", "`reverse` works on the lines format only".into(), Some(hint.into()));
    }
    params.finish(Some(()))?;
    Ok(StepPlan::new(|_| Reverse::default()))
}

impl Step for Reverse {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        let Ok(text) = std::str::from_utf8(record.bytes()) else {
            return Err(RecordError::new("not UTF-8"));
        };
        self.reversed.clear();
        let mut buffer = [0; 4];
        for character in text.chars().rev() {
            self.reversed.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
        record.set_bytes(&self.reversed);
        Ok(Outcome::On)
    }
}
