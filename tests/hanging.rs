//! Promise: whatever file system hangs, the service stops within `stop_timeout` and answers its operator, and the files of other rules go on
//! as far as nothing of theirs hangs.
//!
//! The file system is an sshfs whose process is stopped. Where there is none (no sshfs, no `/dev/fuse`, not root), the tests say so and
//! pass.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::disk::{Disk, can_mount};
use support::systemd::Systemd;
use support::{Service, World, wait_until};

const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// For a machine that is busy; a hang has no end.
const SLACK: Duration = Duration::from_secs(2);
/// `landfall jobs` answers within this: half a second of patience with the watch, and a process's start.
const ANSWER: Duration = Duration::from_secs(3);
/// No test takes so long.
const HANGS_FOR: Duration = Duration::from_secs(40);

/// The world's folder `mnt`, on an sshfs that can be made to hang.
struct Mount {
    world: World,
    sshfs: Child,
    /// The process behind it that was stopped, if it was that.
    server: Option<Pid>,
    is_over: Arc<AtomicBool>,
}

impl Mount {
    /// None: there can be no such file system here.
    fn new(rules: &[&str]) -> Option<Self> {
        Self::with_service("", rules)
    }

    /// Likewise, with keys of `[service]`.
    fn with_service(service: &str, rules: &[&str]) -> Option<Self> {
        let world = World::bare();
        if !rustix::process::geteuid().is_root() || std::fs::metadata(SFTP_SERVER).is_err() {
            eprintln!("skipped: a file system that hangs needs root, sshfs and {SFTP_SERVER}");
            return None;
        }
        let id = world.path("sftp-id");
        let server = format!("#!/bin/sh\necho $$ > {}\nexec {SFTP_SERVER}\n", id.display());
        let server = world.write("sftp", server);
        world.sh("chmod +x sftp; mkdir -p mnt remote/in remote/out remote/archive in in-other");
        let mut mount = Command::new("sshfs");
        mount.args(["-f", "-o"]).arg(format!("ssh_command={}", server.display()));
        mount.arg(format!("x:{}", world.path("remote").display())).arg(world.path("mnt"));
        let Ok(mut sshfs) = mount.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        else {
            eprintln!("skipped: there is no sshfs");
            return None;
        };
        let is_mounted = wait_until("sshfs mounts or ends", || {
            let is_mounted = world.has("mnt/in");
            (is_mounted || sshfs.try_wait().is_ok_and(|ended| ended.is_some())).then_some(is_mounted)
        });
        if !is_mounted {
            eprintln!("skipped: nothing can be mounted here (no /dev/fuse?)");
            return None;
        }
        let other = "name = \"other\"\npaths = [\"in-other/*\"]\noutput = { main = { path = \"out/{stem}\" } }\n\
                     source = { on_success = \"delete\" }";
        let rules: Vec<_> = rules.iter().copied().chain([other]).collect();
        world.configure(&format!("stop_timeout = \"3s\"\n{service}"), &rules);
        Some(Self { world, sshfs, server: None, is_over: Arc::default() })
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.sshfs.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("it is our child");
    }

    fn hang(&self) {
        self.signal(Signal::STOP);
        // A test that fails waits for its service, which may hang itself.
        let (sshfs, is_over) = (self.sshfs.id(), Arc::clone(&self.is_over));
        std::thread::spawn(move || {
            std::thread::sleep(HANGS_FOR);
            if !is_over.load(Ordering::SeqCst) {
                drop(Command::new("kill").args(["-CONT", &sshfs.to_string()]).status());
            }
        });
    }

    /// The sshfs goes on and waits for its server: who asked it cannot be ended before that answers.
    fn hang_for_good(&mut self) {
        let server = self.world.text("sftp-id").trim().parse().ok().and_then(Pid::from_raw).expect("an id");
        kill_process(server, Signal::STOP).expect("it runs");
        self.server = Some(server);
    }

    fn let_server_go_on(&mut self) {
        if let Some(server) = self.server.take() {
            kill_process(server, Signal::CONT).expect("it is stopped");
        }
    }

