//! Threads that look at file systems again and again, one for each or for each set of them: one that hangs holds up nobody else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::shared::Shared;
use super::threads::Threads;
use super::trouble::Trouble;
use crate::durable_fs;

/// Looks that wait for one thread: more would be out of date when it comes to them.
const WAITING_MAX: usize = 8;

type Look = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// The threads of one kind, by the names of their file systems.
pub(super) struct Lookers {
    threads: Threads,
    kind: &'static str,
    at: HashMap<Arc<str>, SyncSender<Look>>,
}

impl Lookers {
    pub(super) fn new(threads: &Threads, kind: &'static str) -> Self {
        Self { threads: threads.clone(), kind, at: HashMap::new() }
    }

    /// Has the thread of these file systems look; one that has much to look at already, or hangs, is left alone. Whether it will.
    pub(super) fn look(
        &mut self,
        shared: &Arc<Shared>,
        at: &Arc<str>,
        look: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> bool {
        let thread = match self.at.entry(Arc::clone(at)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => match begin(shared, &self.threads, self.kind) {
                Ok(thread) => place.insert(thread),
                Err(trouble) => {
                    tracing::warn!(kind = self.kind, error = %trouble.error, "file systems are not looked at");
                    return false;
                }
            },
        };
        thread.try_send(Box::new(look)).is_ok()
    }
}

fn begin(shared: &Arc<Shared>, threads: &Threads, kind: &'static str) -> Result<SyncSender<Look>, Trouble> {
    let (sender, looks) = sync_channel::<Look>(WAITING_MAX);
    threads.spawn(shared, &threads.next_name(kind), move |shared| {
        while let Ok(look) = looks.recv() {
            if shared.stop.is_asked() {
                return;
            }
            look(shared);
            durable_fs::leave_place();
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_file_system_that_hangs_holds_up_no_look_at_another_and_gathers_none() {
        let (world, threads) = (World::new(), Threads::default());
        let mut lookers = Lookers::new(&threads, "test");
        let [hangs, other]: [Arc<str>; 2] = ["/mnt/a".into(), "/".into()];
        let (answer, answered) = sync_channel::<()>(0);
        let (look, looked) = sync_channel(100);
        let began = look.clone();
        lookers.look(&world.shared, &hangs, move |_| {
            began.send(0).expect("is heard");
            answered.recv().expect("it answers");
        });
        assert_eq!(looked.recv(), Ok(0));
        for number in 1..=50 {
            let look = look.clone();
            lookers.look(&world.shared, &hangs, move |_| look.send(number).expect("is heard"));
        }
        let of_other = look.clone();
        lookers.look(&world.shared, &other, move |_| of_other.send(99).expect("is heard"));
        assert_eq!(looked.recv(), Ok(99));
        answer.send(()).expect("it hangs");
        drop((lookers, look)); // its threads end with it
        assert_eq!(looked.iter().collect::<Vec<_>>(), (1..=WAITING_MAX).collect::<Vec<_>>());
        threads.take().into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}
