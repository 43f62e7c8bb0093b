//! Changes to the file system that survive a power cut.
//!
//! A rename is durable once its folder was synced, a file once its data and its folder were. The single renames here do not
//! sync folders (their callers rename many and sync once); what is called a move, or writes a whole file, does.
//!
//! Nothing but [`rename_replace`] and [`write_file`] with `replace` ever puts a file over another. Everything may be called
//! again after a crash. A failed sync is told apart ([`FsError::is_failed_sync`]): the kernel may have dropped what it
//! could not write, so trying again would report success for lost data.

#[cfg(target_os = "linux")]
mod acl;
mod confined;
mod error;
#[cfg(any(windows, test))]
mod file_numbers;
mod files;
mod folder_making;
mod folder_sync;
mod followed_folder;
mod fs_type;
#[cfg(unix)]
mod fuse;
mod held;
#[cfg(target_os = "linux")]
mod kept;
mod landing;
mod mount_changes;
#[cfg(target_os = "linux")]
mod mount_entry;
mod mounts;
mod moving;
mod names;
mod presence;
mod probe;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(not(target_os = "linux"))]
#[path = "reach_by_path.rs"]
mod reach;
mod rename;
#[cfg(target_os = "linux")]
mod rights;
#[cfg(not(target_os = "linux"))]
#[path = "rights_elsewhere.rs"]
mod rights;
mod rounds;
mod running_sign;
mod sameness;
#[cfg(unix)]
mod shared_sync;
mod space;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unix_rename;
#[cfg(unix)]
mod users;
mod whereabouts;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
mod windows_access;
#[cfg(windows)]
mod windows_rename;
#[cfg(all(test, windows))]
mod windows_tests;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub(crate) use confined::{hint_if_confined, is_confined, note_confined};
pub(crate) use error::{
    FsError, hint_at, hint_of, hint_of_claim, hint_to_take, may_list, may_write_in, waits_for, what_to_claim,
};
pub(crate) use files::{
    born_ns, check_own_folder, folder_identity, has_other_names, head_digest, identity_at, kept_as, kind_at,
    list, names_and_birth, names_of, open_named, open_own, own_folder, read_link, remove_seen, set_mode,
    sync_all, take_over,
};
pub use files::{create_private, remove_file, sync_data};
pub(crate) use folder_making::{make_folder, make_folder_within};
pub(crate) use folder_sync::sync_folder;
pub(crate) use followed_folder::FollowedFolder;
pub(crate) use fs_type::{far_file_system, is_of_this_machine};
pub(crate) use held::{HeldFolder, Hold, Holder, LOCK_FILE, hold_folder, holder_of, was_held};
#[cfg(target_os = "linux")]
pub(crate) use kept::keep_reached;
pub(crate) use landing::{
    CLAIM_FOLDER, HIDDEN_PREFIX, add_landing_root, add_target_root, how_to_own, is_in_landing_root,
};
pub(crate) use mount_changes::MountChanges;
pub(crate) use mounts::{Mounts, points_to_be};
pub(crate) use moving::{Copied, Moved, Moving, move_by, move_file, remove_for_good, remove_in};
pub(crate) use names::{Entry, Kind, Need, OpenTo, Reach, Refusal, Renamed, Unkept, Wanted, parent_of};
pub(crate) use platform::{
    forget_cached, has_no_name, is_foreign, is_out_of_descriptors, narrow_umask, open_files_max, open_source,
    open_to_write, read_at, write_at,
};
pub use platform::{identity, start_writeback};
pub(crate) use presence::{Presence, presence, real_path};
pub(crate) use probe::{
    are_on_one_file_system, clear_probe, nearest_folder, try_claiming, try_keeping, try_making,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use reach::keep_reached;
#[cfg(all(unix, test))]
pub(crate) use rename::note_link;
pub(crate) use rename::{
    forget_note, rename_no_replace, rename_replace, take_file, write_file, write_secret,
};
#[cfg(target_os = "linux")]
pub(crate) use rights::{Writers, mount_for_us_alone, writers};
pub(crate) use rights::{closed_file, refusal};
pub use rounds::FolderRound;
pub(crate) use running_sign::RunningSign;
pub(crate) use sameness::{
    is_device_for_sure, is_known_by_number, is_same_content, is_same_file, is_same_folder,
    is_same_folder_for_sure, is_unchanged,
};
pub(crate) use space::{Space, is_mount_point, space_at};
#[cfg(unix)]
pub(crate) use unix::open_unblocked;
#[cfg(unix)]
pub(crate) use users::{
    CAP_LEASE, group_id, group_of_user, has_capability, may_give_to_group, process_has_capability,
    shown_user, user_name, user_of_process,
};
pub(crate) use whereabouts::{hanging, hangs_at, leave_place, note_place, place_of};
#[cfg(windows)]
pub(crate) use windows::{not_gone, user_of_process};
#[cfg(windows)]
pub(crate) use windows_access::{
    access_of, is_on_mapped_drive, make_closed_folder, number_of_account, number_of_user,
};

#[cfg(test)]
mod tests;
