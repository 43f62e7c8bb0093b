//! Which file of the old system an output is to be compared with.

use std::path::{Path, PathBuf};

use crate::durable_fs::{self, Kind};
use crate::model::identity::FileIdentity;
use crate::model::template::{fixed_folder, unencrypted};

/// What packing adds to a name; nothing, too.
const SUFFIXES: [&str; 5] = ["", ".gz", ".zst", ".bz2", ".xz"];

/// Where the old system may have written an output, the likeliest first: below its folder as the output lies below the folder that its
/// template spells out, else right in it; of the same name, else packed otherwise.
pub(crate) fn candidates(compare: &Path, template: &str, ours: &Path) -> Vec<PathBuf> {
    let Some(name) = ours.file_name() else { return Vec::new() };
    let below = ours.strip_prefix(fixed_folder(template)).unwrap_or(Path::new(name));
    let mut found: Vec<PathBuf> = Vec::new();
    for place in [compare.join(below), compare.join(name)] {
        let bare = unpacked_name(&place);
        let others = SUFFIXES.iter().flat_map(|suffix| {
            let packed = with_suffix(&bare, suffix);
            [with_suffix(&packed, ".age"), with_suffix(&packed, ".gpg"), with_suffix(&packed, ".pgp"), packed]
        });
        for candidate in std::iter::once(place).chain(others) {
            if !found.contains(&candidate) {
                found.push(candidate);
            }
        }
    }
    found
}

/// The first of them that is there.
pub(super) fn find(candidates: &[PathBuf]) -> Option<(PathBuf, FileIdentity)> {
    let there =
        |path: &PathBuf| durable_fs::identity_at(path).ok().flatten().map(|found| (path.clone(), found));
    candidates.iter().find_map(there)
}

/// The first of them under whose name something else than a file lies.
pub(super) fn no_file(candidates: &[PathBuf]) -> Option<(PathBuf, Kind)> {
    let there = |path: &PathBuf| {
        let kind = durable_fs::kind_at(path).ok().flatten()?;
        (kind != Kind::File).then(|| (path.clone(), kind))
    };
    candidates.iter().find_map(there)
}

/// The path without what says how its file is packed and encrypted.
pub(crate) fn unpacked_name(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    if path.to_str().is_none() {
        return path.to_owned(); // a name that is no text is taken as it is
    }
    let open = unencrypted(&text);
    let packed = SUFFIXES.iter().filter(|suffix| !suffix.is_empty());
    let bare = packed.into_iter().find_map(|suffix| open.strip_suffix(suffix)).unwrap_or(open);
    PathBuf::from(bare)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_looked_for_below_the_folder_and_in_it_whatever_it_is_packed_by() {
        let found = candidates(
            Path::new("/old"),
            "/data/out/{sender}/{stem}.csv.gz",
            Path::new("/data/out/acme/pay.csv.gz"),
        );
        assert_eq!(found[0], Path::new("/old/acme/pay.csv.gz"));
        for other in ["/old/acme/pay.csv", "/old/acme/pay.csv.zst", "/old/pay.csv.gz", "/old/pay.csv"] {
            assert!(found.contains(&PathBuf::from(other)), "{other}: {found:?}");
        }
    }
}
