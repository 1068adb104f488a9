//! Transport: Unix sockets, what the kernel says of the peer, limits and deadlines.
//!
//! Turns connections into requests that are whole, well framed, of bounded size and in time. Knows nothing of JWTs, callers or
//! policy, and must never hand a request on that it would not have framed the same way itself.
//!
//! | file | does |
//! | --- | --- |
//! | `bind` | a listening socket, from systemd or by a safe bind |
//! | `serve` | the accept loop: caps, backoff, drain |
//! | `connection` | one connection: hyper, one request at a time |
//! | `framing`, `deadline` | the byte stream: strict framing, and a limit for each phase of an exchange |
//! | `gate`, `body` | what a request must be before a handler sees it |
//! | `credentials` | who is at the other end |
//! | `outgoing` | the other way round: TLS and HTTP to witnesses and collectors |

mod bind;
mod body;
mod caps;
mod connection;
mod credentials;
mod deadline;
mod framing;
mod gate;
mod outgoing;
mod serve;

pub use bind::{BindError, Listener, SocketSettings};
pub use body::{BodyError, read_body};
pub use credentials::{FactsWanted, PeerCredentials, ProcessFacts};
pub use gate::Rejection;
pub use outgoing::{Answer, HttpClient, PostError, TlsError, read_url, tls};
pub use serve::{Counters, Handler, Limits, serve};
