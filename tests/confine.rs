//! Promise: the program of an `exec` step gets what it needs and no more: of the environment, of memory, of the file system; and so does the
//! service where `service.confine` says so.
#![cfg(target_os = "linux")]

mod support;

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Ran, World, lines, wait_until, without_our_variables};

/// Answers what it could do of what a line asks for.
const PROBE: &str = r"#!/usr/bin/env python3
import json, os, sys, tempfile
def tried(what, path):
    if what == 'read': return str(len(open(path, 'rb').read()))
    if what == 'list': return str(len(os.listdir(path)))
    if what == 'write': open(path, 'w').write('x'); return 'done'
    if what == 'link': return os.readlink(path)
    if what == 'env': return json.dumps(dict(os.environ), sort_keys=True)
    if what == 'cwd': return os.getcwd() + ' ' + oct(os.stat('.').st_mode & 0o777)
    if what == 'scratch':
        open('scratch', 'w').write('x')
        return tempfile.mkstemp()[1]
    if what == 'signal': os.kill(os.getppid(), 0); return 'done'
    if what == 'arguments': return json.dumps(sys.argv[1:])
    if what == 'abstract':
        import socket
        socket.socket(socket.AF_UNIX).connect('\0' + path)
        return 'connected'
    if what == 'api':
        import socket
        asking = socket.socket(socket.AF_UNIX); asking.connect(path)
        asking.sendall(b'GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        return asking.recv(12).decode()
    if what == 'open': return ' '.join(fd for fd in os.listdir('/proc/self/fd') if fd not in '012' and os.path.exists('/proc/self/fd/' + fd) and os.readlink('/proc/self/fd/' + fd) == path)
    if what == 'memory': return str(len(bytearray(int(path))))
    if what == 'core':
        import resource
        return str(resource.getrlimit(resource.RLIMIT_CORE)[1])
for line in sys.stdin:
    what, _, path = line.rstrip('\n').partition(' ')
    try: answer = tried(what, path)
    except OSError as error: answer = error.strerror
    print(answer.replace('\n', ' '), flush=True)
";

/// Whether this kernel has Landlock; else what needs it is not tried.
fn has_landlock() -> bool {
    // SAFETY: with no attributes and this flag the call tells its version and changes nothing.
    #[allow(unsafe_code, reason = "no crate of the tests asks for the version alone")]
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    if version < 2 {
        eprintln!("skipped: this kernel has no Landlock that moves files (version {version})");
    }
    version >= 2
}

/// A world in which each line is asked of the probe; `step` is more of its step.
fn probing(step: &str) -> World {
    probed(step, "")
}

fn probed(step: &str, rest: &str) -> World {
    let world = World::new(&format!(
        "pipeline = [{{ step = \"exec\", command = [\"./tool/probe\"{step} }}]\nerrors = {{ failed_max = \"100%\", attempts = 1 }}\n{rest}"
    ));
    world.write("tool/probe", PROBE);
    world.write("tool/table", "twelve bytes");
    world.sh("chmod +x tool/probe; mkdir out archive; echo secret > beside; echo theirs > in/.others");
    world
}

/// What the probe answers to these questions, asked by a service that has a secret in its environment.
fn answers(world: &World, questions: &[String]) -> Vec<String> {
    world.write("ask.txt", questions.join("\n") + "\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["ingest", "--rule", support::RULE, "ask.txt"]).current_dir(world.folder());
    without_our_variables(&mut command);
    command.env("VAULT_TOKEN", "hvs.secret").env("TZ", "Asia/Kolkata").stdin(Stdio::null());
    Ran::new(&command.output().expect("it runs")).done();
    world.text("out/ask.main").lines().map(str::to_owned).collect()
}

fn at(world: &World, what: &str, name: &str) -> String {
    format!("{what} {}", world.path(name).display())
}

#[test]
fn a_program_has_what_programs_need_of_the_environment_and_what_its_step_gives_it() {
    let world = probing("], env = { REGION = \"eu\", TZ = \"UTC\" }");
    let answered = answers(&world, &["env".to_owned(), "core".to_owned()]);
    let had: Value = serde_json::from_str(&answered[0]).expect("JSON");
    let had = had.as_object().expect("a table");
    assert_eq!((&had["REGION"], &had["TZ"]), (&json!("eu"), &json!("UTC")), "the step's word counts");
    assert!(had.contains_key("PATH"));
    let known = ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "REGION", "TMPDIR", "TZ", "USER"];
    // Where `python3` is a script of pyenv, that adds its own.
    let is_added = |name: &str| name.contains("PYENV_") || ["PWD", "SHLVL"].contains(&name);
    let others: Vec<_> =
        had.keys().filter(|name| !known.contains(&name.as_str()) && !is_added(name)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(["0", "1"].contains(&answered[1].as_str()), "no core dump: {}", answered[1]);
}

#[test]
fn a_program_has_a_folder_of_its_own_that_goes_with_it() {
    let world = probing(", \"./tool/table\", \"../x\", \"--plain\", \"tool/table\"]");
    let answered = answers(&world, &["cwd".to_owned(), "scratch".to_owned(), "arguments".to_owned()]);
    let (folder, mode) = answered[0].split_once(' ').expect("two words");
    let work = world.path("data/work").canonicalize().expect("is there");
    assert!(folder.starts_with(work.to_str().expect("UTF-8")), "{folder}");
    assert_eq!(mode, "0o700");
    assert!(answered[1].starts_with(folder), "temporary files lie in it: {}", answered[1]);
    assert_eq!(world.files("data/work"), [""; 0]);
    assert_eq!(work.read_dir().expect("lists").count(), 0);
    let arguments: Vec<String> = serde_json::from_str(&answered[2]).expect("JSON");
    let beside = |name: &str| world.path(name).display().to_string();
    assert_eq!(
        arguments,
        [&beside("tool/table"), &beside("../x"), "--plain", "tool/table"].map(str::to_owned)
    );
}

/// A kill leaves the folder; the next start removes it.
#[test]
fn what_a_program_left_when_the_service_was_killed_is_removed_by_the_next_start() {
    let world = probing("]");
    world.write("tool/probe", "#!/bin/sh\nread -r line\ntouch scratch\nexec sleep 600\n");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    let scratch = || world.files("data/work").pop().filter(|name| name.ends_with("/scratch"));
    service.wait_until("it began", scratch);
    service.kill();
    assert!(scratch().is_some());
    world.write("tool/probe", "#!/bin/sh\nexec cat\n");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    wait_until("it is gone", || (world.path("data/work").read_dir().ok()?.count() == 0).then_some(()));
}

#[test]
fn a_program_reaches_its_own_folder_and_the_systems_and_nothing_of_the_services() {
    if !has_landlock() {
        return;
    }
    let world = probing("]");
    let other = std::process::id();
    let name = format!("landfall-confine-test-{other}");
    let address = SocketAddr::from_abstract_name(&name).expect("is a name");
    let _listens = UnixListener::bind_addr(&address).expect("listens");
    let (dir, denied) = (|name| at(&world, "list", name), "Permission denied");
    let cases = [
        (at(&world, "read", "tool/table"), "12"),
        (at(&world, "read", "landfall.toml"), denied),
        (at(&world, "read", "beside"), denied),
        (dir("data"), denied),
        (dir("in"), denied),
        (at(&world, "read", "in/.others"), denied),
        (dir("out"), denied),
        (dir("archive"), denied),
        (at(&world, "write", "tool/table"), denied),
        (at(&world, "write", "out/new"), denied),
        (at(&world, "write", "new"), denied),
        ("write /tmp/landfall-confine-test".to_owned(), denied),
        ("write /dev/null".to_owned(), "done"),
        // What tells of its memory and environment, but to a root that may look at all (CAP_PERFMON).
        (format!("link /proc/{other}/exe"), denied),
        ("signal".to_owned(), "Operation not permitted"),
        (format!("abstract {name}"), "Operation not permitted"),
    ];
    let answered = answers(&world, &cases.each_ref().map(|(question, _)| question.clone()));
    for ((question, expected), answer) in cases.iter().zip(&answered) {
        assert_eq!(answer, expected, "{question}");
    }
}

/// Landlock denies nobody a socket: who a fence holds back is asked for the token, which it does not reach.
#[test]
fn a_program_is_told_nothing_by_the_socket_of_the_control_api() {
    if !has_landlock() {
        return;
    }
    let world = probing("]");
    let config = world.text("landfall.toml").replace("[service]\n", "[service]\nlisten = \"127.0.0.1:0\"\n");
    world.write("landfall.toml", config);
    let mut service = world.start();
    service.wait_until_it_watches();
    let asked = [at(&world, "api", "data/api.sock"), at(&world, "read", "data/api.token")];
    world.move_in("in/ask.txt", asked.join("\n") + "\n");
    service.wait_for(&world, "out/ask.main");
    assert_eq!(world.text("out/ask.main"), "HTTP/1.1 401\nPermission denied\n");
    service.stop();
}

/// By where the data folder really lies: what a dry run has in its place is its own.
#[test]
fn a_dry_run_keeps_a_program_from_what_the_service_does() {
    if !has_landlock() {
        return;
    }
    let world = World::new(
        "pipeline = [{ step = \"exec\", command = [\"./tool/look\"] }]
         output = { main = { path = \"tool/out/{stem}\" } }",
    );
    world.write("tool/out/theirs", "4111");
    world.write("tool/look", "#!/bin/sh\ncat \"${0%/*}/out/theirs\" >/dev/null 2>&1 && exit 3\ncat\n");
    world.sh("chmod +x tool/look; if ./tool/look </dev/null; then false; fi; echo a > some");
    world.landfall(&["ingest", "--dry-run", "--rule", support::RULE, "some"]).done().says(&["main", "1"]);
}

#[test]
fn a_step_allows_more_or_everything() {
    if !has_landlock() {
        return;
    }
    let more = probing("], read = [\"beside\"], write = [\"state\"]");
    more.sh("mkdir state");
    let asked = [at(&more, "read", "beside"), at(&more, "write", "state/new"), at(&more, "list", "data")];
    assert_eq!(answers(&more, &asked), ["7", "done", "Permission denied"]);
    let everything = probing("], confine = false");
    let asked = [at(&everything, "write", "out/new"), "cwd".to_owned()];
    let answered = answers(&everything, &asked);
    assert_eq!(answered[0], "done");
    let folder = everything.folder().canonicalize().expect("is there");
    assert!(answered[1].starts_with(&format!("{} ", folder.display())), "{}", answered[1]);
}

#[test]
fn what_a_step_allows_and_is_not_there_holds_the_job_and_check_says_so() {
    let world = probing("], read = [\"lookup\"]");
    world.landfall(&["check"]).done().says(&["pipeline[1].read", "lookup does not exist"]);
    if !has_landlock() {
        return;
    }
    let mut service = world.start();
    world.move_in("in/pay.txt", "cwd\n");
    let job =
        service.wait_until("the job is held", || world.jobs().pop().filter(|job| job["state"] == "held"));
    let message = job["error"]["message"].as_str().expect("a text");
    assert!(message.contains("cannot allow") && message.contains("lookup"), "{message}");
    world.sh("mkdir lookup");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
}

#[test]
fn an_argument_beside_the_rule_is_told_to_be_written_as_one() {
    let world = World::new("pipeline = [{ step = \"exec\", command = [\"python3\", \"enrich.py\"] }]");
    world.write("enrich.py", "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n");
    world.landfall(&["check"]).done().says(&["starts in a folder of its own", "write `./enrich.py`"]);
    world.sh("sed -i 's,\"enrich.py\",\"./enrich.py\",' landfall.toml");
    let said = world.landfall(&["check"]).done();
    assert!(!said.stdout.contains("of its own"), "{}", said.stdout);
    world.write("sample.txt", lines(10));
    world.ingest(&["sample.txt"]).done();
    assert_eq!(world.text("out/sample.main"), lines(10));
}

/// Keys of yesterday and copies of the configuration lie there, and no rule names them.
#[test]
fn beside_the_configuration_a_program_reaches_its_own_file_alone_and_check_says_what_it_lacks() {
    let world = World::new(
        "pipeline = [{ step = \"exec\", command = [\"./probe.py\"] }]\nerrors = { failed_max = \"100%\", attempts = 1 }",
    );
    world.write("probe.py", PROBE);
    world.write("helper.py", "");
    world.write("landfall.toml.old", "secret");
    world.sh("chmod +x probe.py");
    world
        .landfall(&["check"])
        .done()
        .says(&["helper.py lies beside the program", "landfall.toml (the configuration)"]);
    if !has_landlock() {
        return;
    }
    let asked = ["probe.py", "landfall.toml.old", "helper.py"].map(|name| at(&world, "read", name));
    assert_eq!(answers(&world, &asked)[1..], ["Permission denied", "Permission denied"]);
}

#[test]
fn a_program_that_finds_no_helper_says_that_it_is_confined_and_what_to_write() {
    if !has_landlock() {
        return;
    }
    let world = World::new(
        "pipeline = [{ step = \"exec\", command = [\"./enrich.py\"] }]\nerrors = { failed_max = \"100%\", attempts = 1 }",
    );
    world.write("enrich.py", "#!/usr/bin/env python3\nimport helper\n");
    world.write("helper.py", "");
    world.sh("chmod +x enrich.py");
    world.write("sample.txt", "1\n");
    world.ingest(&["sample.txt"]).done();
    let why = world.failed_records(&world.completed())[0]["error"].to_string();
    assert!(why.contains("No module named 'helper'") && why.contains("it is confined"), "{why}");
    assert!(why.contains("read = ["), "{why}");
    // In a folder of its own it finds it.
    world.sh(
        "mkdir steps; mv enrich.py helper.py steps; sed -i 's,./enrich.py,./steps/enrich.py,' landfall.toml",
    );
    world.sh("printf 'import sys\\nfor line in sys.stdin: print(line, end=\"\", flush=True)\\n' >> steps/enrich.py");
    world.write("other.txt", "1\n");
    world.ingest(&["other.txt"]).done();
    assert_eq!(world.text("out/other.main"), "1\n");
}

/// Its end says why.
#[test]
fn of_a_long_complaint_the_last_line_is_told() {
    let world = World::new(
        "pipeline = [{ step = \"exec\", command = [\"./tool/fails\"] }]\nerrors = { failed_max = \"100%\", attempts = 1 }",
    );
    let script = "#!/bin/sh\nread -r line\nfor n in 1 2 3 4 5 6 7 8 9; do echo \"frame $n $(head -c 400 /dev/zero | tr '\\0' x)\" >&2; done\necho 'ValueError: the reason' >&2\n";
    world.write("tool/fails", script);
    world.sh("chmod +x tool/fails");
    world.write("sample.txt", lines(20));
    world.ingest(&["sample.txt"]).done();
    for record in world.failed_records(&world.completed()) {
        let why = record["error"].as_str().expect("a text");
        assert!(why.contains("ValueError: the reason"), "{why}");
    }
}

#[test]
fn an_interpreter_that_lies_elsewhere_is_opened_with_its_library_and_one_that_is_gone_is_told() {
    let world = probing("]");
    let elsewhere = World::bare();
    // Python finds its library beside where it was made from.
    elsewhere.sh("python3 -m venv --without-pip venv 2>/dev/null || (mkdir -p venv/bin && ln -s \"$(command -v python3)\" venv/bin/python3)");
    elsewhere.write("venv/lib/marker", "beside it");
    let python = elsewhere.path("venv/bin/python3");
    world.write("tool/probe", PROBE.replacen("/usr/bin/env python3", &python.display().to_string(), 1));
    world.landfall(&["check"]).done();
    if has_landlock() {
        assert_eq!(answers(&world, &[at(&elsewhere, "read", "venv/lib/marker")]), ["9"]);
    }
    world.sh(&format!("rm -r {}", elsewhere.path("venv").display()));
    world
        .landfall(&["check"])
        .done()
        .says(&["cannot be run by its first line", "venv/bin/python3 does not exist"]);
}

#[test]
fn what_a_step_opens_of_the_services_is_told_by_name() {
    let world = probing(", \"./keys/site.key\"], read = [\".\", \"data/store\", \"out\"]");
    world.sh("mkdir -p keys data/store; touch keys/site.key");
    let config = world
        .text("landfall.toml")
        .replace("[service]\n", "[service]\nat_rest = { key_file = \"keys/site.key\" }\n");
    world.write("landfall.toml", config);
    let said = world.landfall(&["check"]).says(&[
        "pipeline[1].read",
        "opens to the program",
        "keys/site.key (service.at_rest)",
        "data (service.data_dir)",
    ]);
    let said = said.says(&["landfall.toml (the configuration)", "pipeline[1].command"]);
    assert!(!said.stdout.contains("/out opens"), "it was meant: {}", said.stdout);
}

#[test]
fn a_program_that_takes_more_memory_than_its_step_gives_it_costs_its_record_and_nothing_else() {
    let world = probing("], memory_max = \"256MiB\"");
    world.write("ask.txt", format!("memory {}\nmemory 4096\nmemory {}\nmemory 1\n", 64 << 20, 512 << 20));
    world.ingest(&["ask.txt"]).done();
    let job = world.completed();
    assert_eq!((&job["records_failed"], &world.failed_records(&job)[0]["record"]), (&json!(1), &json!(3)));
    let why = world.failed_records(&job)[0]["error"].to_string();
    assert!(why.contains("MemoryError"), "{why}");
    assert_eq!(world.text("out/ask.main"), format!("{}\n4096\n1\n", 64 << 20));
}

/// The main job, by a service that keeps itself to what its configuration names.
fn confined() -> World {
    World::with_service(
        "confine = true",
        "paths = [\"in/{sender}/*\"]
         decode = { identities = [\"key.txt\"] }
         pipeline = [{ step = \"exec\", command = [\"./tool/upper\"] }]
         output = { main = { path = \"out/{sender}/{date}/{stem}.csv.gz\" } }
         publish = { manifest = \"signals/{stem}.json\", marker = \"signals/{stem}.done\" }
         source = { on_success = \"archive\", archive_dir = \"archive/{date}\" }",
    )
}

#[test]
fn a_confined_service_does_its_whole_job() {
    if !has_landlock() {
        return;
    }
    let world = confined();
    let recipient = world.age_key();
    world.write("tool/upper", "#!/usr/bin/env python3\nimport sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)\n");
    world.sh("chmod +x tool/upper; mkdir in/acme");
    let mut service = world.start();
    service.wait_for_log("confined to the paths");
    let text = lines(3000);
    world.write("plain", &text);
    world.sh(&format!("gzip -c plain | age -r {recipient} > .sealed; mv .sealed in/acme/pay.txt.gz.age"));
    world.sh("head -c 100 /dev/urandom | gzip | head -c 40 > .cut; mv .cut in/acme/cut.gz");
    service.wait_for(&world, "signals/pay.done");
    service.wait_until("the other is in quarantine", || {
        world.files("in").iter().any(|name| name.ends_with("quarantine/cut.gz")).then_some(())
    });
    service.stop();
    assert_eq!(world.sh("zcat out/acme/*/pay.csv.gz"), text.to_uppercase());
    assert!(world.files("archive").iter().any(|name| name.ends_with("pay.txt.gz.age")));
    // A later start goes on where it stood.
    let mut service = world.start();
    world.move_in("in/acme/second.txt", "b\n");
    service.wait_for(&world, "signals/second.done");
    service.stop();
}

/// It was told at the start; the reload of something else changes nothing about it.
#[test]
fn a_confined_service_whose_watched_folder_is_not_there_takes_other_edits() {
    if !has_landlock() {
        return;
    }
    let world = World::with_service("confine = true", "paths = [\"in/*\", \"later/*\"]");
    world.sh("mkdir -p out archive");
    let mut service = world.start();
    service.wait_for_log("out of the service's reach before a restart");
    service.wait_until_it_watches();
    world.sh("sed -i 's/^config_version/# edited\\nconfig_version/' landfall.toml");
    world.landfall(&["reload"]).done();
    service.stop();
}

/// What is not there is made at the start, before the service cannot leave what it is given: each folder for whom it is meant.
#[test]
fn folders_that_a_confined_service_makes_at_its_start_are_open_to_whom_they_are_else() {
    if !has_landlock() {
        return;
    }
    let modes = |settings: &str| {
        let world = World::with_service(
            settings,
            "paths = [\"in/*\"]
             source = { on_success = \"archive\", archive_dir = \"archive/{date}\", archive_owner = \"sender\", claim_dir = \"own/claims\", quarantine_dir = \"own/bad\" }
             publish = { marker = \"signals/{stem}.done\" }
             output = { main = { path = \"out/{stem}\", mode = \"0644\" } }",
        );
        world.sh("rm -rf data out archive");
        let mut service = world.start();
        service.wait_until_it_watches();
        world.move_in("in/a", "1\n");
        service.wait_for(&world, "signals/a.done");
        service.stop();
        world.sh("umask 0; stat -c '%n %a' data own/claims out signals archive")
    };
    let wanted = "data 700\nown/claims 700\nout 755\nsignals 755\narchive 755\n";
    assert_eq!((modes("confine = true").as_str(), modes("").as_str()), (wanted, wanted));
}

/// Threads that began before are none that read what others sent.
#[test]
fn a_confined_services_threads_cannot_reach_what_it_was_not_given() {
    if !has_landlock() {
        return;
    }
    let world = World::with_service(
        "confine = true",
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./tool/probe\"] }]",
    );
    world.write("tool/probe", PROBE);
    world.sh("chmod +x tool/probe");
    let elsewhere = World::bare();
    elsewhere.write("file", "secret");
    let mut service = world.start();
    world.move_in(
        "in/ask.txt",
        format!("{}\n{}\n", at(&elsewhere, "read", "file"), at(&world, "write", "out/new")),
    );
    service.wait_for(&world, "archive/ask.txt");
    service.stop();
    assert_eq!(world.text("out/ask.main"), "Permission denied\ndone\n", "its programs are in, too");
}

#[test]
fn a_confined_service_refuses_a_rule_that_leads_out_and_takes_it_after_a_restart() {
    if !has_landlock() {
        return;
    }
    let first = "name = \"first\"\npaths = [\"in/first/*\"]";
    let inside = "name = \"inside\"\npaths = [\"in/first/inside/*\"]\noutput = { main = { path = \"out/{stem}.inside\" } }";
    let outside =
        "name = \"outside\"\npaths = [\"elsewhere/*\"]\noutput = { main = { path = \"new/{stem}.main\" } }";
    let world = World::bare();
    world.configure("confine = true", &[first]);
    world.sh("mkdir -p in/first/inside elsewhere");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.configure("confine = true", &[inside, first]);
    world.landfall(&["reload"]).done();
    world.configure("confine = true", &[inside, first, outside]);
    let refused = world.landfall(&["reload"]).ends_with(2);
    refused.says(&[
        "rule \"outside\": paths",
        "elsewhere is outside",
        "output.main.path",
        "restart the service",
    ]);
    world.move_in("in/first/inside/pay.txt", "1\n");
    service.wait_for(&world, "out/pay.inside");
    service.stop();
    let mut service = world.start();
    world.move_in("elsewhere/pay.txt", "2\n");
    service.wait_for(&world, "new/pay.main");
    service.stop();
}

/// Its folder is another one then, whatever it is called.
#[test]
fn a_confined_service_whose_folder_was_made_anew_says_that_a_restart_helps() {
    if !has_landlock() {
        return;
    }
    let elsewhere = World::bare();
    elsewhere.sh("mkdir rules.d");
    let rules = elsewhere.path("rules.d").display().to_string();
    let world = World::with_service(&format!("confine = true\nrules_dir = \"{rules}\""), "");
    let mut service = world.start();
    service.wait_until_it_watches();
    elsewhere.sh("mv rules.d old; mkdir rules.d");
    world.landfall(&["reload"]).ends_with(2).says(&["rules.d cannot be listed", "before a restart"]);
    service.stop();
}

#[test]
fn a_path_of_which_only_the_root_is_fixed_is_told_where_the_service_confines_itself() {
    let world = World::with_service("confine = true", "output = { main = { path = \"/{stem}/x.main\" } }");
    world.landfall(&["check"]).says(&["output.main.path", "lets the service write everywhere"]);
}

/// The service starts with what it went by before, and is confined by that.
#[test]
fn a_confined_service_whose_configuration_is_wrong_starts_confined_by_the_last_good_one() {
    if !has_landlock() {
        return;
    }
    let world = World::with_service("confine = true", "");
    world.start().stop();
    world.sh("sed -i 's/stable_for/stabel_for/' landfall.toml");
    let mut service = world.start();
    service.wait_for_log("confined to the paths");
    world.move_in("in/pay.txt", "1\n");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
}

/// A shell, a supervisor or cron may start the service with files open that it does not know of.
#[test]
fn what_the_service_was_started_with_is_not_passed_on_to_a_program() {
    for is_confined in [true, false] {
        if is_confined && !has_landlock() {
            continue;
        }
        let world = probing(if is_confined { "]" } else { "], confine = false" });
        let secret = world.path("beside").display().to_string();
        world.write("ask.txt", format!("open {secret}\nread /proc/self/fd/9\n"));
        let landfall = env!("CARGO_BIN_EXE_landfall");
        world.sh(&format!("{landfall} ingest --rule {} ask.txt 9< beside", support::RULE));
        let found = world.text("out/ask.main");
        assert!(found.starts_with('\n') && found.contains("No such file"), "{found}");
    }
}
