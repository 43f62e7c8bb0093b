//! JSON is posted: one request, one connection, HTTP/1.1. What is answered is of no interest but its status.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::durable_fs;
use crate::model::post_url::PostUrl;

/// An answer's head is no longer.
const HEAD_BYTES_MAX: usize = 16 << 10;
const TOKEN_BYTES_MAX: usize = 4 << 10;

/// Posts one after another.
#[derive(Default)]
pub(crate) struct Poster {
    /// What certificates are judged by, read anew after a failure.
    tls: Option<Arc<ClientConfig>>,
}

impl Poster {
    /// An error says why it was not taken, without what may be secret in the URL.
    pub(crate) fn post(
        &mut self,
        url: &PostUrl,
        bearer_file: Option<&Path>,
        body: &[u8],
        timeout: Duration,
    ) -> Result<(), String> {
        let posted = self.try_to_post(url, bearer_file, body, Instant::now() + timeout);
        if posted.is_err() {
            self.tls = None;
        }
        posted
    }

    fn try_to_post(
        &mut self,
        url: &PostUrl,
        bearer_file: Option<&Path>,
        body: &[u8],
        deadline: Instant,
    ) -> Result<(), String> {
        let request = request(url, bearer_file.map(token).transpose()?.as_deref(), body);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{url} does not answer in time"),
            _ => format!("{url} cannot be posted to: {error}"),
        };
        let addresses = (url.host.as_str(), url.port).to_socket_addrs().map_err(failed)?;
        let stream = connect(&addresses.collect::<Vec<_>>(), deadline).map_err(failed)?;
        let status = if url.is_tls {
            let name = ServerName::try_from(url.host.clone());
            let name =
                name.map_err(|_| format!("{url}: its host is no name that a certificate could have"))?;
            let config = self.config().map_err(|error| format!("{url}: {error}"))?;
            let connection =
                ClientConnection::new(config, name).map_err(|error| format!("{url}: {error}"))?;
            exchange(StreamOwned::new(connection, stream), &request)
        } else {
            exchange(stream, &request)
        };
        match status.map_err(failed)? {
            200..=299 => Ok(()),
            status @ 300..=399 => Err(format!("{url} answers {status}: write the URL that it points to")),
            status => Err(format!("{url} answers {status}")),
        }
    }

    fn config(&mut self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = &self.tls {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this system has no certificates to judge it by: install `ca-certificates`".into());
        }
        let told = |error: rustls::Error| error.to_string();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(told)?;
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        self.tls = Some(Arc::clone(&config));
        Ok(config)
    }
}

/// What posting would say of a `bearer_file`.
pub(crate) fn judge_token(file: &Path) -> Result<(), String> {
    token(file).map(drop)
}

