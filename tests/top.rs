//! Promise: `landfall top` shows in a real terminal what the service is at, does what a key says, and leaves the terminal as it was.
#![cfg(unix)]

mod support;

use std::process::{Command, Stdio};

use support::{World, lines, wait_until, without_our_variables};

/// A terminal of tmux, with a shell in the world's folder.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn new(world: &World, width: u32, height: u32) -> Self {
        let terminal = Self { socket: world.path("tmux").display().to_string() };
        let (width, height) = (width.to_string(), height.to_string());
        let mut command = terminal.tmux();
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height]);
        // A shell that edits lines would mend the terminal by itself.
        command.args([
            "env",
            "-i",
            "PATH=/usr/bin:/bin",
            "LC_ALL=C.UTF-8",
            "TERM=screen",
            "PS1=$ ",
            "dash",
            "-i",
        ]);
        command.current_dir(world.folder());
        without_our_variables(&mut command);
        assert!(command.status().expect("tmux is there").success());
        terminal.modes(world, "before");
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command
            .args(["-u", "-S", &self.socket])
            .stdin(Stdio::null())
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn told(&self, arguments: &[&str]) -> String {
        let output = self.tmux().args(arguments).output().expect("tmux is there");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.told(&["capture-pane", "-p"])
    }

    /// Keys as tmux names them.
    fn press(&self, keys: &[&str]) {
        self.told(&[&["send-keys"], keys].concat());
    }

    fn type_line(&self, line: &str) {
        self.told(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    /// Waits until all of these stand on the screen.
    #[track_caller]
    fn shows(&self, words: &[&str]) -> String {
        wait_until(&format!("{words:?} on the screen, which is\n{}", self.screen()), || {
            let screen = self.screen();
            words.iter().all(|word| screen.contains(word)).then_some(screen)
        })
    }

    fn start_top(&self) {
        self.type_line(&format!("{} top; echo ended with $?", env!("CARGO_BIN_EXE_landfall")));
    }

    /// How the terminal reads and shows what is typed.
    fn modes(&self, world: &World, name: &str) -> String {
        self.type_line(&format!("stty -g > {name}.new; mv {name}.new {name}"));
        wait_until("the modes are written", || world.has(name).then(|| world.text(name)))
    }

    /// The shell has its terminal back as it was.
    #[track_caller]
    fn is_given_back(&self, world: &World, name: &str) {
        assert_eq!(self.modes(world, name), world.text("before"));
        assert_eq!(self.told(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]), "0 1\n");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux().arg("kill-server").stderr(Stdio::null()).status().ok(); // it may have ended
    }
}

/// A world in which a job stands in the middle of its work until the file `go` is there.
fn world_at_work() -> World {
    let world = World::new("pipeline = [{ step = 'exec', confine = false, command = ['./gate'] }]");
    world.write_gate();
    world
}

fn job_at_work(world: &World) {
    world.move_in("in/pay.txt", lines(3000));
    wait_until("the job is at work", || world.has("reached").then_some(()));
}

