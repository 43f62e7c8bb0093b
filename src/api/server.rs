//! Listening: the port, the socket, and each connection with its deadlines.
//!
//! One thread, on a runtime of its own that never waits for a disk; so a stop can wait for it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use super::desk::{By, Desk};
use super::pipe::OUTPUT_TAKEN_WITHIN;
use super::token::{self, Tokens};
use super::turns::{SharedTurns, Turns};
use super::{ApiError, tls};
use crate::engine::Engine;
use crate::model::api::{Api, Listen};

/// Open at once, at the port and at the socket, each for itself; further ones are closed.
const CONNECTIONS_MAX: usize = 64;
/// A request's head is there within this, and the next one of an idle connection.
const HEAD_TAKES: Duration = Duration::from_secs(10);
const HANDSHAKE_TAKES: Duration = Duration::from_secs(10);
/// A head is shorter.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A reader that takes nothing for so long is cut off.
const WRITE_TAKES: Duration = OUTPUT_TAKEN_WITHIN;
/// What the system holds for a reader: of more of it a slow one takes so little at a time that nothing goes on for long. It doubles this.
const SEND_BUFFER_BYTES: u32 = 128 << 10;
/// How long a stop waits for answers: they are cut off.
const LAST_ANSWERS_TAKE: Duration = Duration::from_millis(500);
const LAST_ANSWERS_PAUSE: Duration = Duration::from_millis(5);
/// After an accept that failed (no descriptors left) it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until it is stopped or dropped.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    listening: Option<JoinHandle<()>>,
    /// Removed in the end.
    #[cfg(unix)]
    socket: Option<super::socket::Bound>,
}

impl Server {
    /// None where the configuration wants none.
    pub(crate) fn start(api: &Api, data_dir: &Path, engine: Engine) -> Result<Option<Self>, ApiError> {
        let address = match api.listen {
            Listen::Off => return Ok(None),
            Listen::Socket => None,
            Listen::Port(address) => Some(address),
        };
        let acceptor = api.tls.as_ref().map(tls::acceptor).transpose()?;
        let tokens = address.map(|_| Tokens::read_or_make(data_dir)).transpose()?;
        let port = address.map(bind).transpose()?;
        #[cfg(unix)]
        let (socket, bound) = super::socket::bind(api, data_dir)?;
        tell(port.as_ref(), acceptor.is_some(), &data_dir.join(token::FILE));
        let desk = Arc::new(Desk::new(engine, data_dir, tokens, acceptor.is_some()));
        let doors = Doors {
            router: desk.router(),
            port,
            acceptor,
            #[cfg(unix)]
            socket,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ApiError::Thread)?;
        let (stop, stopped) = watch::channel(false);
        let listening = Builder::new().name("api".into()).spawn(move || {
            runtime.block_on(listen(doors, desk, stopped));
            runtime.shutdown_background();
        });
        let listening = Some(listening.map_err(ApiError::Thread)?);
        Ok(Some(Self {
            stop,
            listening,
            #[cfg(unix)]
            socket: Some(bound),
        }))
    }

    /// Stops answering. Who is being answered has a moment more.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(listening) = self.listening.take() {
            listening.join().ok(); // a panic in there was told by the panic hook
        }
        #[cfg(unix)]
        if let Some(socket) = self.socket.take() {
            socket.remove();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ApiError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        bound_send_buffers(&listener)?;
        Ok(listener)
    });
    bound.map_err(|source| ApiError::Listen { address, source })
}

/// Its connections inherit it.
#[cfg(unix)]
fn bound_send_buffers(listener: &TcpListener) -> io::Result<()> {
    let same = std::net::TcpStream::from(std::os::fd::OwnedFd::from(listener.try_clone()?));
    TcpSocket::from_std_stream(same).set_send_buffer_size(SEND_BUFFER_BYTES)
}

/// There they are small.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "one signature for all platforms")]
fn bound_send_buffers(_: &TcpListener) -> io::Result<()> {
    let _: u32 = SEND_BUFFER_BYTES;
    Ok(())
}

