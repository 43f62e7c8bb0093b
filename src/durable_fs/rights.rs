//! Why the system refuses this process something, and the commands by which it is granted.
//!
//! The way to a path is asked folder by folder, as the kernel goes it, with this process's own rights: capabilities, groups, access lists
//! and read-only mounts count. What refuses first is told. A command is named only where it would help: no access list where the file
//! system keeps none, no `chmod` where the mount's options make the modes.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::acl::{AccessList, Who, access_list};
use super::mount_entry::MountEntry;
use super::names::{Need, Refusal};
use super::users::{CAP_FOWNER, group_name, has_capability, user_name};
use crate::model::shell::word;

const STICKY: &str =
    "has the sticky bit, so that only a file's owner, or the folder's, may take it from there";
/// Links that are followed on one way.
const LINKS_MAX: usize = 40;

/// Who this process is.
struct Us {
    user: u32,
    group: u32,
}

impl Us {
    fn now() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() }
    }

    /// By name, where there is one: as commands take it.
    fn user_word(&self) -> String {
        user_name(self.user).unwrap_or_else(|| self.user.to_string())
    }

    fn group_word(&self) -> String {
        group_name(self.group).unwrap_or_else(|| self.group.to_string())
    }

    fn is_in(&self, group: u32) -> bool {
        let others = rustix::process::getgroups().unwrap_or_default();
        group == self.group || others.iter().any(|other| other.as_raw() == group)
    }
}

/// What keeps this process from what it needs at a path; none where nothing that is known does.
pub(crate) fn refusal(path: &Path, need: Need) -> Option<Refusal> {
    refusal_over_links(path, need, LINKS_MAX)
}

/// Of what was refused already.
pub(super) fn after_refusal(path: &Path, need: Need) -> Option<Refusal> {
    refusal(path, need)
}

fn refusal_over_links(path: &Path, need: Need, links_left: usize) -> Option<Refusal> {
    let us = Us::now();
    let told = |at: &Path, need, refused| {
        let linked = at_link(at, path, links_left, need);
        linked.or_else(|| {
            let refusal = us.at(at, need, refused)?;
            // Who is let in is not to find then that he may take nothing.
            match us.sticky(at).filter(|_| need == Need::Take && refused == Errno::ACCESS) {
                Some(sticky) => {
                    let what = format!("{}; besides, it {STICKY}", refusal.what);
                    let how = format!("{}; and {}", refusal.how, sticky.how);
                    Some(Refusal { what, how, ..refusal })
                }
                None => Some(refusal),
            }
        })
    };
    let mut way: Vec<&Path> =
        path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    way.reverse();
    for (position, folder) in way.iter().enumerate() {
        match asked(folder, Need::Enter) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                return us.making(folder, way.get(position.checked_sub(1)?)?, need, links_left);
            }
            Err(Errno::NOTDIR) => return None,
            Err(refused) => return told(folder, Need::Enter, refused),
        }
    }
    match asked(path, need) {
        Ok(()) if matches!(need, Need::Write | Need::Take) && is_append_only(path) => {
            us.at(path, need, Errno::PERM)
        }
        Ok(()) if need == Need::Take => us.sticky(path),
        Ok(()) | Err(Errno::NOTDIR) => None,
        Err(Errno::NOENT) => us.making(path, way.last()?, need, links_left),
        Err(refused) => told(path, need, refused),
    }
}

/// Names can be made in such a folder, and none taken away.
fn is_append_only(folder: &Path) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, folder, AtFlags::empty(), StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::APPEND))
}

/// What keeps everybody from renaming or removing a file, whatever its folder lets him do.
pub(crate) fn closed_file(path: &Path) -> Option<Refusal> {
    use rustix::fs::{FileType, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).ok()?;
    let is_file = FileType::from_raw_mode(found.stx_mode.into()).is_file();
    let closes = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    (is_file && found.stx_attributes.intersects(closes)).then(|| by_attribute(path))
}

fn by_attribute(path: &Path) -> Refusal {
    let shown = word(path);
    Refusal {
        at: path.to_owned(),
        what: format!("{shown} may be changed by nobody: it has the attribute `i` or `a` (`lsattr -d`)"),
        how: format!("`chattr -ia {shown}`"),
    }
}

/// Of a link what it leads to is told.
fn at_link(folder: &Path, path: &Path, links_left: usize, need: Need) -> Option<Refusal> {
    let target = fs::read_link(folder).ok().filter(|_| links_left > 0)?;
    let target = folder.parent()?.join(target);
    let rest = path.strip_prefix(folder).ok().filter(|rest| !rest.as_os_str().is_empty());
    let (target, need) = match rest {
        Some(_) => (target, Need::Enter),
        None => (target, need),
    };
    refusal_over_links(&target, need, links_left - 1)
}