    /// A file goes its way.
    #[track_caller]
    fn goes_on(&self, service: &mut Service, name: &str) {
        self.world.move_in(&format!("in-other/{name}"), "1\n");
        service.wait_for(&self.world, &format!("out/{name}"));
    }

    /// Both answer, `jobs` with this.
    #[track_caller]
    fn answers(&self, words: &[&str]) {
        let begun = Instant::now();
        self.world.landfall(&["jobs"]).done().says(words);
        assert!(begun.elapsed() < ANSWER, "`jobs` took {:?}", begun.elapsed());
        if let Some(job) = self.world.jobs().last() {
            let begun = Instant::now();
            self.world.landfall(&["show", job["id"].as_str().expect("an id")]).done();
            assert!(begun.elapsed() < ANSWER, "`show` took {:?}", begun.elapsed());
        }
    }

    /// The last job says what it waits for, to who lists it and to who shows it, with the place.
    #[track_caller]
    fn waits_for_mount(&self, service: &mut Service, place: &str) {
        let says = |job: &serde_json::Value| {
            let waiting = &job["waiting"];
            let detail = waiting["detail"].as_str()?;
            (waiting["for"] == "mount" && detail.contains("has not answered for") && detail.contains(place))
                .then(|| job["id"].as_str().expect("an id").to_owned())
        };
        let id = service.wait_until("a job waits for a mount", || self.world.jobs().iter().find_map(says));
        self.world.landfall(&["jobs"]).done().says(&["a mount: the file system of", place]);
        self.world.landfall(&["show", &id]).done().says(&["waiting    for mount", place]);
    }

    /// What was told of a hang ends with it.
    #[track_caller]
    fn answers_again(&self, service: &mut Service) {
        self.signal(Signal::CONT);
        service.wait_until("the job is done and waits for nothing", || {
            let jobs = self.world.jobs();
            let is_done = |job: &serde_json::Value| job["state"] == "completed" && job["waiting"].is_null();
            jobs.iter().all(is_done).then_some(())
        });
    }

    /// `SIGTERM` ends it in time. Its last file of this file system is closed only when that answers again: until then its process is a
    /// zombie, with nothing left of the service.
    #[track_caller]
    fn stops(&self, mut service: Service, words: &[&str]) {
        let begun = Instant::now();
        service.signal(Signal::TERM);
        wait_until("the service ends", || has_ended(&mut service).then_some(()));
        assert!(begun.elapsed() < STOP_TIMEOUT + SLACK, "it took {:?}\n{}", begun.elapsed(), service.log());
        let log = service.log();
        assert!(words.iter().all(|word| log.contains(word)), "{words:?} are not all in\n{log}");
        self.signal(Signal::CONT);
        wait_until("its process is gone", || service.exited());
    }

    /// All that was dropped comes out once the file system answers, and a service runs again.
    #[track_caller]
    fn all_comes_out(&self, outputs: &[&str]) {
        let mut service = self.world.start();
        service.wait_until_it_watches();
        for output in outputs {
            service.wait_for(&self.world, output);
        }
        service.stop();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.signal(Signal::CONT);
        self.let_server_go_on();
        // A test that fails says so; the mount must be gone before its folder is.
        drop(Command::new("fusermount3").args(["-u", "-z"]).arg(self.world.path("mnt")).status());
        drop(self.sshfs.kill());
        drop(self.sshfs.wait());
    }
}

