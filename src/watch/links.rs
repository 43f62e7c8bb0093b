//! Links that a rule follows (`follow_links`): where one leads, and which names files have by them.
//!
//! A link is read, and never opened. Each step of the way is looked at in a folder that was reached without links, and only inside the
//! folders that the rule's patterns begin in: nothing outside is touched, whatever a sender's links say. What comes out is a way through
//! real folders. The file is taken by that, and no link is followed then: should one be exchanged meanwhile, it is not passed through.
//!
//! ```text
//! in/acme/latest -> 2026-11      a name by a link: in/acme/latest/pay.csv, which the pattern in/*/latest/*.csv fits
//! in/acme/2026-11/pay.csv        what is taken, beside its claim folder, under its own name; the link stays
//! ```
//!
//! So a file is one candidate, however many links lead to it, and where its own name fits a rule that name counts alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use crate::durable_fs::{self, Kind};
use crate::model::os_text::escaped_path;
use crate::model::rule::Rule;

/// As many as Linux follows.
const STEPS_MAX: usize = 40;
/// Names on the way of one path that are looked at, at most: a link may say `a/../a/../a` as long as a path may be.
const LOOKS_MAX: usize = 400;
/// Names by links that are known at most, and those of one folder or file.
const NAMES_MAX: usize = 10_000;
const NAMES_OF_ONE_MAX: usize = 16;

/// How a link was come upon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    ByScan,
    ByEvent,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// To a file or a folder, by this way without links.
    To(PathBuf, Kind),
    /// Out of the folders that links are followed in.
    Outside,
    /// To something hidden, or below it: a claim folder, say.
    Hidden,
    /// To a name under which nothing lies.
    Nowhere(PathBuf),
    /// Links lead to each other.
    Endless,
    /// By this link to a folder that it lies in itself: the watch has met its files there.
    Circle(PathBuf),
}

impl Lead {
    /// What is said of a link.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::To(path, kind) => format!("it leads to {}, which is {kind}", escaped_path(path)),
            Self::Outside => "it leads out of the watched folder: such a link is not followed".to_owned(),
            Self::Hidden => "it leads to something hidden: such a link is not followed".to_owned(),
            Self::Nowhere(path) => format!("it leads to {}, where nothing lies", escaped_path(path)),
            Self::Endless => "it leads to itself, by itself or by others, or its way is too long".to_owned(),
            Self::Circle(link) => {
                format!(
                    "{} leads to a folder that it lies in itself: such a link is not followed",
                    escaped_path(link)
                )
            }
        }
    }
}

/// The folders that links are followed in, and what a scan learnt of the links there.
#[derive(Default)]
pub(crate) struct LinkRoots {
    /// The outermost first, each with its real name, once that was asked for.
    folders: Vec<(PathBuf, OnceLock<Option<PathBuf>>)>,
    /// Links that lead to nothing.
    dead: HashSet<PathBuf>,
}

impl LinkRoots {
    pub(crate) fn new(mut folders: Vec<PathBuf>) -> Self {
        folders.sort_by_key(|folder| folder.as_os_str().len());
        let folders = folders.into_iter().map(|folder| (folder, OnceLock::new())).collect();
        Self { folders, dead: HashSet::new() }
    }

    /// What leads by this link leads to nothing either, until the next scan.
    pub(super) fn note_dead(&mut self, link: &Path) {
        if self.dead.len() < NAMES_MAX {
            self.dead.insert(link.to_owned());
        }
    }

    /// A link has come: what was dead may lead by it.
    pub(super) fn forget_dead(&mut self) {
        self.dead.clear();
    }

    /// The outermost of the folders that an absolute path lies in, and the way from there. A link may say a folder's real name, which is
    /// another one where the operator's own links lead to it.
    fn begin(&self, path: &Path) -> Option<(PathBuf, VecDeque<OsString>)> {
        let from = |root: &PathBuf, named: &Path| {
            let below = path.strip_prefix(named).ok()?;
            Some((root.clone(), components(below).collect()))
        };
        let by_name = self.folders.iter().find_map(|(root, _)| from(root, root));
        by_name.or_else(|| {
            let real = |root: &PathBuf| durable_fs::real_path(root).ok();
            self.folders.iter().find_map(|(root, is)| from(root, is.get_or_init(|| real(root)).as_deref()?))
        })
    }

