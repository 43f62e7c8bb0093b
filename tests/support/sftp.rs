//! OpenSSH's own server on loopback, for uploads into a world.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{World, wait_until};

/// What lies below here in the world is all that senders see, where the tests run as root.
pub const ROOT: &str = "srv";

/// Where the server's own mount namespace has that folder: the way to it must belong to root, and `/tmp` is everybody's.
const CHROOT: &str = "/mnt";

/// A running `sshd`. Senders are shut into [`ROOT`] (`nobody`, `internal-sftp`) where the tests run as root; `rsync` and the old `scp` need
/// a shell, and have root's. Else both are the user of the tests, who is shut in nowhere.
pub struct SshServer {
    child: Child,
    port: u16,
    world: PathBuf,
    sender: String,
    shell_user: String,
}

impl SshServer {
    /// Starts it for uploads into these folders below [`ROOT`].
    pub fn start(world: &World, folders: &[&str]) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let user = world.sh("id -un").trim().to_owned();
        let sender = if is_root { "nobody".to_owned() } else { user.clone() };
        for folder in folders {
            let folder = world.path(ROOT).join(folder);
            fs::create_dir_all(&folder).expect("the world is new");
            if is_root {
                world.sh(&format!("chown nobody: '{}'", folder.display()));
            }
        }
        // The sender reads his list of keys.
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).expect("it is ours");
        world.sh(
            "mkdir ssh; ssh-keygen -qt ed25519 -N '' -f ssh/host; ssh-keygen -qt ed25519 -N '' -f ssh/key",
        );
        let (child, port) =
            (0..).find_map(|_| spawn(world, is_root)).expect("a free port is found in the end");
        Self { child, port, world: world.path(""), sender, shell_user: user }
    }

    /// A folder or file below [`ROOT`] as the sender names it.
    pub fn remote(&self, name: &str) -> String {
        if self.sender == self.shell_user { self.local(name) } else { format!("/{name}") }
    }

    /// Likewise as somebody with a shell names it.
    pub fn local(&self, name: &str) -> String {
        self.world.join(ROOT).join(name).display().to_string()
    }

    /// `sftp`, which carries out these lines and fails with the first that does.
    pub fn sftp(&self, options: &[&str], batch: &str) -> Command {
        let lines = self.world.join(format!("ssh/batch-{}", rand_name(batch)));
        File::create(&lines)
            .and_then(|mut file| file.write_all(batch.as_bytes()))
            .expect("it can be written");
        let mut command = self.command("sftp");
        command.args(self.options()).args(options).arg("-b").arg(lines);
        command.args(["-P", &self.port.to_string(), &format!("{}@127.0.0.1", self.sender)]);
        command
    }

    /// `scp` of these files into a folder; in its old way with `-O`.
    pub fn scp(&self, options: &[&str], files: &[PathBuf], folder: &str) -> Command {
        let mut command = self.command("scp");
        command.args(self.options()).args(options).args(["-P", &self.port.to_string()]).args(files);
        command.arg(if options.contains(&"-O") {
            format!("{}@127.0.0.1:{}/", self.shell_user, self.local(folder))
        } else {
            format!("{}@127.0.0.1:{}/", self.sender, self.remote(folder))
        });
        command
    }

    /// `rsync` of these files into a folder.
    pub fn rsync(&self, options: &[&str], files: &[PathBuf], folder: &str) -> Command {
        let mut command = self.command("rsync");
        let shell = format!("ssh -p {} {}", self.port, self.options().join(" "));
        command.args(["-e", &shell, "-a"]).args(options).args(files);
        command.arg(format!("{}@127.0.0.1:{}/", self.shell_user, self.local(folder)));
        command
    }

    /// `tests/sftp/client.py`; `pairs` are local files and remote names.
    pub fn python(&self, library: &str, manner: &str, pairs: &[(PathBuf, String)]) -> Command {
        // Debian's, which finds Debian's modules.
        let mut command = self.command("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sftp/client.py"));
        command
            .args([library, &self.port.to_string(), &self.sender])
            .arg(self.world.join("ssh/key"))
            .arg(manner);
        command
            .args(pairs.iter().map(|(local, remote)| format!("{}={}", local.display(), self.remote(remote))));
        command
    }

    fn options(&self) -> Vec<String> {
        let key = self.world.join("ssh/key");
        let mut options =
            vec!["-F".to_owned(), "/dev/null".to_owned(), "-i".to_owned(), key.display().to_string()];
        for option in
            ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"]
        {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.world).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        command
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts the server on a port that was free a moment ago; none if somebody else was faster.
fn spawn(world: &World, is_root: bool) -> Option<(Child, u16)> {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback is there").port();
    world.write("ssh/config", configuration(&world.path("ssh"), port, is_root));
    let log = File::create(world.path("ssh/log")).expect("the folder is there");
    let sshd = "exec /usr/sbin/sshd -D -e -f ssh/config";
    let mut command = if is_root {
        let mut command = Command::new("unshare");
        // `/run/sshd` must be there, and nothing else of the machine is changed for it.
        let mounts = format!("mount --bind {ROOT} {CHROOT} && mount -t tmpfs none /run && mkdir /run/sshd");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &format!("{mounts} && {sshd}")]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", sshd]);
        command
    };
    command.current_dir(world.path("")).stdin(Stdio::null()).stderr(log);
    let mut child = command.spawn().expect("it can be started");
    let listens = wait_until("sshd listens", || {
        let log = world.text("ssh/log");
        if log.contains("Server listening") {
            return Some(true);
        }
        let ended = child.try_wait().expect("it is our child")?;
        assert!(log.contains("Address already in use"), "sshd: {ended}: {log}");
        Some(false)
    });
    listens.then_some((child, port))
}

fn configuration(folder: &Path, port: u16, is_root: bool) -> String {
    let folder = folder.display();
    let general = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nPidFile none\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/key.pub\n\
         StrictModes no\nUsePAM no\nUseDNS no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    );
    let shut_in = format!("Match User nobody\nChrootDirectory {CHROOT}\nForceCommand internal-sftp\n");
    if is_root { general + &shut_in } else { general }
}

fn rand_name(text: &str) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(text))
}
