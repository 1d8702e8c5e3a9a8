//! Where connections come in: a TCP port or a unix socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::stream::{Peer, Stream};

/// Who may connect to the socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// A place that is bound but not yet served: connections queue in the kernel.
pub struct Listener(Place);

enum Place {
    Port(TcpListener),
    Socket(Socket),
}

impl Listener {
    /// Binds `host` and `port`.
    ///
    /// # Errors
    /// When the address is taken, or not this machine's.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self(Place::Port(TcpListener::bind((host, port)).await?)))
    }

    /// Takes a socket over that is bound and listens already.
    ///
    /// # Errors
    /// When the system does not let it be used.
    pub fn bound(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(Place::Port(TcpListener::from_std(socket)?)))
    }

    /// Binds the unix socket `path`. What a process that has gone left there is replaced.
    ///
    /// # Errors
    /// A sentence: where another process serves it, something else lies there, or it cannot be made.
    pub async fn bind_socket(path: &Path) -> Result<Self, String> {
        Ok(Self(Place::Socket(Socket::bind(path).await?)))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// Where it is a unix socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Place::Port(port) => port.local_addr(),
            Place::Socket(socket) => Err(io::Error::other(format!("{} is no port", socket.path.display()))),
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            Place::Port(port) => port.accept().await.map(|(stream, peer)| (Stream::Tcp(stream), Peer::Ip(peer.ip()))),
            Place::Socket(socket) => socket.listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), Peer::Unix)),
        }
    }
}

/// A unix socket; its file is deleted with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

impl Socket {
    async fn bind(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(format!("{shown} is there and is no socket: it is left alone. See [server] unix_socket."));
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => return Err(format!("Another process serves {shown}. Stop it, or choose another [server] unix_socket.")),
            },
            Err(_) => {}
        }
        Self::make(path).map_err(|error| {
            let folder = path.parent().unwrap_or(path).display();
            format!("The socket {shown} cannot be made: {error}; may {folder} be written? See [server] unix_socket.")
        })
    }

    /// Makes it under another name first: it must not be connected to before its mode is right, and takes the place of a
    /// stale one at once.
    fn make(path: &Path) -> io::Result<Self> {
        let mut unready = path.as_os_str().to_owned();
        unready.push("~");
        match fs::remove_file(&unready) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unready)?;
        fs::set_permissions(&unready, fs::Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&unready, path)?;
        let file = identity(path)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon may have taken the place.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}
