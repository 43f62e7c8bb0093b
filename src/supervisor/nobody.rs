//! Where no supervisor is told by a socket: there is none.

#[derive(Debug)]
pub(super) enum Socket {}

impl Socket {
    pub(super) fn of_environment() -> Option<Self> {
        None
    }

    pub(super) fn send(&self, _text: &str) -> std::io::Result<()> {
        match *self {}
    }
}

pub(super) fn monotonic_usec() -> u64 {
    0
}
