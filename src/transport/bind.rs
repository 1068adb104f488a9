//! Getting a listening socket: from systemd, or by a bind that leaves no moment and no way in.
//!
//! The rules of an own bind, in order: the path is absolute and fits; its directory is ours or root's and only its owner may
//! write there; one instance at a time (a lock file beside the socket); what is at the path already is a socket of ours that
//! nobody answers on. The socket is bound in a directory that only we can enter, given its group and mode there, and renamed
//! into place: whatever the umask of the process or the threads beside us, it is never reachable with more than its mode, and
//! a stale one is replaced without a gap. Must never unlink what is not a socket of ours, nor use an abstract name, which has
//! no permissions at all.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, UnixAddr, connect, getsockname, getsockopt, socket,
    sockopt,
};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, UnlinkatFlags, fchownat, geteuid, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Longest path of a Unix socket, in bytes (`sun_path` less its end).
const PATH_MAX: usize = 107;

/// What `[listen]` says of one socket, resolved.
#[derive(Debug, Clone)]
pub struct SocketSettings {
    /// `signing`, `admin`, `public`: the name systemd passes too (`FileDescriptorName=`).
    pub name: &'static str,
    /// Where to bind, if systemd passes no socket of that name.
    pub path: PathBuf,
    /// Permission bits of the socket, such as `0o660`.
    pub mode: u32,
    /// Group that owns the socket.
    pub gid: Option<u32>,
}

/// Why there is no listening socket.
#[derive(Debug, thiserror::Error)]
#[error("socket {path}: {message}", path = .path.display())]
pub struct BindError {
    /// The configured path.
    pub path: PathBuf,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Another instance answers there.
    pub in_use: bool,
}

/// A listening socket; unlinks its path on drop when it made it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    /// `None` for a socket of systemd's, which stays.
    place: Option<Place>,
}

impl Listener {
    /// Takes the socket systemd passed under `settings.name`, else binds.
    ///
    /// Sockets of systemd need `command_fds::inherited::init_inherited_fds` to have run at the start of the process.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is left behind but the lock file.
    pub fn open(settings: &SocketSettings) -> Result<Self, BindError> {
        let opened = match passed(settings.name) {
            Ok(Some(socket)) => Ok(Self { socket, place: None }),
            Ok(None) => bind(settings),
            Err(fault) => Err(fault),
        };
        opened.map_err(|fault| BindError {
            path: settings.path.clone(),
            message: fault.message,
            in_use: fault.in_use,
        })
    }

    /// The socket for the runtime this is called in, and what unlinks its path on drop.
    pub(super) fn into_parts(self) -> io::Result<(tokio::net::UnixListener, Option<Place>)> {
        let socket = tokio::net::UnixListener::from_std(self.socket)?;
        Ok((socket, self.place))
    }
}

/// A [`BindError`] in the making.
#[derive(Debug)]
struct Fault {
    message: String,
    in_use: bool,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), in_use: false }
    }

    fn in_use() -> Self {
        Self {
            message: "another instance serves this socket; stop it, or configure another path".into(),
            in_use: true,
        }
    }
}

/// Says what was being done when the system said no.
trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(format!("cannot {what}: {}", error.into())))
    }
}

/// The socket systemd passed under this name.
fn passed(name: &str) -> Result<Option<UnixListener>, Fault> {
    let mut named = sd_notify::listen_fds_with_names()
        .doing("read the sockets that systemd passed")?
        .filter(|(_, passed)| passed == name);
    let Some((raw, _)) = named.next() else {
        return Ok(None);
    };
    if named.next().is_some() {
        return Err(Fault::new(format!("systemd passed more than one socket named {name}; keep one")));
    }
    let fd = command_fds::inherited::take_fd_ownership(raw)
        .map_err(|error| Fault::new(format!("cannot take the socket that systemd passed: {error}")))?;
    listening(fd).map(Some)
}

