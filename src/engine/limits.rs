//! The process's own limits.

/// Raises the limit of open files as far as the system lets us: each claim folder keeps one for its lock, each running job some.
#[cfg(unix)]
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is; raise it for the service's user if there are many folders");
    }
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(super) fn raise_open_files() {}
