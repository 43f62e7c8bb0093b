//! Where the folders of rules lay when files went there: the mounts that must be there before more goes there.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::default::is_default;
use super::os_text::OsText;

/// Folders that are remembered at most: more than the rules of one machine have.
const PLACES_MAX: usize = 65_536;
/// Of those below what a rule spells out, where its files are named by variables: each change of one writes all of them.
pub(crate) const PLACES_BELOW_MAX: usize = 1_024;
/// When one was used last is known as well as this: to know it better would write all of them for each job.
const USED_WITHIN: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Folders of rules, each with the mount that it lay on when files went there. What lies on the root is not kept: it is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places(Vec<Place>);

/// All in a folder, and below it, lies on one mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    folder: OsText,
    mount: OsText,
    /// It lies below what its rule spells out: a mount of its own, or a link elsewhere.
    #[serde(default, skip_serializing_if = "is_default")]
    is_below: bool,
    /// When files went there, but for [`USED_WITHIN`].
    #[serde(default, skip_serializing_if = "is_default")]
    used_at: Option<Timestamp>,
    /// Rules of which an operator said that their files may go there as it is without the mount.
    #[serde(default, skip_serializing_if = "is_default")]
    let_through: BTreeSet<String>,
}

/// Where a folder was found to lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lies<'p> {
    /// The topmost folder above it, or itself, that lies on its mount, as far as its rule has it.
    pub folder: &'p Path,
    /// That mount.
    pub mount: &'p Path,
    /// Whether that is below what the rule spells out.
    pub is_below: bool,
}