/// Accepts a descriptor from outside as what we need it to be.
fn listening(fd: OwnedFd) -> Result<UnixListener, Fault> {
    let kind = getsockopt(&fd, sockopt::SockType);
    let address = getsockname::<UnixAddr>(fd.as_raw_fd());
    let fits = kind == Ok(SockType::Stream)
        && getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
        && address
            .is_ok_and(|address| address.family() == Some(AddressFamily::Unix) && address.path().is_some());
    if !fits {
        return Err(Fault::new(
            "systemd passed something else than a listening Unix stream socket with a path; use ListenStream=/path",
        ));
    }
    let socket = UnixListener::from(fd);
    socket.set_nonblocking(true).doing("set up the socket")?;
    Ok(socket)
}

fn bind(settings: &SocketSettings) -> Result<Listener, Fault> {
    let path = &settings.path;
    let (parent, name) = split(path)?;
    let dir = open_parent(parent)?;
    let lock = lock(&dir, name)?;
    if let Some(stat) = look(&dir, name)? {
        let what = "move it away, or configure another path";
        if kind(&stat) != SFlag::S_IFSOCK {
            return Err(Fault::new(format!("something else than a socket is there; {what}")));
        }
        if stat.st_uid != geteuid().as_raw() {
            return Err(Fault::new(format!("a socket of another user is there; {what}")));
        }
        if answers(path)? {
            return Err(Fault::in_use());
        }
    }
    let nursery = Nursery::make(&dir, name, settings.name)?;
    let socket = nursery.bind()?;
    socket.set_nonblocking(true).doing("set up the socket")?;
    let inode = nursery.dress(settings)?;
    nursery.move_out(name)?;
    Ok(Listener { socket, place: Some(Place { dir, name: name.to_owned(), inode, _lock: lock }) })
}

fn split(path: &Path) -> Result<(&Path, &OsStr), Fault> {
    if !path.is_absolute() {
        return Err(Fault::new("the path must be absolute"));
    }
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > PATH_MAX {
        return Err(Fault::new(format!(
            "the path is {} bytes long and may be {PATH_MAX}; choose a shorter one",
            bytes.len()
        )));
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if bytes.ends_with(name.as_bytes()) => Ok((parent, name)),
        _ => Err(Fault::new("the path must end in the name of the socket")),
    }
}

/// Opens the directory, once made, and judges what was opened.
fn open_parent(parent: &Path) -> Result<OwnedFd, Fault> {
    match DirBuilder::new().mode(0o700).create(parent) {
        // Callers must be able to pass through; the mode of the socket keeps out who may not.
        Ok(()) => std::fs::set_permissions(parent, PermissionsExt::from_mode(0o755))
            .doing("set the mode of the directory")?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).doing("make the directory"),
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = nix::fcntl::open(parent, flags, Mode::empty())
        .doing("open its directory, which must be one and no symbolic link")?;
    let stat = fstat(&dir).doing("look at its directory")?;
    if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
        return Err(Fault::new("its directory belongs to another user; make it ours or root's"));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Fault::new("others may write to its directory; make that 0755 or less"));
    }
    Ok(dir)
}

/// Locks out a second instance for as long as the file is held. It stays on disk: unlinking a lock lets two hold it.
fn lock(dir: &OwnedFd, name: &OsStr) -> Result<Lock, Fault> {
    let name = joined(&[name.as_bytes(), b".lock"]);
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let file = File::from(openat(dir, name.as_os_str(), flags, mode).doing("open its lock file")?);
    let stat = fstat(&file).doing("look at its lock file")?;
    if kind(&stat) != SFlag::S_IFREG || stat.st_uid != geteuid().as_raw() {
        return Err(Fault::new("its lock file is not a file of ours; move it away"));
    }
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Fault::in_use()),
        Err(TryLockError::Error(error)) => Err(error).doing("lock its lock file"),
    }
}

/// A lock that ends when it is dropped, even while a child just forked still has the descriptor.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// What is at a name, if anything.
fn look(dir: &OwnedFd, name: &OsStr) -> Result<Option<FileStat>, Fault> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error).doing("look at the path"),
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Whether some process listens on the socket at `path`. Does not wait for it.
fn answers(path: &Path) -> Result<bool, Fault> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None).doing("make a socket")?;
    let address = UnixAddr::new(path).doing("use the path")?;
    Ok(connect(probe.as_raw_fd(), &address) != Err(Errno::ECONNREFUSED))
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsStr::from_bytes(&parts.concat()).to_owned()
}

