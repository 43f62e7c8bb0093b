//! `.enc` files: those of an independent program (`testdata/enc/make`), whole, cut and changed.

use super::*;
use crate::model::fault::FaultKind;
use crate::model::rule::{Layer, SymmetricKey};

macro_rules! made {
    ($($name:literal),*) => { [$(($name, include_bytes!(concat!("../testdata/enc/", $name, ".enc")).as_slice())),*] };
}

const WITH_TAGS: [(&str, &[u8]); 6] =
    made!("gcm", "gcm-own-key", "frames", "frames-packed", "frames-full", "frames-one");
const WITHOUT: [(&str, &[u8]); 4] = made!("cbc-fixed-iv", "cbc-own-key", "cbc-named", "cbc-of-nothing");
const NOT_COMPRESSED: [(&str, &[u8]); 1] = made!("not-compressed");

fn text_of(name: &str) -> Vec<u8> {
    let text: Vec<u8> = (0..64).flat_map(|number| format!("payment {number}\n").into_bytes()).collect();
    match name {
        "cbc-of-nothing" => Vec::new(),
        "frames-full" => text[..256].to_vec(),
        _ => text,
    }
}

/// With both keys; the second as text.
fn with_keys() -> World {
    let world = world();
    let file = |name: &str, bytes: &[u8]| {
        let file = world.dir.path().join(name);
        std::fs::write(&file, bytes).expect("a key file");
        file
    };
    let keys = vec![
        SymmetricKey { version: 1, key_file: file("first", &[0x11; 32]), iv: Some([0x22; 16]) },
        SymmetricKey {
            version: 2,
            key_file: file("second", format!("hex:{}\n", "33".repeat(16)).as_bytes()),
            iv: None,
        },
    ];
    world.with(|decode| decode.symmetric_encryption = keys)
}

#[test]
fn what_an_independent_program_wrote_is_read() {
    let world = with_keys();
    for (name, stored) in WITH_TAGS.iter().chain(&WITHOUT) {
        let (entries, _) = world.decode(stored).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [(_, text)] = entries.as_slice() else { panic!("{name}: {} entries", entries.len()) };
        assert_eq!(*text, text_of(name), "{name}");
    }
}

#[test]
fn what_has_tags_is_whole_and_unchanged_or_an_error() {
    let world = with_keys();
    for (name, stored) in WITH_TAGS {
        // Behind the magic: without that it is another text. Each place in the header, and some of what follows.
        let places = || (4..stored.len()).filter(|at| *at < 100 || at % 7 == 0 || stored.len() - at < 40);
        for cut in places() {
            let told = world.decode(&stored[..cut]).map(|(entries, _)| entries);
            let error = told.expect_err("it is cut");
            assert!(error.ended_early(), "{name} cut after {cut} bytes: {error}");
        }
        for at in places() {
            let mut changed = stored.to_vec();
            changed[at] ^= 1;
            let told = world.decode(&changed).map(|(entries, _)| entries);
            assert!(told.is_err(), "{name} with byte {at} changed gives {told:?}");
        }
        let longer = [stored, b"x"].concat();
        assert!(world.decode(&longer).is_err(), "{name} with a byte behind it");
    }
}

#[test]
fn what_has_none_is_told_where_it_is_cut_within_a_block_or_has_no_padding() {
    let world = with_keys();
    for (name, stored) in WITHOUT {
        for cut in 1..16 {
            let error = world.decode(&stored[..stored.len() - cut]).expect_err("it is cut");
            assert!(matches!(error, DecodeError::EndedEarly { .. }), "{name}: {error}");
        }
    }
    let (_, stored) = NOT_COMPRESSED[0];
    let error = world.decode(stored).expect_err("it is not");
    assert!(matches!(error, DecodeError::KeyFile { .. }), "a wrong key looks so, too: {error}");
}

#[test]
fn a_key_that_is_not_there_or_another_one_holds_the_job() {
    let (_, stored) = WITH_TAGS[1];
    let none = world().decode(stored).expect_err("there is no key");
    assert!(matches!(none, DecodeError::NoSymmetricKey { version: 1, .. }), "{none}");
    let world = with_keys();
    let file = world.decode.symmetric_encryption[0].key_file.clone();
    for (key, wanted) in [
        (vec![0x12; 32], "does not open the key of"),
        (b"short".to_vec(), "holds no key of 16, 24 or 32 bytes"),
        (vec![0x11; 16], "does not open the key of"),
    ] {
        std::fs::write(&file, key).expect("written");
        let error = world.decode(stored).expect_err("it is another");
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(error.kind(), FaultKind::Config);
    }
    crate::durable_fs::remove_file(&file).expect("removed");
    let gone = world.decode(stored).expect_err("it is gone");
    assert_eq!(gone.kind(), FaultKind::Config, "{gone}");
    assert!(none.kind() == FaultKind::Config && none.hint().is_some());
}

#[test]
fn a_text_that_begins_like_one_is_a_text() {
    let (entries, _) = world().decode(b"@EnCoding: none\n").expect("it is text");
    assert_eq!(entries[0].1, b"@EnCoding: none\n");
    let spelled = with_keys().with(|decode| decode.layers = vec![Layer::Enc]);
    let error = spelled.decode(b"a text\n").expect_err("it is none");
    assert!(matches!(error, DecodeError::Mismatch { expected: "enc", .. }), "{error}");
}

#[test]
fn an_encrypted_source_may_be_one() {
    let world = with_keys().with(|decode| decode.require_encrypted = true);
    assert!(world.decode(WITH_TAGS[0].1).is_ok());
}
