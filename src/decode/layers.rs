//! Takes layers off until text or an archive is left.

use std::io::{BufRead as _, SeekFrom};
use std::sync::Arc;

use super::age::{decrypt_seekable, decrypt_stream};
use super::compress::decompress;
use super::context::{Bytes, Context, ReadSeek};
use super::enc;
use super::error::{DecodeError, NUL_BYTES};
use super::peek::{BUFFER_BYTES, PeekReader};
use super::pgp_layer;
use super::sniff::{self, SNIFF_BYTES, Sniffed};
use super::tar_header::checksum_is_right;
use crate::model::rule::Layer;

/// Behind more white space than this nothing is looked for.
const LEAD_BYTES_MAX: usize = 128 << 10;
const _: () = assert!(LEAD_BYTES_MAX < BUFFER_BYTES);

/// Bytes under layers, seekable as long as possible.
pub(super) enum Input<'a> {
    Seekable(Box<dyn ReadSeek + 'a>),
    Stream(PeekReader<Bytes<'a>>),
}

/// What is left when all layers are off.
pub(super) enum Peeled<'a> {
    Text(PeekReader<Bytes<'a>>),
    Tar(PeekReader<Bytes<'a>>),
    Zip(Input<'a>),
}

/// How deep within a source something lies.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// Layers and archives taken off.
    pub depth: u32,
    /// Whether one of them encrypted it.
    pub encrypted: bool,
    /// Whether one of them is signed, and who signed it is held against the rule's signers.
    pub signed: bool,
    /// Path of the member, escaped; empty outside of archives.
    pub member: String,
}

impl<'a> Input<'a> {
    /// The first bytes; all white space in front is no more than a beginning, so that more is looked at then.
    fn head(&mut self) -> std::io::Result<Vec<u8>> {
        let mut wanted = SNIFF_BYTES;
        loop {
            let head = self.head_of(wanted)?;
            let lead = sniff::blank_lead(&head);
            if head.len() < wanted || lead + SNIFF_BYTES <= wanted || lead == 0 || wanted >= LEAD_BYTES_MAX {
                return Ok(head);
            }
            wanted *= 4;
        }
    }

    fn head_of(&mut self, wanted: usize) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Stream(stream) => stream.peek(wanted).map(|head| head[..head.len().min(wanted)].to_vec()),
            Self::Seekable(input) => {
                let mut head = vec![0; wanted];
                let mut filled = 0;
                while filled < head.len() {
                    match input.read(&mut head[filled..])? {
                        0 => break,
                        n => filled += n,
                    }
                }
                head.truncate(filled);
                input.seek(SeekFrom::Start(0))?;
                Ok(head)
            }
        }
    }

    fn into_stream(self) -> PeekReader<Bytes<'a>> {
        match self {
            Self::Stream(stream) => stream,
            Self::Seekable(input) => PeekReader::new(Box::new(input)),
        }
    }
}

/// Takes layers off; `position` tells how many were there already, and is moved on.
pub(super) fn peel<'a>(
    mut input: Input<'a>,
    context: &Arc<Context>,
    position: &mut Position,
) -> Result<Peeled<'a>, DecodeError> {
    let place: Arc<str> = context.place(&position.member).into();
    loop {
        let head = input.head().map_err(|error| context.to_decode(error))?;
        let (head, lead) = undisguised(&head, context, &place)?;
        if lead > 0 {
            let mut stream = input.into_stream();
            stream.peek(lead).map_err(|error| context.to_decode(error))?;
            stream.consume(lead);
            input = Input::Stream(stream);
        }
        let is_empty = head.is_empty();
        let Some(layer) = decide(head, context, position, &place)? else {
            if context.decode.require_encrypted && !position.encrypted {
                return Err(DecodeError::NotEncrypted { place: place.to_string(), is_empty });
            }
            if context.decode.require_signed && !position.signed {
                return Err(DecodeError::NotSigned { place: place.to_string(), is_empty });
            }
            return Ok(Peeled::Text(input.into_stream()));
        };
        let limit = context.depth_limit();
        if position.depth >= limit {
            return Err(DecodeError::TooDeep { place: place.to_string(), limit });
        }
        position.depth += 1;
        input = match layer {
            Layer::Zip => return Ok(Peeled::Zip(input)),
            Layer::Tar => return Ok(Peeled::Tar(input.into_stream())),
            Layer::Age => {
                position.encrypted = true;
                let armored = head.starts_with(b"-");
                match input {
                    Input::Seekable(input) if !armored => {
                        Input::Seekable(decrypt_seekable(input, context, &place)?)
                    }
                    input => {
                        let stream = decrypt_stream(input.into_stream(), armored, context, &place)?;
                        Input::Stream(PeekReader::new(stream))
                    }
                }
            }
            Layer::Enc => {
                position.encrypted = true;
                Input::Stream(enc::decrypt(input.into_stream(), context, &place)?)
            }
            Layer::Pgp => {
                let armored = head.starts_with(b"-");
                let opened = pgp_layer::open(input.into_stream(), armored, position.depth, context, &place)?;
                position.encrypted |= opened.is_encrypted;
                position.signed |= opened.is_signed;
                Input::Stream(PeekReader::new(opened.content))
            }
            compression => {
                let inner = input.into_stream();
                Input::Stream(PeekReader::new(decompress(
                    compression,
                    inner,
                    context,
                    position.depth,
                    &place,
                )))
            }
        };
    }
}

