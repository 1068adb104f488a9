//! A key's way in and out: what is made is found again whatever was lost on the way, and destroyed with a window.

use super::*;
use jwsd::backend::{Destroyed, Error, Generated, KeySpec, label};

const SPEC: KeySpec = KeySpec { algorithm: Algorithm::ES256, rsa_bits: 2048 };
const ID: [u8; 16] = [0xab; 16];

fn name() -> String {
    label("pre.production", "access", &ID)
}

const ALIAS: &str = "alias/jwsd/pre_production/access/abababababab";

async fn make(store: &Arc<dyn KeyStore>) -> Result<Generated, Error> {
    store.generate(&ID, &name(), SPEC).await
}

async fn find(store: &Arc<dyn KeyStore>) -> Result<Option<String>, Error> {
    let found = store.find_made(&ID, &name()).await?;
    Ok(found.map(|id| String::from_utf8(id).unwrap()))
}

/// Requests of one operation so far.
fn asked(fake: &FakeKms, action: &str) -> u64 {
    fake.script().asked.get(action).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_found_by_its_alias_with_three_requests() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let arn = String::from_utf8(make(&store).await.unwrap().id).unwrap();
    {
        let script = fake.script();
        assert_eq!(script.aliases[ALIAS], arn);
        let key = &script.keys[&arn];
        assert_eq!(key.description, "jwsd/pre.production/access/abababababab");
        assert_eq!((&key.tags[0]["TagKey"], &key.tags[0]["TagValue"]), (&"jwsd:key".into(), &name().into()));
        assert_eq!(
            (&key.tags[1]["TagKey"], &key.tags[1]["TagValue"]),
            (&"jwsd:id".into(), &"ab".repeat(16).into())
        );
    }
    assert_eq!(find(&store).await.unwrap(), Some(arn));
    assert_eq!(
        (asked(&fake, "ListKeys"), asked(&fake, "ListResourceTags"), asked(&fake, "DescribeKey")),
        (0, 1, 1)
    );
}

/// Killed between `CreateKey` and `CreateAlias`.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_alias_is_found_and_given_it() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let arn = String::from_utf8(make(&store).await.unwrap().id).unwrap();
    for _ in 0..30 {
        fake.add("ECC_NIST_P256");
    }
    fake.script().aliases.clear();
    assert_eq!(find(&store).await.unwrap(), Some(arn.clone()));
    assert_eq!(fake.script().aliases[ALIAS], arn);
    let listings = asked(&fake, "ListKeys");
    assert!(listings >= 2, "more than one page");
    assert_eq!(find(&store).await.unwrap(), Some(arn));
    assert_eq!(asked(&fake, "ListKeys"), listings, "by its alias now");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_leaves_a_key_that_is_found() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    fake.script().unheard.insert("CreateKey");
    let error = make(&store).await.err().expect("nobody heard it");
    assert!(error.class == Class::Down && error.message.contains(&"ab".repeat(16)), "{error}");
    assert_eq!(asked(&fake, "CreateKey"), 1, "not made twice");
    let found = find(&store).await.unwrap().expect("it was made");
    assert_eq!(fake.script().keys.len(), 1);
    assert_eq!(fake.script().aliases[ALIAS], found);
    // The same of the alias, which is made once all the same.
    fake.script().aliases.clear();
    fake.script().unheard.insert("CreateAlias");
    assert_eq!(find(&store).await.unwrap(), Some(found.clone()));
    assert_eq!(fake.script().aliases[ALIAS], found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_have_an_alias_is_good_all_the_same() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    fake.script().barred.insert("CreateAlias", "AccessDeniedException");
    let made = make(&store).await.unwrap();
    store.open(Wanted::Id(&made.id), Algorithm::ES256, Some(&made.public)).await.unwrap();
    assert_eq!(find(&store).await.unwrap().map(String::into_bytes), Some(made.id));
    assert!(fake.script().aliases.is_empty());
}

/// What others can write is not enough: neither the alias nor the description.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_not_taken_for_ours_by_its_name() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let other = fake.add("ECC_NIST_P256");
    fake.script().aliases.insert(ALIAS.to_owned(), other.clone());
    assert_eq!(find(&store).await.unwrap(), None, "an alias alone");
    fake.script().keys.get_mut(&other).unwrap().description = name();
    assert_eq!(find(&store).await.unwrap(), None, "nor with the description");
    let ours = String::from_utf8(make(&store).await.unwrap().id).unwrap();
    assert_eq!(find(&store).await.unwrap(), Some(ours.clone()));
    assert_eq!(fake.script().aliases[ALIAS], other, "it is left where it is");
    // Nor does it go with our key.
    let public = store.open(Wanted::Id(ours.as_bytes()), Algorithm::ES256, None).await.unwrap().public;
    store.destroy(ours.as_bytes(), &public).await.unwrap();
    assert_eq!(fake.script().aliases[ALIAS], other);
    assert_eq!(fake.script().keys[&other].state, "Enabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_with_one_id_are_told_and_none_is_chosen() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let one = make(&store).await.unwrap();
    fake.script().aliases.clear();
    let two = make(&store).await.unwrap();
    fake.script().aliases.clear();
    let error = find(&store).await.unwrap_err();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    for id in [&one.id, &two.id] {
        assert!(error.message.contains(std::str::from_utf8(id).unwrap()), "{error}");
    }
    assert!(fake.script().aliases.is_empty());
    // One of them was destroyed since.
    store.destroy(&one.id, &one.public).await.unwrap();
    assert_eq!(find(&store).await.unwrap().map(String::into_bytes), Some(two.id));
}

