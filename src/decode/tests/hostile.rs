//! Whatever the bytes are: an error, never a panic, never a shorter text.

use super::*;

#[test]
fn a_changed_byte_never_passes() {
    let data = csv(2_000);
    let (identity, key) = key();
    let world = world().with_key(&key);
    let sources = [
        gzip(&data),
        bzip2(&data),
        xz(&data),
        deflated(&[("a.csv", &data)]),
        encrypt_to(&data, &identity.to_public(), false),
    ];
    for stored in sources {
        for at in (stored.len() / 3..stored.len() * 2 / 3).step_by(stored.len() / 12) {
            let mut changed = stored.clone();
            changed[at] ^= 0x10;
            let error = world.error(&changed);
            assert_eq!(error.kind(), FaultKind::Input, "{error:?}");
        }
    }
}

#[test]
fn a_zip_with_a_hostile_directory_is_an_error_within_age_too() {
    let (identity, key) = key();
    let world = world().with_key(&key);
    let clean = deflated(&[("a.csv", &csv(200))]);
    let directory = memchr::memmem::find(&clean, b"PK\x01\x02").expect("a directory");
    for at in directory..clean.len() {
        let mut changed = clean.clone();
        changed[at] = changed[at].wrapping_add(0x81);
        // Whatever it says, reading it never panics.
        world.decode(&changed).ok();
        if at % 3 == 0 {
            world.decode(&encrypt_to(&changed, &identity.to_public(), false)).ok();
        }
    }
}

#[test]
fn a_zip_that_asks_for_gigabytes_is_refused_before_it_gets_them() {
    use ::zip::CompressionMethod as M;
    let data = csv(300);
    let seed = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/archives").join(name);
        std::fs::read(path).expect("the seed is there")[5..].to_vec()
    };
    let xz = zip(&[("a.csv", &data)], M::Xz);
    let dictionary = memchr::memmem::find(&xz, b"\x21\x01").expect("an LZMA2 filter") + 2;
    let (lzma, ppmd) = (seed("lzma.zip"), seed("ppmd.zip"));
    let content = |zip: &[u8]| 30 + usize::from(zip[26]) + usize::from(zip[28]);
    let cases = [
        (&xz, dictionary, vec![37], "1537 MiB"),
        (&lzma, content(&lzma) + 5, 0x3000_0000_u32.to_le_bytes().to_vec(), "768 MiB"),
        (&ppmd, content(&ppmd), vec![0xf5, 0x0f], "256 MiB"),
    ];
    for (clean, at, bytes, asked) in cases {
        world().decode(clean).expect("what asks for little is read");
        let mut greedy = clean.clone();
        greedy[at..at + bytes.len()].copy_from_slice(&bytes);
        let error = world().error(&greedy).to_string();
        assert!(error.contains(asked), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever comes in, reading it never panics.
    #[test]
    fn hostile_bytes_behind_any_magic_never_panic(
        magic in proptest::sample::select(vec![
            &b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh91AY&SY", b"PK\x03\x04",
            b"age-encryption.org/v1\n-> ", b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"\xff\xfe", b"\xef\xbb\xbf",
        ]),
        rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
    ) {
        world().decode(&[magic, rest.as_slice()].concat()).ok();
    }

    #[test]
    fn a_changed_tar_never_panics_and_a_changed_text_is_never_shorter(at in 0_usize..3000, to in proptest::prelude::any::<u8>()) {
        let mut stored = tar(&[("a.csv", &csv(20)), ("b.csv", b"b\n")]);
        let at = at % stored.len();
        stored[at] = to;
        world().decode(&stored).ok();
    }
}
