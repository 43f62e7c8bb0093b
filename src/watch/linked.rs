//! What a link means for the candidates: the file that it leads to is one, or those in the folder that it leads to.

use std::path::Path;

use super::links::{Lead, LinkRoots, Sought, follow};
use super::message::Sign;
use super::watcher::Watcher;
use crate::durable_fs::{self, Kind};
use crate::model::os_text::escaped_path;

impl Watcher {
    /// Follows what may be a link, where a rule does; false where it is none, or none that is followed.
    pub(super) fn follow_link(&mut self, link: &Path, sought: Sought) -> bool {
        let names = self.rules.names_followed(link);
        if names.is_empty() || !durable_fs::kind_at(link).is_ok_and(|kind| kind == Some(Kind::Link)) {
            return false;
        }
        if sought == Sought::ByEvent {
            self.link_roots.forget_dead();
        }
        let lead = match follow(link, &self.link_roots) {
            Ok(lead) => lead,
            Err(error) => {
                tracing::debug!(path = escaped_path(link), %error, "this link cannot be followed now");
                return true;
            }
        };
        let Lead::To(target, kind @ (Kind::File | Kind::Folder)) = lead else {
            tracing::debug!(path = escaped_path(link), lead = lead.told(), "this link gives nothing");
            self.link_roots.note_dead(link);
            for name in &names {
                self.rules.links.forget(name);
            }
            return true;
        };
        let mut is_news = sought == Sought::ByEvent;
        for name in names {
            if kind == Kind::File || !self.rules.links.is_circle(link, &name, &target) {
                is_news |= self.rules.links.note(&target, name, self.scan);
            }
        }
        if is_news && kind == Kind::Folder && self.rules.could_match_below(&target) {
            self.scanner.walk(target);
        } else if kind == Kind::File && self.table.get(&target).is_none() {
            self.hint(&target, Sign::Appeared);
        }
        true
    }

    /// False: a link led to this file, which is a candidate by that alone, and does not any more.
    pub(super) fn is_led_to(&mut self, path: &Path) -> bool {
        let mut is_led = true;
        while let Some((name, roots)) = self.rules.link_that_gives(path) {
            let led = follow(&name, &LinkRoots::new(roots));
            if matches!(&led, Ok(Lead::To(target, Kind::File)) if target == path) {
                return true;
            }
            tracing::debug!(
                path = escaped_path(path),
                name = escaped_path(&name),
                ?led,
                "a link does not lead here any more"
            );
            let Some(link) = self.rules.links.link_of(&name).map(Path::to_owned) else { return false };
            self.rules.links.forget(&link);
            is_led = false;
        }
        is_led
    }
}
