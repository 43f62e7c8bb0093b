//! The built-in steps. Each file has a `plan` function, the step's factory.

use super::problem::Planned;

mod condition;
mod dates;
pub(crate) mod exec;
pub(super) mod filter;
pub(super) mod reverse;
pub(super) mod route;
pub(super) mod select;
pub(super) mod validate;
