//! A source's entries, one after another: members of archives are chosen, opened and peeled.

use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use super::context::{Bytes, Context, ReadSeek, SourceFile};
use super::error::DecodeError;
use super::layers::{Input, Peeled, Position, peel};
use super::list_memory::ListMemory;
use super::members::{Choice, Member, NameKey, Patterns};
use super::peek::PeekReader;
use super::request::DecodeRequest;
use super::spool::spool;
use super::tar_layer::{Item, TarLayer};
use super::tar_links::{Linked, Links, input_of};
use super::text::{TextReader, encoding_for};
use super::zip_end;
use super::zip_layer::{ZipItem, ZipLayer};
use crate::at_rest::KeyRing;
use crate::model::os_text::OsText;

/// A source being decoded: its entries, one after another.
pub struct Decoder {
    context: Arc<Context>,
    patterns: Patterns,
    encoding: &'static encoding_rs::Encoding,
    /// The one entry of a source that is no archive, until it is taken.
    single: Option<PeekReader<Bytes<'static>>>,
    archives: Vec<Archive>,
    taken: u64,
    /// Names of the members taken: one name twice is refused.
    names: HashSet<NameKey>,
    skipped: Vec<Skipped>,
    /// For the two above.
    memory: ListMemory,
    /// The source once more, for the content of hard links.
    source: std::fs::File,
    links: Option<Links>,
    proves_its_end: bool,
}

/// A member of an archive that `decode.entries` would take and that is passed over all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path in the archive, as of an entry.
    pub name: OsText,
    /// What it is: `symbolic link`, `FIFO`, `hidden`.
    pub reason: &'static str,
}

enum Archive {
    Zip(Box<ZipLayer>),
    Tar(TarLayer),
}

/// One entry being read.
pub struct EntryReader<'a> {
    /// Its path in the archive as it stands there (`outer.zip/inner.csv` for archives within archives); empty for a
    /// plain file.
    pub name: OsText,
    /// UTF-8 text without BOM (raw bytes for `record_length` and `on_bad_encoding = "raw"`). Errors carry a
    /// `DecodeError` (see [`DecodeError::from_io`]). Fastest with a large buffer.
    pub text: Box<dyn Read + Send + 'a>,
}

/// What is known at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// `blake3:` and the hash of what came out of all layers, before character decoding: a plain file's bytes; of an archive the entries
    /// taken, each with its name, in order (see `hash`).
    pub content_hash: String,
    /// Characters replaced under `on_bad_encoding = "replace"`.
    pub characters_replaced: u64,
    /// What was passed over in archives, in order.
    pub skipped: Vec<Skipped>,
    /// A layer around all of it proves that it is whole.
    pub proves_its_end: bool,
}

/// What a look at the innermost archive came to.
enum Step {
    /// Something was passed over, opened or closed.
    Again,
    Done,
    /// A file of a tar, its layers taken off.
    Text(Member, PeekReader<Bytes<'static>>),
    /// A file of a zip, to be opened again where it lies.
    ZipFile(usize, Member),
}

impl Decoder {
    /// Looks at the first bytes and sets up the layers. `file` is a fresh descriptor at offset 0.
    pub fn open(file: std::fs::File, request: &DecodeRequest<'_>) -> Result<Self, DecodeError> {
        Self::open_own(file, request, None)
    }

    /// The same of a file that may be encrypted to the keys of the data folder.
    pub(crate) fn open_own(
        file: std::fs::File,
        request: &DecodeRequest<'_>,
        own_keys: Option<Arc<KeyRing>>,
    ) -> Result<Self, DecodeError> {
        let context = Context::new(request, own_keys);
        let patterns = Patterns::new(&request.decode.entries)?;
        let encoding = encoding_for(&request.decode.encoding)?;
        let length = file.metadata().map_or(u64::MAX, |metadata| metadata.len());
        let mut again =
            file.try_clone().map_err(|source| DecodeError::Read { path: context.path.clone(), source })?;
        // The last part of a split zip begins in the middle of a member, and a self-extracting one with a program.
        let is_named_zip = context.path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("zip"));
        zip_end::refuse_hidden(&mut again, length, is_named_zip, &context.place(""))
            .map_err(|error| DecodeError::from_io(error, &context.path))?;
        let source = SourceFile { file, length, read: 0, context: Arc::clone(&context) };
        let mut position = Position::default();
        let peeled = peel(Input::Seekable(Box::new(source)), &context, &mut position)?;
        let proves_its_end = match &peeled {
            Peeled::Text(_) => position.depth > 0,
            Peeled::Tar(_) => position.depth > 1, // the tar itself is one, and may be cut at a member's end
            Peeled::Zip(_) => true,
        };
        let mut decoder = Self {
            proves_its_end,
            context,
            patterns,
            encoding,
            single: None,
            archives: Vec::new(),
            taken: 0,
            names: HashSet::new(),
            skipped: Vec::new(),
            memory: ListMemory::default(),
            source: again,
            links: None,
        };
        match peeled {
            Peeled::Text(text) => decoder.single = Some(text),
            Peeled::Tar(input) => decoder.open_tar(input, position),
            Peeled::Zip(Input::Seekable(input)) => decoder.open_zip(input, position)?,
            Peeled::Zip(Input::Stream(mut input)) => {
                let spooled = spool(&mut input, &decoder.context)?;
                decoder.open_zip(spooled, position)?;
            }
        }
        if !decoder.archives.is_empty() {
            decoder.context.hasher.lock().unwrap_or_else(PoisonError::into_inner).begin_archive();
        }
        Ok(decoder)
    }

