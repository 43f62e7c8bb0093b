//! What is left out of what is written, since it says nothing.

/// For serde's `skip_serializing_if`.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
