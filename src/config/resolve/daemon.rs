//! `[listen]`, `[admin]` and `[limits]`: what the daemon itself is bound by.

use super::{HOUR, KIB, MIB, Path, Resolver, SECOND};
use crate::admin::TwoPerson;
use crate::api;
use crate::config::file;
use crate::config::units::{ModeText, Quantity};
use crate::transport;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

impl Resolver<'_> {
    pub(super) fn listen(
        &mut self,
        path: &Path,
        listen: &mut file::Listen,
    ) -> [transport::SocketSettings; 3] {
        let sockets = [
            ("signing", "/run/jwsd/sign.sock", "0660", &mut listen.signing),
            ("admin", "/run/jwsd/admin.sock", "0600", &mut listen.admin),
            ("public", "/run/jwsd/public.sock", "0666", &mut listen.public),
        ];
        let mut seen = BTreeSet::new();
        sockets.map(|(name, default, mode, socket)| {
            let path = path.key(name);
            let settings = transport::SocketSettings {
                name,
                path: self.socket_path(&path.key("path"), socket.path.get_or_insert(default.to_owned())),
                mode: self.socket_mode(&path.key("mode"), name, socket.mode.get_or_insert(mode.into())),
                gid: socket.group.as_ref().and_then(|group| self.gid(&path.key("group"), group)),
            };
            if !seen.insert(settings.path.clone()) {
                self.fault(&path.key("path"), "another socket has this path: write another one");
            }
            settings
        })
    }
    fn socket_path(&mut self, path: &Path, text: &str) -> PathBuf {
        if text.starts_with('@') {
            // Attack S6: an abstract name has no owner and no permissions.
            self.fault(path, "abstract names have no permissions: write an absolute path");
            return text.into();
        }
        if text.len() > 107 {
            let message = format!("{} bytes are too long for a socket: at most 107 fit", text.len());
            self.fault(path, message);
        }
        self.absolute(path, text)
    }
    fn socket_mode(&mut self, path: &Path, socket: &str, text: &ModeText) -> u32 {
        let mode = match text.value() {
            Ok(mode) => mode.0,
            Err(message) => {
                self.fault(path, message);
                return 0o600;
            }
        };
        if mode & !0o666 != 0 || mode & 0o600 != 0o600 {
            self.fault(
                path,
                "a socket needs read and write for its owner, and no other bits than read and write",
            );
        } else if socket == "admin" && mode & 0o006 != 0 {
            self.fault(
                path,
                "the admin socket is not for everyone: write \"0600\", or \"0660\" with a group",
            );
        }
        mode
    }

    /// `socket` is the one for operators.
    pub(super) fn two_person(
        &mut self,
        path: &Path,
        file: &file::Admin,
        socket: &transport::SocketSettings,
    ) -> TwoPerson {
        let list = path.key("two_person");
        let mut acts = BTreeSet::new();
        for (index, act) in file.two_person.iter().enumerate() {
            if !acts.insert(*act) {
                self.fault(&list.index(index), "stands here twice: remove one");
            }
        }
        if !acts.is_empty() && socket.mode & 0o060 != 0o060 {
            let message = "the admin socket lets one user in, so there is no second operator: write a group and \
                           the mode \"0660\" in listen.admin";
            self.fault(&list, message);
        }
        let within = path.key("two_person_within");
        let within = self.quantity(&within, &file.two_person_within, SECOND..=24 * HOUR);
        TwoPerson { acts, within }
    }

    pub(super) fn limits(&mut self, path: &Path, file: &file::Limits) -> (transport::Limits, api::Limits) {
        let wait = Duration::from_millis(10)..=Duration::from_secs(60);
        let size = |limits: &mut Self, key: &str, text, range| {
            let bytes = limits.quantity(&path.key(key), text, range);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let body = size(self, "body", &file.body, 256..=MIB);
        let transport = transport::Limits {
            connections: self.count(&path.key("connections"), file.connections, 1..=65_536),
            connections_per_uid: self.count(
                &path.key("connections_per_uid"),
                file.connections_per_uid,
                1..=65_536,
            ),
            headers: self.count(&path.key("headers"), file.headers, 8..=128),
            // hyper does not work with less.
            header_bytes: size(self, "header_bytes", &file.header_bytes, 8 * KIB..=64 * KIB),
            first_byte: self.quantity(&path.key("first_byte"), &file.first_byte, wait.clone()),
            request: self.quantity(&path.key("request"), &file.request, wait.clone()),
            idle: self.quantity(&path.key("idle"), &file.idle, SECOND..=HOUR),
            write: self.quantity(&path.key("write"), &file.write, wait.clone()),
            requests_per_connection: {
                let key = path.key("requests_per_connection");
                self.in_range(&key, file.requests_per_connection, 1..=1_000_000_000)
            },
            age: self.quantity(&path.key("connection_age"), &file.connection_age, SECOND..=24 * HOUR),
            drain: self.quantity(&path.key("drain"), &file.drain, Duration::ZERO..=Duration::from_secs(60)),
        };
        let limits = api::Limits {
            body,
            batch_body: size(self, "batch_body", &file.batch_body, 256..=16 * MIB),
            batch_items: self.count(&path.key("batch_items"), file.batch_items, 1..=256),
            deadline: self.quantity(&path.key("deadline"), &file.deadline, wait),
            in_flight: self.count(&path.key("in_flight"), file.in_flight, 1..=65_536),
            jwks_max_age: self.quantity(&path.key("jwks_max_age"), &file.jwks_max_age, SECOND..=24 * HOUR),
        };
        self.whole_seconds(&path.key("jwks_max_age"), limits.jwks_max_age);
        if limits.batch_body < limits.body {
            self.fault(
                &path.key("batch_body"),
                "a batch needs at least as much as `body` allows one request",
            );
        }
        if transport.connections_per_uid > transport.connections {
            self.fault(&path.key("connections_per_uid"), "more than `connections` allows in all: write less");
        }
        (transport, limits)
    }
}
