use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use proptest::prelude::*;

use super::*;
use crate::model::os_text::OsText;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("the pattern is good")
}

fn is_match(text: &str, path: &str) -> bool {
    pattern(text).matches(Path::new(path)).is_some()
}

fn error(text: &str) -> Mistake {
    Pattern::parse(text).expect_err("the pattern is wrong")
}

#[test]
fn a_star_stays_within_its_component_and_takes_no_leading_dot() {
    assert!(is_match("/in/*.csv", "/in/a.csv"));
    assert!(!is_match("/in/*.csv", "/in/a/b.csv"));
    assert!(!is_match("/in/*.csv", "/in/.a.csv"));
    assert!(is_match("/in/.*.csv", "/in/.a.csv"));
    assert!(!is_match("/in/*/a", "/in/a"));
}

#[test]
fn two_stars_stand_for_any_number_of_folders_but_no_hidden_one() {
    for path in ["/in/a.csv", "/in/x/a.csv", "/in/x/y/a.csv"] {
        assert!(is_match("/in/**/*.csv", path), "{path}");
    }
    assert!(!is_match("/in/**/*.csv", "/in/.landfall/a.csv"));
    assert!(!is_match("/in/**/*.csv", "/other/a.csv"));
    assert!(is_match("/in/**", "/in/x/a"));
    assert!(is_match("/in/**/x/**/b", "/in/x/x/a/b"));
}

#[test]
fn named_wildcards_keep_what_they_stand_for() {
    let found = pattern("/srv/{sender}/inbox/{kind}-*.csv*");
    let values = found.matches(Path::new("/srv/acme/inbox/pay-2-3.csv.gz")).expect("matches");
    assert_eq!(values.get("sender"), Some(&OsText::from("acme")));
    assert_eq!(values.get("kind"), Some(&OsText::from("pay")));
    assert_eq!(found.names(), ["sender", "kind"]);
    assert!(found.matches(Path::new("/srv/.hidden/inbox/pay-2.csv")).is_none());
    assert!(found.matches(Path::new("/srv/acme/inbox/-2.csv")).is_none(), "at least one character");
    assert!(found.matches(Path::new("/srv/a/b/inbox/pay-2.csv")).is_none(), "one component");
}

#[test]
fn a_named_wildcard_between_recursive_ones_takes_the_value_of_the_path_that_fits() {
    let values = pattern("/in/**/{day}/x/*").matches(Path::new("/in/a/b/x/f")).expect("matches");
    assert_eq!(values.get("day"), Some(&OsText::from("b")));
}

#[test]
fn names_that_are_not_utf8_match_and_come_back_exactly() {
    let path = Path::new(OsStr::from_bytes(b"/in/\xff\xfe/b\xe9.csv"));
    let values = pattern("/in/{who}/b?.csv").matches(path).expect("matches");
    assert_eq!(values.get("who").map(OsText::as_os_str), Some(OsStr::from_bytes(b"\xff\xfe")));
    assert!(pattern("/in/*/*").matches(path).is_some());
    assert!(pattern("/in/**/*.csv").matches(path).is_some());
}

#[test]
fn names_with_new_lines_and_metacharacters_match() {
    assert!(is_match("/in/*.csv", "/in/a\nb*[x]{y}.csv"));
    assert!(is_match("/in/[[]x[]]-[{]y[}].csv", "/in/[x]-{y}.csv"));
}

#[test]
fn the_fixed_folder_ends_before_the_first_wildcard() {
    assert_eq!(pattern("/a/b/*.csv").fixed_folder(), Path::new("/a/b"));
    assert_eq!(pattern("/a/{x}/b/*").fixed_folder(), Path::new("/a"));
    assert_eq!(pattern("/a/b/plain.csv").fixed_folder(), Path::new("/a/b"));
    assert_eq!(pattern("/a/**/x").fixed_folder(), Path::new("/a"));
}

