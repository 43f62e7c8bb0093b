//! The clients, and the ways in which they upload.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::sftp::{ROOT, SshServer};
use crate::support::{World, wait_until};

/// A client, and how it is told to upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Sftp,
    SftpRename,
    Scp,
    ScpOld,
    Rsync,
    RsyncPartial,
    RsyncInplace,
    Paramiko,
    ParamikoRename,
    Asyncssh,
    AsyncsshRename,
}

impl Manner {
    pub const ALL: [Self; 11] = [
        Self::Sftp,
        Self::SftpRename,
        Self::Scp,
        Self::ScpOld,
        Self::Rsync,
        Self::RsyncPartial,
        Self::RsyncInplace,
        Self::Paramiko,
        Self::ParamikoRename,
        Self::Asyncssh,
        Self::AsyncsshRename,
    ];

    /// Those that can be slowed down, to be broken off half way.
    pub const BROKEN_OFF: [Self; 8] = [
        Self::Sftp,
        Self::SftpRename,
        Self::Scp,
        Self::ScpOld,
        Self::Rsync,
        Self::RsyncPartial,
        Self::RsyncInplace,
        Self::Paramiko,
    ];

    /// As the table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sftp => "`sftp`: `put -p`",
            Self::SftpRename => "`sftp`: `put`, `rename`",
            Self::Scp => "`scp -p`",
            Self::ScpOld => "`scp -O -p`",
            Self::Rsync => "`rsync -a`",
            Self::RsyncPartial => "`rsync -a --partial`",
            Self::RsyncInplace => "`rsync -a --inplace`",
            Self::Paramiko => "paramiko: `put`",
            Self::ParamikoRename => "paramiko: `put` to `.filepart`, `rename`",
            Self::Asyncssh => "asyncssh: `put(preserve=True)`",
            Self::AsyncsshRename => "asyncssh: likewise to `.filepart`, `rename`",
        }
    }

    /// What it writes has another name, which no rule takes and which is not hidden, until it is whole.
    pub fn renames(self) -> bool {
        matches!(self, Self::SftpRename | Self::ParamikoRename | Self::AsyncsshRename)
    }

    /// A name of its own for a file in this format.
    pub fn file(self, format: Format) -> String {
        format!("{self:?}-{}", format.name()).to_lowercase()
    }

    /// The commands that upload these files of the world's folder `local` into each of these folders.
    pub fn uploads(
        self,
        server: &SshServer,
        world: &World,
        files: &[String],
        folders: &[&str],
    ) -> Vec<Command> {
        let locals: Vec<_> = files.iter().map(|name| local(world, name)).collect();
        let pairs: Vec<(PathBuf, String)> = folders
            .iter()
            .flat_map(|folder| files.iter().map(move |name| (local(world, name), format!("{folder}/{name}"))))
            .collect();
        let scp =
            |options: &[&str]| folders.iter().map(|folder| server.scp(options, &locals, folder)).collect();
        let rsync =
            |options: &[&str]| folders.iter().map(|folder| server.rsync(options, &locals, folder)).collect();
        match self {
            Self::Sftp => vec![server.sftp(&[], &batch(server, &pairs, false))],
            Self::SftpRename => vec![server.sftp(&[], &batch(server, &pairs, true))],
            Self::Scp => scp(&["-p"]),
            Self::ScpOld => scp(&["-O", "-p"]),
            Self::Rsync => rsync(&[]),
            Self::RsyncPartial => rsync(&["--partial"]),
            Self::RsyncInplace => rsync(&["--inplace"]),
            Self::Paramiko => vec![server.python("paramiko", "put", &pairs)],
            Self::ParamikoRename => vec![server.python("paramiko", "rename", &pairs)],
            Self::Asyncssh => vec![server.python("asyncssh", "put", &pairs)],
            Self::AsyncsshRename => vec![server.python("asyncssh", "rename", &pairs)],
        }
    }

    /// Uploads a part of a file that is large enough for that, and kills the client in the middle of it; false if it was done before.
    pub fn break_off(self, server: &SshServer, world: &World, name: &str, folder: &str) -> bool {
        let files = [local(world, name)];
        let pairs = [(local(world, name), format!("{folder}/{name}"))];
        let mut command = match self {
            Self::Sftp => server.sftp(&["-l", SLOW_KBITS], &batch(server, &pairs, false)),
            Self::SftpRename => server.sftp(&["-l", SLOW_KBITS], &batch(server, &pairs, true)),
            Self::Scp => server.scp(&["-p", "-l", SLOW_KBITS], &files, folder),
            Self::ScpOld => server.scp(&["-O", "-p", "-l", SLOW_KBITS], &files, folder),
            Self::Rsync => server.rsync(&[SLOW_RSYNC], &files, folder),
            Self::RsyncPartial => server.rsync(&[SLOW_RSYNC, "--partial"], &files, folder),
            Self::RsyncInplace => server.rsync(&[SLOW_RSYNC, "--inplace"], &files, folder),
            Self::Paramiko => server.python("paramiko", "halves", &pairs),
            _ => panic!("{self:?} cannot be slowed down"),
        };
        let size = fs::metadata(&files[0]).expect("it was made").len();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = command.spawn().expect("it can be started");
        let folder = world.path(ROOT).join(folder);
        let ended = wait_until("a part of the file is there", || {
            let ended = client.try_wait().expect("it is our child");
            let is_half = size_of(&folder, name).is_some_and(|it| it > size / 4);
            (ended.is_some() || is_half).then_some(ended)
        });
        client.kill().expect("it is our child");
        client.wait().expect("it is our child");
        assert!(ended.is_none_or(|status| status.success()), "{self:?} failed: {ended:?}");
        ended.is_none()
    }
}

