//! Clients upload at random, in every manner, while the service is killed: what a client saw succeed comes out whole and once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::manner::{Format, Halted, Manner, local};
use super::support::random::{Random, seed};
use super::support::sftp::{ROOT, SshServer};
use super::support::{World, remove};
use super::{TRUSTS, landing_zone};

const CLIENTS: u64 = 5;
const READY: &str = "stable_for = \"3s\", linger = \"1s\"";
/// What waits at the end is taken within this.
const DRAINED_WITHIN: Duration = Duration::from_mins(3);
/// Sent again after a client failed, as its user would.
const TRIES: usize = 3;

/// What clients saw of their uploads, by the files' texts, which all differ.
#[derive(Default)]
struct Seen {
    succeeded: BTreeMap<u64, String>,
    bytes: u64,
    broken_off: u64,
    failed: Vec<String>,
}

#[test]
#[ignore = "takes minutes: `tests/run soak`"]
fn every_upload_that_its_client_saw_succeed_comes_out_once_whatever_is_killed() {
    let minutes = std::env::var("LANDFALL_TEST_MINUTES").map_or(2, |text| text.parse().expect("a number"));
    let ends = Instant::now() + Duration::from_mins(minutes);
    let mut random = Random::seeded();
    let (world, server, service) = landing_zone(READY, "");
    let (seen, is_over) = (Mutex::new(Seen::default()), AtomicBool::new(false));
    let (mut service, mut kills) = (Some(service), 0);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = Client { world: &world, server: &server, seen: &seen, number };
            let is_over = &is_over;
            scope.spawn(move || client.upload_until(is_over));
        }
        while Instant::now() < ends {
            thread::sleep(Duration::from_millis(random.below(6_000)));
            service.take().expect("it was started").kill();
            kills += 1;
            thread::sleep(Duration::from_millis(random.below(500)));
            service = Some(world.start());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut service = service.expect("it was started");
    let began = Instant::now();
    while !is_drained(&world) {
        assert!(service.exited().is_none(), "the service ended: {}", service.log());
        assert!(began.elapsed() < DRAINED_WITHIN, "these are not taken: {:#?}", world.files(ROOT));
        thread::sleep(Duration::from_millis(100));
    }
    service.stop();
    account(&world, &seen.into_inner().expect("no client failed the test"), kills);
}

/// Nothing waits and nothing is claimed; what broke off for good may lie there under its temporary name, or in quarantine.
fn is_drained(world: &World) -> bool {
    world.files(ROOT).iter().all(|name| {
        let file = name.rsplit('/').next().unwrap_or_default();
        name.contains("/.landfall/quarantine/")
            || Path::new(file).extension().is_some_and(|end| end == "part")
            || file.starts_with('.')
    })
}

/// Holds what came out against what clients saw succeed, and prints the sum.
fn account(world: &World, seen: &Seen, kills: u64) {
    let mut outputs: BTreeMap<u64, u64> = BTreeMap::new();
    for name in world.files("out") {
        *outputs.entry(hash(&world.bytes(format!("out/{name}")))).or_default() += 1;
    }
    let times = |text: &u64| outputs.get(text).copied().unwrap_or(0);
    let lost: Vec<_> = seen.succeeded.iter().filter(|(text, _)| times(text) == 0).map(|it| it.1).collect();
    let doubled: Vec<_> = seen.succeeded.iter().filter(|(text, _)| times(text) > 1).map(|it| it.1).collect();
    println!(
        "{} files, {} bytes, {} broken off, {} clients failed, {kills} kills, {} lost, {} doubled",
        seen.succeeded.len(),
        seen.bytes,
        seen.broken_off,
        seen.failed.len(),
        lost.len(),
        doubled.len()
    );
    for failure in &seen.failed {
        println!("failed: {failure}");
    }
    assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:#?}, doubled: {doubled:#?}");
    assert!(!seen.succeeded.is_empty() && kills > 0, "nothing was tried");
}

struct Client<'t> {
    world: &'t World,
    server: &'t SshServer,
    seen: &'t Mutex<Seen>,
    number: u64,
}

