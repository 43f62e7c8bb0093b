//! `[rule.decode]`: how a source becomes text.

use std::time::Duration;

use super::paths::Kind;
use super::section::{Section, absolute_item};
use crate::model::hex::hex_bytes;
use crate::model::rule::{Decode, Layer, OnBadEncoding, Records, SymmetricKey};

const LAYERS: [(&str, Layer); 9] = [
    ("age", Layer::Age),
    ("enc", Layer::Enc),
    ("pgp", Layer::Pgp),
    ("gzip", Layer::Gzip),
    ("zstd", Layer::Zstd),
    ("bzip2", Layer::Bzip2),
    ("xz", Layer::Xz),
    ("zip", Layer::Zip),
    ("tar", Layer::Tar),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Required {
    Encrypted,
    Signed,
}

/// Reads the table; the records tell which encodings fit.
pub(super) fn read(section: &Section<'_>, records: &Records) -> Decode {
    let identities = section.texts("identities").unwrap_or_default();
    let entries = section.texts("entries").unwrap_or_default();
    for entry in entries.iter().filter(|entry| entry.text.is_empty()) {
        section.item_problem(entry, "this pattern is empty", Some("write a pattern like \"*.csv\"".into()));
    }
    let policies =
        [("fail", OnBadEncoding::Fail), ("replace", OnBadEncoding::Replace), ("raw", OnBadEncoding::Raw)];
    let signers = section.texts("signers").unwrap_or_default();
    let required =
        section.choices("require", &[("encrypted", Required::Encrypted), ("signed", Required::Signed)], &[]);
    let decode = Decode {
        layers: section.choices("layers", &LAYERS, &[]),
        require_encrypted: required.contains(&Required::Encrypted),
        require_signed: required.contains(&Required::Signed),
        signers: signers.iter().filter_map(|item| absolute_item(section, item, Kind::Template)).collect(),
        identities: identities
            .iter()
            .filter_map(|item| absolute_item(section, item, Kind::Template))
            .collect(),
        passphrase_file: section.template("passphrase_file"),
        symmetric_encryption: symmetric_encryption(section),
        entries: entries.iter().map(|entry| entry.text.to_owned()).collect(),
        entries_max: section.integer("entries_max", 1..=100_000_000).unwrap_or(10_000),
        depth_max: section.integer("depth_max", 1..=32).unwrap_or(3) as u32,
        expanded_max: section.size("expanded_max", 1..=1 << 60).unwrap_or(1 << 40),
        ratio_max: section.integer("ratio_max", 1..=u64::from(u32::MAX)).unwrap_or(1000),
        time_max: section.duration("time_max", Duration::from_secs(1)).unwrap_or(Decode::time_max()),
        work_factor_max: section
            .integer("work_factor_max", 1..=22)
            .unwrap_or(u64::from(Decode::work_factor_max())) as u8,
        on_bad_encoding: section.choice("on_bad_encoding", &policies, &[]).unwrap_or(OnBadEncoding::Fail),
        encoding: section.text("encoding").unwrap_or("utf-8").to_owned(),
    };
    if decode.layers.len() > decode.depth_max as usize {
        let hint = format!("raise `decode.depth_max` ({})", decode.depth_max);
        section.problem("layers", "these are more layers than allowed within each other", Some(hint));
    }
    if decode.require_signed && signers.is_empty() {
        let hint = "add `signers = [\"keys/sender.pub.asc\"]`: files with the OpenPGP keys of who may sign"
            .to_owned();
        section.problem("require", "nobody's signature counts: there are no `signers`", Some(hint));
    }
    check_encoding(section, &decode, records);
    section.finish(&["zip_password_file"]);
    decode
}

/// `[rule.decode.symmetric_encryption]`.
fn symmetric_encryption(section: &Section<'_>) -> Vec<SymmetricKey> {
    let table = section.section("symmetric_encryption");
    let mut keys: Vec<SymmetricKey> = Vec::new();
    for of in table.sections("keys") {
        if !of.has("version") {
            of.missing("version", "the version that files name this key by", "add `version = 1`");
        }
        if !of.has("key_file") {
            let hint = "add the key's file: `key_file = \"/etc/landfall/enc-1.key\"`";
            of.missing("key_file", "the file that holds the key", hint);
        }
        let version = of.integer("version", 0..=255);
        let key_file = of.path("key_file");
        let iv = of.text("iv").map(|text| hex_bytes(text).and_then(|bytes| bytes.try_into().ok()));
        if iv == Some(None) {
            of.problem("iv", "an IV is 16 bytes", Some("write it as 32 hexadecimal digits".to_owned()));
        }
        of.finish(&[]);
        let (Some(version), Some(key_file)) = (version, key_file) else { continue };
        let version = version as u8;
        if keys.iter().any(|other| other.version == version) {
            let hint = "give each its own version, as the library that wrote the files had it".to_owned();
            of.problem("version", format!("another key has version {version} too"), Some(hint));
            continue;
        }
        keys.push(SymmetricKey { version, key_file, iv: iv.flatten() });
    }
    table.finish(&[]);
    keys
}

fn check_encoding(section: &Section<'_>, decode: &Decode, records: &Records) {
    let label = &decode.encoding;
    let known = encoding_rs::Encoding::for_label(label.as_bytes());
    let Some(encoding) = known.filter(|encoding| *encoding != encoding_rs::REPLACEMENT) else {
        let hint = "write a WHATWG label like \"utf-8\", \"windows-1252\", \"iso-8859-15\" or \"utf-16le\""
            .to_owned();
        section.problem("encoding", format!("unknown encoding \"{label}\""), Some(hint));
        return;
    };
    if decode.on_bad_encoding == OnBadEncoding::Raw && !encoding.is_ascii_compatible() {
        let message = format!("bytes in {label} cannot pass as they are: its line ends are no single bytes");
        section.problem("on_bad_encoding", message, Some("use \"fail\" or \"replace\"".into()));
    }
    // Of a record of `record_length` bytes, a part of a character would be left over.
    let is_odd = records.record_length().is_some_and(|length| length % 2 == 1);
    if is_odd && !encoding.is_ascii_compatible() {
        let message = format!("records of an odd number of bytes cannot be {label}");
        section.problem("encoding", message, Some("check `records.record_length`".into()));
    }
}
