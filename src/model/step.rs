//! Steps: registered pieces of processing code, and the record they see.
//!
//! A [`Step`] takes one record at a time; a [`RunStep`] takes a run of records at once, for code that talks to
//! something slow. A [`StepPlan`] is what a step's factory makes of its parameters: how to make an instance, which
//! columns it reads and where it may send records. One instance serves one worker and one job, so a step may keep state,
//! but what becomes of a record must depend on the record alone: slices are worked on in any order and more than once.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::job_id::JobId;

/// A piece of processing code that takes one record at a time.
pub trait Step: Send {
    /// Decides what becomes of the record, and may change it. A panic costs an attempt of its slice.
    ///
    /// # Errors
    ///
    /// An error makes it a failed record, and the rest goes on. What [`Record`] says is to be passed on.
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError>;
}

/// A piece of processing code that takes a run of records of one slice at once.
pub trait RunStep: Send {
    /// Settles every record of the run.
    ///
    /// # Errors
    ///
    /// An error costs an attempt of the slice, and the step is made anew; see [`Broken`] for others.
    fn process_run(&mut self, run: &mut dyn Run) -> Result<(), Broken>;

    /// After the last run of the job, before anything of it is published: the last word on whether the results can be trusted.
    ///
    /// # Errors
    ///
    /// An error keeps the job from being published: it is as for [`RunStep::process_run`].
    fn end(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

/// The records of a slice that one [`RunStep`] sees, in order, by position from 0.
pub trait Run {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Takes one record through `process` and settles it by what that says.
    fn settle(
        &mut self,
        position: usize,
        process: &mut dyn FnMut(&mut Record<'_>) -> Result<Outcome, RecordError>,
    );
    /// Looks at a record, changing nothing.
    fn look(&mut self, position: usize, look: &mut dyn FnMut(&mut Record<'_>));
}

/// A category by its position in the pipeline's list. Factories get it from the categories they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CategoryId(pub(crate) u16);

impl CategoryId {
    /// As an index.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What becomes of a record at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, perhaps changed.
    On,
    /// It goes on in another category.
    To {
        /// The category, one of those that the step's plan names.
        category: CategoryId,
        /// Why; counted, so it must be one of a few texts and never hold a record's values.
        reason: Option<Reason>,
    },
    /// It ends here, counted by step.
    Dropped,
}

/// Why a record was sent to another category. Cheap to clone: make it once, with the step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reason(Arc<str>);

impl Reason {
    /// A reason of this text, like `amount: not a decimal`.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A step cannot take this record: it becomes a failed record and the rest goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(Cow<'static, str>, RecordErrorKind);

/// What steps tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordErrorKind {
    Other,
    /// More fields than a record may have.
    TooWide,
}

impl RecordError {
    /// An error of this text: lowercase, without a full stop.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into(), RecordErrorKind::Other)
    }

    pub(crate) fn too_wide(text: String) -> Self {
        Self(text.into(), RecordErrorKind::TooWide)
    }

    pub(crate) fn is_too_wide(&self) -> bool {
        self.1 == RecordErrorKind::TooWide
    }
}

/// A step cannot go on (its child died, it timed out): an attempt of the slice is spent. One that cannot even start holds
/// the job instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Broken {
    kind: BrokenKind,
    reason: String,
}

impl Broken {
    /// A break for this reason: lowercase, without a full stop.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { kind: BrokenKind::Broken, reason: reason.into() }
    }

    /// A break because what the step asked did not answer within this time.
    pub fn no_answer(within: Duration, reason: impl Into<String>) -> Self {
        Self { kind: BrokenKind::NoAnswer { within }, reason: reason.into() }
    }

    /// The step cannot be started here: no record is to blame, and the job waits until `hint` was followed.
    pub fn cannot_start(reason: impl Into<String>, hint: &'static str) -> Self {
        Self { kind: BrokenKind::CannotStart { hint }, reason: reason.into() }
    }

    /// The same where a file system does not answer that its start has to ask.
    pub fn hangs(reason: impl Into<String>, hint: &'static str) -> Self {
        Self { kind: BrokenKind::Hangs { hint }, reason: reason.into() }
    }

    /// Its earlier answers may be wrong as well: nothing of this job may stand, and it waits until `hint` was followed.
    pub fn untrusted(reason: impl Into<String>, hint: &'static str) -> Self {
        Self { kind: BrokenKind::Untrusted { hint }, reason: reason.into() }
    }

    /// How it broke.
    pub(crate) fn kind(&self) -> BrokenKind {
        self.kind
    }
}

/// How a step broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenKind {
    /// At a record, perhaps by the record.
    Broken,
    /// What it asked did not answer in time.
    NoAnswer {
        /// The time it had.
        within: Duration,
    },
    /// It was found to have lost count: which of its answers belong to which records cannot be told, also of slices before this one.
    Untrusted {
        /// What to do, as an imperative sentence without a full stop.
        hint: &'static str,
    },
    /// Before any record: a program is missing, a permission, a limit of the system.
    CannotStart {
        /// What to do, as an imperative sentence without a full stop.
        hint: &'static str,
    },
    /// Before any record: a file system does not answer that its start has to ask.
    Hangs {
        /// What to do, as an imperative sentence without a full stop.
        hint: &'static str,
    },
}

/// The value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The record has no such column: a short row, an absent key, JSON's `null`.
    Missing,
    /// Text, without quotes.
    Text(Cow<'a, [u8]>),
    /// A JSON value other than text and `null`, as it is written.
    Json(&'a [u8]),
}

impl Value<'_> {
    /// The value's bytes; nothing for a missing one.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Missing => b"",
            Self::Text(text) => text,
            Self::Json(json) => json,
        }
    }

    /// The value as text, with U+FFFD for what is not UTF-8.
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

