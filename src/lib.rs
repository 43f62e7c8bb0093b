//! SKELETON
pub mod clock;
pub mod config;
pub mod decode;
pub mod durable_fs;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod record;
pub mod store;
pub mod watch;
