//! `landfall ingest --dry-run`: the real work, with every folder that is written to inside a temporary one.

use std::path::{Component, Path, PathBuf};

use crate::model::rule::{FreeMin, OnExists, Publish, Settings};

/// The settings with the data folder and all outputs inside `scratch`; nothing else is ever written to without `--retire`.
pub(super) fn into_scratch(mut settings: Settings, scratch: &Path) -> Settings {
    settings.service.data_dir = scratch.join("data");
    settings.service.free_min = FreeMin::Bytes(0); // nothing of it is to stay
    let outputs = scratch.join("out");
    for output in settings.rules.iter_mut().flat_map(|rule| rule.outputs.values_mut()) {
        output.path = outputs.join(without_root(Path::new(&output.path))).to_string_lossy().into_owned();
        output.on_exists = OnExists::Number;
    }
    for rule in &mut settings.rules {
        rule.publish = Publish::default();
        rule.delivery = None; // what was published before is in the real store
    }
    settings
}

/// Where an output would lie: the path within `scratch` under its real root again.
pub(super) fn real_path(scratched: &Path, scratch: &Path, root: &Path) -> PathBuf {
    scratched
        .strip_prefix(scratch.join("out"))
        .map_or_else(|_| scratched.to_owned(), |inside| root.join(inside))
}

/// The root of a path: `/`, or a drive.
pub(super) fn root_of(path: &Path) -> PathBuf {
    path.components().take_while(|part| matches!(part, Component::Prefix(_) | Component::RootDir)).collect()
}

fn without_root(path: &Path) -> PathBuf {
    path.components().skip_while(|part| matches!(part, Component::Prefix(_) | Component::RootDir)).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_from_the_scratch_folder_as_it_was() {
        let real = Path::new("/data/out/{stem}.csv");
        let scratched = Path::new("/tmp/s/out").join(without_root(real));
        assert_eq!(scratched, Path::new("/tmp/s/out/data/out/{stem}.csv"));
        assert_eq!(real_path(&scratched, Path::new("/tmp/s"), &root_of(real)), real);
    }
}
