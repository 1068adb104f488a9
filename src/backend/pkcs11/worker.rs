//! The child's side: `jwsd pkcs11-worker`, the only process that loads the vendor's module.
//!
//! Standard input is the control socket; descriptors 3 and up are the session sockets. It belongs to its parent:
//! when the control socket closes it kills itself, whatever the module is doing. Must never write the PIN anywhere,
//! never log in twice, and never return into the module's exit handlers.

mod destroy;
mod fault;
mod generate;
mod keys;
mod mechanism;
mod names;
mod point;
mod pool;
mod session;
mod token;

use super::protocol::{self, Init, Reply, Request};
use super::recovery::{Remedy, login_lost};
use super::{Fault, pin};
use cryptoki::session::Session;
use keys::Keys;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use pool::Pool;
use secrecy::SecretString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};
use token::Token;

/// How long a login may keep an orphaned worker alive. Its outcome matters more than a quick end.
const LOGIN_GRACE: Duration = Duration::from_secs(60);

/// Number of the first session socket among the inherited descriptors.
pub(super) const FIRST_SESSION: i32 = 3;

/// Serves the parent until it closes the control socket. [`crate::sys::kernel::note_inherited`] must have run.
///
/// Returns only when it fails before the module is loaded; otherwise the process ends by `SIGKILL`.
pub fn run() -> ExitCode {
    let Ok(mut control) = prepare() else {
        return ExitCode::FAILURE;
    };
    let Ok((init, pin)) = read_init(&mut control) else {
        return ExitCode::FAILURE;
    };
    let login = Arc::new(Mutex::new(()));
    if watch_parent(&control, Arc::clone(&login)).is_err() {
        return ExitCode::FAILURE;
    }
    // A control socket that fails means that the parent is gone; there is nobody left to tell.
    let _ = serve(&mut control, &init, pin, &login);
    end()
}

/// Ends this process at once: destructors and exit handlers of vendor modules crash or hang.
fn end() -> ! {
    loop {
        // Cannot fail for a process's own id; `SIGKILL` needs no second try, but the compiler cannot know.
        let _ = kill(Pid::this(), Signal::SIGKILL);
    }
}

/// Hardens the process and takes the control socket.
fn prepare() -> io::Result<UnixStream> {
    quiet_panics();
    crate::sys::process::harden().map_err(io::Error::other)?;
    // A signal to the whole group or control group is the parent's to handle: it drains first, then closes the socket.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn read_init(control: &mut UnixStream) -> io::Result<(Init, SecretString)> {
    let init = serde_json::from_slice(&protocol::read_control(control)?)?;
    let pin = String::from_utf8(protocol::read_control(control)?).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((init, SecretString::from(pin)))
}

/// Starts the thread that ends this process when the parent's end of the control socket closes.
fn watch_parent(control: &UnixStream, login: Arc<Mutex<()>>) -> io::Result<()> {
    let control = control.try_clone()?;
    std::thread::Builder::new().name("parent".into()).spawn(move || {
        loop {
            // Data is the main thread's business; a hang-up is reported without being asked for.
            let mut fds = [PollFd::new(control.as_fd(), PollFlags::empty())];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let since = Instant::now();
        while since.elapsed() < LOGIN_GRACE {
            match login.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(_) | Err(TryLockError::Poisoned(_)) => break,
            }
        }
        end()
    })?;
    Ok(())
}

/// Everything that needs the module, from loading it to the last control request.
fn serve(control: &mut UnixStream, init: &Init, pin: SecretString, login: &Mutex<()>) -> io::Result<()> {
    let mut worker = match Worker::start(init, pin, login) {
        Ok(worker) => worker,
        Err(StartFault { fault, pin_refused }) => {
            return protocol::write_control(control, &Reply::Failed { fault, pin_refused });
        }
    };
    let Worker { sessions, wrong_pin, .. } = worker;
    let ready = Reply::Ready { token: worker.token.name.clone(), sessions, wrong_pin };
    protocol::write_control(control, &ready)?;
    loop {
        let request = serde_json::from_slice(&protocol::read_control(control)?)?;
        let reply =
            worker.answer(request).unwrap_or_else(|fault| Reply::Failed { fault, pin_refused: false });
        protocol::write_control(control, &reply)?;
    }
}

/// Why the worker cannot serve.
struct StartFault {
    fault: Fault,
    pin_refused: bool,
}
impl From<Fault> for StartFault {
    fn from(fault: Fault) -> Self {
        Self { fault, pin_refused: false }
    }
}

struct Worker {
    token: Arc<Token>,
    /// Keeps the login: the token logs out when its last session closes. Used to look for keys, never to sign.
    anchor: Session,
    keys: Arc<Keys>,
    signs: Arc<AtomicU64>,
    sessions: u16,
    wrong_pin: bool,
}

impl Worker {
    fn start(init: &Init, pin: SecretString, login: &Mutex<()>) -> Result<Self, StartFault> {
        let token = Arc::new(Token::find(&init.module, &init.token)?);
        let anchor = token.open_session()?;
        let wrong_pin = {
            // Before the mutex: whoever only waits for another process may be ended.
            let marker = pin::Marker::lock(&init.marker_dir, &init.name).map_err(Fault::from)?;
            let _outcome_is_being_written = login.lock();
            log_in(&token, &anchor, &marker, &init.name, pin)?
        };
        let count = init.sessions.max(1);
        let mut sessions = vec![Some(token.open_session()?)];
        for _ in 1..count {
            match token.open_session() {
                Ok(session) => sessions.push(Some(session)),
                // Some are better than none: the token may have fewer than were asked for, or more of them later.
                Err(fault) if pool::leaves_others(&fault) => sessions.push(None),
                Err(fault) => return Err(fault.into()),
            }
        }
        let pool = Arc::new(Pool::new(Arc::clone(&token), sessions));
        let (keys, signs) = Default::default();
        let worker = Self { token, anchor, keys, signs, sessions: count, wrong_pin };
        for number in 0..count {
            worker.start_thread(number, Arc::clone(&pool))?;
        }
        Ok(worker)
    }