#[test]
fn a_folder_that_the_pattern_reads_is_recognised() {
    assert!(pattern("/in/*.csv").could_match_in(Path::new("/in")));
    assert!(!pattern("/in/*.csv").could_match_in(Path::new("/in/archive")));
    assert!(!pattern("/in/*.csv").could_match_in(Path::new("/input")));
    assert!(pattern("/in/**/*.csv").could_match_in(Path::new("/in/archive/2026")));
    assert!(!pattern("/in/**/*.csv").could_match_in(Path::new("/in/.landfall")));
    assert!(pattern("/in/{sender}/out/*").could_match_in(Path::new("/in/acme/out")));
    assert!(!pattern("/in/{sender}/out/*").could_match_in(Path::new("/in/acme")));
    assert!(pattern("/in/{sender}/out/*").could_match_below(Path::new("/in/acme")));
    assert!(!pattern("/in/{sender}/out/*").could_match_below(Path::new("/in/acme/in")));
    assert!(pattern("/in/x/*").could_match_below(Path::new("/in")));
}

#[test]
fn wrong_patterns_are_explained() {
    assert!(error("/in/*.{csv,txt}").message.contains("brace list"));
    assert!(error("/in/{sender").message.contains("without `}`"));
    assert!(error("/in/sender}").message.contains("without `{`"));
    assert!(error("in/*.csv").message.contains("not absolute"));
    assert!(error("/in/").message.contains("names a folder"));
    assert!(error("/in/a**").message.contains("recursive wildcards"));
    assert!(error("/in/[a").message.contains("range"));
    assert!(error("/in/../x").message.contains("`..`"));
    assert!(error("/{a}/{a}").message.contains("twice"));
    assert!(error("/in/{name}").message.contains("templates"));
    assert!(error("/in/{}").message.contains("no name"));
    assert!(error("/").hint.is_some());
}

proptest! {
    #[test]
    fn a_star_never_crosses_a_separator(before in "[a-z]{0,4}", after in "[a-z]{0,4}") {
        let path = format!("/in/{before}/{after}x");
        let matches = is_match("/in/*x", &path);
        prop_assert_eq!(matches, before.is_empty());
    }

    #[test]
    fn what_matches_lies_in_a_folder_that_could_match(
        text in "/in(/(\\*\\*|\\*|[ab]|\\{n\\}|a\\*)){0,3}/(\\*|[ab]\\*|\\?)", path in "/in(/[ab.]{1,2}){1,4}",
    ) {
        // A name may stand twice in what was made up.
        if let Ok(pattern) = Pattern::parse(&text) {
            let path = Path::new(&path);
            if pattern.matches(path).is_some() {
                let folder = path.parent().expect("a file lies in a folder");
                prop_assert!(pattern.could_match_in(folder));
                prop_assert!(folder.ancestors().take_while(|up| up.starts_with("/in")).all(|up| pattern.could_match_below(up)));
            }
        }
    }

    #[test]
    fn any_bytes_in_a_name_match_a_star(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        let name: Vec<u8> = bytes.into_iter().filter(|b| *b != b'/' && *b != 0).collect();
        prop_assume!(!name.is_empty() && name.first() != Some(&b'.'));
        let path = Path::new("/in").join(OsStr::from_bytes(&name));
        let values = pattern("/in/{all}").matches(&path).expect("matches");
        prop_assert_eq!(values.get("all").map(|v| v.as_os_str().as_bytes().to_vec()), Some(name));
    }

    #[test]
    fn an_escaped_text_is_a_pattern_of_itself_alone(folder in "[^/\u{0}]{1,6}|[a\u{10FE00}-\u{10FEFF}]{1,3}", other in "[a*?\\[\\]{}!.]{1,3}") {
        prop_assume!(![".", ".."].contains(&folder.as_str()));
        let path = Path::new("/in").join(&folder);
        let in_it = pattern(&format!("/in/{}/*", escaped(&folder)));
        prop_assert_eq!(in_it.fixed_folder(), &path);
        let it = pattern(&format!("/in/{}", escaped(&folder)));
        prop_assert_eq!(it.only_file(), Some(path.clone()));
        prop_assert!(it.matches(&path).is_some());
        prop_assert_eq!(it.matches(&Path::new("/in").join(&other)).is_some(), other == folder);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "/.*") {
        Pattern::parse(&text).ok();
    }
}