fn tell(port: Option<&TcpListener>, with_tls: bool, token: &Path) {
    if let Some(address) = port.and_then(|port| port.local_addr().ok()) {
        let scheme = if with_tls { "https" } else { "http" };
        tracing::info!(url = %format!("{scheme}://{address}"), token = %token.display(), "the control API listens");
    }
}

/// Where requests come in.
struct Doors {
    router: Router,
    port: Option<TcpListener>,
    acceptor: Option<TlsAcceptor>,
    #[cfg(unix)]
    socket: std::os::unix::net::UnixListener,
}

async fn listen(doors: Doors, desk: Arc<Desk>, mut stopped: watch::Receiver<bool>) {
    if let Some(port) = doors.port.and_then(|port| tokio::net::TcpListener::from_std(port).ok()) {
        let (router, connections) = (doors.router.clone(), SharedTurns::new(CONNECTIONS_MAX));
        tokio::spawn(accept_at_port(port, doors.acceptor, router, connections));
    }
    #[cfg(unix)]
    if let Ok(socket) = tokio::net::UnixListener::from_std(doors.socket) {
        tokio::spawn(accept_at_socket(socket, doors.router, Turns::new(CONNECTIONS_MAX)));
    }
    stopped.changed().await.ok(); // an end of the sender is a stop, too
    desk.stops.store(true, Ordering::Release);
    let all_are_back = async {
        while !desk.is_idle() {
            tokio::time::sleep(LAST_ANSWERS_PAUSE).await;
        }
        tokio::time::sleep(LAST_ANSWERS_PAUSE).await; // what was answered is written
    };
    tokio::time::timeout(LAST_ANSWERS_TAKE, all_are_back).await.ok();
}

async fn accept_at_port(
    port: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    connections: SharedTurns,
) {
    loop {
        let Ok((stream, from)) = port.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(turn) = connections.take(from.ip()) else { continue };
        stream.set_nodelay(true).ok(); // slower at worst
        let (acceptor, router) = (acceptor.clone(), router.clone());
        let by = By {
            name: format!("the control API ({})", from.ip()).into(),
            is_known: false,
            from: Some(from.ip()),
        };
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, router, by).await,
                Some(acceptor) => {
                    let shaken = tokio::time::timeout(HANDSHAKE_TAKES, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        serve(stream, router, by).await;
                    }
                }
            }
            drop(turn);
        });
    }
}

#[cfg(unix)]
async fn accept_at_socket(socket: tokio::net::UnixListener, router: Router, connections: Arc<Turns>) {
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(turn) = connections.take() else { continue };
        let router = router.clone();
        let user = stream.peer_cred().map(|peer| crate::durable_fs::shown_user(peer.uid()));
        let name = user.unwrap_or_else(|_| "the control API".to_owned());
        let by = By { name: name.into(), is_known: !may_be_fenced(&stream), from: None };
        tokio::spawn(async move {
            serve(stream, router, by).await;
            drop(turn);
        });
    }
}

/// Whether the other end may be a program of a step, which a fence holds back: Landlock denies nobody a socket. Such a program, with all that it
/// starts, has given up new privileges for good. Whoever has, and who is gone, needs the token, which lies where a fence does not let it.
#[cfg(target_os = "linux")]
fn may_be_fenced(stream: &tokio::net::UnixStream) -> bool {
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let status = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let has_given_up = |status: String| !status.lines().any(|line| line == "NoNewPrivs:\t0");
    status.is_none_or(has_given_up)
}

/// There is no fence.
#[cfg(all(unix, not(target_os = "linux")))]
fn may_be_fenced(_: &tokio::net::UnixStream) -> bool {
    false
}

async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, router: Router, by: By) {
    let router = router.layer(axum::Extension(by)).layer(axum::extract::DefaultBodyLimit::disable());
    let requests = tower_of(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TAKES)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Watched { stream, stuck: None }), requests);
    connection.await.ok(); // who broke it off knows
}

fn tower_of(
    router: Router,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::http::Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> {
    TowerToHyperService::new(router)
}

/// A stream whose reader must take something now and then.
struct Watched<S> {
    stream: S,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    fn watch<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stuck = None;
            return done;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TAKES)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, done)
    }
}