/// A column that a step names, resolved for the entry at hand: a field's position, or for jsonl a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnRef(pub u32);

/// How a record's columns are read; the pipeline's side of [`Record`]. Answers are for the record's bytes as given, and are
/// kept until [`Columns::forget`]. What a format leaves out is as where records have no columns.
pub(crate) trait Columns {
    /// The value of a column.
    fn value<'r>(&'r mut self, _bytes: &'r [u8], _column: ColumnRef) -> Result<Value<'r>, RecordError> {
        Ok(Value::Missing)
    }
    /// The bytes of a column as they are written, quotes included; none where it is missing.
    fn raw<'r>(&'r mut self, _bytes: &'r [u8], _column: ColumnRef) -> Result<Option<&'r [u8]>, RecordError> {
        Ok(None)
    }
    /// Appends a record of these columns only, each as it is written (csv, fixed).
    fn select(&mut self, _bytes: &[u8], _of: &[ColumnRef], _out: &mut Vec<u8>) -> Result<(), RecordError> {
        Err(RecordError::new(NO_COLUMNS))
    }
    /// The column of this name.
    fn find(&mut self, name: &str) -> Option<ColumnRef> {
        let position = self.names().iter().position(|known| known == name);
        position.map(|position| ColumnRef(position as u32))
    }
    /// The names of the columns that the record should have (csv, fixed).
    fn names(&self) -> &[String] {
        &[]
    }
    /// Whether the record can be read at all (jsonl: is JSON).
    fn check(&mut self, _bytes: &[u8]) -> Result<(), RecordError> {
        Ok(())
    }
    /// Fields that the record has (csv, fixed).
    fn count(&mut self, _bytes: &[u8]) -> usize {
        0
    }
    /// Appends the record with other values in these columns, which are in order; all else stands as it stood, also behind the last column.
    fn write(
        &mut self,
        _bytes: &[u8],
        _other: &[NewValue<'_>],
        _out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        Err(RecordError::new(NO_COLUMNS))
    }
    /// The record has other bytes from now on.
    fn forget(&mut self) {}
}

/// A column, and what it is to say.
pub(crate) type NewValue<'v> = (ColumnRef, Cow<'v, [u8]>);

const NO_COLUMNS: &str = "records of this format have no columns to write";

/// A record as a step sees it.
pub struct Record<'a> {
    pub(crate) original: &'a [u8],
    pub(crate) changed: &'a mut Vec<u8>,
    pub(crate) is_changed: bool,
    pub(crate) number: u64,
    pub(crate) category: CategoryId,
    pub(crate) columns: &'a mut dyn Columns,
    pub(crate) wanted: &'a [ColumnRef],
}

