//! SKELETON
/// The registered steps.
#[derive(Default)]
pub struct Registry;
impl Registry {
    /// The built-in steps.
    pub fn with_builtin_steps() -> Self { unimplemented!() }
}
