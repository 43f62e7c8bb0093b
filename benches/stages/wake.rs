//! A sleeping worker woken, as `engine/board.rs` does it: a mutex and a condition variable.
//!
//! What it costs the one that wakes, and how long the sleeper takes to run. It has slept for a while, so its core may have gone idle.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const ROUNDS: u64 = 1000;
const SLEEP: Duration = Duration::from_micros(200);

#[derive(Default)]
struct Bell {
    rings: AtomicU64,
    gate: Mutex<()>,
    changed: Condvar,
    is_asleep: AtomicBool,
    woken: Mutex<Vec<Instant>>,
}

/// Medians.
pub fn measure() -> Value {
    let bell = Bell::default();
    let mut rung = Vec::new();
    let mut costs = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| bell.sleep_and_wake());
        for _ in 0..ROUNDS {
            while !bell.is_asleep.swap(false, Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            std::thread::sleep(SLEEP);
            let started = Instant::now();
            bell.ring();
            costs.push(started.elapsed());
            rung.push(started);
        }
    });
    let woken = bell.woken.into_inner().unwrap_or_else(PoisonError::into_inner);
    let latencies = rung.iter().zip(woken).map(|(rung, woken)| woken - *rung).collect();
    json!({ "cost_seconds": median(costs), "latency_seconds": median(latencies) })
}

impl Bell {
    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn sleep_and_wake(&self) {
        for seen in 0..ROUNDS {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            self.is_asleep.store(true, Ordering::SeqCst);
            while self.rings.load(Ordering::SeqCst) == seen {
                gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
            }
            drop(gate);
            let now = Instant::now();
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(now);
        }
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}
