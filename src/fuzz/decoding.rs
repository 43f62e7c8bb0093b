//! Decoder chains: any bytes, in any layers, are entries or an error; the same whatever the sizes of reads, within the limits, and
//! the same through a layer more, where the inner ones can no longer be read in place.
//!
//! Input: how much is read at a time, which layers go around the rest, what is damaged then, and the bytes themselves.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Input;
use super::packing::{ENC_KEY, ENC_VERSION, IDENTITY, OPENPGP_KEY, pack};
use crate::decode::{DecodeError, DecodeRequest, Decoder, Progress};
use crate::model::fault::Fault as _;
use crate::model::rule::{Decode, Format, Layer, OnBadEncoding, Records, SymmetricKey};

/// Bytes of what one layer may expand to here.
const EXPANDED_MAX: u64 = 4 << 20;
const ENTRIES_MAX: u64 = 20;
/// What an input may have around itself, one more, and two of its own.
const DEPTH_MAX: u32 = 6;
/// A cut-off beginning shorter than this may be taken for text.
const LAYER_BYTES_MIN: usize = 32;

/// Each entry's name and text.
pub(super) type Entries = Vec<(String, Vec<u8>)>;

/// gzip, zstd, bzip2 and xz.
pub(super) fn compressed(data: &[u8]) {
    check(data, &[Layer::Gzip, Layer::Zstd, Layer::Bzip2, Layer::Xz]);
}

/// age, enc and OpenPGP, and what lies in them.
pub(super) fn encrypted(data: &[u8]) {
    check(data, &[Layer::Age, Layer::Enc, Layer::Pgp, Layer::Gzip, Layer::Zip]);
}

/// zip and tar, in each other and in what has to be spooled.
pub(super) fn archives(data: &[u8]) {
    check(data, &[Layer::Zip, Layer::Tar, Layer::Gzip, Layer::Zstd]);
}

fn check(data: &[u8], layers: &[Layer]) {
    let mut input = Input(data);
    let read_bytes = input.one_of(&[1, 3, 63, 64, 1000, 64 << 10]);
    let (around, damage, place) = (input.byte(), input.byte(), [input.byte(), input.byte()]);
    let mut chosen = Vec::new();
    let mut stored = input.0.to_vec();
    let mut rest = around as usize;
    while rest > 0 {
        let layer = layers[(rest - 1) % layers.len()];
        stored = pack(layer, &stored);
        chosen.push(layer);
        rest /= layers.len() + 1;
        if chosen.len() == 3 {
            break;
        }
    }
    let place = u16::from_le_bytes(place) as usize % stored.len().max(1);
    let is_cut = damage == 1 && place < stored.len();
    match damage {
        0 => {}
        1 => stored.truncate(place),
        _ => stored.get_mut(place).into_iter().for_each(|byte| *byte ^= damage),
    }
    let decoded = decode(&stored, &[], 4 << 10);
    check_reads(&decoded, &decode(&stored, &[], read_bytes));
    if let Some(outermost) = chosen.last() {
        let has_end = !matches!(outermost, Layer::Zip | Layer::Tar);
        let cut_is_told = !(is_cut && has_end && place >= LAYER_BYTES_MIN) || decoded.is_err();
        assert!(cut_is_told, "a cut at {place} of {outermost:?} is taken for whole");
    }
    if damage == 0 {
        chosen.reverse();
        check_reads(&decoded, &decode(&pack(Layer::Gzip, &stored), &[], 4 << 10));
        spelled_out(&stored, &chosen, &decoded);
    }
}

/// The same layers spelled out, and nothing else taken off within them.
fn spelled_out(stored: &[u8], layers: &[Layer], recognised: &Result<Entries, DecodeError>) {
    if layers.is_empty() {
        return;
    }
    let Ok(entries) = decode(stored, layers, 4 << 10) else {
        // Layers that were put on are there; what they hold may be no text.
        return;
    };
    assert_eq!(entries.len(), 1, "{layers:?} hold one entry each");
    if let Ok(recognised) = recognised {
        assert!(recognised.len() != 1 || recognised[0].1.len() <= EXPANDED_MAX as usize);
    }
}