fn asked(path: &Path, need: Need) -> rustix::io::Result<()> {
    let access = match need {
        Need::Enter => Access::EXEC_OK,
        Need::List => Access::EXEC_OK | Access::READ_OK,
        Need::Write => Access::EXEC_OK | Access::WRITE_OK,
        Need::Take => Access::EXEC_OK | Access::READ_OK | Access::WRITE_OK,
        Need::Read => Access::READ_OK,
    };
    accessat(CWD, path, access, AtFlags::EACCESS)
}

fn letters(need: Need) -> &'static str {
    match need {
        Need::Enter => "x",
        Need::List => "rx",
        // It is listed and synced too, and an access list for this user replaces what others may.
        Need::Write | Need::Take => "rwx",
        Need::Read => "r",
    }
}

fn digit(need: Need) -> u32 {
    match need {
        Need::Enter => 1,
        Need::List => 5,
        Need::Write | Need::Take => 7,
        Need::Read => 4,
    }
}

fn verb(need: Need) -> &'static str {
    match need {
        Need::Enter => "go into",
        Need::List => "list",
        Need::Write => "write in",
        Need::Take => "list and write in",
        Need::Read => "read",
    }
}

impl Us {
    /// What keeps this process from making a folder. Where it is the mode of the one above it, root makes it: no right is needed there.
    fn making(&self, missing: &Path, above: &Path, need: Need, links_left: usize) -> Option<Refusal> {
        if !matches!(need, Need::Write | Need::Take) {
            return None;
        }
        let refusal = refusal_over_links(above, Need::Write, links_left)?;
        let mount = MountEntry::of(above);
        let has_owners =
            mount.is_none_or(|mount| mount.owner_options("", "").is_none() && mount.only_for().is_none());
        let is_by_mode = refusal.at == above && asked(above, Need::Write) == Err(Errno::ACCESS);
        let is_ours = fs::metadata(above).is_ok_and(|found| found.uid() == self.user);
        if !is_by_mode || !has_owners || is_ours || self.user == 0 {
            return Some(refusal);
        }
        let (user, group) = (self.user_word(), self.group_word());
        let for_all = refusal.how;
        let how = format!(
            "`install -d -o {user} -g {group} -m 750 {}`; where others are to be made there, too: {for_all}",
            word(missing)
        );
        Some(Refusal { how, ..refusal })
    }

    /// What refuses at this very place.
    fn at(&self, path: &Path, need: Need, refused: Errno) -> Option<Refusal> {
        let mount = MountEntry::of(path);
        let told = |what: String, how: String| Some(Refusal { at: path.to_owned(), what, how });
        let who = &self.user_word();
        match refused {
            Errno::ROFS => {
                let point = mount.map_or_else(|| path.to_owned(), |mount| mount.at);
                let point_word = word(&point);
                let what = if point == path {
                    format!("{point_word} is mounted read-only")
                } else {
                    format!("{} lies on {point_word}, which is mounted read-only", word(path))
                };
                // systemd tells those that it starts.
                let or_unit = match std::env::var_os("INVOCATION_ID") {
                    Some(_) => ", or name it in `ReadWritePaths` of the service's unit",
                    None => "",
                };
                told(
                    what,
                    format!("mount that file system writable (`mount -o remount,rw {point_word}`){or_unit}"),
                )
            }
            Errno::PERM => Some(by_attribute(path)),
            Errno::ACCESS => {
                if let Some(owner) =
                    mount.as_ref().and_then(MountEntry::only_for).filter(|owner| *owner != self.user)
                {
                    let owner = user_name(owner).unwrap_or_else(|| owner.to_string());
                    return told(
                        format!(
                            "user {who} may not {} {}: user {owner} mounted it for himself alone",
                            verb(need),
                            word(path)
                        ),
                        format!("mount it as {who}, or with `-o allow_other`"),
                    );
                }
                let found = fs::metadata(path).ok()?;
                let (owner, mode) = (shown_owner(&found), found.mode() & 0o7777);
                let what =
                    format!("user {who} may not {} {} ({owner}, mode {mode:04o})", verb(need), word(path));
                let by_mount =
                    mount.and_then(|mount| Some((mount.owner_options(who, &self.group_word())?, mount)));
                if let Some((options, mount)) = by_mount {
                    return told(what, mount_anew(&mount, &options));
                }
                told(what, self.commands(path, &found, need))
            }
            _ => None,
        }
    }

