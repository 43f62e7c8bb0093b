//! Where the files of rules went before: the mounts that must be there before more goes there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::os_text::OsText;

/// Folders that are remembered at most: more than the rules of one machine have.
const PLACES_MAX: usize = 65_536;

/// Folders of rules, each with the mount that it lay on when files went there. What lies on the root is not kept: it is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places(Vec<Place>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    folder: OsText,
    mount: OsText,
}

impl Places {
    /// The mount that a folder lay on.
    pub fn mount_of(&self, folder: &Path) -> Option<&Path> {
        let known = self.0.iter().find(|place| place.folder.as_path() == folder);
        known.map(|place| place.mount.as_path())
    }

    /// Notes on which mount a folder lies. A mount above the known one says that the known one went away in this moment: it stays known.
    pub fn learn(&mut self, folder: &Path, mount: &Path) {
        if mount.parent().is_none() {
            return;
        }
        let has_room = self.0.len() < PLACES_MAX;
        match self.0.iter_mut().find(|place| place.folder.as_path() == folder) {
            Some(place) if place.mount.as_path().starts_with(mount) => {}
            Some(place) => place.mount = mount.into(),
            None if has_room => {
                self.0.push(Place { folder: folder.into(), mount: mount.into() });
            }
            None => {}
        }
    }

    /// Forgets on which mounts these folders lay that are not there any more; whether that changes something.
    pub fn forget(&mut self, folders: &[impl AsRef<Path>], is_away: impl Fn(&Path) -> bool) -> bool {
        let before = self.0.len();
        let is_one = |place: &Place| folders.iter().any(|folder| folder.as_ref() == place.folder.as_path());
        self.0.retain(|place| !(is_one(place) && is_away(place.mount.as_path())));
        self.0.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_the_deepest_mount_that_it_lay_on_until_that_is_forgotten() {
        let (mut places, folder) = (Places::default(), Path::new("/srv/ar/x"));
        let mut learn = |mount: &str| {
            places.learn(folder, Path::new(mount));
            places.mount_of(folder).map(Path::to_owned)
        };
        assert_eq!(learn("/"), None, "the root is always there");
        assert_eq!(learn("/srv"), Some("/srv".into()));
        assert_eq!(learn("/srv/ar"), Some("/srv/ar".into()));
        assert_eq!(learn("/srv"), Some("/srv/ar".into()), "it went away just now");
        assert_eq!(learn("/mnt"), Some("/mnt".into()), "a link leads elsewhere");
        assert!(!places.forget(&["/srv/other"], |_| true));
        assert!(!places.forget(&[folder], |mount| mount != Path::new("/mnt")));
        assert!(places.forget(&[folder], |mount| mount == Path::new("/mnt")));
        assert_eq!(places, Places::default());
    }
}
