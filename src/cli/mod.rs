//! SKELETON
pub mod jobs;
pub mod records;
pub mod show;
mod view;
