//! Starting one worker: sockets, process, PIN, first answer.
//!
//! The PIN goes over the control socket only: never into arguments, environment or files.

use super::control::{receive, send, send_raw};
use super::pipe::Pipe;
use super::protocol::{Init, Reply};
use super::recovery::CRASH;
use super::worker::FIRST_SESSION;
use super::{Fault, Settings};
use command_fds::{CommandFdExt as _, FdMapping};
use secrecy::{ExposeSecret as _, SecretString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long the end of a worker is waited for.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// A worker that logged in and waits for requests.
pub(super) struct Launched {
    pub(super) child: Child,
    pub(super) pid: u32,
    pub(super) control: UnixStream,
    pub(super) pipes: Vec<(Arc<Pipe>, OwnedReadHalf)>,
    pub(super) token: String,
}

/// Why none was started.
#[derive(Debug)]
pub(super) struct NotLaunched {
    pub(super) fault: Fault,
    pub(super) pin_refused: bool,
}
impl From<Fault> for NotLaunched {
    fn from(fault: Fault) -> Self {
        Self { fault, pin_refused: false }
    }
}

/// Starts a worker and waits until it is logged in, `settings.start_timeout` at most.
///
/// Dropping this future closes the control socket and the worker ends itself, but not before the outcome of a login
/// is written down; therefore nothing is killed here except what exceeded its time.
pub(super) async fn launch(settings: &Settings, pin: SecretString) -> Result<Launched, NotLaunched> {
    let (mut child, mut control, sessions) = spawn(settings).map_err(|error| {
        Fault::down(format!("the worker {} cannot be started: {error}", settings.program.display()))
    })?;
    let answer = timeout(settings.start_timeout, greet(settings, &mut control, pin)).await;
    let (token, opened) = match answer {
        Ok(Ok(Reply::Ready { token, sessions, wrong_pin })) => {
            if wrong_pin {
                tracing::warn!(
                    backend = settings.name,
                    token,
                    "Somebody tried a wrong PIN before this login"
                );
            }
            (token, sessions)
        }
        Ok(Ok(Reply::Failed { fault, pin_refused })) => {
            return Err(NotLaunched { fault, pin_refused });
        }
        Ok(Ok(other)) => {
            return Err(Fault::bug(format!("the worker began with {other:?}")).into());
        }
        Ok(Err(_)) => {
            let how = reap(&mut child).await;
            return Err(CRASH
                .fault(format!("the worker ended while it loaded the module or logged in: {how}"))
                .into());
        }
        Err(_) => {
            // It may be dead already; a zombie is reaped by the runtime.
            let _ = child.start_kill();
            return Err(Fault::down(format!(
                "the worker did not load the module and log in within {:?}",
                settings.start_timeout
            ))
            .into());
        }
    };
    let mut pipes = Vec::new();
    for session in sessions.into_iter().take(usize::from(opened)) {
        let stream = async_stream(session).map_err(no_socket)?;
        pipes.push(Pipe::new(stream));
    }
    Ok(Launched { pid: child.id().unwrap_or_default(), child, control, pipes, token })
}

/// Waits for a worker that is gone or has been killed, and says how it ended. Does not wait for one that cannot die.
pub(super) async fn reap(child: &mut Child) -> String {
    match timeout(REAP_LIMIT, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            // It may be in the kernel and beyond any signal; a new one does not need to wait for that.
            let _ = child.start_kill();
            "still ending".into()
        }
    }
}

fn no_socket(error: io::Error) -> Fault {
    Fault::down(format!("cannot use a socket to the worker: {error}"))
}

fn spawn(settings: &Settings) -> io::Result<(Child, UnixStream, Vec<StdStream>)> {
    let (control, theirs) = StdStream::pair()?;
    let mut sessions = Vec::new();
    let mut mappings = Vec::new();
    for child_fd in FIRST_SESSION..FIRST_SESSION + i32::from(settings.sessions.max(1)) {
        let (ours, theirs) = StdStream::pair()?;
        sessions.push(ours);
        mappings.push(FdMapping { parent_fd: theirs.into(), child_fd });
    }
    let mut command = std::process::Command::new(&settings.program);
    command
        .arg0("jwsd")
        .arg("pkcs11-worker")
        .env_clear()
        .envs(&settings.env)
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .fd_mappings(mappings)
        .map_err(io::Error::other)?;
    // Dropping the command closes our copies of the child's ends, so that its end is seen at once.
    let child = Command::from(command).spawn()?;
    Ok((child, async_stream(control)?, sessions))
}

fn async_stream(stream: StdStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn greet(settings: &Settings, control: &mut UnixStream, pin: SecretString) -> io::Result<Reply> {
    let init = Init {
        name: settings.name.clone(),
        module: settings.module.clone(),
        token: settings.token.clone(),
        sessions: settings.sessions,
        // The worker runs in another directory.
        marker_dir: std::path::absolute(&settings.marker_dir)?,
    };
    send(control, &init).await?;
    send_raw(control, pin.expose_secret().as_bytes()).await?;
    drop(pin);
    receive(control).await
}
