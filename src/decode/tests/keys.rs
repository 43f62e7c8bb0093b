//! Keys and passphrases: what opens, and what waits for the right one.

use super::*;

#[test]
fn an_unencrypted_source_is_refused_where_encryption_is_required() {
    let (identity, key) = key();
    let strict = world().with(|decode| decode.require_encrypted = true).with_key(&key);
    assert!(matches!(strict.error(&gzip(b"a\n")), DecodeError::NotEncrypted { .. }));
    assert!(matches!(strict.error(&deflated(&[("a", b"a\n")])), DecodeError::NotEncrypted { .. }));
    assert_eq!(strict.text(&gzip(&encrypt_to(b"a\n", &identity.to_public(), false))), b"a\n");
    assert_eq!(strict.text(&encrypt_to(&deflated(&[("a", b"a\n")]), &identity.to_public(), false)), b"a\n");
}

#[test]
fn a_missing_wrong_or_broken_key_waits_for_a_key() {
    let (identity, right) = key();
    let (_, wrong) = key();
    let stored = encrypt_to(b"a\n", &identity.to_public(), false);
    for world in [
        world(),
        world().with_key(&wrong),
        world().with_key("AGE-SECRET-KEY-NONSENSE\n"),
        world().with_key(""),
    ] {
        let error = world.error(&stored);
        assert_eq!((error.kind(), error.waits_for()), (FaultKind::Config, WaitsFor::Key), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("decode.identities")));
        assert!(!format!("{error:?}").contains("NONSENSE"));
    }
    // A key file that could not be read may be the one that is missing: it is the one to name.
    let error = world().with_key(&wrong).with_key("nonsense").error(&stored);
    assert!(matches!(&error, DecodeError::KeyFile { file, .. } if file.ends_with("key-1")), "{error:?}");
    let several = world().with_key("nonsense").with_key(&format!("{wrong}\r\n{right}"));
    assert_eq!(several.text(&stored), b"a\n");
}

#[test]
fn a_passphrase_opens_what_it_encrypted_and_a_wrong_one_waits() {
    let mut recipient = ::age::scrypt::Recipient::new("open sesame".to_owned().into());
    recipient.set_work_factor(4);
    let stored = encrypt_to(b"a\n", &recipient, false);
    let mut world = world();
    assert_eq!(world.error(&stored).waits_for(), WaitsFor::Key);
    let file = world.dir.path().join("passphrase");
    world.passphrase_file = Some(file.clone());
    assert_eq!(world.error(&stored).kind(), FaultKind::Config);
    std::fs::write(&file, "open sesame\r\n").expect("written");
    assert_eq!(world.text(&stored), b"a\n");
    std::fs::write(&file, "close sesame\n").expect("written");
    assert_eq!(world.error(&stored).kind(), FaultKind::Config);
}

#[test]
fn an_ssh_key_opens_what_was_encrypted_to_it() {
    // Made for this test only.
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6KeQcFvSw6VIoTOFRzlyAWP+weIqISEPFZ2afKh91H test";
    let recipient: ::age::ssh::Recipient = public.parse().expect("a recipient");
    let stored = encrypt_to(b"a\n", &recipient, false);
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
QyNTUxOQAAACBOinkHBb0sOlSKEzhUc5cgFj/sHiKiEhDxWdmnyofdRwAAAIhAV8vRQFfL\n\
0QAAAAtzc2gtZWQyNTUxOQAAACBOinkHBb0sOlSKEzhUc5cgFj/sHiKiEhDxWdmnyofdRw\n\
AAAEC4z161v7trnY6DEhSwMN0XrG9EIxY00wzZsaoKC8dD706KeQcFvSw6VIoTOFRzlyAW\n\
P+weIqISEPFZ2afKh91HAAAABHRlc3QB\n\
-----END OPENSSH PRIVATE KEY-----\n\
";
    assert_eq!(world().with_key(private).text(&stored), b"a\n");
    assert_eq!(world().with_key(&private.replace('\n', "\r\n")).text(&stored), b"a\n");
    let broken = world().with_key(&private.replace("b3BlbnNzaC1rZXk", "xxx"));
    assert_eq!(broken.error(&stored).waits_for(), WaitsFor::Key);
}

#[test]
fn a_passphrase_that_asks_for_too_much_work_is_refused() {
    let mut recipient = ::age::scrypt::Recipient::new("open sesame".to_owned().into());
    recipient.set_work_factor(4);
    let stored = encrypt_to(b"a\n", &recipient, false);
    let line_end = memchr::memmem::find(&stored, b" 4\n").expect("the work factor");
    let greedy = [&stored[..=line_end], b"30", &stored[line_end + 2..]].concat();
    let mut world = world();
    let file = world.dir.path().join("passphrase");
    std::fs::write(&file, "open sesame").expect("written");
    world.passphrase_file = Some(file);
    let error = world.error(&greedy);
    assert_eq!(error.kind(), FaultKind::Input);
    let said = error.to_string();
    assert!(said.contains("factor of 30") && said.contains("`decode.work_factor_max` = 18"), "{said}");
}

/// What is remembered needs no work: a limit that forbids any does not matter.
#[test]
fn a_key_is_derived_once_for_a_file_however_often_its_job_is_tried() {
    let mut recipient = ::age::scrypt::Recipient::new("derived once".to_owned().into());
    recipient.set_work_factor(4);
    let stored = encrypt_to(b"a\n", &recipient, false);
    let world_with = |passphrase: &str, work_factor_max| {
        let mut world = world().with(|decode| decode.work_factor_max = work_factor_max);
        let file = world.dir.path().join("passphrase");
        std::fs::write(&file, passphrase).expect("written");
        world.passphrase_file = Some(file);
        world
    };
    let refused = world_with("derived once", 1).error(&stored);
    assert!(matches!(refused, DecodeError::WorkFactor { factor: 4, limit: 1, .. }), "{refused}");
    for work_factor_max in [18, 1] {
        assert_eq!(world_with("derived once", work_factor_max).text(&stored), b"a\n");
        let wrong = world_with("another", work_factor_max).error(&stored);
        assert!(matches!(wrong, DecodeError::KeyFile { .. }), "{wrong}");
    }
}
