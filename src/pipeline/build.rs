//! Builds a rule's pipeline: every step's plan, and where records can get to with which columns.

use std::sync::Arc;

use super::context::{StepContext, no_output};
use super::inspect::Inspection;
use super::plan::{Pipeline, PlannedStep, Rendering};
use super::problem::{PipelineProblem, Planned};
use super::registry::Registry;
use super::schema::Schema;
use crate::format::{self, Layout, RecordFormat, Unit, path_of};
use crate::model::category::Category;
use crate::model::nearest::nearest;
use crate::model::overriding::Override;
use crate::model::rule::{Rule, StepSpec};
use crate::model::step::StepPlan;

/// What a tracked pipeline leads to: the categories that records can have so far, with their columns.
struct Tracker<'a> {
    categories: &'a [Category],
    entry: Option<Arc<Layout>>,
    keeps_shapes: bool,
    now: Vec<Option<Schema>>,
    problems: Vec<PipelineProblem>,
}

impl Pipeline {
    /// Builds every step; all problems at once.
    ///
    /// An override may leave out the steps that made a category, and a shadow's pipeline may end early: then an output that nobody wrote for
    /// it, and that no record can get to, is not there.
    pub fn build(rule: &Rule, registry: &Registry) -> Result<Self, Vec<PipelineProblem>> {
        let is_inherited = |category: &Category| {
            let is_left_out = |it: &Override| !it.says(&format!("output.{category}"));
            registry.cuts_off() || rule.overriding.as_ref().is_some_and(is_left_out)
        };
        let mut categories: Vec<Category> = rule.outputs.keys().cloned().collect();
        loop {
            let (built, unmade) = Self::build_for(rule, registry, categories.clone());
            let known = categories.len();
            categories.retain(|category| !(is_inherited(category) && unmade.contains(category)));
            if categories.len() == known {
                return built;
            }
        }
    }

    /// With outputs for these categories; and those that no record can get to.
    fn build_for(
        rule: &Rule,
        registry: &Registry,
        mut categories: Vec<Category>,
    ) -> (Result<Self, Vec<PipelineProblem>>, Vec<Category>) {
        let format = format::of(&rule.records);
        let context = StepContext {
            records: &rule.records,
            format: &format,
            base_dir: &rule.base_dir,
            categories: &categories,
            surroundings: registry.surroundings(),
        };
        let mut problems = Vec::new();
        let mut plans: Vec<Option<StepPlan>> = Vec::new();
        for (position, spec) in rule.pipeline.iter().enumerate() {
            let plan = make_plan(position, spec, registry, &context);
            plans.push(plan.map_err(|found| problems.extend(found)).ok());
        }
        let outputs = categories.iter().filter_map(|category| rule.outputs.get(category));
        let outputs: Vec<Rendering> = outputs.map(Rendering::new).collect();
        let main =
            categories.iter().position(|category| category.as_str() == Category::MAIN).unwrap_or_else(|| {
                categories.push(Category::main());
                categories.len() - 1
            });
        check_outputs(rule, &*format, &mut problems);
        let mut tracker = Tracker::new(&categories, main, &*format);
        let complete = plans.iter().all(Option::is_some);
        let mut steps = Vec::new();
        for (position, (spec, plan)) in rule.pipeline.iter().zip(plans).enumerate() {
            steps.extend(tracker.step(position, spec, plan));
        }
        let unmade = if complete { tracker.end(outputs.len(), main) } else { Vec::new() };
        let Tracker { now: at_end, problems: found_on_the_way, .. } = tracker;
        problems.extend(found_on_the_way);
        let paths = paths_of(&*format, &steps);
        let pipeline = Self {
            format,
            records: rule.records.clone(),
            unit: Unit::of(&rule.records, &rule.decode),
            inspection: Inspection::of(rule),
            categories,
            outputs,
            main,
            steps,
            at_end,
            paths,
        };
        problems.extend(pipeline.column_problems());
        (if problems.is_empty() { Ok(pipeline) } else { Err(problems) }, unmade)
    }

    fn column_problems(&self) -> Vec<PipelineProblem> {
        let mut problems = Vec::new();
        for missing in self.missing_before_any_entry() {
            let key = vec!["pipeline".to_owned(), missing.position.to_string()];
            let told = self.format.no_column(&missing.column, missing.nearest.as_deref());
            let Some((message, hint)) = told else { continue };
            problems.push(PipelineProblem { key, message, hint });
        }
        problems
    }
}

fn make_plan(position: usize, spec: &StepSpec, registry: &Registry, context: &StepContext<'_>) -> Planned {
    let place = ["pipeline".to_owned(), position.to_string()];
    let Some(factory) = registry.factory(&spec.step) else {
        let hint = match nearest(&spec.step, registry.names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are: {}", registry.names().collect::<Vec<_>>().join(", ")),
        };
        let key = place.into_iter().chain(["step".to_owned()]).collect();
        return Err(vec![PipelineProblem {
            key,
            message: format!("unknown step `{}`", spec.step),
            hint: Some(hint),
        }]);
    };
    factory(&spec.params, context).map_err(|mut problems| {
        for problem in &mut problems {
            problem.key.splice(..0, place.iter().cloned());
        }
        problems
    })
}

fn check_outputs(rule: &Rule, format: &dyn RecordFormat, problems: &mut Vec<PipelineProblem>) {
    for (category, output) in &rule.outputs {
        if output.annotate && !format.may_annotate() {
            problems.push(PipelineProblem {
                key: vec!["output".into(), category.to_string(), "annotate".into()],
                message: "`annotate` is for csv and jsonl only".into(),
                hint: Some("leave it out".into()),
            });
        }
    }
}