impl Client<'_> {
    fn upload_until(&self, is_over: &AtomicBool) {
        let mut random = Random::new(seed() + 1 + self.number);
        for turn in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let trust = random.one_of(&TRUSTS).expect("there are some");
            match random.below(10) {
                0 => self.breaks_off_and_comes_back(turn, &mut random, trust),
                1 => self.stalls(turn, &mut random, trust),
                _ => self.uploads(turn, &mut random, trust),
            }
        }
    }

    fn uploads(&self, turn: u64, random: &mut Random, trust: &str) {
        let manner = *random.one_of(&Manner::ALL).expect("there are some");
        let names: Vec<_> = (0..=random.below(3))
            .map(|part| {
                let format = *random.one_of(&Format::ALL).expect("there are some");
                let name = format!("{}-{turn}-{part}-{}", self.number, manner.file(format));
                self.make(&name, format, 1 + random.below(300));
                name
            })
            .collect();
        self.send(manner, &names, trust);
    }

    /// Half a plain file under its own name looks like a file: only what proves its end, or is renamed, is broken off here.
    fn breaks_off_and_comes_back(&self, turn: u64, random: &mut Random, trust: &str) {
        const MANNERS: [(Manner, Format); 8] = [
            (Manner::Sftp, Format::Gzip),
            (Manner::SftpRename, Format::Plain),
            (Manner::SftpRename, Format::Gzip),
            (Manner::Scp, Format::Gzip),
            (Manner::Rsync, Format::Plain),
            (Manner::RsyncPartial, Format::Gzip),
            (Manner::RsyncInplace, Format::Gzip),
            (Manner::Paramiko, Format::Gzip),
        ];
        let (manner, format) = *random.one_of(&MANNERS).expect("there are some");
        let name = format!("{}-{turn}-off-{}", self.number, manner.file(format));
        let text = self.make(&name, format, 10_000);
        if !manner.break_off(self.server, self.world, &name, trust) {
            return self.succeeded(&name, text);
        }
        self.seen().broken_off += 1;
        thread::sleep(Duration::from_millis(random.below(5_000)));
        self.send(manner, &[name], trust);
    }

    fn stalls(&self, turn: u64, random: &mut Random, trust: &str) {
        let format = *random.one_of(&Format::ALL).expect("there are some");
        let name = format!("{}-{turn}-stalls-{}", self.number, format.name());
        let text = self.make(&name, format, 1 + random.below(2_000));
        let halted = Halted::start(self.server, self.world, &name, trust);
        thread::sleep(Duration::from_millis(random.below(8_000)));
        halted.go_on();
        self.succeeded(&name, text);
    }

    fn send(&self, manner: Manner, names: &[String], trust: &str) {
        for try_number in 1.. {
            let said: Vec<_> = manner
                .uploads(self.server, self.world, names, &[trust])
                .into_iter()
                .filter_map(failure)
                .collect();
            if said.is_empty() {
                return names.iter().for_each(|name| {
                    let text = fs::read(self.world.path(format!("texts/{name}"))).expect("it was made");
                    self.succeeded(name, hash(&text));
                });
            }
            self.seen().failed.push(format!("{names:?}, try {try_number}: {}", said.join("; ")));
            if try_number == TRIES {
                return;
            }
        }
    }

    fn succeeded(&self, name: &str, text: u64) {
        let file = local(self.world, name);
        let mut seen = self.seen();
        seen.bytes += file.metadata().expect("it was made").len();
        seen.succeeded.insert(text, name.to_owned());
        remove(&file);
        remove(&self.world.path(format!("texts/{name}")));
    }

    /// Makes a file of lines that are in no other, and that no compression shrinks much; tells its text's hash.
    fn make(&self, name: &str, format: Format, count: u64) -> u64 {
        let mut random = Random::new(hash(name.as_bytes()));
        let text = (0..count).fold(String::new(), |mut text, line| {
            let noise: [u64; 4] = std::array::from_fn(|_| random.below(u64::MAX));
            writeln!(text, "{name} {line} {noise:x?}").expect("a string takes all");
            text
        });
        self.world.write(format!("texts/{name}"), &text);
        let pack = if format == Format::Gzip { "gzip -1c" } else { "cat" };
        self.world.sh(&format!("mkdir -p local; {pack} texts/{name} > local/{name}"));
        hash(text.as_bytes())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no client failed the test")
    }
}

/// What a client said that failed.
fn failure(mut command: Command) -> Option<String> {
    let output = command.output().expect("it can be started");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
