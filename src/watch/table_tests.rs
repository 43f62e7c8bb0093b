//! What the table promises.

use super::*;
use std::time::Duration;

fn candidate(rule: usize, inode: u64) -> Candidate {
    let identity = FileIdentity { device: 1, inode, size: 1, mtime_ns: 0, ctime_ns: 0 };
    Candidate::new(rule, identity, Instant::now())
}

#[test]
fn a_deadline_that_was_put_off_is_passed_over_and_swept_out() {
    let mut table = Table::new(vec![0]);
    let now = Instant::now();
    let path = table.insert(Path::new("a"), candidate(0, 1));
    for n in 1..5000 {
        table.wait(&path, now + Duration::from_secs(n), Cow::Borrowed("later"));
    }
    assert!(table.due.len() < 2000);
    assert_eq!(table.next_due(), Some(now + Duration::from_secs(4999)));
    assert_eq!(table.pop_due(now), None);
}

#[test]
fn a_rule_with_too_many_files_leaves_room_for_the_others_and_scans_again_when_it_has_some() {
    let mut table = Table::new(vec![0, 1]);
    let mut room = 0;
    while table.has_room(0) {
        table.insert(Path::new(&room.to_string()), candidate(0, 1));
        room += 1;
    }
    assert_eq!(room, 50_000, "its own half, and half of the other one");
    assert!(!table.has_room(0) && table.has_room(1));
    assert!(!table.room_for_missed());
    (0..=room / 2).for_each(|n| drop(table.remove(Path::new(&n.to_string()))));
    assert!(table.room_for_missed() && !table.room_for_missed());
}

/// Files that were ingested by hand and lie where they lay.
#[test]
fn files_that_wait_for_others_make_room_for_those_of_their_rule_and_only_they_do() {
    for rules in [1, 2, 1000] {
        let mut table = Table::new((0..rules).collect());
        let (mut all, mut others) = (0, 0);
        while table.has_room(0) {
            let path = table.insert(Path::new(&all.to_string()), candidate(0, all));
            if all % 2 == 0 {
                table.waits_for_others(&path);
                table.waits_for_others(&path);
            }
            all += 1;
            assert!(all <= 3 * CANDIDATES_MAX as u64, "there is an end to it");
        }
        assert_eq!(table.files.keys().filter(|path| is_even(path)).count(), 0, "{rules}");
        let last = rules - 1;
        while others < 16 && table.has_room(last) {
            table.insert(Path::new(&format!("new{others}")), candidate(last, all + others));
            others += 1;
        }
        assert_eq!(others, if rules == 1 { 0 } else { 16 }, "{rules}");
        assert!(table.files.len() <= CANDIDATES_MAX + 16 * rules);
    }
}

fn is_even(path: &Path) -> bool {
    path.to_str().and_then(|name| name.parse::<u64>().ok()).is_some_and(|number| number % 2 == 0)
}

#[test]
fn a_thousand_rules_with_floods_have_no_more_candidates_than_one_and_each_has_some() {
    for rules in [1, 1000] {
        let mut table = Table::new((0..rules).collect());
        let mut all = 0;
        for rule in 0..rules {
            let before = all;
            while table.has_room(rule) {
                table.insert(Path::new(&all.to_string()), candidate(rule, 1));
                all += 1;
            }
            assert!(all - before >= table.own_room(), "of rule {rule}");
        }
        assert!((90_000..=CANDIDATES_MAX).contains(&all), "{all} of {rules} rules");
        (0..all).for_each(|n| drop(table.remove(Path::new(&n.to_string()))));
        assert_eq!(table.in_common, 0);
    }
}

#[test]
fn what_is_given_back_as_it_was_is_counted_until_it_is_another_content() {
    let (mut table, path) = (Table::new(vec![0]), Path::new("a"));
    let first = candidate(0, 1).seen;
    let renumbered = FileIdentity { inode: 2, ctime_ns: 5, ..first };
    assert_eq!(table.note_returned(path, &first), 1);
    assert_eq!(table.note_returned(path, &renumbered), 2, "the number says nothing on some file systems");
    assert_eq!(table.note_returned(path, &FileIdentity { size: 9, ..first }), 1);
}

#[test]
fn rules_take_turns_and_each_keeps_its_order() {
    let mut table = Table::new(vec![0, 1]);
    for (name, rule) in [("b", 0), ("a", 0), ("c", 1)] {
        let path = table.insert(Path::new(name), candidate(rule, 1));
        table.queue(&path, Order::Name);
    }
    let batch = |table: &mut Table| {
        let paths = table.next_ready(|_| true).map(|rule| table.ready_batch(rule, 9)).unwrap_or_default();
        for path in &paths {
            table.offered(path);
        }
        paths.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        [batch(&mut table), batch(&mut table), batch(&mut table)],
        [vec!["a".to_owned(), "b".into()], vec!["c".into()], vec![]]
    );
}

#[test]
fn only_the_last_taken_files_are_remembered() {
    let mut table = Table::new(vec![0]);
    (0..=TAKEN_MAX as u64).for_each(|inode| table.remember_taken(candidate(0, inode).seen));
    assert!(!table.was_taken(&candidate(0, 0).seen));
    assert!(table.was_taken(&candidate(0, TAKEN_MAX as u64).seen));
}
