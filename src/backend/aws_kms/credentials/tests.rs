//! Renewal, with a desk that hands out what the test puts there.

use super::*;
use std::sync::Mutex;

/// Hands out what it is told to, and counts.
#[derive(Debug, Clone, Default)]
struct Desk(Arc<Mutex<(Answers, u32)>>);
type Answers = Vec<Result<Credentials, &'static str>>;

impl Desk {
    fn put(&self, credentials: Result<Credentials, &'static str>) {
        self.0.lock().unwrap().0 = vec![credentials];
    }

    fn asked(&self) -> u32 {
        self.0.lock().unwrap().1
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(Source::Given(SharedCredentialsProvider::new(self.clone())), "cloud")
    }
}

impl ProvideCredentials for Desk {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let mut desk = self.0.lock().unwrap();
        desk.1 += 1;
        let last = desk.0.last().cloned().unwrap_or(Err("the desk is empty"));
        future::ProvideCredentials::ready(last.map_err(CredentialsError::provider_error))
    }
}

fn credentials(id: &str, life: Option<Duration>) -> Credentials {
    Credentials::new(id, "secret", None, life.map(|life| UNIX_EPOCH + now() + life), "test")
}

async fn id(keeper: &Keeper) -> String {
    keeper.provide_credentials().await.unwrap().access_key_id().to_owned()
}

async fn until(what: impl Fn() -> bool) {
    timeout(Duration::from_secs(60), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("not within a minute");
}

#[tokio::test]
async fn are_loaded_once_and_kept() {
    let desk = Desk::default();
    desk.put(Ok(credentials("one", Some(Duration::from_secs(3600)))));
    let keeper = desk.keeper();
    keeper.ready().await.unwrap();
    for _ in 0..100 {
        assert_eq!(id(&keeper).await, "one");
    }
    assert_eq!((desk.asked(), keeper.generation()), (1, 1));
}

#[tokio::test]
async fn none_are_none_with_a_reason() {
    let desk = Desk::default();
    let keeper = desk.keeper();
    assert!(keeper.ready().await.unwrap_err().contains("the desk is empty"));
    assert!(keeper.provide_credentials().await.is_err());
    desk.put(Ok(credentials("one", None)));
    keeper.ready().await.unwrap();
}

#[tokio::test]
async fn are_renewed_behind_the_back_of_requests_and_old_ones_serve_meanwhile() {
    let desk = Desk::default();
    desk.put(Ok(credentials("old", Some(Duration::from_secs(3600)))));
    let keeper = desk.keeper();
    keeper.ready().await.unwrap();
    // Half of its life is over.
    keeper.0.state.send_modify(|state| state.next = Some(now()));
    desk.put(Err("the desk is closed"));
    assert_eq!(id(&keeper).await, "old");
    until(|| keeper.0.state.borrow().tries == 2).await;
    assert_eq!(id(&keeper).await, "old");
    assert_eq!(desk.asked(), 2, "the next try is not at once");
    keeper.0.state.send_modify(|state| state.next = Some(now()));
    desk.put(Ok(credentials("new", Some(Duration::from_secs(3600)))));
    assert_eq!(id(&keeper).await, "old", "nobody waits");
    until(|| keeper.generation() == 2).await;
    assert_eq!(id(&keeper).await, "new");
}

#[tokio::test]
async fn refused_ones_are_renewed_once_for_all_who_were_refused() {
    let desk = Desk::default();
    desk.put(Ok(credentials("old", None)));
    let keeper = desk.keeper();
    keeper.ready().await.unwrap();
    assert!(!keeper.renewed(1).await, "there are no others");
    desk.put(Ok(credentials("new", None)));
    let asked = desk.asked();
    let all = (0..50).map(|_| keeper.renewed(1));
    assert!(futures_util::future::join_all(all).await.into_iter().all(|renewed| renewed));
    assert!(keeper.renewed(1).await, "done already");
    assert_eq!((desk.asked() - asked, id(&keeper).await.as_str()), (1, "new"));
}