/// Whether no thread of it can do anything any more.
fn has_ended(service: &mut Service) -> bool {
    if service.exited().is_some() {
        return true;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", service.id())).expect("it is running");
    stat.rsplit_once(')').is_some_and(|(_, after)| after.trim_start().starts_with('Z'))
}

#[test]
fn an_output_folder_that_hangs_holds_up_neither_a_stop_nor_an_answer_nor_another_rule() {
    let Some(mount) = Mount::new(&["output = { main = { path = \"mnt/out/{stem}\" } }"]) else { return };
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.world.move_in("in/first", "1\n");
    service.wait_for(&mount.world, "mnt/out/first");
    mount.hang();
    mount.world.move_in("in/second", "2\n");
    service.wait_until("it is claimed", || (!mount.world.has("in/second")).then_some(()));
    for name in ["a", "b", "c"] {
        mount.goes_on(&mut service, name);
    }
    mount.answers(&["in/second"]);
    mount.waits_for_mount(&mut service, "mnt/out");
    mount.stops(service, &["did not stop in time", "mnt/out"]);
    mount.all_comes_out(&["mnt/out/second"]);
}

/// Whose room is looked at before anything is claimed; more files than there are finishers or loaders.
#[test]
fn many_files_for_an_output_folder_that_hangs_hold_up_no_other_rule() {
    let rule = "output = { main = { path = \"mnt/out/{stem}\" } }";
    let Some(mount) = Mount::with_service("free_min = \"1KiB\"", &[rule]) else {
        return;
    };
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.world.move_in("in/first", "1\n");
    service.wait_for(&mount.world, "mnt/out/first");
    mount.hang();
    for number in 0..40 {
        mount.world.move_in(&format!("in/{number}"), "1\n");
    }
    for name in ["a", "b", "c", "d", "e"] {
        mount.goes_on(&mut service, name);
    }
    mount.stops(service, &["did not stop in time", "mnt/out"]);
    mount.all_comes_out(&["mnt/out/0", "mnt/out/39"]);
}

/// What one abandons for. Its file has another name, which is not to be taken as if nothing of it were published.
#[test]
fn a_job_that_is_abandoned_beside_an_output_folder_that_hangs_is_not_taken_again_by_another_name() {
    let rule = "pipeline = [{ step = \"route\", when = [{ if = { matches = \"2$\" }, to = \"twos\" }] }]\n\
                output = { main = { path = \"out/{stem}.main\" }, \
                twos = { path = \"mnt/out/{stem}.twos\", on_exists = \"replace\" } }";
    let Some(mount) = Mount::new(&[rule]) else { return };
    let world = &mount.world;
    world.sh("mkdir mnt/out/pay.twos"); // it refuses the rename
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n2\n");
    let id = service.wait_until("it waits in the middle of publishing", || {
        let job = world.jobs().pop()?;
        let waits = job["state"] == "publishing" && job["waiting"].is_object();
        waits.then(|| job["id"].as_str().expect("an id").to_owned())
    });
    service.kill();
    world.sh("ln in/.landfall/*.pay.txt in/other");
    mount.hang();
    let begun = Instant::now();
    world.landfall(&["abandon", &id, "--reason", "its disk is gone"]).done().says(&["out/pay.main"]);
    assert!(begun.elapsed() < HANGS_FOR / 2, "it took {:?}", begun.elapsed());
    mount.signal(Signal::CONT);
    let mut service = world.start();
    service.wait_until_it_watches();
    mount.goes_on(&mut service, "a");
    service.wait_until("the other name waits, and says why", || {
        let told = world.landfall(&["explain", "in/other"]).done().stdout;
        told.contains(&format!("job {id}, which was for it, was aborted")).then_some(())
    });
    assert!(world.has("in/other") && !world.has("out/other.main"));
    service.stop();
}

/// Disk space and mounts are looked at while jobs run: each file system by a thread of its own.
#[test]
fn a_running_job_whose_output_folder_hangs_does_not_keep_a_mount_that_comes_from_being_seen() {
    if !can_mount() {
        return;
    }
    let slow = "output = { main = { path = \"mnt/out/{stem}\" } }\n\
                pipeline = [{ step = \"exec\", confine = false, command = [\"./slow\"], timeout = \"1h\" }]";
    let late = "name = \"late\"\npaths = [\"in-late/*\"]\noutput = { main = { path = \"late/{stem}\" } }\n\
                source = { on_success = \"delete\" }\npublish = { mount = \"late\" }";
    let Some(mount) = Mount::with_service("free_min = \"1KiB\"", &[slow, late]) else { return };
    mount.world.write("slow", "#!/bin/sh\ntouch begun\nexec sleep 3600\n");
    mount.world.sh("chmod +x slow; mkdir -p in-late late");
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.world.move_in("in/slow", "1\n");
    service.wait_for(&mount.world, "begun");
    mount.world.move_in("in-late/a", "1\n");
    service.wait_for_log("no file system is mounted");
    mount.hang();
    for name in ["a", "b", "c"] {
        mount.goes_on(&mut service, name);
    }
    let _disk = Disk::mount(&mount.world.path("late"), "4m");
    service.wait_for(&mount.world, "late/a");
    mount.stops(service, &["did not stop in time", "mnt/out"]);
}

#[test]
fn an_archive_that_hangs_holds_up_neither_a_stop_nor_an_answer_nor_another_rule() {
    let rule = "output = { main = { path = \"out/{stem}\" } }\nsource = { on_success = \"archive\", archive_dir = \"mnt/archive\" }";
    let Some(mount) = Mount::new(&[rule]) else { return };
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.hang();
    mount.world.move_in("in/first", "1\n");
    service.wait_until("it is claimed", || (!mount.world.has("in/first")).then_some(()));
    for name in ["a", "b", "c"] {
        mount.goes_on(&mut service, name);
    }
    mount.answers(&["in/first"]);
    mount.waits_for_mount(&mut service, "mnt/archive");
    mount.stops(service, &["did not stop in time", "mnt/archive"]);
    mount.all_comes_out(&["out/first", "mnt/archive/first"]);
}

#[test]
fn a_landing_folder_that_hangs_holds_up_neither_a_stop_nor_an_answer_nor_another_rule() {
    let Some(mount) = Mount::new(&["paths = [\"mnt/in/*\"]"]) else { return };
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.goes_on(&mut service, "a");
    mount.hang();
    wait_until("the watch meets it", || {
        let listed = mount.world.landfall(&["jobs"]).done();
        listed.stdout.contains("the watch has been here for").then_some(())
    });
    mount.answers(&["mnt/in", "hangs"]);
    for name in ["b", "c"] {
        mount.goes_on(&mut service, name);
    }
    mount.stops(service, &["did not stop in time", "mnt/in"]);
    mount.all_comes_out(&[]);
}

/// Its reader has waited for the step before, which takes its time.
#[test]
fn a_job_whose_source_hangs_while_it_is_read_says_so_and_one_whose_step_takes_long_does_not() {
    let rule = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{stem}\" } }\n\
                pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], timeout = \"60s\" }]";
    let service = "memory_max = \"16MiB\"\nload_ahead = \"0\"";
    let Some(mount) = Mount::with_service(service, &[rule]) else { return };
    let world = &mount.world;
    world.write("gate", "#!/bin/sh\ntouch begun\nuntil [ -e go ]; do sleep 0.05; done\nexec cat\n");
    world.sh("chmod +x gate; seq -f %0150.0f 300000 > big");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.sh("cp big mnt/in/.big; mv mnt/in/.big mnt/in/big");
    service.wait_for(world, "begun");
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2500) {
        let jobs = world.jobs();
        assert!(jobs.iter().all(|job| job["waiting"]["for"] != "mount"), "{jobs:#?}");
    }
    mount.hang();
    world.write("go", "");
    mount.waits_for_mount(&mut service, "mnt/in");
    mount.goes_on(&mut service, "a");
    mount.answers_again(&mut service);
    service.stop();
    world.sh("cmp big out/big");
}