    fn hold(&self, path: &Path) -> bool {
        self.folders.iter().any(|(root, _)| path.starts_with(root))
    }

    fn is_below(&self, name: &Path) -> bool {
        self.folders.iter().any(|(root, _)| name != root && name.starts_with(root))
    }
}

/// Where a path leads for a rule as a watch has it; none where it follows no links, or cannot look.
pub(crate) fn follow_for(rule: &Rule, path: &Path) -> Option<Lead> {
    if !rule.follow_links {
        return None;
    }
    let roots = LinkRoots::new(rule.paths.good().map(|it| it.fixed_folder().to_owned()).collect());
    let mut names = LinkNames::default();
    let way: Vec<_> = path.ancestors().filter(|name| roots.is_below(name)).collect();
    for name in way.into_iter().rev() {
        let Lead::To(folder, Kind::Folder) = follow(name.parent()?, &roots).ok()? else { break };
        let link = folder.join(name.file_name()?);
        if durable_fs::kind_at(&link).ok()? != Some(Kind::Link) {
            continue;
        }
        let Lead::To(target, Kind::Folder) = follow(name, &roots).ok()? else { break };
        if names.is_circle(&link, name, &target) {
            return Some(Lead::Circle(name.to_owned()));
        }
        names.note(&target, name.to_owned(), 0);
    }
    follow(path, &roots).ok()
}

/// The link that a path lies behind, where a watch that begins in these folders and follows none does not see it.
pub(crate) fn link_before(path: &Path, roots: &[&Path]) -> Option<PathBuf> {
    let is_link = |name: &&Path| matches!(durable_fs::kind_at(name), Ok(Some(Kind::Link)));
    let behind =
        |root: &&Path| path.ancestors().skip(1).take_while(|name| name != root).filter(is_link).last();
    let mut links = roots.iter().filter(|root| path.starts_with(root)).map(behind);
    let first = links.next()??;
    links.all(|link| link.is_some()).then(|| first.to_owned())
}

/// Where a path inside of one of these folders leads, links followed as far as they lead into them.
pub(crate) fn follow(path: &Path, roots: &LinkRoots) -> io::Result<Lead> {
    let Some((mut at, mut ahead)) = roots.begin(path) else { return Ok(Lead::Outside) };
    let (mut kind, mut links, mut looks) = (Kind::Folder, 0, 0);
    while let Some(name) = ahead.pop_front() {
        if name == *".." {
            at.pop();
            kind = Kind::Folder;
            if !roots.hold(&at) {
                return Ok(Lead::Outside);
            }
            continue;
        }
        let next = at.join(&name);
        if is_hidden(&name) {
            return Ok(Lead::Hidden);
        }
        looks += 1;
        if looks > LOOKS_MAX {
            return Ok(Lead::Endless);
        }
        #[cfg(all(test, unix))]
        tests::LOOKS.with(|all| all.set(all.get() + 1));
        match durable_fs::kind_at(&next)? {
            None => return Ok(Lead::Nowhere(next)),
            Some(Kind::Link) if next != path && roots.dead.contains(&next) => return Ok(Lead::Nowhere(next)),
            Some(Kind::Link) => {
                let Some(target) = durable_fs::read_link(&next)? else { return Ok(Lead::Nowhere(next)) };
                links += 1;
                if links > STEPS_MAX {
                    return Ok(Lead::Endless);
                }
                if target.has_root() || target.is_absolute() {
                    let Some((root, below)) = roots.begin(&target) else { return Ok(Lead::Outside) };
                    at = root;
                    push_front(&mut ahead, below.into_iter());
                } else {
                    push_front(&mut ahead, components(&target));
                }
                kind = Kind::Folder;
            }
            Some(Kind::Folder) => (at, kind) = (next, Kind::Folder),
            Some(_) if !ahead.is_empty() => {
                return Ok(Lead::Nowhere(next.join(ahead.iter().collect::<PathBuf>())));
            }
            Some(other) => (at, kind) = (next, other),
        }
    }
    Ok(Lead::To(at, kind))
}

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let named = |component: &Component<'_>| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().filter(named).map(|component| component.as_os_str().to_owned())
}