impl Places {
    /// The folders that files of a rule may not go to without their mount, each with that.
    pub(crate) fn guarded<'p>(&'p self, rule: &'p str) -> impl Iterator<Item = (&'p Path, &'p Path)> {
        let guarded = self.0.iter().filter(move |place| !place.let_through.contains(rule));
        guarded.map(|place| (place.folder.as_path(), place.mount.as_path()))
    }

    /// The folders that they may go to without it, each with its mount.
    pub(crate) fn let_go<'p>(&'p self, rule: &'p str) -> impl Iterator<Item = (&'p Path, &'p Path)> {
        let let_go = self.0.iter().filter(move |place| place.let_through.contains(rule));
        let_go.map(|place| (place.folder.as_path(), place.mount.as_path()))
    }

    /// Notes where a folder lies to which files went at this moment; false: there is no room for it. A mount above the known one says that the
    /// known one went away in this moment, or that files go there without it: it stays known.
    pub(crate) fn learn(&mut self, lies: Lies<'_>, at: Timestamp) -> bool {
        let Lies { folder, mount, is_below } = lies;
        if mount.parent().is_none() {
            return true;
        }
        let below = self.0.iter().filter(|place| place.is_below).count();
        let has_room = self.0.len() < PLACES_MAX && (!is_below || below < PLACES_BELOW_MAX);
        match self.0.iter_mut().find(|place| place.folder.as_path() == folder) {
            Some(place) if place.mount.as_path() != mount && place.mount.as_path().starts_with(mount) => true,
            Some(place) => {
                place.mount = mount.into();
                place.let_through.clear(); // it is there
                if place.used_at.is_none_or(|used_at| at.duration_since(used_at) >= USED_WITHIN) {
                    place.used_at = Some(at);
                }
                true
            }
            None if has_room => {
                let (folder, mount, used_at) = (folder.into(), mount.into(), Some(at));
                self.0.push(Place { folder, mount, is_below, used_at, let_through: BTreeSet::new() });
                true
            }
            None => false,
        }
    }

    /// Lets files of a rule go as it is to those of these folders whose mount is not there; whether that changes something.
    pub(crate) fn let_through(
        &mut self,
        rule: &str,
        is_its: impl Fn(&Path) -> bool,
        is_away: impl Fn(&Path) -> bool,
    ) -> bool {
        let mut changes = false;
        for place in &mut self.0 {
            if is_its(place.folder.as_path()) && is_away(place.mount.as_path()) {
                changes |= place.let_through.insert(rule.to_owned());
            }
        }
        changes
    }

    /// Forgets the folders to which no files went since then, and of those that no rule has, since the later one. One of which that is not
    /// known was used now.
    pub(crate) fn forget_unused(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        since_without_rule: Timestamp,
        has_rule: impl Fn(&Path) -> bool,
    ) {
        self.0.retain_mut(|place| {
            let used_at = *place.used_at.get_or_insert(now);
            used_at >= since && (used_at >= since_without_rule || has_rule(place.folder.as_path()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lies<'p>(folder: &'p str, mount: &'p str) -> Lies<'p> {
        Lies { folder: Path::new(folder), mount: Path::new(mount), is_below: false }
    }

    fn mount_of(places: &Places, rule: &str, folder: &str) -> Option<String> {
        let mut guarded = places.guarded(rule).filter(|(known, _)| *known == Path::new(folder));
        guarded.next().map(|(_, mount)| mount.to_string_lossy().into_owned())
    }

    #[test]
    fn a_folder_keeps_the_deepest_mount_that_it_lay_on() {
        let (mut places, at) = (Places::default(), Timestamp::UNIX_EPOCH);
        let mut learn = |mount: &str| {
            assert!(places.learn(lies("/srv/ar/x", mount), at));
            mount_of(&places, "a", "/srv/ar/x")
        };
        assert_eq!(learn("/"), None, "the root is always there");
        assert_eq!(learn("/srv").as_deref(), Some("/srv"));
        assert_eq!(learn("/srv/ar").as_deref(), Some("/srv/ar"));
        assert_eq!(learn("/srv").as_deref(), Some("/srv/ar"), "it went away just now");
        assert_eq!(learn("/mnt").as_deref(), Some("/mnt"), "a link leads elsewhere");
    }

    #[test]
    fn a_rule_that_is_let_through_is_so_alone_and_until_its_files_went_to_the_mount_again() {
        let (mut places, at) = (Places::default(), Timestamp::UNIX_EPOCH);
        places.learn(lies("/srv/ar", "/srv"), at);
        assert!(!places.let_through("a", |folder| folder == Path::new("/other"), |_| true));
        assert!(!places.let_through("a", |_| true, |_| false), "it is there");
        assert!(places.let_through("a", |_| true, |_| true));
        assert!(!places.let_through("a", |_| true, |_| true), "it is so");
        assert_eq!(mount_of(&places, "a", "/srv/ar"), None);
        let let_go: Vec<_> = places.let_go("a").collect();
        assert_eq!(let_go, [(Path::new("/srv/ar"), Path::new("/srv"))]);
        assert_eq!(places.let_go("b").count(), 0);
        assert_eq!(mount_of(&places, "b", "/srv/ar").as_deref(), Some("/srv"));
        places.learn(lies("/srv/ar", "/"), at);
        assert_eq!(mount_of(&places, "a", "/srv/ar"), None, "files go there without it");
        places.learn(lies("/srv/ar", "/srv"), at);
        assert_eq!(mount_of(&places, "a", "/srv/ar").as_deref(), Some("/srv"));
    }

    #[test]
    fn below_what_rules_spell_out_only_so_many_are_known_and_those_that_are_not_used_make_room() {
        let mut places = Places::default();
        let day = |day: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day);
        let learn = |places: &mut Places, number: usize, on: i64| {
            let folder = format!("/out/{number}");
            places.learn(Lies { is_below: true, ..lies(&folder, &folder) }, day(on))
        };
        for number in 0..PLACES_BELOW_MAX {
            assert!(learn(&mut places, number, 0));
        }
        assert!(!learn(&mut places, PLACES_BELOW_MAX, 0), "no room");
        assert!(places.learn(lies("/ar", "/ar"), day(0)), "what is spelled out has room of its own");
        assert!(learn(&mut places, 0, 29) && learn(&mut places, 1, 31));
        places.forget_unused(day(400), day(30), day(30), |_| true);
        assert_eq!(places.0.len(), 1, "what is used within a month of its last note is not noted anew");
        assert!(learn(&mut places, 0, 400));
        places.forget_unused(day(430), day(30), day(420), |folder| folder != Path::new("/out/0"));
        assert_eq!(mount_of(&places, "a", "/out/0"), None, "its rule is gone");
        assert_eq!(mount_of(&places, "a", "/out/1").as_deref(), Some("/out/1"));
    }

    #[test]
    fn what_an_earlier_version_kept_is_read_and_counts_as_used_now() {
        let row = r#"[{"folder":"/srv/ar","mount":"/srv"}]"#;
        let mut places: Places = serde_json::from_str(row).expect("is read");
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        places.forget_unused(now, now, now, |_| false);
        assert_eq!(mount_of(&places, "a", "/srv/ar").as_deref(), Some("/srv"));
    }
}
