"""One file through the engine's stages, on a machine of so many cores: a simulation of discrete events.

     loader --queue--> workers --results--> whichever worker is next appends, orders checkpoints --> checkpointer, disk
        \--blocks--> content hash

It follows `engine/run.rs`: one loader, with a thread beside it that hashes the content, a worker for each hardware thread, 64 slices in hand at most, one collector at a time that takes
all that is next in order, no slices while the last checkpoint is on its way and the next is due, sleepers woken one by one. Whoever may
run shares the cores evenly with all others.

Not in it: what cores do to each other (locks that several want, caches, memory bandwidth), other jobs, and slices that go through the
store: the loader waits where memory is full. So what it says of many cores is a bound from above.
"""
import heapq
from collections import deque
from dataclasses import dataclass

IN_HAND_MAX = 64
CHECKPOINT_BYTES = 16 << 20
# `memory_max`, less the third that is for slices at work.
QUEUE_BYTES = (96 << 20) * 2 // 3
# Of text that the content's hash may be behind: three blocks under way, one filling.
HASH_BEHIND_BYTES = 4 * (256 << 10)
SPAN_BYTES = 8
BUSY = 0.97


@dataclass
class Costs:
    """Of one slice, in seconds of one thread, unless it says otherwise."""

    slices: int
    slice_bytes: float
    slice_records: float
    output_bytes: float
    load: float
    hash: float  # of the content; a worker's own is in `work`
    hand_over: float
    work: float
    collect: float
    checkpoint: float  # of one order
    sync: float  # of one checkpoint, by the processor
    wake: float  # of one sleeper
    wake_latency: float


@dataclass
class Machine:
    """`beside_load`, `beside_work`: how fast a thread runs on a core that it shares with a second one, while loading goes on and after."""

    cores: int
    threads_per_core: int = 1
    beside_load: float = 1.0
    beside_work: float = 1.0
    disk_bytes_per_second: float = float("inf")
    sync_seconds: float = 0.0

    @property
    def threads(self):
        return self.cores * self.threads_per_core

    def speed(self, runnable, is_loading):
        """Of each runnable thread; 1: that of a thread alone."""
        running = min(runnable, self.threads)
        pairs = max(0, running - self.cores)
        shared = self.beside_load if is_loading else self.beside_work
        return (running - 2 * pairs + 2 * pairs * shared) / runnable


