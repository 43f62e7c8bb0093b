//! The built-in steps. Each file has a `plan` function, the step's factory.

pub mod condition;
pub mod dates;
pub mod exec;
pub mod filter;
pub mod reverse;
pub mod route;
pub mod select;
pub mod validate;
