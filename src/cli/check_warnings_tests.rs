use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::pipeline::Registry;

/// A folder with a configuration that has nothing to be warned of.
struct World {
    folder: tempfile::TempDir,
    text: String,
}

const CONFIGURATION: &str = "config_version = 1
[service]
data_dir = 'data'
[[rule]]
name = 'payments'
paths = ['in/*.csv']
[rule.output.main]
path = 'out/{stem}.csv'
[rule.source]
on_success = 'archive'
archive_dir = 'archive'
";

/// Of nobody.
const IDENTITY: &str = "AGE-SECRET-KEY-19L5JR0EPDN08938Q9N8CKKAG2RSPLHJZ42V0SH2DU8QUWKA9495STQ0GW0";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("in")).expect("makes the inbox");
        fs::set_permissions(folder.path().join("in"), fs::Permissions::from_mode(0o755))
            .expect("sets the mode");
        Self { folder, text: CONFIGURATION.to_owned() }
    }

    fn with(old: &str, new: &str) -> Self {
        let world = Self::new();
        assert!(world.text.contains(old), "{old} is in the configuration");
        Self { text: world.text.replace(old, new), ..world }
    }

    /// Level, line, key and message of each but notes, with the folder's name taken out.
    fn told(&self) -> Vec<String> {
        let file = self.folder.path().join("landfall.toml");
        fs::write(&file, &self.text).expect("writes");
        let (settings, places) = crate::config::load_with_places(&file, &Registry::with_builtin_steps())
            .expect("is right in itself");
        let folder = self.folder.path().to_str().expect("a plain name");
        find(&settings, &places)
            .iter()
            .filter(|finding| finding.level != Level::Note)
            .map(|Finding { level, problem }| {
                assert!(problem.hint.is_some() && problem.column.is_some(), "{problem:?}");
                let line = problem.line.unwrap_or(0);
                format!("{level:?} {line} {}: {}", problem.key, problem.message).replace(folder, "DIR")
            })
            .collect()
    }
}

#[test]
fn a_configuration_with_all_that_it_names_has_no_warning() {
    assert_eq!(World::new().told(), Vec::<String>::new());
}

