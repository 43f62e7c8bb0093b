//! The dashboard: a page in the browser that asks and does by the API what commands do.
//!
//! # Invariants
//! - Everything that it loads is in this program: a page asks no other host, and holds no script of its own text (see `POLICY`).
//! - It reads and changes nothing by itself: what it shows comes from the API, and each act is one of the API's.
//! - A session is good for requests of its own page alone (`check_own_page`), and no longer than the service runs.

mod assets;
mod sessions;

pub(super) use assets::{answer, paths};
pub(super) use sessions::{Session, Sessions, check_no_foreign_page, check_own_page, told, user_of_proxy};