class Simulation:
    """Threads ask for processor time with `run` and for a moment with `later`; both call back."""

    def __init__(self, costs, machine):
        self.costs, self.machine = costs, machine
        self.now = self.virtual = 0.0
        self.running, self.timers, self.sequence = [], [], 0
        self.is_loading = self.is_blocked = self.is_collecting = self.in_flight = False
        self.is_hashing = self.waits_for_hash = False
        self.unhashed, self.unhashed_max = 0, max(1, int(HASH_BEHIND_BYTES / costs.slice_bytes))
        self.loaded = self.sleepers = self.in_hand = self.next_slice = 0
        self.bytes_since, self.disk_done = 0.0, 0.0
        self.queue, self.pending = deque(), set()
        self.queue_max = max(1, int(QUEUE_BYTES / (costs.slice_bytes + SPAN_BYTES * costs.slice_records)))
        self.busy = dict.fromkeys(("cores", "loading", "content hash", "collecting", "disk"), 0.0)

    def outcome(self):
        """Seconds until all is collected and on the disk; the share of them in which each was busy."""
        self.load_next(0.0)
        for _ in range(self.machine.threads):
            self.look()
        while self.next_slice < self.costs.slices:
            self.step()
        seconds = max(self.now, self.disk_done)
        one_thread_each = max(self.costs.load, self.costs.hash, self.costs.collect)
        assert seconds > self.costs.slices * one_thread_each * 0.999, "no stage is faster than its one thread"
        return seconds, {name: busy / seconds for name, busy in self.busy.items()}

    def run(self, seconds, then, *about):
        self.sequence += 1
        heapq.heappush(self.running, (self.virtual + seconds, self.sequence, then, about))

    def later(self, moment, then):
        self.sequence += 1
        heapq.heappush(self.timers, (moment, self.sequence, then, ()))

    def step(self):
        speed = self.machine.speed(len(self.running), self.is_loading) if self.running else 1.0
        finish = self.now + (self.running[0][0] - self.virtual) / speed if self.running else float("inf")
        is_timer = bool(self.timers) and self.timers[0][0] <= finish
        moment = self.timers[0][0] if is_timer else finish
        self.account(moment - self.now)
        self.virtual += (moment - self.now) * speed
        self.now = moment
        _, _, then, about = heapq.heappop(self.timers if is_timer else self.running)
        then(*about)

    def account(self, passed):
        self.busy["cores"] += passed * min(1.0, len(self.running) / self.machine.threads)
        self.busy["loading"] += passed * self.is_loading
        self.busy["content hash"] += passed * self.is_hashing
        self.busy["collecting"] += passed * self.is_collecting
        self.busy["disk"] += passed * self.in_flight

    def load_next(self, waking):
        self.waits_for_hash = self.unhashed >= self.unhashed_max
        self.is_loading = self.loaded < self.costs.slices and not self.waits_for_hash
        if self.is_loading:
            self.run(waking + self.costs.load + self.costs.hand_over / 2, self.cut)

    def cut(self):
        self.unhashed += 1
        if not self.is_hashing:
            self.hash_next()
        self.put()

    def hash_next(self):
        self.is_hashing = self.unhashed > 0
        if self.is_hashing:
            self.run(self.costs.hash, self.hashed)

    def hashed(self):
        self.unhashed -= 1
        self.hash_next()
        if self.waits_for_hash:
            self.load_next(0.0)

    def put(self):
        self.is_blocked = len(self.queue) >= self.queue_max
        self.is_loading = not self.is_blocked
        if self.is_blocked:
            return
        self.queue.append(self.loaded)
        self.loaded += 1
        self.load_next(self.ring())

    def ring(self):
        """Wakes a sleeper; what that costs the one who does."""
        if not self.sleepers:
            return 0.0
        self.sleepers -= 1
        self.later(self.now + self.costs.wake_latency, self.look)
        return self.costs.wake

    def look(self):
        """A worker takes a slice, or sleeps."""
        waits = self.in_flight and self.bytes_since >= CHECKPOINT_BYTES
        if waits or not self.queue or self.in_hand >= IN_HAND_MAX:
            self.sleepers += 1
            return
        number = self.queue.popleft()
        self.in_hand += 1
        if self.is_blocked:
            self.is_blocked, self.is_loading = False, True
            self.run(self.costs.wake, self.put)
        self.run(self.costs.hand_over / 2 + self.costs.work, self.worked, number)

    def worked(self, number):
        self.pending.add(number)
        if self.is_collecting:
            self.order_if_due()
        else:
            self.is_collecting = True
            self.collect_next()

    def collect_next(self):
        if self.next_slice in self.pending:
            self.run(self.costs.collect, self.collected)
            return
        self.is_collecting = False
        self.run(self.ring(), self.order_if_due)

    def collected(self):
        self.pending.remove(self.next_slice)
        self.next_slice += 1
        self.in_hand -= 1
        self.bytes_since += self.costs.slice_bytes
        self.disk_done = max(self.disk_done, self.now) + self.costs.output_bytes / self.machine.disk_bytes_per_second
        self.collect_next()

    def order_if_due(self):
        if self.in_flight or self.bytes_since < CHECKPOINT_BYTES:
            self.look()
            return
        self.in_flight, self.bytes_since = True, 0.0
        self.run(self.costs.checkpoint, self.ordered)

    def ordered(self):
        self.run(self.costs.sync, self.synced)
        self.look()

    def synced(self):
        self.later(max(self.now, self.disk_done) + self.machine.sync_seconds, self.durable)

    def durable(self):
        self.in_flight = False
        while self.sleepers:
            self.ring()


def ended_by(busy):
    """The stage that ends it, and how busy it is."""
    if busy["cores"] >= BUSY:
        return "cores", busy["cores"]
    name = max((name for name in busy if name != "cores"), key=busy.get)
    return name, busy[name]