/// The head, without the white space or byte order mark that stands before armor, and its length. Anything else that is recognised behind
/// these is refused: as text it would be published as it is.
fn undisguised<'h>(head: &'h [u8], context: &Context, place: &str) -> Result<(&'h [u8], usize), DecodeError> {
    let lead = sniff::blank_lead(head);
    let plain = (&head[..head.len().min(SNIFF_BYTES)], 0);
    if context.binary || sniff::sniff(plain.0) != Sniffed::Plain {
        return Ok(plain);
    }
    if let Some(what) = sniff::wide_armor(head) {
        return Err(DecodeError::Refused { place: place.to_owned(), what });
    }
    let rest = &head[lead..];
    let rest = &rest[..rest.len().min(SNIFF_BYTES)];
    if lead == 0 {
        return Ok(plain);
    }
    match sniff::sniff_behind(rest) {
        Sniffed::Plain => Ok(plain),
        Sniffed::Layer(Layer::Age | Layer::Pgp) if rest.starts_with(b"-") => Ok((rest, lead)),
        Sniffed::Layer(layer) => {
            let (place, layer) = (place.to_owned(), sniff::layer_name(layer));
            Err(DecodeError::Disguised { place, layer, offset: lead as u64 })
        }
        Sniffed::Refused(what) => Err(DecodeError::Refused { place: place.to_owned(), what }),
    }
}

/// Whether a file, or the member of an archive, is called a tar.
fn is_named_tar(place: &str) -> bool {
    let place = place.to_ascii_lowercase();
    let name = place.rsplit(['/', '\\']).next().unwrap_or_default();
    [".tar", ".tgz", ".tbz", ".txz", ".tzst"].iter().any(|suffix| name.contains(suffix))
}

/// Whether a rule is there for `.enc` files, or for encrypted ones alone: in it nothing that looks like one is published as it is.
fn decrypts(context: &Context) -> bool {
    context.decode.require_encrypted || !context.decode.symmetric_encryption.is_empty()
}

fn decide(
    head: &[u8],
    context: &Context,
    position: &Position,
    place: &str,
) -> Result<Option<Layer>, DecodeError> {
    let sniffed = sniff::sniff(head);
    let layers = &context.decode.layers;
    if layers.is_empty() {
        return match sniffed {
            // Records of bytes may well be zeros.
            Sniffed::Layer(Layer::Tar)
                if (context.binary || context.nul_separates) && sniff::is_empty_tar(head) =>
            {
                Ok(None)
            }
            // An empty tar looks so too: only its name tells it from a text that was lost.
            Sniffed::Layer(Layer::Tar) if sniff::is_empty_tar(head) && !is_named_tar(place) => {
                Err(DecodeError::Refused { place: place.to_owned(), what: NUL_BYTES })
            }
            // Its packets have no magic: records of bytes may well look like them.
            Sniffed::Layer(Layer::Pgp) if context.binary && !head.starts_with(b"-") => Ok(None),
            Sniffed::Layer(layer) => Ok(Some(layer)),
            Sniffed::Refused(what) => Err(DecodeError::Refused { place: place.to_owned(), what }),
            // What was decrypted is what its sender encrypted, whatever it begins with.
            Sniffed::Plain if decrypts(context) && !position.encrypted => {
                Ok(enc::claims_to_be_one(head, place)?.then_some(Layer::Enc))
            }
            Sniffed::Plain => Ok(None),
        };
    }
    let Some(expected) = layers.get(position.depth as usize).copied() else { return Ok(None) };
    // An old tar has no magic, only its checksum; an office document is a zip if the rule says so.
    let is_it = sniffed == Sniffed::Layer(expected)
        || (expected == Layer::Tar && checksum_is_right(head))
        || (expected == Layer::Zip && head.starts_with(b"PK\x03\x04"))
        || (expected == Layer::Enc && head.starts_with(enc::MAGIC))
        || (expected == Layer::Pgp && head.first().is_some_and(|first| first & 0x80 != 0));
    if is_it {
        return Ok(Some(expected));
    }
    let expected = sniff::layer_name(expected);
    if head.is_empty() {
        return Err(DecodeError::EndedEarly { place: place.to_owned(), layer: expected, offset: 0 });
    }
    Err(DecodeError::Mismatch { place: place.to_owned(), expected, found: sniff::found_name(sniffed, head) })
}
