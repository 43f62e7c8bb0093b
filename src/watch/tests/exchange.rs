//! Other rules, while files wait.

use super::*;

/// A world whose rule `r` has all files of the folder, and `gone` those of the folder `gone`.
fn with_two_rules(change: impl Fn(&mut Rule)) -> (World, Vec<Rule>) {
    let mut plan = Plan::new(&change);
    fs::create_dir(plan.path("gone")).expect("creates");
    let mut second = rule("gone", &plan.path("gone/*"));
    change(&mut second);
    plan.rules.push(second);
    let rules = plan.rules.clone();
    (plan.start(), rules)
}

impl World {
    /// Other rules from now on, their folders scanned; their offers come out as those before.
    fn exchange(&mut self, rules: Vec<Rule>) {
        let scans = self.watch.scans();
        let (sender, offers) = mpsc::sync_channel(64);
        self.watch.exchange(shared(rules), sender).expect("are right");
        self.wait_until("they are scanned", |world| world.watch.scans() > scans);
        let made = std::mem::replace(&mut self.offers, offers);
        self.at_hand.extend(made.try_iter().flatten());
    }
}

#[test]
fn what_is_known_of_a_file_counts_under_a_rule_that_judges_otherwise() {
    let mut plan = Plan::new(|rule| {
        with_marker(rule);
        never_stable(rule);
    });
    let mut later = plan.rules.clone();
    later[0].ready.strategy = ReadyStrategy::Auto;
    plan.scan_every = FOREVER;
    let mut world = plan.start();
    world.move_in("a", b"x");
    world.wait_until("it waits", |world| world.waits_with("a", "for its marker"));
    world.exchange(later);
    assert_eq!(world.next_name(), "a", "nobody could tell that it was moved in but the event before");
}

#[test]
fn a_file_whose_rule_is_the_same_waits_on_as_it_waited() {
    let (mut world, mut rules) = with_two_rules(|_| {});
    let path = world.move_in("a", b"x");
    world.next();
    world.watch.answer(&path, Answer::Later("no room".into()));
    assert!(world.waits_with("a", "no room"));
    rules.reverse();
    let more = world.path("more/*").to_str().expect("UTF-8").to_owned();
    rules[0].paths = rules[0].paths.iter().cloned().chain([more]).collect();
    world.exchange(rules);
    assert!(world.waits_with("a", "no room"));
    world.watch.hasten();
    assert_eq!(world.next_name(), "a");
    world.assert_only_the_last_is_offered();
}

#[test]
fn an_offer_that_is_made_is_not_made_again_and_its_answer_counts() {
    let (mut world, mut rules) = with_two_rules(|_| {});
    world.move_in("a", b"first");
    world.wait_until("it is offered", |world| world.waits_with("a", "offered"));
    rules[0].ready.stable_for = NEVER;
    world.exchange(rules);
    let offer = world.next();
    assert_eq!(offer.rule.ready.stable_for, STABLE_FOR, "it has the rule that it was made under");
    world.claim(&offer);
    let path = world.move_in("b", b"x");
    let next = world.next();
    assert_eq!((next.path, next.rule.ready.stable_for), (path, NEVER));
}

/// Goal: who edits rules delays no file, and has none of them distrusted.
#[test]
fn an_offer_that_is_not_taken_because_of_other_rules_is_made_again_at_once_under_those() {
    for is_answered_first in [true, false] {
        let (mut world, mut rules) = with_two_rules(never_stable);
        let path = world.move_in("a", b"x");
        assert_eq!(world.next().rule.name, "r");
        rules[0].name = "renamed".to_owned();
        if is_answered_first {
            world.watch.answer(&path, Answer::OtherRules);
            world.wait_until("it waits", |world| world.waits_with("a", "the rules were exchanged"));
        }
        world.exchange(rules);
        if !is_answered_first {
            world.watch.answer(&path, Answer::OtherRules);
        }
        let mut again = world.next();
        while again.rule.name == "r" {
            world.watch.answer(&path, Answer::OtherRules); // the other rules were late
            again = world.next();
        }
        assert_eq!((&again.path, &*again.rule.name), (&path, "renamed"), "nothing else proves its end");
        world.claim(&again);
        world.assert_only_the_last_is_offered();
    }
}

#[test]
fn a_file_that_was_changed_while_it_was_offered_is_judged_by_that_when_the_offer_is_not_taken() {
    let (mut world, mut rules) = with_two_rules(never_stable);
    world.move_in("a", b"x");
    let path = world.next().path;
    let moved_over = world.move_in("a", b"longer");
    rules[0].name = "renamed".to_owned();
    world.exchange(rules);
    world.watch.answer(&path, Answer::OtherRules);
    let again = world.next();
    assert_eq!((again.path, again.identity.size), (moved_over, 6));
}

#[test]
fn a_file_that_no_other_rule_has_is_let_go_of_with_its_offer() {
    let (mut world, mut rules) = with_two_rules(|_| {});
    let path = world.move_in("gone/a", b"x");
    world.next();
    rules.truncate(1);
    world.watch.answer(&path, Answer::OtherRules);
    world.exchange(rules);
    world.watch.answer(&path, Answer::OtherRules); // of nobody's
    world.assert_only_the_last_is_offered();
    assert!(!world.waits_with("gone/a", ""));
}

#[test]
fn a_rule_that_is_gone_offers_nothing_any_more_not_even_what_the_engine_had_no_room_for() {
    let (mut world, mut rules) = with_two_rules(|_| {});
    let (sender, offers) = mpsc::sync_channel(0); // takes nothing while nobody receives
    world.watch.exchange(shared(rules.clone()), sender).expect("are right");
    let unsent = world.move_in("gone/a", b"x");
    world.wait_until("it is offered", |world| world.waits_with("gone/a", "offered"));
    rules.truncate(1);
    world.exchange(rules);
    assert!(offers.try_recv().is_err());
    fs::write(&unsent, b"changed").expect("writes");
    world.watch.rescan();
    world.assert_only_the_last_is_offered();
    assert!(!world.waits_with("gone/a", ""));
}

#[test]
fn the_folders_of_a_rule_that_is_new_are_scanned_and_watched() {
    let (mut world, rules) = with_two_rules(|_| {});
    world.exchange(vec![rules[0].clone()]);
    world.write("gone/before", b"x");
    world.exchange(rules);
    assert_eq!(world.next_name(), "before");
    world.write("gone/later", b"x");
    assert_eq!(world.next_name(), "later");
}

#[test]
fn files_that_stay_are_known_under_other_rules_too() {
    let (mut world, rules) = with_two_rules(|rule| rule.source.on_success = OnSuccess::Keep);
    let path = world.move_in("a", b"x");
    world.next();
    world.watch.answer(&path, Answer::Taken);
    world.exchange(vec![rules[0].clone()]);
    world.assert_only_the_last_is_offered();
}

#[test]
fn a_wrong_rule_changes_nothing() {
    let (mut world, mut rules) = with_two_rules(|_| {});
    rules[1].paths = vec!["/in/*.{csv,txt}".into()].into();
    let (sender, _offers) = mpsc::sync_channel(1);
    world.watch.exchange(shared(rules), sender).expect_err("is refused");
    world.move_in("gone/a", b"x");
    assert_eq!(world.next_name(), "a");
}