#[test]
fn a_watched_folder_that_is_not_there_is_a_warning_and_a_folder_named_as_a_file_a_problem() {
    let told = World::with("'in/*.csv'", "'inn/*.csv', 'in', 'in/*/in'").told();
    insta::assert_snapshot!(told.join("\n"), @r#"
    Warning 6 rule "payments": paths[1]: the watched folder DIR/inn does not exist
    Problem 6 rule "payments": paths[2]: DIR/in is a folder: this pattern takes no file
    Warning 6 rule "payments": paths[3]: no folder below DIR/in fits this pattern now
    "#);
}

/// As of a key of `service.at_rest`, which is refused.
#[cfg(unix)]
#[test]
fn a_key_file_of_a_rule_that_others_may_read_or_change_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let more = "[rule.decode]
identities = ['keys/a.key', 'keys/b.key']
passphrase_file = 'pass'
symmetric_encryption = { keys = [{ version = 1, key_file = 'enc.key' }] }
[rule.source]";
    let world = World::with("[rule.source]", more);
    fs::create_dir(world.folder.path().join("keys")).expect("makes the folder");
    for (name, mode) in [("keys/a.key", 0o644), ("keys/b.key", 0o640), ("pass", 0o660), ("enc.key", 0o604)] {
        let path = world.folder.path().join(name);
        // An identity, or as well 16 bytes.
        fs::write(&path, if name == "enc.key" { "0123456789abcdeg" } else { IDENTITY }).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets the mode");
    }
    insta::assert_snapshot!(world.told().join("\n"), @r#"
    Warning 10 rule "payments": decode.identities[1]: the key file DIR/keys/a.key may be read or changed by every user (mode 644)
    Warning 11 rule "payments": decode.passphrase_file: the key file DIR/pass may be changed by its group (mode 660)
    Warning 12 rule "payments": decode.symmetric_encryption.keys[1].key_file: the key file DIR/enc.key may be read or changed by every user (mode 604)
    "#);
}

#[test]
fn key_files_and_programs_that_are_not_there_are_warnings() {
    let more = "[rule.decode]
identities = ['keys/a.key', 'keys/b.key']
passphrase_file = 'pass'
[[rule.pipeline]]
step = 'exec'
command = ['./tool']
[[rule.pipeline]]
step = 'exec'
command = ['no-such-program-anywhere']
[[rule.pipeline]]
step = 'exec'
command = ['sh']
[rule.source]";
    let world = World::with("[rule.source]", more);
    fs::create_dir(world.folder.path().join("keys")).expect("makes the folder");
    let key = world.folder.path().join("keys/b.key");
    crate::durable_fs::write_secret(&key, IDENTITY.as_bytes()).expect("writes");
    insta::assert_snapshot!(world.told().join("\n"), @r#"
    Warning 10 rule "payments": decode.identities[1]: DIR/keys/a.key does not exist
    Warning 11 rule "payments": decode.passphrase_file: DIR/pass does not exist
    Warning 14 rule "payments": pipeline[1].command: DIR/tool does not exist
    Warning 17 rule "payments": pipeline[2].command: there is no program no-such-program-anywhere in PATH
    "#);
}

#[test]
fn patterns_that_stand_twice_are_warnings_unless_the_first_rule_leaves_files_out() {
    let second = "[[rule]]
name = 'others'
paths = ['in/*.csv', 'in/*.txt', 'in/*.txt']
output.main.path = 'out/others/{stem}'
source.on_success = 'delete'
[[rule]]";
    let world = World::with("[[rule]]", second);
    insta::assert_snapshot!(world.told().join("\n"), @r#"
    Warning 6 rule "others": paths[3]: this pattern stands here twice
    Warning 11 rule "payments": paths[1]: rule "others" has this pattern too and stands first: it takes every file
    "#);
    let with_exclude =
        World { text: world.text.replace("output.main.path", "exclude = ['x*']\noutput.main.path"), ..world };
    assert_eq!(with_exclude.told().len(), 1);
}

#[test]
fn folders_that_lie_in_one_another_are_warnings() {
    let inner = World::with("'data'", "'in/.data'");
    insta::assert_snapshot!(inner.told().join("\n"), @r#"Warning 6 rule "payments": paths[1]: the data folder DIR/in/.data lies in the watched folder DIR/in"#);
    let outputs = World { text: CONFIGURATION.replace("'out/{stem}.csv'", "'data/out/{stem}.csv'"), ..inner };
    insta::assert_snapshot!(outputs.told().join("\n"), @r#"Warning 8 rule "payments": output.main.path: this lies in the data folder DIR/data"#);
    let archive = World {
        text: CONFIGURATION.replace("'archive'\n", "'out'\n").replacen("'out'", "'archive'", 1),
        ..outputs
    };
    insta::assert_snapshot!(archive.told().join("\n"), @r#"Warning 11 rule "payments": source.archive_dir: sources are archived into the folder of output.main.path"#);
}

#[test]
fn a_path_of_windows_is_a_warning_elsewhere() {
    let told = World::with("'out/{stem}.csv'", r"'out\{stem}.csv'").told();
    insta::assert_snapshot!(told.join("\n"), @r#"Warning 8 rule "payments": output.main.path: `\` is part of a name here, and parts no folders"#);
}

#[test]
fn a_landing_folder_that_others_write_in_wants_a_claim_folder() {
    let world = World::with("'in/*.csv'", "'in/{customer}/*.csv'");
    for (customer, mode) in [("a", 0o755), ("b", 0o777), ("c", 0o1777)] {
        let folder = world.folder.path().join("in").join(customer);
        fs::create_dir(&folder).expect("makes the folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("sets the mode");
    }
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("may write in DIR/in/") && told[0].contains(" and 1 more"), "{told:?}");
    let text = world.text.replace("on_success", "claim_dir = 'claims'\non_success");
    assert_eq!(World { text, ..world }.told(), Vec::<String>::new());
}

#[test]
fn a_quarantine_that_its_group_may_write_in_takes_nothing_and_is_told() {
    let world = World::new();
    for (folder, mode) in [("bad", 0o770), ("in/.landfall", 0o700), ("in/.landfall/quarantine", 0o775)] {
        let folder = world.folder.path().join(folder);
        fs::create_dir(&folder).expect("makes the folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("sets the mode");
    }
    insta::assert_snapshot!(world.told().join("\n"), @r#"Warning 6 rule "payments": paths[1]: DIR/in/.landfall/quarantine has mode 775, so that others may write in it: nothing is taken into it, and its files wait"#);
    let text = world.text.replace("on_success", "quarantine_dir = 'bad'\non_success");
    let world = World { text, ..world };
    insta::assert_snapshot!(world.told().join("\n"), @r#"Warning 10 rule "payments": source.quarantine_dir: DIR/bad has mode 770, so that others may write in it: nothing is taken into it, and its files wait"#);
}

#[test]
fn a_folder_that_only_its_owner_writes_in_is_closed_to_others() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    let folder = world.folder.path().join("in");
    let closed_to = |mode, user| {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("sets the mode");
        check_rights::is_closed_to(&fs::metadata(&folder).expect("is there"), user)
    };
    let owner = fs::metadata(&folder).expect("is there").uid();
    assert!(closed_to(0o755, owner + 2005) && closed_to(0o700, owner + 2005));
    assert!(!closed_to(0o755, owner) && !closed_to(0o755, 0));
    assert!(!closed_to(0o2770, owner + 2005) && !closed_to(0o1777, owner + 2005));
}

#[test]
fn an_output_that_is_lacking_is_told_once_however_many_steps_need_it() {
    let step =
        "[[rule.pipeline]]\nstep = 'validate'\ncolumns = { a = { required = true } }\nto = 'invalid'\n";
    let world = World::with("[rule.source]", &format!("{step}{step}[rule.source]"));
    let file = world.folder.path().join("landfall.toml");
    fs::write(&file, &world.text).expect("writes");
    let loaded = crate::config::load_with_places(&file, &Registry::with_builtin_steps());
    let problems = loaded.map(|_| ()).expect_err("an output is lacking");
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert!(problems.0[0].message.contains("`invalid` has no output"), "{problems}");
}

#[test]
fn a_linger_that_never_counts_or_not_in_full_is_told_where_the_rule_says_it() {
    let told =
        |ready: &str| World::with("[rule.output", &format!("[rule.ready]\n{ready}\n[rule.output")).told();
    let key = "Warning 9 rule \"payments\": ready.linger: ";
    assert_eq!(
        told("strategy = 'stable'\nlinger = '2s'"),
        [format!("{key}with `strategy = \"stable\"` nothing proves an end, and no file lingers")]
    );
    assert_eq!(
        told("stable_for = '5s'\nlinger = '8s'"),
        [format!("{key}this is longer than `ready.stable_for`, after which a file is taken anyway")]
    );
    for right in [
        "strategy = 'stable'",
        "stable_for = '100ms'",
        "strategy = 'stable'\ntotals = '{name}.ctl'\nlinger = '2s'",
        "strategy = 'marker'\nmarker = '{name}.done'\nstable_for = '1s'\nlinger = '8s'",
    ] {
        assert_eq!(told(right), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn only_where_all_patterns_end_in_one_extension_no_two_files_have_one_stem() {
    for (patterns, several) in [
        (&["/in/*.csv"] as &[&str], false),
        (&["/in/*.csv.gz", "/other/{sender}-*.csv.gz"], false),
        (&["/in/*"], true),
        (&["/in/pay-*"], true),
        (&["/in/*.csv", "/in/*.txt"], true),
        (&["/in/*.{csv,txt}"], true),
    ] {
        assert_eq!(have_several_endings(patterns), several, "{patterns:?}");
    }
}