/// What is another one each time, in the same width.
fn normalised(screen: &str, world: &World, id: &str) -> String {
    let name = world.folder().file_name().and_then(|name| name.to_str()).expect("a plain name");
    let random = name.rsplit('-').next().expect("it ends with what is random");
    let plain = screen.replace(random, &"X".repeat(random.len())).replace(id, &"I".repeat(26));
    let plain = plain.replace(&id[20..], "IIIIII");
    let lines = plain.lines().enumerate().map(|(number, line)| match number {
        0 => format!(
            "{}00:00:00Z",
            line.strip_suffix(line.get(line.len() - 9..).unwrap_or("")).unwrap_or(line)
        ),
        1 => "the disks".to_owned(),
        _ => line.to_owned(),
    });
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn a_job_at_work_is_shown_with_what_it_is_at_and_keys_act_on_it() {
    let world = world_at_work();
    let mut service = world.start();
    service.wait_until_it_watches();
    job_at_work(&world);
    let terminal = Terminal::new(&world, 80, 24);
    terminal.start_top();
    let screen = terminal.shows(&["running", "0/s", "1-1 of 1", "1 running"]);
    let job = world.job();
    let id = job["id"].as_str().expect("an id");
    insta::assert_snapshot!(normalised(&screen, &world, id));
    terminal.press(&["+"]);
    terminal.shows(&["priority 40"]);
    assert_eq!(world.job()["priority"], 40);
    terminal.press(&["p"]);
    terminal.shows(&["paused"]);
    wait_until("it is paused", || (world.job()["state"] == "paused").then_some(()));
    terminal.press(&["Enter"]);
    terminal.shows(&["timeline", "esc back"]);
    terminal.press(&["q"]); // Escape and a letter that comes at once are one key to a terminal
    terminal.shows(&["1-1 of 1"]);
    world.write("go", "");
    terminal.press(&["r"]);
    terminal.shows(&["completed", "1-1 of 1"]);
    world.completed();
    terminal.press(&["q"]);
    terminal.shows(&["ended with 0"]);
    terminal.is_given_back(&world, "after");
    service.stop();
}

#[test]
fn an_abort_is_asked_for_and_done_only_after_a_yes() {
    let world = world_at_work();
    let mut service = world.start();
    service.wait_until_it_watches();
    job_at_work(&world);
    let terminal = Terminal::new(&world, 100, 20);
    terminal.start_top();
    terminal.shows(&["running", "1-1 of 1"]);
    terminal.press(&["x"]);
    terminal.shows(&["abort job", "(y/n)"]);
    terminal.press(&["n"]);
    terminal.shows(&["enter show"]);
    assert_eq!(world.job()["state"], "running");
    terminal.press(&["x", "y"]);
    terminal.shows(&["aborted; its source goes to quarantine"]);
    wait_until("it is aborted", || (world.job()["state"] == "aborted").then_some(()));
    terminal.press(&["t"]);
    terminal.shows(&["queued again"]);
    terminal.press(&["C-c"]);
    terminal.shows(&["ended with 0"]);
    world.write("go", "");
    service.stop();
}

#[test]
fn whatever_ends_or_stops_it_the_terminal_is_as_it_was_before() {
    let world = World::new("");
    let mut service = world.start();
    service.wait_until_it_watches();
    let terminal = Terminal::new(&world, 80, 24);
    terminal.start_top();
    terminal.shows(&["no jobs", "q quit"]);
    terminal.told(&["resize-window", "-x", "130", "-y", "30"]);
    terminal.shows(&["RECORDS"]); // there is room for more columns
    terminal.press(&["C-z"]);
    terminal.shows(&["Stopped"]);
    terminal.is_given_back(&world, "stopped");
    terminal.type_line("fg; echo then it ended with $?");
    terminal.shows(&["no jobs", "RECORDS"]);
    let pid = terminal.told(&["display-message", "-p", "#{pane_pid}"]);
    world.sh(&format!("kill $(cat /proc/{0}/task/{0}/children)", pid.trim()));
    terminal.shows(&["then it ended with 0"]);
    terminal.is_given_back(&world, "ended");
    service.stop();
}

#[test]
fn it_outlives_the_service_holds_up_no_other_and_goes_on_with_that() {
    let world = World::new("");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.txt", lines(3));
    service.wait_for(&world, "out/a.main");
    let terminal = Terminal::new(&world, 90, 20);
    terminal.start_top();
    terminal.shows(&["completed", "a.txt"]);
    service.stop();
    terminal.shows(&["no service since", "a.txt"]);
    terminal.press(&["p"]);
    terminal.shows(&["no service is there to do it"]);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/b.txt", lines(3));
    let screen = terminal.shows(&["b.txt", "2 completed"]);
    assert!(!screen.contains("no service since"), "{screen}");
    terminal.press(&["q"]);
    terminal.shows(&["ended with 0"]);
    service.stop();
}

#[cfg(target_os = "linux")] // others take no such name
#[test]
fn a_name_that_would_steer_the_terminal_is_shown_escaped() {
    let world = World::new("");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a\u{1b}[2Jb.txt", lines(3));
    service.wait_for_log("completed");
    let terminal = Terminal::new(&world, 120, 20);
    terminal.told(&["pipe-pane", &format!("cat > '{}'", world.path("raw").display())]);
    terminal.start_top();
    terminal.shows(&[r"a\x1b[2Jb.txt", "1-1 of 1"]);
    terminal.press(&["q"]);
    wait_until("the end is written", || {
        world.bytes("raw").windows(7).any(|bytes| bytes == b"[?1049l").then_some(())
    });
    let raw = String::from_utf8_lossy(&world.bytes("raw")).into_owned();
    assert!(!raw.contains("\u{1b}[2Jb"), "{raw:?}");
    service.stop();
}

#[test]
fn without_a_service_or_a_terminal_it_says_what_there_is_instead() {
    let world = World::new("");
    world.landfall(&["top"]).ends_with(2).says(&["needs a terminal", "landfall jobs"]);
    let terminal = Terminal::new(&world, 100, 20);
    terminal.start_top();
    terminal.shows(&["the service is not running", "landfall run", "landfall jobs", "ended with 1"]);
    terminal.type_line(&format!("TERM=dumb {} top; echo dumb: $?", env!("CARGO_BIN_EXE_landfall")));
    terminal.shows(&["TERM", "dumb: 2"]);
}
