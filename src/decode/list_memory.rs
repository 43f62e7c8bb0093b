//! Memory for what is remembered of an archive's members: names met, links, what was passed over. Little of it is not asked for; more
//! is taken from the allowance before the list grows into it.

use super::context::Context;
use super::error::DecodeError;
use crate::allowance::Permit;

/// So much of it every source has.
const FREE_BYTES: u64 = 256 << 10;

#[derive(Default)]
pub(super) struct ListMemory {
    used: u64,
    permits: Vec<(u64, Permit)>,
}

impl ListMemory {
    /// Room for one more of so many bytes.
    pub(super) fn grow(&mut self, bytes: usize, context: &Context) -> Result<(), DecodeError> {
        self.used = self.used.saturating_add(bytes as u64);
        let taken: u64 = FREE_BYTES + self.permits.iter().map(|(bytes, _)| bytes).sum::<u64>();
        if self.used > taken {
            let wanted = taken.max(self.used - taken);
            let permit = context.take_memory("the list of its members", wanted, &context.place(""))?;
            self.permits.push((wanted, permit));
        }
        Ok(())
    }
}