/// The token of a file, read each time: it may be renewed.
fn token(file: &Path) -> Result<String, String> {
    let shown = crate::model::os_text::escaped_path(file);
    let unread = |error: io::Error| format!("`bearer_file` {shown} cannot be read: {error}");
    let mut text = String::new();
    let opened = durable_fs::open_named(file).map_err(unread)?; // nobody need be at the other end of a pipe
    opened.take(TOKEN_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(unread)?;
    let token = text.trim();
    let is_token = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if text.len() > TOKEN_BYTES_MAX || !is_token(token) {
        return Err(format!(
            "`bearer_file` {shown} is no token: one line of ASCII characters without spaces"
        ));
    }
    Ok(token.to_owned())
}

fn request(url: &PostUrl, token: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: landfall/{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
        url.path,
        url.authority,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    if let Some(token) = token {
        // Writing to a string cannot fail.
        write!(head, "Authorization: Bearer {token}\r\n").ok();
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// To the first address of these that takes it. One that does not answer leaves the others their share of the time.
fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<Timed> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    let shares = (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev();
    for (address, share) in addresses.iter().zip(shares) {
        match TcpStream::connect_timeout(address, left(deadline)? / share) {
            Ok(stream) => return Ok(Timed { stream, deadline }),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The status of what is answered.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut head = Vec::new();
    loop {
        let status = read_head(&mut stream, &mut head)?;
        if !(100..200).contains(&status) {
            return Ok(status); // else another one follows
        }
    }
}

/// Reads one head; what is behind it stays.
fn read_head(stream: &mut impl Read, head: &mut Vec<u8>) -> io::Result<u16> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "what it answers is no HTTP");
    let mut block = [0; 1024];
    loop {
        if let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") {
            let status = status_of(head).ok_or_else(invalid)?;
            head.drain(..end + 4);
            return Ok(status);
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(invalid());
        }
        match stream.read(&mut block)? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without an answer")),
            count => head.extend_from_slice(block.get(..count).unwrap_or_default()),
        }
    }
}

/// `HTTP/1.1 204 No Content`
fn status_of(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok().filter(|status| *status >= 100)
}

/// Whatever is read or written, all together takes no longer.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What a server that answers so is sent, and what becomes of it.
    fn posted(
        answer: &'static [u8],
        token: Option<&Path>,
        timeout: Duration,
    ) -> (String, Result<(), String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("is bound").port();
        let url = PostUrl::parse(&format!("http://127.0.0.1:{port}/secret?key=secret")).expect("is one");
        std::thread::scope(|scope| {
            let server = scope.spawn(move || {
                let (mut stream, _) = listener.accept().expect("somebody comes");
                let mut sent = Vec::new();
                let mut block = [0; 4096];
                while !sent.ends_with(b"{}") {
                    let count = stream.read(&mut block).expect("reads");
                    sent.extend_from_slice(&block[..count]);
                }
                stream.write_all(answer).expect("answers");
                if answer.is_empty() {
                    let _rest = stream.read(&mut block); // until the other one has had enough
                }
                String::from_utf8(sent).expect("is text")
            });
            let posted = Poster::default().post(&url, token, b"{}", timeout);
            (server.join().expect("ends"), posted)
        })
    }

    #[test]
    fn what_is_answered_with_a_good_status_is_taken_also_behind_a_word_in_between() {
        let minute = Duration::from_mins(1);
        let (sent, taken) =
            posted(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", None, minute);
        assert_eq!(taken, Ok(()));
        assert!(
            sent.starts_with("POST /secret?key=secret HTTP/1.1\r\n") && sent.ends_with("\r\n\r\n{}"),
            "{sent}"
        );
        assert!(sent.contains("Content-Length: 2\r\n") && !sent.contains("Authorization"), "{sent}");
    }

    #[test]
    fn what_is_not_taken_is_told_without_the_secrets_of_the_url() {
        let minute = Duration::from_mins(1);
        for (answer, told) in [
            (&b"HTTP/1.1 500 No\r\n\r\n"[..], "answers 500"),
            (b"HTTP/1.1 302 Found\r\n\r\n", "points to"),
            (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        ] {
            let (_, refused) = posted(answer, None, minute);
            let error = refused.expect_err("is refused");
            assert!(error.contains(told) && !error.contains("secret"), "{error}");
        }
        let (_, hung) = posted(b"", None, Duration::from_millis(300));
        assert!(hung.expect_err("hangs").contains("in time"));
    }

    #[test]
    fn the_token_of_a_file_is_sent_and_what_is_none_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "abc123\n").expect("writes");
        let (sent, taken) = posted(b"HTTP/1.1 200 OK\r\n\r\n", Some(&file), Duration::from_mins(1));
        assert!(taken.is_ok() && sent.contains("Authorization: Bearer abc123\r\n"), "{sent}");
        std::fs::write(&file, "two words\r\nX: y").expect("writes");
        assert!(token(&file).expect_err("is none").contains("no token"));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_writes_is_no_token_and_holds_up_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("makes");
        assert!(token(&pipe).expect_err("is none").contains("no regular file"));
    }

    /// Goal: a host whose first address swallows what is sent to it is reached by its second.
    /// Method: a listener whose queue is full, and who takes nobody up, answers nobody.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_that_does_not_answer_leaves_the_next_one_its_time() {
        let (full, good) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (full, good) = (full.expect("listens"), good.expect("listens"));
        let addresses = [full.local_addr().expect("is bound"), good.local_addr().expect("is bound")];
        let brief = || TcpStream::connect_timeout(&addresses[0], Duration::from_millis(100));
        let queued: Vec<_> = std::iter::from_fn(|| brief().ok()).take(500).collect();
        assert!(brief().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut), "{}", queued.len());
        let reached = connect(&addresses, Instant::now() + Duration::from_secs(2)).expect("reaches it");
        assert_eq!(reached.stream.peer_addr().expect("is connected"), addresses[1]);
    }
}