    /// The next entry that the rule takes; the previous one must be read to its end.
    pub fn next_entry(&mut self) -> Result<Option<EntryReader<'_>>, DecodeError> {
        self.check_entry_ended()?;
        if let Some(text) = self.single.take() {
            self.taken += 1;
            return entry(&self.context, self.encoding, None, text).map(Some);
        }
        loop {
            match self.step()? {
                Step::Again => {}
                Step::Done => return Ok(None),
                Step::Text(member, text) => {
                    self.taken += 1;
                    return entry(&self.context, self.encoding, Some(member), text).map(Some);
                }
                Step::ZipFile(index, member) => {
                    self.taken += 1;
                    return self.zip_entry(index, member).map(Some);
                }
            }
        }
    }

    /// After the last entry: every trailer and tag was checked, and at least one entry matched.
    pub fn finish(self) -> Result<Decoded, DecodeError> {
        self.check_entry_ended()?;
        let place = self.context.place("");
        if self.single.is_some() || !self.archives.is_empty() {
            return Err(DecodeError::EntryLeft { place });
        }
        if self.taken == 0 {
            let skipped = self.skipped.len() as u64;
            return Err(DecodeError::NoEntry { place, members: self.context.members(), skipped });
        }
        let mut hasher = self.context.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        let content_hash = hasher.finish();
        let characters_replaced = self.context.replaced.load(Relaxed);
        let proves_its_end = self.proves_its_end;
        Ok(Decoded { content_hash, characters_replaced, skipped: self.skipped, proves_its_end })
    }

    fn check_entry_ended(&self) -> Result<(), DecodeError> {
        if self.context.entry_open.load(Relaxed) {
            return Err(DecodeError::EntryLeft { place: self.context.place("") });
        }
        Ok(())
    }

    fn open_zip(&mut self, input: Box<dyn ReadSeek>, position: Position) -> Result<(), DecodeError> {
        self.archives.push(Archive::Zip(Box::new(ZipLayer::open(input, position, &self.context)?)));
        Ok(())
    }

    fn open_tar(&mut self, input: PeekReader<Bytes<'static>>, position: Position) {
        self.archives.push(Archive::Tar(TarLayer::open(input, position, &self.context)));
    }

    fn step(&mut self) -> Result<Step, DecodeError> {
        match self.archives.last_mut() {
            None => Ok(Step::Done),
            Some(Archive::Tar(_)) => self.step_tar(),
            Some(Archive::Zip(_)) => self.step_zip(),
        }
    }

    fn step_tar(&mut self) -> Result<Step, DecodeError> {
        let Some(Archive::Tar(tar)) = self.archives.last_mut() else { return Ok(Step::Again) };
        let Some((member, item)) = tar.next_member()? else {
            self.archives.pop();
            return Ok(Step::Again);
        };
        let (outer, number) = (tar.position.clone(), tar.met);
        if !self.chooses(&outer, &member)? {
            return Ok(Step::Again);
        }
        let input = match item {
            Item::File => {
                let Some(Archive::Tar(tar)) = self.archives.last_mut() else { return Ok(Step::Again) };
                Input::Stream(PeekReader::new(Box::new(tar.open_file())))
            }
            Item::HardLink(target) => match self.open_link(number, &member, &target, &outer)? {
                Linked::Content(content) => input_of(content),
                Linked::Special(reason) => return self.skip(&member, reason),
            },
            Item::Special(reason) => return self.skip(&member, reason),
        };
        self.take_name(&member)?;
        let mut position = Position { member: member.shown.clone(), ..outer };
        match peel(input, &self.context, &mut position)? {
            Peeled::Text(text) => return Ok(Step::Text(member, text)),
            Peeled::Tar(input) => self.open_tar(input, position),
            Peeled::Zip(input) => {
                let spooled = spool_input(input, &self.context)?;
                self.open_zip(spooled, position)?;
            }
        }
        Ok(Step::Again)
    }

    fn open_link(
        &mut self,
        number: u64,
        member: &Member,
        target: &[u8],
        outer: &Position,
    ) -> Result<Linked, DecodeError> {
        if self.archives.len() > 1 {
            let detail = "it is a hard link in an archive within another, which is not supported".to_owned();
            return Err(DecodeError::Entry { place: self.context.place(&member.shown), detail });
        }
        let links = match &mut self.links {
            Some(links) => links,
            none => none.insert(Links::gather(&self.source, &self.patterns, &self.context)?),
        };
        links.open(number, member, target, outer.depth, &self.context)
    }

    /// Counts a member; whether the rule takes it.
    fn chooses(&mut self, archive: &Position, member: &Member) -> Result<bool, DecodeError> {
        self.context.count_member(&self.context.place(&archive.member))?;
        let choice = self.patterns.choose(member);
        if choice == Choice::Hidden {
            self.skip(member, "hidden")?;
        }
        Ok(choice == Choice::Taken)
    }

    fn skip(&mut self, member: &Member, reason: &'static str) -> Result<Step, DecodeError> {
        self.memory.grow(size_of::<Skipped>() + member.shown.len(), &self.context)?;
        self.skipped.push(Skipped { name: member.name.clone(), reason });
        Ok(Step::Again)
    }

    /// Extracted, the later of two files with one name would take the place of the earlier: which one is meant nobody here knows.
    fn take_name(&mut self, member: &Member) -> Result<(), DecodeError> {
        self.memory.grow(2 * size_of::<NameKey>(), &self.context)?;
        if self.names.insert(member.key()) {
            return Ok(());
        }
        let detail = "several members have this name".to_owned();
        Err(DecodeError::Entry { place: self.context.place(&member.shown), detail })
    }

    fn step_zip(&mut self) -> Result<Step, DecodeError> {
        let Some(Archive::Zip(zip)) = self.archives.last_mut() else { return Ok(Step::Again) };
        let Some(ZipItem { index, member, special }) = zip.next_member(&self.context)? else {
            self.archives.pop();
            return Ok(Step::Again);
        };
        let outer = zip.position.clone();
        if !self.chooses(&outer, &member)? {
            return Ok(Step::Again);
        }
        if let Some(reason) = special {
            return self.skip(&member, reason);
        }
        self.take_name(&member)?;
        let Some(Archive::Zip(zip)) = self.archives.last_mut() else { return Ok(Step::Again) };
        let mut position = Position { member: member.shown.clone(), ..outer };
        let input = Input::Stream(PeekReader::new(zip.open_file(index, &member, &self.context)?));
        // A member lends its archive, so an archive within it is spooled, whichever it is.
        let (spooled, is_tar) = match peel(input, &self.context, &mut position)? {
            Peeled::Text(_) => return Ok(Step::ZipFile(index, member)),
            Peeled::Tar(input) => (spool_input(Input::Stream(input), &self.context)?, true),
            Peeled::Zip(input) => (spool_input(input, &self.context)?, false),
        };
        if is_tar {
            self.open_tar(PeekReader::new(Box::new(spooled)), position);
        } else {
            self.open_zip(spooled, position)?;
        }
        Ok(Step::Again)
    }

    fn zip_entry(&mut self, index: usize, member: Member) -> Result<EntryReader<'_>, DecodeError> {
        let Some(Archive::Zip(zip)) = self.archives.last_mut() else {
            return Err(DecodeError::EntryLeft { place: member.shown });
        };
        let mut position = Position { member: member.shown.clone(), ..zip.position.clone() };
        let input = Input::Stream(PeekReader::new(zip.open_file(index, &member, &self.context)?));
        match peel(input, &self.context, &mut position)? {
            Peeled::Text(text) => entry(&self.context, self.encoding, Some(member), text),
            // The same bytes were text a moment ago.
            Peeled::Tar(_) | Peeled::Zip(_) => Err(DecodeError::EntryLeft { place: member.shown }),
        }
    }
}

fn entry<'a>(
    context: &Arc<Context>,
    encoding: &'static encoding_rs::Encoding,
    member: Option<Member>,
    text: PeekReader<Bytes<'a>>,
) -> Result<EntryReader<'a>, DecodeError> {
    let (name, shown) = member.map_or_else(Default::default, |member| (member.name, member.shown));
    let text =
        TextReader::new(text, context, &name, &shown, encoding).map_err(|error| context.to_decode(error))?;
    Ok(EntryReader { name, text: Box::new(text) })
}

fn spool_input(input: Input<'_>, context: &Context) -> Result<Box<dyn ReadSeek>, DecodeError> {
    match input {
        Input::Stream(mut stream) => spool(&mut stream, context),
        Input::Seekable(mut input) => spool(&mut input, context),
    }
}