/// About 200 KB a second.
const SLOW_KBITS: &str = "1600";
const SLOW_RSYNC: &str = "--bwlimit=200";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Plain,
    Gzip,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Plain, Self::Gzip];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
        }
    }
}

/// The lines of an `sftp` that uploads these files, or first under other names.
pub fn batch(server: &SshServer, pairs: &[(PathBuf, String)], renames: bool) -> String {
    let line = |(local, remote): &(PathBuf, String)| {
        let (local, remote) = (local.display(), server.remote(remote));
        if renames {
            format!("put {local} {remote}.part\nrename {remote}.part {remote}\n")
        } else {
            format!("put -p {local} {remote}\n")
        }
    };
    pairs.iter().map(line).collect()
}

/// Where a file lies that is to be uploaded.
pub fn local(world: &World, name: &str) -> PathBuf {
    world.path("local").join(name)
}

/// The size of what lies in a folder under this name, or under a name made from it.
pub fn size_of(folder: &Path, name: &str) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let sizes = entries.filter(|entry| entry.file_name().to_string_lossy().contains(name));
    sizes.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).max()
}

/// An upload that halts in the middle, with its file open.
pub struct Halted {
    client: Child,
}

impl Halted {
    pub fn start(server: &SshServer, world: &World, name: &str, folder: &str) -> Self {
        let pairs = [(local(world, name), format!("{folder}/{name}"))];
        let mut command = server.python("paramiko", "halves", &pairs);
        let mut client =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be started");
        let mut line = String::new();
        BufReader::new(client.stdout.take().expect("it is a pipe"))
            .read_line(&mut line)
            .expect("it can be read");
        assert_eq!(line, "half\n", "the client ended early");
        Self { client }
    }

    /// The rest.
    pub fn go_on(mut self) {
        drop(self.client.stdin.take());
        assert!(self.client.wait().expect("it is our child").success(), "the client failed");
    }

    pub fn kill(mut self) {
        self.client.kill().expect("it is our child");
        self.client.wait().expect("it is our child");
    }
}

/// A client must end well.
#[track_caller]
pub fn succeeds(mut command: Command) {
    let output = command.output().expect("it can be started");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{}\n{}", output.status, said[0], said[1]);
}
