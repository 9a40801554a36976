//! Links over Unix sockets, within a machine: `unix:///path/of/socket`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use deltawire_channels::Peer;
use deltawire_link::Link;
use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::Token;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::accepting::{Knock, Listener};
use super::{check_runtime, connecting};
use crate::{BuildError, ConnectError, LinkKind, Node};

const KIND: &str = "unix";

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Says whose processes may be at the other end of links over Unix sockets: the system tells the user's number. It is
/// looked at by both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnixPeers {
    /// Those of this process's own user, and root's. The socket's file has mode 0600.
    #[default]
    OwnUserAndRoot,
    /// Those of these users. The socket's file has mode 0666, and who else connects is refused.
    Users(Vec<u32>),
    /// Anybody's on this machine. The socket's file has mode 0666.
    Anyone,
}

impl UnixPeers {
    fn mode(&self) -> u32 {
        match self {
            Self::OwnUserAndRoot => 0o600,
            Self::Users(_) | Self::Anyone => 0o666,
        }
    }

    /// Why the process at the other end may not be there, if it may not.
    fn refuse(&self, stream: &UnixStream) -> io::Result<Option<String>> {
        let user = stream.peer_cred()?.uid();
        let allowed = match self {
            Self::OwnUserAndRoot => user == 0 || user == own_user()?,
            Self::Users(users) => users.contains(&user),
            Self::Anyone => true,
        };
        Ok((!allowed).then(|| {
            format!("a process of user {user} is at the other end: see NodeBuilder::unix_peers")
        }))
    }
}

/// The number of this process's user, as others see it.
fn own_user() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

/// Links to `unix:///path`.
#[derive(Debug)]
pub(super) struct Unix {
    token: Option<Token>,
    peers: UnixPeers,
}

impl Unix {
    pub(super) fn new(token: Option<Token>, peers: UnixPeers) -> Self {
        Self { token, peers }
    }

    async fn open(&self, url: &str) -> Result<(UnixStream, Option<SocketAddr>), ConnectError> {
        let path = path_of(url)?;
        let connecting = async {
            check_runtime()?;
            let stream = UnixStream::connect(path).await?;
            match self.peers.refuse(&stream)? {
                Some(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
                None => Ok((stream, None)),
            }
        };
        let failed = |source| ConnectError::Stream { address: url.to_owned(), source };
        connecting.await.map_err(failed)
    }
}

impl LinkKind for Unix {
    fn schemes(&self) -> &[&str] {
        &[KIND]
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        _once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(connecting::connect(node, KIND, self.token.as_ref(), self.open(url)))
    }
}

/// The path of `unix:///path`.
fn path_of(url: &str) -> Result<&Path, ConnectError> {
    match url.split_once("://") {
        Some((_, path)) if path.starts_with('/') && path.len() > 1 => Ok(Path::new(path)),
        _ => Err(ConnectError::Address {
            url: url.to_owned(),
            reason: "it must be unix:///path, with three slashes".to_owned(),
        }),
    }
}

/// A socket that peers connect to, with its file.
pub(super) struct UnixAcceptor {
    /// Goes first, so that nobody finds one at which nobody listens.
    _file: SocketFile,
    listener: UnixListener,
    peers: UnixPeers,
}

impl UnixAcceptor {
    /// Makes the file, in place of one that nobody listens at any more.
    pub(super) fn bind(path: PathBuf, peers: UnixPeers) -> Result<Self, BuildError> {
        let address = format!("{KIND}://{}", path.display());
        let listen = || {
            check_runtime()?;
            let socket = bind(&path)?;
            let file = SocketFile::of(path)?;
            // Before anybody can connect.
            fs::set_permissions(&file.path, fs::Permissions::from_mode(peers.mode()))?;
            socket.listen(BACKLOG)?;
            let listener = UnixListener::from_std(socket.into())?;
            Ok(Self { _file: file, listener, peers })
        };
        listen().map_err(|source| BuildError::ListenStream { address, source })
    }
}

fn bind(path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let bound = socket()?;
    match bound.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        outcome => return outcome.map(|()| bound),
    }
    let is_there = fs::symlink_metadata(path)?;
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !is_there.file_type().is_socket() {
        return in_use("there is a file that is no socket");
    }
    // Nobody waits for it: what has no room for one more is alive.
    match socket()?.connect(&address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return in_use("another process listens there"),
    }
    // What is there by now may be another's.
    let now = fs::symlink_metadata(path)?;
    if (now.dev(), now.ino()) == (is_there.dev(), is_there.ino()) {
        fs::remove_file(path)?;
    }
    bound.bind(&address)?;
    Ok(bound)
}

impl Listener for UnixAcceptor {
    type Stream = UnixStream;

    const KIND: &'static str = KIND;

    async fn accept(&self) -> io::Result<Knock<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        let refused = self.peers.refuse(&stream).unwrap_or_else(|error| {
            Some(format!("the system does not say whose process is there: {error}"))
        });
        if let Some(reason) = &refused {
            tracing::warn!(kind = KIND, reason, "a link was refused");
        }
        Ok(Knock { stream, from: None, refused })
    }
}

/// The file of a socket, which goes with it.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let file = fs::symlink_metadata(&path)?;
        Ok(Self { path, device: file.dev(), inode: file.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another's may have come in its place.
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a socket's file is left");
        }
    }
}