impl Record<'_> {
    /// The record without its line end.
    pub fn bytes(&self) -> &[u8] {
        if self.is_changed { self.changed } else { self.original }
    }

    /// Puts other bytes in the record's place, without a line end.
    pub fn set_bytes(&mut self, bytes: &[u8]) {
        self.changed.clear();
        self.changed.extend_from_slice(bytes);
        self.is_changed = true;
        self.columns.forget();
    }

    /// Its number within the entry, from 1; header and skipped lines not counted.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The category it has so far.
    pub fn category(&self) -> CategoryId {
        self.category
    }

    /// The value of a column, by its position, from 0, among those that the step's plan names ([`StepPlan::reading`]);
    /// [`Value::Missing`] where the plan names no such.
    ///
    /// # Errors
    ///
    /// The record cannot be read (csv: misplaced quotes; jsonl: not JSON). Pass it on.
    pub fn column(&mut self, index: usize) -> Result<Value<'_>, RecordError> {
        let Some(&column) = self.wanted.get(index) else { return Ok(Value::Missing) };
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        self.columns.value(bytes, column)
    }

    /// The bytes of a column as they are written, quotes included; by position, from 0, among those that the step's plan names. None where
    /// it is missing.
    ///
    /// # Errors
    ///
    /// As [`Record::column`].
    pub fn raw_column(&mut self, index: usize) -> Result<Option<&[u8]>, RecordError> {
        let Some(&column) = self.wanted.get(index) else { return Ok(None) };
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        self.columns.raw(bytes, column)
    }

    /// Keeps the columns that the step's plan names and no others, in that order, each as it is written (csv, fixed).
    /// Only for a step whose plan says so ([`StepPlan::selecting`]). `scratch` is a buffer to keep between records.
    ///
    /// # Errors
    ///
    /// The record cannot be read, or its format has no columns to write. It is as it was then.
    pub fn keep_columns(&mut self, scratch: &mut Vec<u8>) -> Result<(), RecordError> {
        scratch.clear();
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        self.columns.select(bytes, self.wanted, scratch)?;
        self.set_bytes(scratch);
        Ok(())
    }

    /// The value of a column by its name; slower than [`Record::column`], and not checked beforehand: [`Value::Missing`] where there is
    /// none of this name.
    ///
    /// # Errors
    ///
    /// As [`Record::column`].
    pub fn column_named(&mut self, name: &str) -> Result<Value<'_>, RecordError> {
        let Some(column) = self.columns.find(name) else { return Ok(Value::Missing) };
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        self.columns.value(bytes, column)
    }

    /// The names of the columns, in order (csv, fixed); empty where the records have none.
    pub fn column_names(&self) -> &[String] {
        self.columns.names()
    }

    /// Whether the record can be read at all.
    ///
    /// # Errors
    ///
    /// It cannot (jsonl: not JSON).
    pub fn check(&mut self) -> Result<(), RecordError> {
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        self.columns.check(bytes)
    }

    /// Fields that the record has (csv, fixed); fewer or more than columns in a short or long row.
    pub fn field_count(&mut self) -> usize {
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        self.columns.count(bytes)
    }

    /// Gives a column another value, by its position among those that the step's plan names (csv, fixed). Everything else stands as it stood,
    /// also what lies behind the last column.
    ///
    /// # Errors
    ///
    /// The plan names no such column, the record cannot be read, its format has no columns to write (lines, jsonl), or the value does not fit
    /// (fixed: too wide). The record is as it was then.
    pub fn set_column(&mut self, index: usize, value: &[u8]) -> Result<(), RecordError> {
        let Some(&column) = self.wanted.get(index) else {
            return Err(RecordError::new(format!("the step's plan names no column {index}")));
        };
        self.write(&[(column, Cow::Borrowed(value))])
    }

    /// Gives all columns values, one for each of [`Record::column_names`] (csv, fixed). A column whose value is the same stands as it stood, and
    /// so does what lies behind the last one; a short row stays short as long as what it lacks stays empty.
    ///
    /// # Errors
    ///
    /// There are more or fewer values than columns; else as [`Record::set_column`].
    pub fn set_values(&mut self, values: &[Cow<'_, [u8]>]) -> Result<(), RecordError> {
        let columns = self.columns.names().len();
        if columns > 0 && columns != values.len() {
            return Err(RecordError::new(format!("{} values for {columns} columns", values.len())));
        }
        let values = (0_u32..).map(ColumnRef).zip(values.iter().map(|value| Cow::Borrowed(value.as_ref())));
        self.write(&values.collect::<Vec<_>>())
    }

    /// Writes those of the values that are others than the record has.
    fn write(&mut self, values: &[NewValue<'_>]) -> Result<(), RecordError> {
        let bytes: &[u8] = if self.is_changed { &*self.changed } else { self.original };
        let mut other = Vec::new();
        for (column, value) in values {
            if self.columns.value(bytes, *column)?.bytes() != value.as_ref() {
                other.push((*column, Cow::Borrowed(value.as_ref())));
            }
        }
        let mut written = Vec::new();
        self.columns.write(bytes, &other, &mut written)?;
        if written != bytes {
            self.set_bytes(&written);
        }
        Ok(())
    }
}

/// One instance of a step.
pub(crate) enum StepInstance {
    /// Takes a record at a time.
    Each(Box<dyn Step>),
    /// Takes a run of records at once.
    Runs(Box<dyn RunStep>),
}

/// What an instance of a step is told.
#[derive(Clone, Debug)]
pub struct StepStart {
    /// The job whose records it will see.
    pub job: JobId,
    /// The step as the rule names it: `step 2, exec`.
    pub name: String,
}

/// A column that a step writes: which it reads for it, and the new name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Position among the columns that the plan names.
    pub column: usize,
    /// Its name from here on.
    pub name: String,
}

