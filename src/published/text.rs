//! The text of an output: unpacked, and decrypted where there is a key.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::error::ReadError;
use crate::allowance::Allowance;
use crate::at_rest::{self, KeyRing};
use crate::decode::{self, DecodeRequest, Decoder};
use crate::durable_fs;
use crate::model::fault::Fault as _;
use crate::model::job::{Job, PublishedOutput};
use crate::model::rule::{Layer, Output, Rule, Service};
use crate::output::sha256_of;

/// A job's times are rounded, and those of a file.
const CLOCKS_DIFFER_NS: i128 = 10_000_000;

/// What reading takes besides the file.
pub(crate) struct Keys<'a> {
    /// Files of age identities, and of secret keys of `OpenPGP`.
    pub(crate) identities: &'a [PathBuf],
    /// Those of the data folder, for outputs that are kept there encrypted.
    pub(crate) own: Option<Arc<KeyRing>>,
    pub(crate) scratch: &'a Path,
}

/// The keys of the data folder, where a rule keeps an output there encrypted; none where none of its outputs is.
pub(crate) fn own_keys(rule: &Rule, service: &Service) -> Result<Option<Arc<KeyRing>>, ReadError> {
    if !rule.outputs.values().any(|output| output.is_sealed) {
        return Ok(None);
    }
    let keys = at_rest::load(&service.at_rest.keys, &service.data_dir);
    keys.map(|ring| Some(Arc::new(ring))).map_err(|error| ReadError::OwnKeys {
        hint: error.hint().unwrap_or_default(),
        source: Box::new(error),
    })
}

/// A folder for temporary files, for this user alone where others could look into it; removed with what is returned.
pub(crate) fn scratch() -> Result<TempDir, ReadError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("landfall-output-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().map_err(|source| ReadError::Scratch { source })
}

/// What is in an output, unpacked where its name says that it is packed; at most so many bytes.
pub(crate) fn read(path: &Path, rule: &Rule, scratch: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    with_text(path, None, rule, &Keys { identities: &[], own: None, scratch }, |text| {
        let read = text.take(bytes_max).read_to_end(&mut bytes);
        read.map(drop).map_err(|error| ReadError::of(path, error))
    })?;
    Ok(bytes)
}

/// The same as a stream; of a file that is what was published, as far as that is known.
pub(crate) fn with_text<T, E: From<ReadError>>(
    path: &Path,
    published: Option<&PublishedOutput>,
    rule: &Rule,
    keys: &Keys<'_>,
    take: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> Result<T, E> {
    // No link that somebody put there leads to what the asker may not read, and no pipe keeps him waiting.
    let mut file = durable_fs::open_source(path).map_err(|error| ReadError::of(path, error))?;
    if let Some(published) = published {
        check_is_same(&mut file, published)?;
    }
    let layers = layers_of(path, has_armor(rule));
    if layers.is_empty() {
        return take(&mut file);
    }
    let decode = decode::of_output(&rule.decode, layers);
    let request = DecodeRequest {
        shown_path: path,
        decode: &decode,
        records: &rule.records,
        identities: keys.identities,
        passphrase_file: None,
        signers: &[],
        spool_dir: keys.scratch,
        progress: Arc::default(),
        allowance: Allowance::alone(u64::MAX), // our own output
    };
    let mut decoder = Decoder::open_own(file, &request, keys.own.clone()).map_err(ReadError::from)?;
    let entry = decoder.next_entry().map_err(ReadError::from)?;
    let mut entry = entry.ok_or_else(|| ReadError::Empty { path: path.to_owned() })?;
    take(&mut entry.text)
}

/// By its size, and by its hash where the rule had it written down: another one of this name is often as long.
fn check_is_same(file: &mut File, published: &PublishedOutput) -> Result<(), ReadError> {
    let path = published.path.as_path();
    let of = |error| ReadError::of(path, error);
    let found = file.metadata().map_err(of)?.len();
    if found != published.bytes {
        return Err(ReadError::Changed { path: path.to_owned(), found, published: published.bytes });
    }
    let Some(sha256) = &published.sha256 else { return Ok(()) };
    let found = sha256_of(file).map_err(of)?;
    file.rewind().map_err(of)?;
    if found == *sha256 { Ok(()) } else { Err(ReadError::Replaced { path: path.to_owned() }) }
}

/// Whether what lies there may be another file, of the same length, where no hash tells: it was written, or came there, after the job had
/// ended.
pub(crate) fn may_be_anothers(job: &Job, published: &PublishedOutput) -> bool {
    let found = durable_fs::identity_at(published.path.as_path()).ok().flatten();
    let times = job.finished_at.zip(found).filter(|_| published.sha256.is_none());
    times.is_some_and(|(ended, found)| {
        found.mtime_ns.max(found.ctime_ns) > ended.as_nanosecond() + CLOCKS_DIFFER_NS
    })
}

/// Whether `.asc` is the suffix of a message in armor: a text may well be called so.
fn has_armor(rule: &Rule) -> bool {
    let is_armored = |output: &Output| {
        output.recipients_file.is_some() && output.path.to_ascii_lowercase().ends_with(".asc")
    };
    rule.outputs.values().any(is_armored)
}

/// By the suffixes that outputs are packed by; what its records look like says nothing.
fn layers_of(path: &Path, has_armor: bool) -> Vec<Layer> {
    let of_suffix = |path: &Path| {
        let known = [
            ("age", Layer::Age),
            ("pgp", Layer::Pgp),
            ("gpg", Layer::Pgp),
            ("asc", Layer::Pgp),
            ("gz", Layer::Gzip),
            ("zst", Layer::Zstd),
            ("bz2", Layer::Bzip2),
            ("xz", Layer::Xz),
        ];
        let suffix = path.extension()?;
        let mut known = known.into_iter().filter(|(name, _)| has_armor || *name != "asc");
        known.find(|(name, _)| suffix.eq_ignore_ascii_case(name)).map(|(_, layer)| layer)
    };
    let is_encryption = |layer: &Layer| matches!(layer, Layer::Age | Layer::Pgp);
    let outer = of_suffix(path);
    let inner =
        outer.as_ref().is_some_and(is_encryption).then(|| of_suffix(&path.with_extension(""))).flatten();
    outer.into_iter().chain(inner.filter(|layer| !is_encryption(layer))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_those_of_the_name_the_outermost_first() {
        let layers = |name: &str| layers_of(Path::new(name), name.contains("armor"));
        assert_eq!(layers("out/pay.csv"), []);
        assert_eq!(layers("out/pay.csv.GZ"), [Layer::Gzip]);
        assert_eq!(layers("pay.csv.zst.age"), [Layer::Age, Layer::Zstd]);
        assert_eq!(layers("pay.age"), [Layer::Age]);
        assert_eq!(layers("pay.csv.gz.gpg"), [Layer::Pgp, Layer::Gzip]);
        assert_eq!((layers("grid.asc"), layers("armor.xz.asc")), (vec![], vec![Layer::Pgp, Layer::Xz]));
        assert_eq!(layers("pay.gz.xz"), [Layer::Xz], "what is within it was the source's");
    }
}
