use super::*;
use proptest::prelude::*;

fn known() -> BTreeSet<String> {
    BTreeSet::from(["sender".to_owned()])
}

fn render_as(template: &str, source: &str, entry: Option<&OsText>, sender: &OsText) -> PathBuf {
    let category = Category::main();
    let vars = BTreeMap::from([("sender".to_owned(), sender.clone())]);
    let variables = Variables {
        rule: "payments",
        source: Path::new(source),
        claimed_at: "2026-01-31T13:45:01Z".parse().expect("a time"),
        timezone: "UTC",
        job: JobId::from_parts(0, 0),
        category: Some(&category),
        entry,
        revision: 3,
        vars: &vars,
    };
    Template::parse(template, &known()).expect("parses").render(&variables).expect("renders")
}

fn render(template: &str) -> PathBuf {
    render_as(template, "/in/acme/inbox/pay.csv.gz.age", None, &"acme".into())
}

#[test]
fn every_variable_has_its_value() {
    for (template, path) in [
        ("/o/{rule}/{sender}/{date}/{stem}.csv.gz", "/o/payments/acme/2026-01-31/pay.csv.gz"),
        ("/o/{name}", "/o/pay.csv.gz.age"),
        ("/o/{stem}.{ext}", "/o/pay.csv"),
        ("/o/{date:%Y%m%d}-{time}", "/o/20260131-134501"),
        ("/o/{date:%Y/%m}/x", "/o/2026/01/x"),
        ("/o/{grandparent}/{parent}/{category}", "/o/acme/inbox/main"),
        ("/o/{{{rule}}}", "/o/{payments}"),
        ("/o/{job}", "/o/00000000000000000000000000"),
        ("/o/plain", "/o/plain"),
        ("{name}.done", "pay.csv.gz.age.done"),
    ] {
        assert_eq!(render(template), Path::new(path), "{template}");
    }
}

#[test]
fn an_entry_is_its_path_in_one_name_and_a_plain_file_is_its_own_entry() {
    let entry = |name: &str| render_as("/o/{entry}", "/in/pay.csv.gz", Some(&name.into()), &"a".into());
    let stem =
        |name: &str| render_as("/o/{entry_stem}.out", "/in/pay.csv.gz", Some(&name.into()), &"a".into());
    assert_eq!(entry("dir/one.csv"), Path::new("/o/dir_one.csv"));
    assert_eq!(stem("dir/one.csv.gz"), Path::new("/o/dir_one.out"));
    assert_eq!(entry(""), Path::new("/o/pay.csv"));
    assert_eq!(stem(""), Path::new("/o/pay.out"));
    assert_eq!(entry(".hidden"), Path::new("/o/_.hidden"));
    assert_eq!(entry("a\nb"), Path::new("/o/a%0ab"));
    assert_eq!(entry("pay\u{202e}vsc.\u{9b}ä"), Path::new("/o/pay%e2%80%aevsc.%c2%9bä"));
}

#[test]
fn a_revision_is_its_number_and_text_is_not_made_harmless() {
    assert_eq!(render("/o/{stem}-r{revision}.csv"), Path::new("/o/pay-r3.csv"));
    let vars = BTreeMap::new();
    let variables = Variables {
        rule: "payments",
        source: Path::new("/in/a:b.csv"),
        claimed_at: "2026-01-31T13:45:01Z".parse().expect("a time"),
        timezone: "UTC",
        job: JobId::from_parts(0, 0),
        category: None,
        entry: None,
        revision: 1,
        vars: &vars,
    };
    let key = Template::parse("{name}/{date:%Y}", &BTreeSet::new()).expect("parses");
    assert_eq!(key.render_text(&variables), Ok(OsText::from("a:b.csv/2026")));
}

#[test]
fn mistakes_are_refused_with_what_to_do() {
    for (template, message, hint) in [
        ("/o/{stm}", "unknown variable `{stm}`", "did you mean `{stem}`?"),
        ("/o/{sendr}", "unknown variable `{sendr}`", "did you mean `{sender}`?"),
        ("/o/{stem", "a brace is not closed in `/o/{stem`", "write `{{` and `}}`"),
        ("/o/stem}", "a `}` without its `{`", "write `{{` and `}}`"),
        ("/o/{name:%Y}", "`{name:%Y}` cannot be formatted", "only `{date:"),
        ("/o/{date:%!}", "`%!` is no date format", "use strftime"),
        ("/o/../{stem}", "goes up with `..`", "without `..`"),
    ] {
        let error = Template::parse(template, &known()).expect_err(template);
        assert!(error.message.contains(message), "{template}: {}", error.message);
        assert!(error.hint.as_deref().is_some_and(|h| h.contains(hint)), "{template}: {:?}", error.hint);
    }
}

#[test]
fn the_fixed_folder_is_what_stands_before_the_first_variable() {
    for (template, folder) in [
        ("/o/x/{stem}", "/o/x"),
        ("/o/x{stem}/y", "/o"),
        ("/o/plain", "/o"),
        ("{stem}", ""),
        ("/{stem}", "/"),
    ] {
        assert_eq!(
            Template::parse(template, &known()).expect("parses").fixed_folder(),
            Path::new(folder),
            "{template}"
        );
    }
}

#[test]
fn a_long_name_is_cut_but_keeps_its_suffix_and_stays_its_own() {
    let long = |last: char| OsText::new(format!("{}{last}", "ä".repeat(200)));
    let one = render_as("/o/{sender}.csv.gz", "/in/x", None, &long('1'));
    let two = render_as("/o/{sender}.csv.gz", "/in/x", None, &long('2'));
    assert_ne!(one, two);
    let name = one.file_name().and_then(|n| n.to_str()).expect("UTF-8");
    assert!(name.len() <= 255 && name.ends_with(".csv.gz"), "{name}");
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_utf8_are_kept() {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let entry = OsText::new(std::ffi::OsString::from_vec(b"p\xff.csv".to_vec()));
    let path = render_as("/o/{entry}", "/in/x", Some(&entry), &"a".into());
    assert_eq!(path.as_os_str().as_bytes(), b"/o/p\xff.csv");
}

#[cfg(unix)]
fn any_name() -> impl Strategy<Value = OsText> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), Just(b'\\'), Just(b'a')], 0..12),
    ];
    bytes.prop_map(|b| OsText::new(std::ffi::OsString::from_vec(b)))
}

#[cfg(windows)]
fn any_name() -> impl Strategy<Value = OsText> {
    "[./\\\\:a-c ]{0,12}".prop_map(|s| OsText::from(s.as_str()))
}

proptest! {
    #[test]
    fn whatever_the_names_the_path_stays_inside_its_folder(entry in any_name(), sender in any_name(), shape in 0..5usize) {
        let template = ["/o/{entry}", "/o/{sender}/{entry_stem}.{ext}", "/o/.{sender}", "/o/.{sender}./{entry}/x", "/o/{sender}{entry}"][shape];
        let path = render_as(template, "/in/pay.csv", Some(&entry), &sender);
        let rest = path.strip_prefix("/o").expect("inside");
        prop_assert!(rest.components().all(|c| matches!(c, Component::Normal(_))));
        prop_assert_eq!(rest.components().count(), template.matches('/').count() - 1);
        prop_assert!(rest.components().all(|c| c.as_os_str().len() <= 255));
    }
}
