//! What lies beside a candidate and it waits for: its marker, its totals, its checksum.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::candidate::{Companions, Reason};
use super::offer::Content;
use super::troubles::{Want, told};
use super::watcher::{Known, Watcher};
use crate::durable_fs::{self, Kind};
use crate::model::identity::FileIdentity;
use crate::model::rule::Ready;

/// One that is longer is refused by who takes the file.
const READ_BYTES_MAX: u64 = (64 << 10) + 1;

/// In the order of `Companions::places`, each with what is said where it is not there; a marker is judged further.
const WANTED: [(&str, Option<Reason>); 3] = [
    ("marker", None),
    ("totals", Some(Cow::Borrowed("for its totals"))),
    ("checksum", Some(Cow::Borrowed("for its checksum"))),
];

/// What lies under a companion's name.
enum Beside {
    File(FileIdentity),
    Nothing,
    /// A link may lead to a file that was there long before, and nobody could take it with its source.
    NoFile(Kind),
    Unseen(io::Error),
}

impl Beside {
    fn at(path: &Path) -> Self {
        let found = durable_fs::identity_at(path).and_then(|identity| match identity {
            Some(identity) => Ok(Self::File(identity)),
            None => Ok(match durable_fs::kind_at(path)? {
                None | Some(Kind::File) => Self::Nothing, // it comes or goes just now
                Some(kind) => Self::NoFile(kind),
            }),
        });
        found.unwrap_or_else(Self::Unseen)
    }
}

/// What lacks of totals or a checksum that are there in part: their sender may have no name for them while they are written, and writers on
/// other machines are not seen. One that may not be read would have to be mended where its sender cannot reach it.
pub(super) fn half_beside(
    file: &Path,
    identity: &FileIdentity,
    (ready, companions): (&Ready, &Companions),
    (content, known): (Content, &Known),
) -> Option<Reason> {
    let named = [
        ("totals", &ready.totals, &companions.totals, "they"),
        ("checksum", &ready.checksum, &companions.checksum, "it"),
    ];
    named.into_iter().find_map(|(key, template, place, it)| {
        let place = place.as_deref()?;
        let text = match read(place) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some(Cow::Owned(told(
                    &format!("its {key} cannot be read"),
                    place,
                    Want::Read,
                    &error,
                )));
            }
            Err(_) => return None, // it is told by who takes the file
        };
        let lacks = (content.breaks_off)((key, template.as_deref()?), &text, file.file_name()?);
        let unfit = || if key == "checksum" { (known.unfit)(file, identity, &text) } else { None };
        let lacks = lacks.or_else(unfit)?;
        Some(Cow::Owned(format!("for the rest of its {key}: {it} {lacks}")))
    })
}

/// What keeps everybody from renaming what goes with a file: claimed without it, the file would be out of its sender's reach.
pub(super) fn closed_beside(companions: &Companions) -> Option<Reason> {
    let Companions { marker, totals, checksum, is_of_folder, .. } = companions;
    let marker = marker.as_ref().filter(|_| !is_of_folder);
    [("marker", marker), ("totals", totals.as_ref()), ("checksum", checksum.as_ref())].into_iter().find_map(
        |(what, place)| {
            let closed = durable_fs::closed_file(place?)?;
            Some(Cow::Owned(format!("its {what} cannot be taken with it: {closed}")))
        },
    )
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    durable_fs::open_source(path)?.take(READ_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

impl Watcher {
    /// Looks at what a candidate waits for; none where it goes on waiting, which it says. A marker may lack.
    pub(super) fn look_beside(
        &mut self,
        path: &Arc<Path>,
        now: Instant,
    ) -> Option<[Option<FileIdentity>; 3]> {
        let places = self.table.get(path)?.companions.places();
        let found = places.each_ref().map(|place| place.as_deref().map(Beside::at));
        let mut beside = [None; 3];
        for (((seen, found), place), (what, missing)) in beside.iter_mut().zip(found).zip(&places).zip(WANTED)
        {
            let reason = match (found, missing) {
                (None, _) | (Some(Beside::Nothing), None) => continue,
                // Its sender made it and writes it only now.
                (Some(Beside::File(identity)), Some(reason)) if identity.size == 0 => {
                    Cow::Owned(format!("{reason}: it is empty yet"))
                }
                // It stays beside a file that stays, and says nothing of another version.
                (Some(Beside::File(identity)), Some(reason))
                    if (self.links.known.was_marked)(path, &identity).is_some() =>
                {
                    // It may be that very version, which an operator had ingested by hand.
                    if let Some(done) = self.told_as_done(path) {
                        self.wait_for_good(path, done, now);
                        return None;
                    }
                    Cow::Owned(format!("{reason}: what lies there was for an earlier version of it"))
                }
                (Some(Beside::File(identity)), _) => {
                    *seen = Some(identity);
                    continue;
                }
                (Some(Beside::Nothing), Some(reason)) => reason,
                (Some(Beside::NoFile(kind)), _) => Cow::Owned(format!(
                    "for its {what}: what has that name is {kind}, and only a regular file counts"
                )),
                (Some(Beside::Unseen(error)), _) if error.kind() == io::ErrorKind::InvalidFilename => {
                    Cow::Owned(format!(
                        "for its {what}, which cannot come: {error} (hint: have its sender shorten the file's name, or set `ready.{what}` so \
                         that the name made of it fits this file system)"
                    ))
                }
                (Some(Beside::Unseen(error)), _) => {
                    let place = place.as_deref().unwrap_or(path);
                    self.failed(
                        path,
                        told(&format!("its {what} cannot be looked at"), place, Want::Read, &error),
                        now,
                    );
                    return None;
                }
            };
            self.table.wait_for_others(path, now + self.scan_every, reason);
            return None;
        }
        Some(beside)
    }
}