fn paths_of(format: &dyn RecordFormat, steps: &[PlannedStep]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    if format.has_paths() {
        for column in steps.iter().flat_map(|step| &step.plan.columns) {
            let path = path_of(column);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

impl<'a> Tracker<'a> {
    fn new(categories: &'a [Category], main: usize, format: &dyn RecordFormat) -> Self {
        let now = (0..categories.len()).map(|position| (position == main).then_some(Schema::Entry)).collect();
        Self {
            categories,
            entry: format.layout(),
            keeps_shapes: format.is_tabular(),
            now,
            problems: Vec::new(),
        }
    }

    /// Follows the records through a step; a step that could not be planned leaves everything possible.
    fn step(&mut self, position: usize, spec: &StepSpec, plan: Option<StepPlan>) -> Option<PlannedStep> {
        let seen = self.seen_by(position, spec, plan.is_some());
        let Some(plan) = plan else {
            // Its problems are told; what it would have done must not lead to others.
            self.now.iter_mut().for_each(|schema| *schema = schema.take().or(Some(Schema::Entry)));
            return None;
        };
        let mut before = vec![None; self.categories.len()];
        let mut may_send_to = vec![false; self.categories.len()];
        let mut arriving = Vec::new();
        for category in seen {
            let Some(schema) = self.now.get(category).cloned().flatten() else { continue };
            let after = self.after(&schema, &plan);
            if let Some(now) = self.now.get_mut(category) {
                *now = plan.stays.then(|| after.clone());
            }
            if let Some(slot) = before.get_mut(category) {
                *slot = Some(schema);
            }
            if plan.anywhere {
                self.arrive_anywhere(&after, &mut may_send_to);
            }
            arriving.extend(plan.targets.iter().map(|target| (target.index(), after.clone())));
        }
        for (target, schema) in arriving {
            if let Some(may) = may_send_to.get_mut(target) {
                *may = true;
            }
            self.arrive(position, target, schema);
        }
        Some(PlannedStep { name: format!("step {}, {}", position + 1, spec.step), plan, before, may_send_to })
    }

    fn after(&self, schema: &Schema, plan: &StepPlan) -> Schema {
        match &plan.selected {
            Some(selected) if self.keeps_shapes => {
                schema.select(&plan.columns, selected, self.entry.as_ref())
            }
            _ => schema.clone(),
        }
    }

    /// The positions of the categories in `on`; those that no record can have are problems.
    fn seen_by(&mut self, position: usize, spec: &StepSpec, planned: bool) -> Vec<usize> {
        let mut seen = Vec::new();
        for (index, name) in spec.on.iter().enumerate() {
            let key = vec!["pipeline".to_owned(), position.to_string(), "on".to_owned(), index.to_string()];
            match self.categories.iter().position(|category| category == name) {
                Some(found) if self.now.get(found).is_some_and(Option::is_some) => {
                    if !seen.contains(&found) {
                        seen.push(found);
                    }
                }
                Some(_) if planned => {
                    let message = format!("no record can have category `{name}` here");
                    let hint =
                        "no step before this one sends records there, or they went on to another category";
                    self.problems.push(PipelineProblem { key, message, hint: Some(hint.into()) });
                }
                Some(_) => {}
                None => self.problems.push(no_output(name.as_str(), key, self.categories)),
            }
        }
        if spec.on.is_empty() {
            let key = vec!["pipeline".to_owned(), position.to_string(), "on".to_owned()];
            let hint = Some("name at least one category, like on = [\"main\"]".to_owned());
            self.problems.push(PipelineProblem {
                key,
                message: "`on` is empty: the step sees no record".into(),
                hint,
            });
        }
        seen
    }

    /// Opens every category whose records have these columns, or that has none so far.
    fn arrive_anywhere(&mut self, schema: &Schema, may_send_to: &mut [bool]) {
        for (now, may) in self.now.iter_mut().zip(may_send_to) {
            let there = now.get_or_insert_with(|| schema.clone());
            *may = *may || !self.keeps_shapes || there.is_same(schema, self.entry.as_ref());
        }
    }

    fn arrive(&mut self, position: usize, target: usize, schema: Schema) {
        let Some(now) = self.now.get_mut(target) else { return };
        match now {
            Some(there) if self.keeps_shapes && !there.is_same(&schema, self.entry.as_ref()) => {
                let name = self.categories.get(target).map_or("", Category::as_str);
                let key = vec!["pipeline".to_owned(), position.to_string()];
                let message = format!("records of different columns would meet in category `{name}`");
                let hint = "use `select` on every way into it, or send these records to another category";
                self.problems.push(PipelineProblem { key, message, hint: Some(hint.into()) });
            }
            Some(_) => {}
            None => *now = Some(schema),
        }
    }

    /// What is left over at the end: records without an output; and outputs without records, which are given back.
    fn end(&mut self, outputs: usize, main: usize) -> Vec<Category> {
        let mut unmade = Vec::new();
        for (position, category) in self.categories.iter().enumerate() {
            let is_reached = self.now.get(position).is_some_and(Option::is_some);
            let key = vec!["output".to_owned(), category.to_string()];
            if is_reached && position >= outputs {
                let message = format!("records end in category `{category}`, which has no output");
                let hint = Some(format!("give it [rule.output.{category}]"));
                self.problems.push(PipelineProblem { key, message, hint });
            } else if !is_reached && position < outputs && position != main {
                let message =
                    format!("no step sends records to category `{category}`, or they all go on to another");
                let hint = Some(format!("leave out [rule.output.{category}], or send records there"));
                self.problems.push(PipelineProblem { key, message, hint });
                unmade.push(category.clone());
            }
        }
        unmade
    }
}
