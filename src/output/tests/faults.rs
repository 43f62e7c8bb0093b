//! Failing disks, file systems that are not mounted, and others who write where they should not.

use super::*;

#[test]
fn a_partial_is_lost_only_where_its_folder_is_there() {
    let world = World::one("sub/out.csv");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[None]).expect("begins");
    world.append(&mut partials, 0, "1\n2\n");
    let (states, pending) = partials.checkpoint().expect("checkpoints");
    pending.sync().expect("syncs");
    drop(partials);
    fs::rename(world.path("sub"), world.path("unmounted")).expect("renames");
    let error = world.resume(&states).err().expect("refuses");
    assert!(!error.is_lost_partial(), "{error}");
    assert_eq!((error.kind(), error.waits_for()), (FaultKind::Storage, WaitsFor::Disk));
    fs::rename(world.path("unmounted"), world.path("sub")).expect("renames");
    drop(world.resume(&states).expect("nothing was lost"));
    fs::remove_file(states[0].hidden.path.as_path()).expect("removes");
    let error = world.resume(&states).err().expect("refuses");
    assert!(error.is_lost_partial() && error.to_string().contains("is gone"), "{error}");
    let mut states = states;
    states[0].hidden.folder.device += 1;
    states[0].hidden.folder.inode += 1;
    let error = world.resume(&states).err().expect("refuses what lies under a mount that is away");
    assert!(!error.is_lost_partial() && error.to_string().contains("mounted?"), "{error}");
    assert_eq!((error.kind(), error.waits_for()), (FaultKind::Storage, WaitsFor::Disk));
}

#[test]
fn after_an_error_no_checkpoint_is_made_and_nothing_is_taken_or_finished() {
    let disk_full =
        || EncodedChunk { bytes: Err(std::io::Error::from_raw_os_error(28)), crc: None, records: 1 };
    let encoder_broke = || EncodedChunk { bytes: Err(std::io::Error::other("broke")), crc: None, records: 1 };
    for broken in [disk_full(), encoder_broke()] {
        let world = World::new(&[("main", "out.csv"), ("other", "other.csv")], |_, _| {});
        let mut partials = world.start();
        partials.begin_entry(&entry(0, ""), &[None, None]).expect("begins");
        world.append(&mut partials, 0, "1\n");
        let (_, earlier) = partials.checkpoint().expect("checkpoints");
        let first = partials.append(1, broken).expect_err("fails").to_string();
        let again = [
            partials.append(0, world.plan.encode(0, b"2\n".to_vec(), 1)).expect_err("refuses"),
            partials.append(0, world.plan.encode(0, Vec::new(), 0)).expect_err("refuses"),
            partials.begin_entry(&entry(1, "next"), &[None, None]).expect_err("refuses"),
            partials.checkpoint().err().expect("refuses"),
            finish(&mut partials).expect_err("refuses"),
            earlier.sync().expect_err("refuses"),
        ];
        for error in again {
            assert_eq!((error.kind(), error.is_lost_partial()), (FaultKind::Storage, false));
            assert!(error.to_string().contains(&first), "{error}");
        }
        partials.discard().expect("discards");
        assert_eq!(world.names(), Vec::<String>::new());
    }
}

#[cfg(unix)]
#[test]
fn a_failed_sync_stops_the_partials_too() {
    let world = World::one("sub/out.csv");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[None]).expect("begins");
    world.append(&mut partials, 0, "1\n");
    let (_, pending) = partials.checkpoint().expect("checkpoints");
    fs::rename(world.path("sub"), world.path("unmounted")).expect("renames");
    pending.sync().expect_err("there is no such folder");
    fs::rename(world.path("unmounted"), world.path("sub")).expect("renames");
    assert_eq!(partials.checkpoint().err().expect("refuses").kind(), FaultKind::Storage);
}

#[test]
fn a_partial_that_another_wrote_into_is_not_finished() {
    let world = World::one("{entry}");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, "one"), &[None]).expect("begins");
    world.append(&mut partials, 0, "1\n");
    partials.begin_entry(&entry(1, "two"), &[None]).expect("begins");
    let partial = world.path(&format!(".landfall-{}-0.partial", world.job.id));
    fs::write(partial, "another's").expect("writes");
    let error = finish(&mut partials).expect_err("refuses");
    assert_eq!(error.kind(), FaultKind::Storage);
    assert!(error.to_string().contains("has 9 bytes, but 2 were written"), "{error}");
}

#[test]
fn a_partial_is_not_published_by_another_folder_of_its_name() {
    for renamed in [false, true] {
        let world = World::one("sub/a.csv");
        let intent = Intent::choose(&world.rule, &world.job, finished(&world), &|_| false).expect("chooses");
        let json = serde_json::to_string(&intent).expect("serializes");
        let mut intent: Intent = serde_json::from_str(&json).expect("reads back");
        if renamed {
            assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
        }
        fs::rename(world.path("sub"), world.path("unmounted")).expect("renames");
        fs::create_dir(world.path("sub")).expect("makes what lies under the mount");
        fs::write(world.path("sub/a.csv"), "another").expect("writes");
        let error = roll_forward(&world, &mut intent).expect_err("refuses");
        assert_eq!((error.kind(), error.waits_for()), (FaultKind::Storage, WaitsFor::Disk));
        assert!(
            error.to_string().contains("is its file system mounted?") && error.hint().is_some(),
            "{error}"
        );
        fs::remove_file(world.path("sub/a.csv")).expect("removes");
        fs::remove_dir(world.path("sub")).expect("removes");
        fs::rename(world.path("unmounted"), world.path("sub")).expect("mounts");
        assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
        assert_eq!(fs::read(world.path("sub/a.csv")).expect("reads"), b"0\n");
    }
}

/// A Windows volume keeps its serial number.
#[cfg(unix)]
#[test]
fn a_published_file_is_known_after_a_reboot_that_numbered_the_devices_anew() {
    for taken in [false, true] {
        let world = World::one("sub/a.csv");
        let mut intent =
            Intent::choose(&world.rule, &world.job, finished(&world), &|_| false).expect("chooses");
        assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
        if taken {
            fs::remove_file(world.path("sub/a.csv")).expect("consumes");
        }
        intent.outputs[0].hidden.identity.as_mut().expect("complete").device += 1;
        intent.outputs[0].hidden.folder.device += 1;
        assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
    }
}

/// An intent that names a folder under the mount could never be rolled forward.
#[test]
fn without_their_mount_manifest_and_marker_are_not_prepared() {
    let world = World::new(&[("main", "out.csv")], |rule, folder| {
        let marker = folder.join("done/{stem}.done").to_str().expect("UTF-8").to_owned();
        rule.publish = Publish { mount: Some(folder.to_owned()), marker: Some(marker), ..Publish::default() };
    });
    let error = world.start().prepare_signals().expect_err("nothing is mounted there");
    assert!(matches!(error, OutputError::NotMounted { .. }), "{error}");
    assert_eq!(world.names(), Vec::<String>::new());
}