/// What a factory makes of a step's parameters.
pub struct StepPlan {
    pub(crate) make: Box<dyn Fn(&StepStart) -> StepInstance + Send + Sync>,
    pub(crate) columns: Vec<String>,
    pub(crate) targets: Vec<CategoryId>,
    pub(crate) anywhere: bool,
    pub(crate) stays: bool,
    pub(crate) selected: Option<Vec<Selected>>,
}

impl StepPlan {
    /// A step that reads no columns and leaves records in their category. `make` is called for each worker and job.
    pub fn new<S: Step + 'static>(make: impl Fn(&StepStart) -> S + Send + Sync + 'static) -> Self {
        Self::of(Box::new(move |start| StepInstance::Each(Box::new(make(start)))))
    }

    /// The same for a step that takes runs.
    pub fn of_runs<S: RunStep + 'static>(make: impl Fn(&StepStart) -> S + Send + Sync + 'static) -> Self {
        Self::of(Box::new(move |start| StepInstance::Runs(Box::new(make(start)))))
    }

    fn of(make: Box<dyn Fn(&StepStart) -> StepInstance + Send + Sync>) -> Self {
        Self { make, columns: Vec::new(), targets: Vec::new(), anywhere: false, stays: true, selected: None }
    }

    /// The columns it reads, in the order in which [`Record::column`] counts them. They are checked before a record is read.
    #[must_use]
    pub fn reading(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The categories it may send records to.
    #[must_use]
    pub fn sending_to(mut self, targets: impl IntoIterator<Item = CategoryId>) -> Self {
        self.targets = targets.into_iter().collect();
        self
    }

    /// It may send records to any category whose records have the same columns; which ones is known only when it runs.
    #[must_use]
    pub fn sending_anywhere(mut self) -> Self {
        self.anywhere = true;
        self
    }

    /// No record stays in the category that it came in.
    #[must_use]
    pub fn leaving_none(mut self) -> Self {
        self.stays = false;
        self
    }

    /// Records have these columns from here on (csv, fixed).
    #[must_use]
    pub fn selecting(mut self, selected: Vec<Selected>) -> Self {
        self.selected = Some(selected);
        self
    }
}

impl fmt::Debug for StepPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepPlan")
            .field("columns", &self.columns)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}