/// A listing that is behind says none, which is why there is a time to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_in_no_list_yet_is_not_found_yet() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    assert!(store.settling() >= Duration::from_secs(60));
    fake.script().lags = true;
    let made = make(&store).await.unwrap();
    fake.script().aliases.clear();
    assert_eq!(find(&store).await.unwrap(), None);
    fake.script().keys.values_mut().for_each(|key| key.hidden = false);
    assert_eq!(find(&store).await.unwrap().map(String::into_bytes), Some(made.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_fails_does_not_say_none() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    make(&store).await.unwrap();
    for (action, code, class) in [
        ("DescribeKey", "KMSInternalException", Class::Down),
        ("ListKeys", "ThrottlingException", Class::Busy),
        ("ListKeys", "AccessDeniedException", Class::Misconfigured),
        ("ListResourceTags", "AccessDeniedException", Class::Misconfigured),
    ] {
        fake.script().aliases.clear();
        fake.script().barred.insert(action, code);
        let error = find(&store).await.unwrap_err();
        assert!(error.class == class && error.code.starts_with(code), "{error}");
        fake.script().barred.clear();
    }
    assert!(find(&store).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_is_kept_for_the_window_and_loses_its_alias() {
    let fake = FakeKms::start(REGION).await;
    let settings = Settings { deletion_days: 7, ..kms::settings("cloud", REGION, &fake.url()) };
    let store = open_store(settings).await;
    let made = make(&store).await.unwrap();
    let arn = String::from_utf8(made.id.clone()).unwrap();
    fake.script().unheard.insert("ScheduleKeyDeletion");
    let destroyed = store.destroy(&made.id, &made.public).await.unwrap();
    let left = destroyed.pending_until.unwrap().as_second() - jiff::Timestamp::now().as_second();
    assert!((left - 7 * 86_400).abs() < 3600, "{left}");
    assert_eq!(asked(&fake, "ScheduleKeyDeletion"), 1);
    assert!(fake.script().aliases.is_empty());
    let listed = store.list().await.unwrap().remove(0);
    assert!(listed.pending_deletion && listed.problems[0].contains("about to be deleted"), "{listed:?}");
    let date = format!("deleted on {}", destroyed.pending_until.unwrap());
    assert!(listed.attributes.contains(&date), "{listed:?}");
    // The second half of a destruction that was killed is made up for.
    fake.script().aliases.insert(ALIAS.to_owned(), arn.clone());
    assert_eq!(store.destroy(&made.id, &made.public).await.unwrap(), destroyed);
    assert!(fake.script().aliases.is_empty());
    assert_eq!(asked(&fake, "ScheduleKeyDeletion"), 1);
    // When the window is over.
    fake.script().keys.remove(&arn);
    assert_eq!(store.destroy(&made.id, &made.public).await.unwrap(), Destroyed { pending_until: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_proven_to_be_the_key_is_not_destroyed() {
    let fake = FakeKms::start(REGION).await;
    let store = store(&fake).await;
    let made = make(&store).await.unwrap();
    let arn = String::from_utf8(made.id.clone()).unwrap();
    for id in [b"alias/jwsd".as_slice(), ALIAS.as_bytes(), arn.replace(REGION, "eu-west-1").as_bytes(), b""] {
        assert_eq!(store.destroy(id, &made.public).await.unwrap_err().class, Class::Misconfigured);
    }
    for (action, code, class) in [
        ("GetPublicKey", "AccessDeniedException", Class::Misconfigured),
        ("GetPublicKey", "KMSInternalException", Class::Down),
        ("DescribeKey", "AccessDeniedException", Class::Misconfigured),
        ("ScheduleKeyDeletion", "AccessDeniedException", Class::Misconfigured),
    ] {
        fake.script().barred.insert(action, code);
        assert_eq!(store.destroy(&made.id, &made.public).await.unwrap_err().class, class, "{action} {code}");
        fake.script().barred.clear();
    }
    let script = fake.script();
    assert_eq!((script.keys[&arn].state.as_str(), script.aliases.len()), ("Enabled", 1));
}