    fn start_thread(&self, number: u16, pool: Arc<Pool>) -> Result<(), Fault> {
        let socket: OwnedFd = crate::sys::kernel::take_inherited(FIRST_SESSION + i32::from(number))
            .map_err(|error| Fault::bug(format!("session socket {number}: {error}")))?;
        let server = session::Server {
            token: Arc::clone(&self.token),
            keys: Arc::clone(&self.keys),
            signs: Arc::clone(&self.signs),
            pool,
            number: usize::from(number),
            failures: 0,
        };
        std::thread::Builder::new()
            .name(format!("session {number}"))
            .spawn(move || server.run(UnixStream::from(socket)))
            .map_err(|error| Fault::down(format!("cannot start a signing thread: {error}")))?;
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Result<Reply, Fault> {
        if let Request::Stats = request {
            // Must not wait for the gate: this is how a hung token is told from a busy one.
            let signs = self.signs.load(Ordering::Relaxed);
            return Ok(Reply::Stats { signs });
        }
        let token = Arc::clone(&self.token);
        let _gate = token.enter();
        let answer = self.perform(&request);
        let Err(fault) = &answer else {
            return answer;
        };
        // Our own judgement of a key leaves the session as it was.
        let Some(row) = fault.row().filter(|row| !row.replaces()) else {
            return answer;
        };
        self.renew_anchor(row.remedy);
        let once_more = row.here && !matches!(request, Request::Generate { .. });
        if once_more { self.perform(&request) } else { answer }
    }

    /// Looks for keys on another session from now on. The new one comes first, so that the login is never without any.
    fn renew_anchor(&mut self, remedy: Remedy) {
        if remedy == Remedy::ReadWrite {
            self.token.insist_on_read_write();
        }
        if let Ok(session) = self.token.open_session() {
            self.anchor = session;
        }
    }

    fn perform(&self, request: &Request) -> Result<Reply, Fault> {
        match request {
            Request::Open { key, algorithm } => {
                let id = keys::locate(&self.token, &self.anchor, key)?;
                let (index, label, public) = self.keys.open(&self.token, &self.anchor, &id, *algorithm)?;
                Ok(Reply::Opened { id, label, index, public })
            }
            Request::Generate { id, label, algorithm, rsa_bits } => {
                let public = generate::generate(&self.token, id, label, *algorithm, *rsa_bits)?;
                Ok(Reply::Generated { public })
            }
            Request::FindMade { id } => {
                Ok(Reply::FoundMade { made: destroy::is_made(&self.token, &self.anchor, id)? })
            }
            Request::Destroy { id, thumbprint } => {
                destroy::destroy(&self.token, id, thumbprint)?;
                Ok(Reply::Destroyed)
            }
            Request::List => Ok(Reply::Listed { keys: keys::list(&self.token, &self.anchor)? }),
            Request::Stats => Err(Fault::bug("answered above")),
        }
    }
}

/// Logs in once, and says durably how it ended before anybody else hears of it. Returns whether the token had counted
/// a wrong PIN before.
fn log_in(
    token: &Token,
    anchor: &Session,
    marker: &pin::Marker<'_>,
    name: &str,
    pin: SecretString,
) -> Result<bool, StartFault> {
    let wrong_pin = token.counts_wrong_pin()?;
    let before = marker.begin(wrong_pin).map_err(Fault::from)?;
    if !before.allows_login() {
        return Err(StartFault { fault: super::pin_refused(name, before), pin_refused: true });
    }
    let result = token.log_in(anchor, &pin);
    drop(pin);
    let outcome = result.as_ref().map_or_else(fault::login_outcome, |()| pin::Outcome::Good);
    let written = marker.end(before, outcome);
    match result {
        // Written or not: the parent remembers it, and writes it down when that becomes possible.
        Err(error) if outcome == pin::Outcome::Refused => Err(StartFault {
            fault: Fault::misconfigured(format!(
                "the token refused the PIN ({}); it is not tried again: put the PIN right, then run \
                 `jwsd keys clear-pin --config FILE {name}`",
                fault::code(&error)
            )),
            pin_refused: true,
        }),
        Err(error) if fault::claims_login(&error) => {
            Err(login_lost(format!("C_Login: {}, and the session denies it", fault::code(&error))).into())
        }
        Err(error) => Err(fault::fault("C_Login", &error).into()),
        Ok(()) => Ok(written.map(|()| wrong_pin).map_err(Fault::from)?),
    }
}

/// Panics say where and never what: the text may hold data.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(location) = panic.location() {
            // Without standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "jwsd pkcs11-worker: panicked at {location}");
        }
    }));
}

#[cfg(test)]
mod tests {
    const CHILD: &str = "backend::pkcs11::worker::tests::child_panics";

    /// The hook is the whole process's, so a child sets it.
    #[test]
    fn a_panic_says_where_and_not_what() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored", "--nocapture", "--test-threads=1"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("panicked at src/backend/pkcs11/worker.rs:"), "{said}");
        let all = format!("{said}{}", String::from_utf8_lossy(&child.stdout));
        assert!(!all.contains("canary"), "{all}");
    }

    #[test]
    #[ignore = "changes its process for good: a_panic_says_where_and_not_what runs it in a child"]
    fn child_panics() {
        super::quiet_panics();
        let panicked = std::thread::spawn(|| panic!("{}", "canary")).join();
        assert!(panicked.is_err());
    }
}