/// It is killed when it has not answered in time, and goes only when the file system answers.
#[test]
fn a_child_that_hangs_in_a_file_system_keeps_neither_its_job_from_going_on_nor_a_stop() {
    let rule = "output = { main = { path = \"out/{stem}\" } }\nsource = { on_success = \"delete\" }\n\
                errors = { attempts = 1, failed_max = \"100%\" }\n\
                pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"], timeout = \"500ms\" }]";
    let Some(mut mount) = Mount::new(&[rule]) else { return };
    mount.world.write(
        "step",
        "#!/bin/sh\nread -r line\ntouch begun\nread -r other < mnt/in/other\necho \"$line\"\n",
    );
    mount.world.write("remote/in/other", "1\n");
    mount.world.sh("chmod +x step");
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.hang_for_good();
    mount.world.move_in("in/first", "1\n");
    service.wait_for(&mount.world, "begun");
    service.wait_for_log("a killed child is not gone");
    service.wait_until("its job is done", || {
        let jobs = mount.world.jobs();
        jobs.iter().any(|job| job["rule"] == support::RULE && job["state"] == "completed").then_some(())
    });
    mount.goes_on(&mut service, "a");
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < STOP_TIMEOUT + SLACK, "it took {:?}", begun.elapsed());
    mount.let_server_go_on();
}

