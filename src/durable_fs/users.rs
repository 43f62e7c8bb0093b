//! Users and groups by name, as far as the machine's own files have them, and what this process may as its user.

/// To take a lease on another user's file.
pub(crate) const CAP_LEASE: u32 = 28;
/// To change what belongs to others as its owner may.
pub(crate) const CAP_FOWNER: u32 = 3;

/// Whether this process has a capability (Linux).
pub(crate) fn has_capability(number: u32) -> bool {
    capability_of("self", number).unwrap_or(false)
}

/// The same of another one; none where it is not seen, or is another program than this.
pub(crate) fn process_has_capability(process: u32, number: u32) -> Option<bool> {
    let program = |process: &str| std::fs::read(format!("/proc/{process}/comm")).ok();
    let process = process.to_string();
    // In a container its number may be another process's.
    (program(&process)? == program("self")?).then(|| capability_of(&process, number)).flatten()
}

fn capability_of(process: &str, number: u32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(effective >> number & 1 == 1)
}

/// The user's name.
pub(crate) fn user_name(user: u32) -> Option<String> {
    name_in("/etc/passwd", user)
}

/// Who asks: the user of this process, and behind `sudo` who called it. It is told, and gives no right.
pub(crate) fn user_of_process() -> String {
    let user = rustix::process::geteuid();
    let name = shown_user(user.as_raw());
    match std::env::var("SUDO_USER") {
        Ok(caller) if user.is_root() && caller != name => format!("{caller} (as {name})"),
        _ => name,
    }
}

/// The user's name, or its number.
pub(crate) fn shown_user(user: u32) -> String {
    user_name(user).unwrap_or_else(|| format!("user {user}"))
}

/// The group's name.
pub(super) fn group_name(group: u32) -> Option<String> {
    name_in("/etc/group", group)
}

/// The group that a user is in from the start.
pub(crate) fn group_of_user(user: u32) -> Option<u32> {
    field_of("/etc/passwd", user, 3)?.parse().ok()
}

/// The group of this name, or with this number.
#[cfg(unix)]
pub(crate) fn group_id(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let known = text.lines().find(|line| line.split(':').next() == Some(name));
    known.and_then(|line| line.split(':').nth(2)).unwrap_or(name).parse().ok()
}

/// Whether this user may give a file of his to this group.
pub(crate) fn may_give_to_group(group: u32) -> bool {
    let is_it = |mine: &rustix::process::Gid| mine.as_raw() == group;
    rustix::process::geteuid().is_root()
        || is_it(&rustix::process::getegid())
        || rustix::process::getgroups().is_ok_and(|groups| groups.iter().any(is_it))
}

fn name_in(file: &str, number: u32) -> Option<String> {
    field_of(file, number, 0)
}

/// Both files begin with a name and have the number in the third field.
fn field_of(file: &str, number: u32, field: usize) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let is_it = |line: &&str| line.split(':').nth(2).and_then(|text| text.parse().ok()) == Some(number);
    text.lines().find(is_it)?.split(':').nth(field).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_group_on_every_machine_and_a_stray_number_has_none() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert!(group_name(0).is_some());
        assert_eq!(group_of_user(0), Some(0));
        assert_eq!((user_name(u32::MAX - 7), group_of_user(u32::MAX - 7)), (None, None));
    }
}