    /// The commands that let this user do it, the one that changes least first.
    fn commands(&self, path: &Path, found: &Metadata, need: Need) -> String {
        let (path_word, letters) = (word(path), letters(need));
        if found.uid() == self.user {
            return format!("`chmod u+{letters} {path_word}`");
        }
        if self.user == 0 {
            return "root is nobody on that server: export it with `no_root_squash`, or run the service as a user of its own".to_owned();
        }
        let list = access_list(path);
        let has_list = matches!(&list, AccessList::Entries(_));
        let has_group_right = found.mode() >> 3 & digit(need) == digit(need);
        // A file that lands in a folder with it belongs to the folder's group.
        let setgid = if need == Need::Take { "s" } else { "" };
        let mut ways = Vec::new();
        let group = group_name(found.gid()).filter(|_| found.gid() != 0);
        match group {
            _ if has_list => {}
            _ if self.is_in(found.gid()) => ways.push(format!("`chmod g+{letters}{setgid} {path_word}`")),
            // What the group's members have stays theirs.
            Some(group) if has_group_right || found.mode() & 0o020 != 0 => {
                let user = user_name(self.user);
                ways.extend(
                    user.map(|user| format!("`usermod -a -G {group} {user}` (then start the service anew)")),
                );
            }
            _ => ways.push(format!(
                "`chgrp {} {path_word} && chmod g+{letters}{setgid} {path_word}`",
                self.group_word()
            )),
        }
        if list != AccessList::Unsupported {
            // What lands later is to be read too.
            let later =
                if need == Need::Take { format!(",d:u:{}:rwX", self.user_word()) } else { String::new() };
            ways.push(format!("`setfacl -m u:{}:{letters}{later} {path_word}`", self.user_word()));
        }
        if ways.is_empty() {
            ways.push(format!("`chgrp {} {path_word} && chmod g+{letters} {path_word}`", self.group_word()));
        }
        if need == Need::Read {
            ways.push("have its sender upload files that the group may read (mode 0640) into a folder with the setgid bit".to_owned());
        }
        ways.join(", or ")
    }

    /// In such a folder only a file's owner, or the folder's, may take it away.
    fn sticky(&self, folder: &Path) -> Option<Refusal> {
        let found = fs::metadata(folder).ok()?;
        let is_bound = found.mode() & 0o1000 != 0 && found.uid() != self.user && !has_capability(CAP_FOWNER);
        let (shown, owner, mode) = (word(folder), shown_owner(&found), found.mode() & 0o7777);
        is_bound.then(|| Refusal {
            at: folder.to_owned(),
            what: format!("{shown} ({owner}, mode {mode:04o}) {STICKY}"),
            how: format!(
                "`chmod -t {shown}`, or `chown {} {shown}`, or give the service CAP_FOWNER (`AmbientCapabilities` and \
                 `CapabilityBoundingSet` of its unit)",
                self.user_word()
            ),
        })
    }
}

/// Whether only owners keep this process from taking a file from its folder.
pub(super) fn sticky_refusal(folder: &Path) -> Option<Refusal> {
    Us::now().sticky(folder)
}

/// How a file system is mounted so that all on it is this user's alone; none where files have owners of their own.
pub(crate) fn mount_for_us_alone(path: &Path) -> Option<String> {
    let (us, mount) = (Us::now(), MountEntry::of(path)?);
    let options = mount.owner_options(&us.user_word(), &us.group_word())?;
    Some(mount_anew(&mount, &options))
}

fn mount_anew(mount: &MountEntry, options: &str) -> String {
    let kind = &mount.kind;
    format!(
        "on {kind} the mount's options say whose everything is: mount {} at {} with `-o {options}` (in `/etc/fstab` too)",
        mount.source,
        word(&mount.at)
    )
}

/// `acme:partners`, by numbers where there are no names.
fn shown_owner(found: &Metadata) -> String {
    let user = user_name(found.uid()).unwrap_or_else(|| found.uid().to_string());
    let group = group_name(found.gid()).unwrap_or_else(|| found.gid().to_string());
    format!("{user}:{group}")
}

/// The users and groups other than this folder's own service that may make and rename files in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writers {
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
    pub everybody: bool,
}

/// Who may write in a folder, by its mode and its access list.
pub(crate) fn writers(folder: &Path) -> io::Result<Writers> {
    const WRITE: u16 = 2;
    let found = fs::metadata(folder)?;
    let mode = found.mode();
    let mut writers = Writers { everybody: mode & 0o002 != 0, ..Writers::default() };
    if mode & 0o200 != 0 {
        writers.users.push(found.uid());
    }
    let AccessList::Entries(entries) = access_list(folder) else {
        if mode & 0o020 != 0 {
            writers.groups.push(found.gid());
        }
        return Ok(writers);
    };
    let mask = entries.iter().find(|entry| entry.who == Who::Mask).map_or(7, |entry| entry.may);
    for entry in entries.iter().filter(|entry| entry.may & mask & WRITE != 0) {
        match entry.who {
            Who::User(user) => writers.users.push(user),
            Who::Group(group) => writers.groups.push(group),
            Who::OwnGroup => writers.groups.push(found.gid()),
            Who::Mask | Who::InMode => {}
        }
    }
    Ok(writers)
}
