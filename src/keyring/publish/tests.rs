//! Files that are written, refused, and behind.

use super::*;
use crate::jose::{Algorithm, Jwk, PublicKey};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const ISSUERS: [&str; 3] = ["https://a.example", "https://a.example:8443/t/u", "robot"];

struct Site {
    directory: tempfile::TempDir,
    publisher: Publisher,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let discovery = Discovery::new(ISSUERS.map(|issuer| (issuer, Algorithm::Ed25519)), None);
        let publication = Publication { dir: Some(directory.path().join("public")), discovery };
        Self { directory, publisher: Publisher::new(publication, false) }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("public").join(name)
    }
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().mode() & 0o7777
    }
    /// Nobody but root can write into a directory that is closed, and tests may run as root: a file is in the way.
    fn break_it(&self) {
        fs::rename(self.path(""), self.directory.path().join("away")).unwrap();
        fs::write(self.directory.path().join("public"), "").unwrap();
    }
    fn mend_it(&self) {
        fs::remove_file(self.directory.path().join("public")).unwrap();
        fs::rename(self.directory.path().join("away"), self.directory.path().join("public")).unwrap();
    }
}

fn jwk(seed: u8) -> Jwk {
    let mut x = [seed; 32];
    x[31] = 1;
    PublicKey::ed25519(&x).unwrap().to_jwk(Algorithm::Ed25519)
}
fn set(seeds: &[u8]) -> KeySet {
    KeySet::new(&seeds.iter().map(|seed| jwk(*seed)).collect::<Vec<_>>())
}
fn kid(seed: u8) -> String {
    jwk(seed).kid().to_string()
}

#[tokio::test]
async fn every_file_is_there_for_everyone_and_follows_the_set() {
    let site = Site::new();
    assert!(!site.publisher.shows(&kid(2)) && site.publisher.is_due());
    site.publisher.write(&set(&[2])).await;
    assert!(site.publisher.shows(&kid(2)) && !site.publisher.shows(&kid(3)) && !site.publisher.is_due());
    let places = ["", "a.example/.well-known/", "a.example_8443/t/u/.well-known/"];
    for place in places {
        let text = site.read(&format!("{place}jwks.json"));
        assert_eq!(text.as_bytes(), set(&[2]).document().body(), "{place}");
        assert_eq!((site.mode(place), site.mode(&format!("{place}jwks.json"))), (0o755, 0o644), "{place}");
    }
    for (place, issuer) in [places[1], places[2]].into_iter().zip(ISSUERS) {
        let text = site.read(&format!("{place}openid-configuration"));
        assert!(text.starts_with(&format!("{{\"issuer\":\"{issuer}\",")), "{text}");
        assert_eq!(site.mode(&format!("{place}openid-configuration")), 0o644);
    }
    let count = |name: &str| fs::read_dir(site.path(name)).unwrap().count();
    assert_eq!((count(""), count(places[1]), count(places[2])), (3, 2, 2), "nothing else is left");

    // What is right already is not written again; what is not is.
    let inode = |name: &str| fs::metadata(site.path(name)).unwrap().ino();
    let before = inode("jwks.json");
    fs::set_permissions(site.path("a.example/.well-known/jwks.json"), PermissionsExt::from_mode(0o600))
        .unwrap();
    site.publisher.write(&set(&[2])).await;
    assert_eq!((inode("jwks.json"), site.mode("a.example/.well-known/jwks.json")), (before, 0o644));
    site.publisher.write(&set(&[2, 3])).await;
    for place in places {
        assert_eq!(site.read(&format!("{place}jwks.json")).as_bytes(), set(&[2, 3]).document().body());
    }
}

#[tokio::test]
async fn what_could_not_be_written_is_not_shown_until_it_is() {
    let site = Site::new();
    site.publisher.write(&set(&[2, 3])).await;
    site.break_it();
    // 3 is taken back, 4 is new.
    site.publisher.write(&set(&[2, 4])).await;
    let fault = site.publisher.fault().unwrap();
    assert!(fault.contains("public") && site.publisher.is_due(), "{fault}");
    assert!(site.publisher.shows(&kid(2)), "it is in the old files and in the new ones");
    assert!(!site.publisher.shows(&kid(3)) && !site.publisher.shows(&kid(4)));
    site.mend_it();
    site.publisher.write(&set(&[2, 4])).await;
    assert_eq!(site.publisher.fault(), None);
    assert!(site.publisher.shows(&kid(4)) && !site.publisher.is_due());
    assert!(!site.read("jwks.json").contains(&kid(3)));
}

#[tokio::test]
async fn one_bad_place_does_not_keep_the_others_back() {
    let site = Site::new();
    site.publisher.write(&set(&[2])).await;
    fs::remove_dir_all(site.path("a.example")).unwrap();
    symlink("/", site.path("a.example")).unwrap();
    site.publisher.write(&set(&[])).await;
    let fault = site.publisher.fault().unwrap();
    assert!(fault.contains("a.example is a symbolic link"), "{fault}");
    assert!(!site.read("jwks.json").contains(&kid(2)));
    assert!(!site.read("a.example_8443/t/u/.well-known/jwks.json").contains(&kid(2)));
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_refused() {
    let site = Site::new();
    site.publisher.write(&set(&[])).await;
    fs::set_permissions(site.path(""), PermissionsExt::from_mode(0o775)).unwrap();
    site.publisher.write(&set(&[2])).await;
    assert!(site.publisher.fault().unwrap().contains("chmod go-w") && !site.publisher.shows(&kid(2)));
}

#[tokio::test]
async fn without_a_directory_nothing_is_behind() {
    let publisher = Publisher::default();
    assert!(publisher.shows("any") && !publisher.is_due());
    publisher.write(&set(&[2])).await;
    assert_eq!(publisher.fault(), None);
}

#[tokio::test]
async fn files_of_issuers_that_are_gone_are_found_and_left() {
    let site = Site::new();
    site.publisher.write(&set(&[2])).await;
    for gone in ["b.example", "a.example/old"] {
        fs::create_dir_all(site.path(gone).join(WELL_KNOWN)).unwrap();
    }
    fs::create_dir_all(site.path("a.example/empty")).unwrap();
    let publication = site.publisher.publication();
    let known = publication.discovery.issuers().iter();
    let known = known.map(|issuer| site.path("").join(issuer.place.directory())).collect();
    let found = strangers(&site.directory.path().join("public"), &known);
    assert_eq!(found, [site.path("a.example/old"), site.path("b.example")]);
    site.publisher.write(&set(&[3])).await;
    assert!(site.path("b.example").exists());
}
