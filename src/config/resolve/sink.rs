//! `[[audit.sink]]`.

use super::{Path, Resolver};
use crate::audit::sink::{Form, From, JOURNAL, Kind, Secret, Settings, selectors};
use crate::config::file::{self, SinkForm, SinkFrom};
use crate::config::structure::nearest;
use crate::transport::read_url;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName};
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::path::PathBuf;

/// What it is used for, where it stands in one sink that is not for that.
const FOREIGN: [(&str, &str); 3] = [
    ("socket", "it is only of use beside `journald = true`: remove it"),
    ("headers", "they are only of use beside `otlp`: remove them"),
    ("ca", "there is no TLS: remove it, or write tls:// or https://"),
];

impl Resolver<'_> {
    pub(super) fn sinks(&mut self, path: &Path, written: &[file::Sink]) -> Vec<Settings> {
        let mut sinks: Vec<Settings> = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let path = path.index(index);
            let kind = match (&written.syslog, written.journald, &written.otlp) {
                (Some(syslog), false, None) => self.syslog(&path, syslog, written),
                (None, true, None) => Some(self.journald(&path, written)),
                (None, false, Some(otlp)) => self.otlp(&path, otlp, written),
                _ => {
                    self.fault(&path, "write one of `syslog`, `journald = true` and `otlp`");
                    None
                }
            };
            let known = selectors();
            for event in written.events.iter().filter(|event| !known.contains(event)) {
                let hint = match nearest(event, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "write one, \"jwt.issued\", or a family, \"jwt.*\"".to_owned(),
                };
                self.fault(&path.key("events"), format!("{event:?} is no event: {hint}"));
            }
            let behind = self.in_range(&path.key("behind"), written.behind, 1_000..=1_000_000_000).into();
            let Some(kind) = kind else { continue };
            let name = written.name.clone().unwrap_or_else(|| derived(&kind).to_owned());
            self.name(&path.key("name"), &name);
            if sinks.iter().any(|sink| sink.name == name) {
                let message = format!("another sink is called {name:?} already: write a `name` of its own");
                self.fault(&path, message);
            }
            let form = match written.format {
                SinkForm::Json => Form::Json,
                SinkForm::Ocsf => Form::Ocsf,
            };
            let from = match written.from {
                SinkFrom::End => From::End,
                SinkFrom::Start => From::Start,
            };
            sinks.push(Settings { name, kind, form, events: written.events.clone(), from, behind });
        }
        sinks
    }

    fn syslog(&mut self, path: &Path, text: &str, written: &file::Sink) -> Option<Kind> {
        let at = path.key("syslog");
        if let Some(authority) = text.strip_prefix("tls://") {
            self.foreign(path, written, &["socket", "headers"]);
            let ca = self.authorities(path, written);
            let (host, port) = self.host(&at, authority)?;
            return Some(Kind::SyslogTls { host, port, ca });
        }
        self.foreign(path, written, &["socket", "headers", "ca"]);
        if let Some(authority) = text.strip_prefix("tcp://") {
            let (host, port) = self.host(&at, authority)?;
            if !is_here(&host) {
                let message = "over the network everyone could read and change what is sent: write tls://, or an \
                               address of this host (127.0.0.1, [::1])";
                self.fault(&at, message);
            }
            return Some(Kind::SyslogTcp { host, port });
        }
        if text.contains("://") {
            self.fault(&at, "write the path of a socket, tls://HOST:PORT or tcp://HOST:PORT");
            return None;
        }
        Some(Kind::SyslogUnix(self.absolute(&at, text)))
    }

    fn journald(&mut self, path: &Path, written: &file::Sink) -> Kind {
        self.foreign(path, written, &["headers", "ca"]);
        let socket = written.socket.as_deref().map(|socket| self.absolute(&path.key("socket"), socket));
        Kind::Journald(socket.unwrap_or_else(|| JOURNAL.into()))
    }

    fn otlp(&mut self, path: &Path, text: &str, written: &file::Sink) -> Option<Kind> {
        let at = path.key("otlp");
        self.foreign(path, written, &["socket"]);
        let headers = self.headers(&path.key("headers"), written);
        let url = match read_url(text) {
            Ok(url) => url,
            Err(problem) => {
                self.fault(&at, format!("{problem}; a secret belongs into `headers`"));
                return None;
            }
        };
        let ca = if url.scheme_str() == Some("https") {
            self.authorities(path, written)
        } else {
            self.foreign(path, written, &["ca"]);
            None
        };
        if matches!(url.path(), "" | "/") {
            self.fault(&at, "write all of the URL, as a rule with the path /v1/logs");
        }
        Some(Kind::Otlp { url, ca, headers })
    }

    /// Keys that this sink has no use for.
    fn foreign(&mut self, path: &Path, written: &file::Sink, keys: &[&str]) {
        for (key, message) in FOREIGN.iter().filter(|(key, _)| keys.contains(key)) {
            let is_written = match *key {
                "socket" => written.socket.is_some(),
                "headers" => !written.headers.is_empty(),
                _ => written.ca.is_some(),
            };
            if is_written {
                self.fault(&path.key(*key), *message);
            }
        }
    }

    fn authorities(&mut self, path: &Path, written: &file::Sink) -> Option<PathBuf> {
        written.ca.as_deref().map(|ca| self.absolute(&path.key("ca"), ca))
    }

    fn headers(&mut self, path: &Path, written: &file::Sink) -> Vec<(HeaderName, Secret)> {
        let mut headers: Vec<(HeaderName, Secret)> = Vec::new();
        for (name, secret) in &written.headers {
            let path = path.key(name);
            let ours =
                [CONTENT_TYPE.as_str(), HOST.as_str(), "content-length", "transfer-encoding", "connection"];
            let header = match HeaderName::from_bytes(name.as_bytes()) {
                Ok(header) if ours.contains(&header.as_str()) => {
                    self.fault(&path, "it is set already: remove it");
                    continue;
                }
                Ok(header) if headers.iter().any(|(known, _)| *known == header) => {
                    self.fault(&path, "stands here twice, in another spelling: remove one");
                    continue;
                }
                Ok(header) => header,
                Err(_) => {
                    self.fault(&path, "it is no name of a header field, such as \"authorization\"");
                    continue;
                }
            };
            let secret = match (&secret.credential, &secret.file) {
                (Some(credential), None) => {
                    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                    if credential.is_empty() || credential.starts_with('.') || !credential.bytes().all(fits) {
                        let message =
                            "write the name of a systemd credential: letters, digits, '.', '_', '-'";
                        self.fault(&path.key("credential"), message);
                    }
                    Secret::Credential(credential.clone())
                }
                (None, Some(file)) => Secret::File(self.absolute(&path.key("file"), file)),
                _ => {
                    self.fault(&path, "write either `credential` or `file`");
                    continue;
                }
            };
            headers.push((header, secret));
        }
        headers
    }

    /// `HOST:PORT`, an address of version 6 in brackets.
    fn host(&mut self, path: &Path, authority: &str) -> Option<(String, u16)> {
        let parts = authority.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            ServerName::try_from(host).ok()?;
            Some((host.to_owned(), port))
        });
        if parts.is_none() {
            self.fault(path, "write HOST:PORT after it: tls://logs.example.com:6514, tcp://[::1]:601");
        }
        parts
    }
}

fn derived(kind: &Kind) -> &'static str {
    match kind {
        Kind::SyslogUnix(_) | Kind::SyslogTcp { .. } | Kind::SyslogTls { .. } => "syslog",
        Kind::Journald(_) => "journald",
        Kind::Otlp { .. } => "otlp",
    }
}

/// Whether what is sent there stays on this host.
fn is_here(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