fn push_front(ahead: &mut VecDeque<OsString>, names: impl DoubleEndedIterator<Item = OsString>) {
    names.rev().for_each(|name| ahead.push_front(name));
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Names that folders and files have by links, which patterns are held against.
#[derive(Default)]
pub(super) struct LinkNames {
    /// By what a link leads to; each with the scan that saw it last.
    by_target: HashMap<PathBuf, Vec<(PathBuf, u64)>>,
    by_name: HashMap<PathBuf, PathBuf>,
    told_of_too_many: bool,
}

impl LinkNames {
    pub(super) fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// Takes note of a name; false where that was done in this scan already, or there are too many.
    pub(super) fn note(&mut self, target: &Path, name: PathBuf, scan: u64) -> bool {
        if let Some((_, seen_in)) = self
            .by_target
            .get_mut(target)
            .and_then(|names| names.iter_mut().find(|(known, _)| *known == name))
        {
            return std::mem::replace(seen_in, scan) != scan;
        }
        self.forget(&name);
        let of_this = self.by_target.get(target).map_or(0, Vec::len);
        if self.by_name.len() >= NAMES_MAX || of_this >= NAMES_OF_ONE_MAX {
            if !self.told_of_too_many {
                self.told_of_too_many = true;
                tracing::warn!(
                    path = escaped_path(&name),
                    "there are too many links: at most {NAMES_OF_ONE_MAX} to one file or folder are followed, and {NAMES_MAX} in all"
                );
            }
            return false;
        }
        self.by_name.insert(name.clone(), target.to_owned());
        self.by_target.entry(target.to_owned()).or_default().push((name, scan));
        true
    }

    /// The link is gone, or leads elsewhere.
    pub(super) fn forget(&mut self, name: &Path) {
        let Some(target) = self.by_name.remove(name) else { return };
        if let Some(names) = self.by_target.get_mut(&target) {
            names.retain(|(known, _)| known != name);
            if names.is_empty() {
                self.by_target.remove(&target);
            }
        }
    }

    /// Forgets those that the last whole scan did not see.
    pub(super) fn forget_before(&mut self, scan: u64) {
        let all = self.by_target.values().flatten();
        let old: Vec<_> = all.filter(|(_, seen_in)| *seen_in < scan).map(|(name, _)| name.clone()).collect();
        for name in &old {
            self.forget(name);
        }
    }

    /// The names that a path has by links to it, or to a folder above it.
    pub(super) fn of(&self, path: &Path) -> Vec<PathBuf> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for target in path.ancestors() {
            let Some(names) = self.by_target.get(target) else { continue };
            let Ok(below) = path.strip_prefix(target) else { continue };
            let whole =
                |name: &Path| if below.as_os_str().is_empty() { name.to_owned() } else { name.join(below) };
            found.extend(names.iter().map(|(name, _)| whole(name)));
        }
        found
    }

    /// The link, of the links on the way of such a name, by which it is one; none where the name was not made by a link.
    pub(super) fn link_of<'a>(&self, name: &'a Path) -> Option<&'a Path> {
        name.ancestors().find(|above| self.by_name.contains_key(*above))
    }

    /// Whether a link with this name would lead into a folder that it lies in itself: its files have been met there.
    pub(super) fn is_circle(&self, link: &Path, name: &Path, target: &Path) -> bool {
        let real = |above: &Path| {
            let below = name.parent()?.strip_prefix(above).ok()?;
            Some(self.by_name.get(above)?.join(below))
        };
        link.starts_with(target)
            || name.starts_with(target)
            || name.ancestors().skip(1).filter_map(real).any(|real| real.starts_with(target))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::fs::symlink;

    thread_local! {
        /// Names that were looked at.
        pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn a_path_leads_as_far_as_its_links_stay_inside() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = folder.path().canonicalize().expect("is there");
        let at = |name: &str| base.join(name);
        std::fs::create_dir_all(at("in/a/.hidden")).expect("made");
        for file in ["in/a/file", "in/a/.hidden/file", "in/.file", "outside"] {
            std::fs::write(at(file), "x").expect("written");
        }
        symlink(at("in"), at("alias")).expect("linked");
        let link = |target: &Path| {
            durable_fs::remove_file(&at("in/link")).expect("removed");
            symlink(target, at("in/link")).expect("linked");
        };
        let (file, sub) = (Lead::To(at("in/a/file"), Kind::File), Lead::To(at("in/a"), Kind::Folder));
        for (target, expected) in [
            ("a/file", &file),
            ("./a/../a//file", &file),
            ("a/", &sub),
            (".", &Lead::To(at("in"), Kind::Folder)),
            ("..", &Lead::Outside),
            ("../in/a/file", &Lead::Outside), // on its way it leaves
            ("../outside", &Lead::Outside),
            ("/etc/passwd", &Lead::Outside),
            ("a/.hidden/file", &Lead::Hidden),
            (".file", &Lead::Hidden),
            ("link", &Lead::Endless),
            ("a/none", &Lead::Nowhere(at("in/a/none"))),
            ("a/file/b", &Lead::Nowhere(at("in/a/file/b"))),
        ] {
            link(Path::new(target));
            assert_eq!(
                &follow(&at("in/link"), &LinkRoots::new(vec![at("in")])).expect("looked at"),
                expected,
                "{target}"
            );
        }
        for target in [at("in/a/file"), at("alias/a/file"), at("in/a/../a/file")] {
            link(&target);
            let lead = follow(&at("in/link"), &LinkRoots::new(vec![at("in")])).expect("looked at");
            let is_by_alias = target.starts_with(at("alias"));
            assert_eq!(
                lead == file,
                !is_by_alias,
                "only by the name that the operator gave, or the real one: {lead:?}"
            );
        }
        link(&at("in/a/file"));
        let by_alias = follow(&at("alias/link"), &LinkRoots::new(vec![at("alias")])).expect("looked at");
        assert_eq!(by_alias, Lead::To(at("alias/a/file"), Kind::File), "its root's real name");
    }

    /// What a scan does: each link once, in the worst order.
    #[test]
    fn a_chain_of_links_to_nothing_and_one_of_long_ways_cost_a_scan_as_much_as_there_are_links() {
        let looks_per_link = |count: usize, way: &str, end: &str| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let base = folder.path().canonicalize().expect("is there");
            std::fs::create_dir(base.join("a")).expect("made");
            for n in 0..count {
                let target = if n == 0 { end.to_owned() } else { format!("{way}{}", n - 1) };
                symlink(target, base.join(n.to_string())).expect("linked");
            }
            let mut roots = LinkRoots::new(vec![base.clone()]);
            LOOKS.set(0);
            for n in 0..count {
                let link = base.join(n.to_string());
                if !matches!(follow(&link, &roots), Ok(Lead::To(..))) {
                    roots.note_dead(&link);
                }
            }
            LOOKS.get() / count
        };
        for count in [50, 500] {
            assert!(looks_per_link(count, "", "gone") <= 2, "a dead one is remembered");
            let long = "a/../".repeat(200);
            assert!(looks_per_link(count, &long, "a") <= LOOKS_MAX, "{count}");
        }
    }

    #[test]
    fn names_by_links_are_those_of_all_below_and_circles_and_floods_of_them_end() {
        let mut names = LinkNames::default();
        let p = Path::new;
        assert!(names.note(p("/in/x"), "/in/a/l".into(), 1));
        assert!(!names.note(p("/in/x"), "/in/a/l".into(), 1), "once in a scan");
        assert!(names.note(p("/in/x"), "/in/a/l".into(), 2));
        assert_eq!(names.of(p("/in/x/f")), [p("/in/a/l/f")]);
        assert_eq!(names.link_of(p("/in/a/l/f")), Some(p("/in/a/l")));
        assert!(names.is_circle(p("/in/x/up"), p("/in/x/up"), p("/in")));
        assert!(names.note(p("/in/y"), "/in/a/l/y".into(), 2));
        assert!(names.is_circle(p("/in/y/x"), p("/in/a/l/y/x"), p("/in/x")), "x has y, which has x");
        assert!(!names.is_circle(p("/in/y/z"), p("/in/a/l/y/z"), p("/in/z")));
        assert!(names.note(p("/in/z"), "/in/a/l".into(), 2), "it leads elsewhere now");
        assert_eq!(names.of(p("/in/x/f")), Vec::<PathBuf>::new());
        names.forget_before(3);
        assert!(names.is_empty() && names.by_name.is_empty());
        let noted = |n: &usize| names.note(p("/in/x"), format!("/in/{n}").into(), 3);
        assert_eq!((0..100).filter(noted).count(), NAMES_OF_ONE_MAX);
    }
}