/// Its program is started by a thread of its own.
#[test]
fn a_program_that_lies_on_a_file_system_that_hangs_keeps_no_program_of_another_rule_from_its_start() {
    let tool = "output = { main = { path = \"out/{stem}\" } }\nsource = { on_success = \"delete\" }\n\
                pipeline = [{ step = \"exec\", confine = false, command = [\"mnt/tool\"] }]";
    let asks = "name = \"asks\"\npaths = [\"in-asks/*\"]\noutput = { main = { path = \"out/{stem}\" } }\n\
                source = { on_success = \"delete\" }\npipeline = [{ step = \"exec\", confine = false, command = [\"./asks\"] }]";
    let Some(mount) = Mount::new(&[tool, asks]) else { return };
    let world = &mount.world;
    for program in ["remote/tool", "asks"] {
        world.write(program, "#!/bin/sh\nexec cat\n");
    }
    world.sh("chmod +x remote/tool asks; mkdir in-asks");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/first", "1\n");
    service.wait_for(world, "out/first");
    mount.hang();
    for name in ["a", "b", "c"] {
        world.move_in(&format!("in/{name}"), "1\n");
    }
    service.wait_until("they are claimed", || (!world.has("in/c")).then_some(()));
    let begun = Instant::now();
    for name in ["d", "e", "f"] {
        world.move_in(&format!("in-asks/{name}"), "2\n");
        service.wait_for(world, &format!("out/{name}"));
    }
    assert!(begun.elapsed() < ANSWER, "another program took {:?}", begun.elapsed());
    mount.waits_for_mount(&mut service, "mnt/tool");
    service.wait_until("it is held", || {
        let held = world.jobs().into_iter().find(|job| job["state"] == "held")?;
        let detail = held["waiting"]["detail"].as_str()?;
        let is_told = detail.contains("mnt/tool does not answer") && held["waiting"]["for"] == "mount";
        assert!(is_told, "{held:#}");
        Some(())
    });
    mount.goes_on(&mut service, "g");
    mount.answers_again(&mut service);
    service.stop();
    assert_eq!(["out/first", "out/a", "out/f"].map(|output| world.text(output)), ["1\n", "1\n", "2\n"]);
}

/// From a start to another rule's output.
const STARTED_WITHIN: Duration = Duration::from_secs(2);

/// Goal: a mount that hangs is nobody's reason to start the service anew, which would hang there again.
#[test]
fn a_landing_folder_that_hangs_is_not_taken_for_an_engine_that_does() {
    let rule = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{stem}\" } }\nsource = { on_success = \"delete\" }";
    let Some(mount) = Mount::new(&[rule]) else { return };
    let mut systemd = Systemd::new(&mount.world);
    let mut service = systemd.start(&mount.world, 400, "");
    systemd.wait_for("READY=1", &service);
    mount.hang();
    let hangs = || mount.world.landfall(&["jobs"]).stdout.contains("its file system hangs").then_some(());
    service.wait_until("the watch hangs", hangs);
    systemd.forget();
    // Several times of the watchdog.
    for _ in 0..20 {
        systemd.wait_for("WATCHDOG=1", &service);
    }
    mount.goes_on(&mut service, "a");
    mount.stops(service, &[]);
}