/// Entries are the same, and so is whether there is an error.
fn check_reads(one: &Result<Entries, DecodeError>, other: &Result<Entries, DecodeError>) {
    match (one, other) {
        (Ok(one), Ok(other)) => assert!(one == other, "other entries come out"),
        (Err(one), Err(other)) => assert_eq!(one.kind(), other.kind(), "{one}; {other}"),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => panic!("only one of two readings fails: {error}"),
    }
}

struct Place {
    folder: tempfile::TempDir,
    identities: Vec<PathBuf>,
    enc_key: SymmetricKey,
    file: File,
}

thread_local! {
    static PLACE: Place = Place::new();
}

impl Place {
    fn new() -> Self {
        // Memory is faster, where there is such a folder.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder can be made");
        let key = folder.path().join("key.txt");
        std::fs::write(&key, IDENTITY).expect("it can be written");
        let openpgp_key = folder.path().join("key.asc");
        std::fs::write(&openpgp_key, OPENPGP_KEY).expect("it can be written");
        let enc_key =
            SymmetricKey { version: ENC_VERSION, key_file: folder.path().join("enc.key"), iv: None };
        std::fs::write(&enc_key.key_file, ENC_KEY).expect("it can be written");
        let file = tempfile::tempfile_in(folder.path()).expect("a temporary file can be made");
        Self { identities: vec![key, openpgp_key], enc_key, file, folder }
    }

    /// A descriptor at the start of a file with these bytes.
    fn source(&self, stored: &[u8]) -> std::io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(stored)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }
}

pub(super) fn rule() -> Decode {
    Decode {
        layers: Vec::new(),
        require_encrypted: false,
        require_signed: false,
        signers: Vec::new(),
        identities: Vec::new(),
        passphrase_file: None,
        symmetric_encryption: Vec::new(),
        entries: Vec::new(),
        entries_max: ENTRIES_MAX,
        depth_max: DEPTH_MAX,
        expanded_max: EXPANDED_MAX,
        ratio_max: 1000,
        time_max: std::time::Duration::MAX,
        work_factor_max: 18,
        encoding: "utf-8".to_owned(),
        on_bad_encoding: OnBadEncoding::Raw,
    }
}

fn decode(stored: &[u8], layers: &[Layer], read_bytes: usize) -> Result<Entries, DecodeError> {
    let decode = Decode { layers: layers.to_vec(), ..rule() };
    decode_by(stored, &decode, &[read_bytes])
}

/// Every entry, read in pieces of these sizes.
pub(super) fn decode_by(stored: &[u8], decode: &Decode, reads: &[usize]) -> Result<Entries, DecodeError> {
    PLACE.with(|place| {
        let records = Records {
            format: Format::Lines,
            skip_lines: 0,
            record_max: 8 << 20,
            slice_records: 1000,
            separator: None,
        };
        let shown_path = Path::new("in/source");
        let decode = &Decode { symmetric_encryption: vec![place.enc_key.clone()], ..decode.clone() };
        let progress = Arc::new(Progress::default());
        let request = DecodeRequest {
            shown_path,
            decode,
            records: &records,
            identities: &place.identities,
            passphrase_file: None,
            signers: &[],
            spool_dir: place.folder.path(),
            progress,
            allowance: crate::allowance::Allowance::alone(96 << 20),
        };
        let mut decoder = Decoder::open(place.source(stored).expect("it can be written"), &request)?;
        let (mut entries, mut bytes) = (Entries::new(), 0);
        let mut block = vec![0; reads.iter().copied().max().unwrap_or(1)];
        while let Some(mut entry) = decoder.next_entry()? {
            let mut text = Vec::new();
            for size in reads.iter().cycle() {
                let read = entry
                    .text
                    .read(&mut block[..*size])
                    .map_err(|error| DecodeError::from_io(error, shown_path))?;
                if read == 0 {
                    break;
                }
                text.extend_from_slice(&block[..read]);
            }
            bytes += text.len() as u64;
            // A replaced byte becomes three.
            assert!(bytes <= stored.len() as u64 + 3 * EXPANDED_MAX, "{bytes} bytes came out");
            entries.push((entry.name.to_string(), text));
        }
        assert!(entries.len() as u64 <= ENTRIES_MAX);
        decoder.finish()?;
        Ok(entries)
    })
}