/// A directory that only we can enter, for a socket until it has its mode.
struct Nursery<'a> {
    parent: &'a OwnedFd,
    own_name: OsString,
    dir: OwnedFd,
    /// Of the socket in here. Tools that list sockets go on showing this one.
    socket: &'static str,
}

impl<'a> Nursery<'a> {
    fn make(parent: &'a OwnedFd, name: &OsStr, socket: &'static str) -> Result<Self, Fault> {
        let own_name = joined(&[b".", name.as_bytes(), b".new"]);
        match mkdirat(parent, own_name.as_os_str(), Mode::S_IRWXU) {
            // One of a run that was killed is taken over: we hold the lock.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).doing("make a directory beside it"),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = openat(parent, own_name.as_os_str(), flags, Mode::empty())
            .doing("open the directory made beside it")?;
        let stat = fstat(&dir).doing("look at the directory made beside it")?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            let name = own_name.display();
            return Err(Fault::new(format!("{name} beside it is not ours alone; remove it")));
        }
        let nursery = Self { parent, own_name, dir, socket };
        match unlinkat(&nursery.dir, socket, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(nursery),
            Err(error) => Err(error).doing("clear the directory made beside it"),
        }
    }

    /// By the descriptor: it fits whatever the length of the path, and cannot be led elsewhere.
    fn bind(&self) -> Result<UnixListener, Fault> {
        let path = format!("/proc/self/fd/{}/{}", self.dir.as_raw_fd(), self.socket);
        UnixListener::bind(path).doing("bind")
    }

    /// Gives the socket its group and mode; says which inode it is.
    fn dress(&self, settings: &SocketSettings) -> Result<Inode, Fault> {
        if let Some(gid) = settings.gid {
            let gid = Some(Gid::from_raw(gid));
            fchownat(&self.dir, self.socket, None, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                .doing("give it its group, which must be one of ours")?;
        }
        let mode = Mode::from_bits_truncate(settings.mode & 0o777);
        // Nobody else can put a link here to follow.
        fchmodat(&self.dir, self.socket, mode, FchmodatFlags::FollowSymlink).doing("give it its mode")?;
        let stat = fstatat(&self.dir, self.socket, AtFlags::AT_SYMLINK_NOFOLLOW).doing("look at it")?;
        Ok(Inode::of(&stat))
    }

    fn move_out(self, name: &OsStr) -> Result<(), Fault> {
        nix::fcntl::renameat(&self.dir, self.socket, self.parent, name).doing("put it in its place")
    }
}

impl Drop for Nursery<'_> {
    fn drop(&mut self) {
        // Best effort: the next start takes over what is left.
        let _ = unlinkat(&self.dir, self.socket, UnlinkatFlags::NoRemoveDir);
        let _ = unlinkat(self.parent, self.own_name.as_os_str(), UnlinkatFlags::RemoveDir);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Inode(u64, u64);

impl Inode {
    fn of(stat: &FileStat) -> Self {
        Self(stat.st_dev, stat.st_ino)
    }
}

/// Where a socket of our making is, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    dir: OwnedFd,
    name: OsString,
    inode: Inode,
    _lock: Lock,
}

impl Drop for Place {
    fn drop(&mut self) {
        let there = fstatat(&self.dir, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        if there.is_ok_and(|stat| Inode::of(&stat) == self.inode) {
            let _ = unlinkat(&self.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

    #[test]
    fn only_a_listening_stream_socket_with_a_path_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("jwsd-test-{}", std::process::id());
        let abstracted = SocketAddr::from_abstract_name(name).unwrap();
        let unfit: [OwnedFd; 5] = [
            UnixStream::pair().unwrap().0.into(),
            UnixDatagram::bind(dir.path().join("datagram")).unwrap().into(),
            UnixListener::bind_addr(&abstracted).unwrap().into(),
            std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().into(),
            File::open("/dev/null").unwrap().into(),
        ];
        for fd in unfit {
            let fault = listening(fd).unwrap_err();
            assert!(fault.message.contains("ListenStream=/path"), "{}", fault.message);
        }
        let fit = UnixListener::bind(dir.path().join("stream")).unwrap();
        let taken = listening(fit.into()).unwrap();
        assert_eq!(taken.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
