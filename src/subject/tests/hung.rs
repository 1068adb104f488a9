//! A backend that hangs holds up the end of an erasure, and nobody's JWT.

use super::*;
use crate::backend::{
    BoxFuture, Destroyed, Error as Fault, Generated, Health, KeySpec, KeyStore, Listed, Opened, Status,
    Wanted,
};
use crate::jose::PublicKey;
use std::future::pending;
use std::time::Duration;

/// Answers nothing.
struct Hung(Arc<Health>);

impl KeyStore for Hung {
    fn open<'a>(
        &'a self,
        _: Wanted<'a>,
        _: Algorithm,
        _: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Fault>> {
        Box::pin(pending())
    }
    fn generate<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a str,
        _: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Fault>> {
        Box::pin(pending())
    }
    fn find_made<'a>(&'a self, _: &'a [u8], _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Fault>> {
        Box::pin(pending())
    }
    fn destroy<'a>(&'a self, _: &'a [u8], _: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Fault>> {
        Box::pin(pending())
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Fault>> {
        Box::pin(pending())
    }
    fn health(&self) -> &Arc<Health> {
        &self.0
    }
    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(pending())
    }
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn keys_are_given_while_a_backend_hangs() {
    let mut place = Place::new();
    let tag = place.tag("alice", "n").await;
    let settings = Settings { backend: Some("hung".to_owned()), ..settings(&place.dir()) };
    let hung: Arc<dyn KeyStore> = Arc::new(Hung(Health::of_backend("hung", None)));
    let backends = [("hung".to_owned(), hung)].into();
    let epochs = Epochs { settings, backends, environment: "test".to_owned() };
    place.subjects = Subjects::open(Arc::clone(&place.store), epochs).unwrap();
    // The configuration wants the epoch's key there now: that takes for ever.
    let subjects = place.subjects.clone();
    let settling = tokio::spawn(async move { subjects.settle().await });
    let subjects = place.subjects.clone();
    let alice = place.person("alice");
    let journal = ErasureRow { id: "e".to_owned(), record: "{}".to_owned(), count: 0 };
    let erasing = tokio::spawn(async move { subjects.erase(&[alice], journal).await });
    for number in 0..20 {
        let name = number.to_string();
        let within = tokio::time::timeout(Duration::from_secs(60), place.tag(&name, "n"));
        within.await.expect("somebody new has a key");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(place.tag("alice", "n").await, tag);
    assert!(!settling.is_finished() && !erasing.is_finished());
}
