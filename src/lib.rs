//! SKELETON
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod decode;
pub mod durable_fs;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod record;
pub mod store;
pub mod watch;