/// The landing folder has a claim folder of the last run, and a job in it that was not done.
#[test]
fn a_start_beside_a_landing_folder_that_hangs_serves_the_others_and_that_one_when_it_answers() {
    let rule = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{stem}\" } }\n\
                pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\", timeout = \"60s\" }]";
    let Some(mount) = Mount::new(&[rule]) else { return };
    mount.world.write("gate", "#!/bin/sh\n[ -e go ] || { touch begun; exec sleep 60; }\nexec cat\n");
    mount.world.sh("chmod +x gate");
    let mut first = mount.world.start();
    first.wait_until_it_watches();
    mount.world.write("mnt/in/unfinished", "1\n"); // past the mount it would be seen late
    first.wait_for(&mount.world, "begun");
    first.kill();
    mount.world.write("go", "");
    mount.hang();
    mount.world.move_in("in-other/a", "1\n");
    let begun = Instant::now();
    let mut service = mount.world.start();
    service.wait_for(&mount.world, "out/a");
    let taken = begun.elapsed();
    assert!(taken < STARTED_WITHIN, "it took {taken:?}\n{}", service.log());
    service.wait_until_it_watches();
    mount.goes_on(&mut service, "b");
    mount.answers(&["mnt/in/unfinished", "does not answer", "the start has been here for"]);
    mount.signal(Signal::CONT);
    service.wait_for(&mount.world, "out/unfinished");
    mount.world.write("mnt/in/new", "2\n");
    service.wait_for(&mount.world, "out/new");
    service.stop();
    assert_eq!(["out/unfinished", "out/new"].map(|output| mount.world.text(output)), ["1\n", "2\n"]);
}

#[test]
fn a_service_that_was_started_beside_a_landing_folder_that_hangs_is_stopped_in_time() {
    let Some(mount) = Mount::new(&["paths = [\"mnt/in/*\"]"]) else { return };
    mount.hang();
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.goes_on(&mut service, "a");
    mount.answers(&["mnt/in", "hangs"]);
    mount.stops(service, &["did not stop in time", "mnt/in"]);
    mount.all_comes_out(&[]);
}

#[test]
fn a_landing_folder_that_hangs_keeps_no_claimed_file_of_another_rule_from_being_told() {
    let Some(mount) = Mount::new(&["paths = [\"mnt/in/*\"]", "name = \"last\"\npaths = [\"zone/*\"]"]) else {
        return;
    };
    mount.world.write("zone/.landfall/01k8zzzzzzzzzzzzzzzzzzzzzz.pay.txt", "1\n");
    mount.world.sh("chmod 700 zone/.landfall");
    mount.hang();
    let mut service = mount.world.start();
    service.wait_for_log("claimed files lie here that this store does not know");
    mount.stops(service, &["did not stop in time", "mnt/in"]);
}

/// Numbers names, not files, and knows no rename that keeps what lies under the new name.
#[test]
fn a_landing_folder_on_such_a_file_system_is_served() {
    let rule = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"mnt/out/{stem}\" } }\n\
                source = { on_success = \"archive\", archive_dir = \"mnt/archive\" }";
    let Some(mount) = Mount::new(&[rule]) else { return };
    let mut service = mount.world.start();
    service.wait_until_it_watches();
    mount.world.write("mnt/in/first", "1\n");
    mount.world.move_in("remote/in/second", "2\n");
    for name in ["first", "second"] {
        service.wait_for(&mount.world, &format!("mnt/archive/{name}"));
    }
    service.stop();
    assert_eq!(["mnt/out/first", "mnt/out/second"].map(|output| mount.world.text(output)), ["1\n", "2\n"]);
    let jobs = mount.world.jobs();
    assert!(jobs.len() == 2 && jobs.iter().all(|job| job["state"] == "completed"), "{jobs:#?}");
    assert_eq!(mount.world.files("mnt/in"), [""; 0]);
}

#[test]
fn rules_that_lie_on_a_file_system_that_hangs_hold_up_no_command_beside_the_service() {
    let Some(mount) = Mount::with_service("rules_dir = \"mnt/rules.d\"", &[]) else { return };
    let world = &mount.world;
    world.write(
        "remote/rules.d/more.toml",
        "[[rule]]\nname = \"more\"\npaths = [\"../../in/*\"]\nrecords = { format = \"lines\" }\n\
         output = { main = { path = \"../../out/{stem}\" } }\nsource = { on_success = \"delete\" }\n",
    );
    let mut service = world.start();
    service.wait_until_it_watches();
    mount.goes_on(&mut service, "a");
    mount.hang();
    mount.answers(&["completed"]);
    for command in [&["rules"][..], &["explain", "in/x"]] {
        let begun = Instant::now();
        world.landfall(command).done().says(&["more"]);
        assert!(begun.elapsed() < ANSWER, "{command:?} took {:?}", begun.elapsed());
    }
    mount.goes_on(&mut service, "b");
    mount.stops(service, &["stopped"]);
}
