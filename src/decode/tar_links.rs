//! The content of a tar's hard links: that of an earlier member, which has passed by, taken by the rule or not.
//!
//! At the first link that a rule takes, the source is read twice more: once to learn which members its links mean, once to bring those
//! members' content into a spool. So many links cost no more readings than one, and archives without links none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use super::context::{Bytes, Context, Metered, ReadSeek, SourceFile};
use super::error::DecodeError;
use super::layers::{Input, Peeled, Position, peel};
use super::list_memory::ListMemory;
use super::members::{Choice, Member, NameKey, Patterns};
use super::peek::PeekReader;
use super::spool::spool;
use super::tar_layer::{Item, TarLayer, TarMember};

/// What is kept of a member while the links are looked for.
const MEMBER_BYTES: usize = 160;

/// What the links of one archive mean.
pub(super) struct Links {
    spool: Arc<Mutex<Box<dyn ReadSeek>>>,
    /// For a link, by its number among the members.
    targets: BTreeMap<u64, Target>,
    /// Where a target's content lies in the spool.
    contents: BTreeMap<u64, (u64, u64)>,
    _memory: ListMemory,
}

/// What a name in the archive stands for.
#[derive(Clone, Copy)]
enum Target {
    /// A file, by its number among the members.
    File(u64),
    Special(&'static str),
}

pub(super) enum Linked {
    Content(Bytes<'static>),
    /// It links to what is no file.
    Special(&'static str),
}

impl Links {
    /// Reads the source again. `source` is its open file; where it stands does not change.
    pub(super) fn gather(source: &File, patterns: &Patterns, context: &Context) -> Result<Self, DecodeError> {
        let failed = |source| DecodeError::Read { path: context.path.clone(), source };
        let mut place_keeper = source.try_clone().map_err(failed)?;
        let stands_at = place_keeper.stream_position().map_err(failed)?;
        let gathered = Self::read(source, patterns, context);
        place_keeper.seek(SeekFrom::Start(stands_at)).map_err(failed)?;
        gathered
    }

    fn read(source: &File, patterns: &Patterns, context: &Context) -> Result<Self, DecodeError> {
        let mut memory = ListMemory::default();
        let targets = targets(open_again(source, context)?, patterns, context, &mut memory)?;
        let numbers: BTreeSet<u64> = targets
            .values()
            .filter_map(|target| match target {
                Target::File(number) => Some(*number),
                Target::Special(_) => None,
            })
            .collect();
        let mut reader = Wanted {
            tar: open_again(source, context)?,
            numbers,
            current: None,
            contents: BTreeMap::new(),
            at: 0,
        };
        let spool = spool(&mut reader, context)?;
        Ok(Self { spool: Arc::new(Mutex::new(spool)), targets, contents: reader.contents, _memory: memory })
    }

    /// What the link has that is the archive's `number`th member.
    pub(super) fn open(
        &self,
        number: u64,
        member: &Member,
        target: &[u8],
        depth: u32,
        context: &Arc<Context>,
    ) -> Result<Linked, DecodeError> {
        let place = context.place(&member.shown);
        let file = match self.targets.get(&number) {
            Some(Target::Special(what)) => return Ok(Linked::Special(what)),
            Some(Target::File(file)) => self.contents.get(file),
            None => None,
        };
        let Some(&(at, end)) = file else {
            let target = Member::within("", target).shown;
            let detail = format!("it is a hard link to {target}, which is not in the archive before it");
            return Err(DecodeError::Entry { place, detail });
        };
        // Each link's content counts against the limits: one member may have many links.
        let inner = Region { spool: Arc::clone(&self.spool), at, end };
        let place = place.into();
        Ok(Linked::Content(Box::new(Metered { inner, context: Arc::clone(context), depth, place })))
    }
}

fn open_again(source: &File, context: &Context) -> Result<TarLayer, DecodeError> {
    let failed = |source| DecodeError::Read { path: context.path.clone(), source };
    let again = context.for_another_reading();
    let mut file = source.try_clone().map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let input = SourceFile { file, length: u64::MAX, read: 0, context: Arc::clone(&again) };
    let mut position = Position::default();
    match peel(Input::Seekable(Box::new(input)), &again, &mut position)? {
        Peeled::Tar(input) => Ok(TarLayer::open(input, position, &again)),
        // The same bytes were a tar a moment ago.
        Peeled::Text(_) | Peeled::Zip(_) => Err(DecodeError::EntryLeft { place: context.place("") }),
    }
}

/// Which earlier member each link means that the rule takes.
fn targets(
    mut tar: TarLayer,
    patterns: &Patterns,
    context: &Context,
    memory: &mut ListMemory,
) -> Result<BTreeMap<u64, Target>, DecodeError> {
    let mut names: HashMap<NameKey, Target> = HashMap::new();
    let mut targets = BTreeMap::new();
    while let Some((member, item)) = tar.next_member()? {
        if tar.met > context.decode.entries_max {
            let place = context.place(&tar.position.member);
            return Err(DecodeError::TooManyEntries { place, limit: context.decode.entries_max });
        }
        memory.grow(MEMBER_BYTES, context)?;
        let stands_for = match item {
            Item::File => Some(Target::File(tar.met)),
            Item::Special(what) => Some(Target::Special(what)),
            Item::HardLink(target) => {
                let stands_for = names.get(&Member::within("", &target).key()).copied();
                if let Some(target) = stands_for.filter(|_| patterns.choose(&member) == Choice::Taken) {
                    targets.insert(tar.met, target);
                }
                stands_for
            }
        };
        if let Some(stands_for) = stands_for {
            names.insert(member.key(), stands_for);
        }
    }
    Ok(targets)
}

/// The content of the wanted members, one after another.
struct Wanted {
    tar: TarLayer,
    numbers: BTreeSet<u64>,
    current: Option<(u64, TarMember)>,
    contents: BTreeMap<u64, (u64, u64)>,
    at: u64,
}

impl Read for Wanted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((number, content)) = &mut self.current {
                let n = content.read(buf)?;
                let range = self.contents.entry(*number).or_insert((self.at, self.at));
                self.at += n as u64;
                range.1 = self.at;
                if n > 0 || buf.is_empty() {
                    return Ok(n);
                }
                self.current = None;
            }
            if self.numbers.is_empty() || self.tar.next_member()?.is_none() {
                return Ok(0);
            }
            let number = self.tar.met;
            if self.numbers.remove(&number) {
                self.current = Some((number, self.tar.open_file()));
            }
        }
    }
}

struct Region {
    spool: Arc<Mutex<Box<dyn ReadSeek>>>,
    at: u64,
    end: u64,
}

impl Read for Region {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        spool.seek(SeekFrom::Start(self.at))?;
        let n = spool.read(&mut buf[..wanted])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}

/// The content of a link, to take layers off.
pub(super) fn input_of(content: Bytes<'static>) -> Input<'static> {
    Input::Stream(PeekReader::new(content))
}
