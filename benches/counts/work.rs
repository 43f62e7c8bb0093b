//! Work: slices go through the pipeline, and what comes out is rendered and encoded as a worker does it.

use std::hint::black_box;
use std::sync::Arc;

use landfall::job::JobId;

use crate::world::World;
use crate::{Case, Failure};

pub(crate) fn prepare(world: &World) -> Result<Case<'_>, Failure> {
    let mut slices = Vec::new();
    let shape = Arc::new(world.read(|slice| slices.push(slice))?);
    let mut worker = world.pipeline.worker(JobId::from_parts(1, 1));
    Ok(Box::new(move || {
        let mut records = 0;
        for slice in &slices {
            let result = worker.run(slice, &shape)?;
            result.account.balance()?;
            for (category, chunk) in result.chunks.into_iter().enumerate() {
                records += chunk.records;
                black_box(world.outputs.encode(category, chunk.bytes, chunk.records));
            }
        }
        Ok(records)
    }))
}
