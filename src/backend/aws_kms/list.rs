//! All signing keys of the account in this region, for people, and what is wrong with them.

use super::service::Service;
use super::spec;
use crate::backend::{Class, Error, Listed};
use aws_sdk_kms::types::{KeyMetadata, KeyState, KeyUsageType, OriginType};
use futures_util::future::join_all;
use jiff::Timestamp;

/// Keys that are shown; an account may have a hundred thousand.
const MOST: usize = 1000;
/// Keys that are asked for at once, which is what KMS gives at most.
const PAGE: i32 = 1000;
/// Keys that are described at once. Each costs a request out of 2,000 a second that all users of the account share.
const AT_ONCE: usize = 20;

/// Every key whose use is signing, ours or not.
pub(super) async fn keys(service: &Service) -> Result<Vec<Listed>, Error> {
    let mut listed = Vec::new();
    each(service, MOST, |metadata| listed.extend(show(metadata))).await?;
    Ok(listed)
}

/// Shows the keys of the account to `see`, about `most` of them. Keys that we may not describe are another's.
pub(super) async fn each(
    service: &Service,
    most: usize,
    mut see: impl FnMut(&KeyMetadata) + Send,
) -> Result<(), Error> {
    let (mut seen, mut marker) = (0, None::<String>);
    loop {
        let page = service
            .repeat(false, |client| client.list_keys().limit(PAGE).set_marker(marker.clone()).send())
            .await?;
        let ids: Vec<&str> = page.keys().iter().filter_map(|key| key.key_id()).collect();
        seen += ids.len();
        for some in ids.chunks(AT_ONCE) {
            let described = some.iter().map(|id| async move {
                let asked = service.repeat(false, |client| client.describe_key().key_id(*id).send()).await;
                (id, asked)
            });
            for (id, asked) in join_all(described).await {
                match asked {
                    Ok(answer) => answer.key_metadata.iter().for_each(&mut see),
                    // Keys of others, and such as were deleted since.
                    Err(error) if error.class == Class::Misconfigured => {
                        tracing::debug!(backend = service.settings.name, id, %error, "Key is not shown");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        marker = page.next_marker.filter(|_| page.truncated);
        if marker.is_none() {
            return Ok(());
        }
        if seen >= most {
            tracing::warn!(backend = service.settings.name, most, "There are more keys than are shown");
            return Ok(());
        }
    }
}

/// Whether it was destroyed and can still be had back.
pub(super) fn is_pending_deletion(metadata: &KeyMetadata) -> bool {
    matches!(metadata.key_state, Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion))
}

/// `None` for a key that is not for signing.
fn show(metadata: &KeyMetadata) -> Option<Listed> {
    if metadata.key_usage != Some(KeyUsageType::SignVerify) {
        return None;
    }
    let arn = metadata.arn.clone()?;
    let kind = metadata.key_spec.as_ref();
    let mut attributes = vec!["SIGN_VERIFY".to_owned()];
    attributes.extend(kind.map(|kind| kind.as_str().to_owned()));
    attributes.extend(metadata.key_state.as_ref().map(|state| state.as_str().to_owned()));
    attributes.extend(metadata.origin.as_ref().map(|origin| format!("origin {}", origin.as_str())));
    let date = metadata.deletion_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
    attributes.extend(date.map(|date| format!("deleted on {date}")));
    if metadata.origin.as_ref().is_some_and(|origin| *origin != OriginType::AwsKms) {
        attributes.push("imported: there is a copy outside of KMS".to_owned());
    }
    if metadata.multi_region == Some(true) {
        let role = metadata.multi_region_configuration.as_ref();
        let role = role.and_then(|role| role.multi_region_key_type.as_ref());
        attributes.push(format!("multi-Region {}", role.map_or("key", |role| role.as_str())));
    }
    Some(Listed {
        id: arn.clone(),
        label: metadata.description.clone().unwrap_or_default(),
        kind: kind.and_then(spec::name).or(kind.map(|kind| kind.as_str())).unwrap_or_default().to_owned(),
        attributes,
        name: arn,
        problems: problems(metadata),
        pending_deletion: is_pending_deletion(metadata),
    })
}

/// What makes a key unusable here, one sentence each.
pub(super) fn problems(metadata: &KeyMetadata) -> Vec<String> {
    let mut problems = Vec::new();
    if metadata.key_usage != Some(KeyUsageType::SignVerify) {
        let usage = metadata.key_usage.as_ref().map_or("unknown", |usage| usage.as_str());
        problems.push(format!("its usage is {usage}: make one whose usage is SIGN_VERIFY"));
    }
    let state = metadata.key_state.as_ref();
    match state {
        Some(KeyState::Enabled) => {}
        Some(KeyState::Disabled) => problems.push("it is disabled: enable it".to_owned()),
        _ if is_pending_deletion(metadata) => {
            problems.push("it is about to be deleted: cancel that, and find out who asked for it".to_owned());
        }
        Some(KeyState::Creating | KeyState::Updating) => problems.push("it is being made: wait".to_owned()),
        Some(KeyState::PendingImport) => problems.push("its material was not imported yet".to_owned()),
        _ => {
            let state = state.map_or("unknown", |state| state.as_str());
            problems.push(format!("its state is {state}: it must be Enabled"));
        }
    }
    match &metadata.key_spec {
        Some(kind) if spec::name(kind).is_some() => {}
        kind => {
            let kind = kind.as_ref().map_or("unknown", |kind| kind.as_str());
            problems.push(format!("keys of type {kind} sign none of our algorithms"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_kms::primitives::DateTime;
    use aws_sdk_kms::types::KeySpec;

    fn key() -> aws_sdk_kms::types::builders::KeyMetadataBuilder {
        KeyMetadata::builder()
            .key_id("1")
            .arn("arn:aws:kms:eu-central-1:111122223333:key/1")
            .key_usage(KeyUsageType::SignVerify)
            .key_state(KeyState::Enabled)
            .key_spec(KeySpec::EccNistP384)
            .origin(OriginType::AwsKms)
            .description("access")
    }

    #[test]
    fn a_good_key_has_no_problems() {
        let listed = show(&key().multi_region(true).build().unwrap()).unwrap();
        assert_eq!(listed.problems, Vec::<String>::new());
        assert_eq!((listed.kind.as_str(), listed.label.as_str()), ("P-384", "access"));
        assert_eq!(listed.name, "arn:aws:kms:eu-central-1:111122223333:key/1");
        let expected = ["SIGN_VERIFY", "ECC_NIST_P384", "Enabled", "origin AWS_KMS", "multi-Region key"];
        assert_eq!(listed.attributes, expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (builder, said) in [
            (key().key_state(KeyState::Disabled), "disabled"),
            (key().key_state(KeyState::PendingDeletion), "about to be deleted"),
            (key().key_state(KeyState::PendingImport), "imported"),
            (key().key_state(KeyState::Unavailable), "Unavailable"),
            (key().key_spec(KeySpec::EccSecgP256K1), "ECC_SECG_P256K1"),
        ] {
            let listed = show(&builder.build().unwrap()).unwrap();
            assert_eq!(listed.problems.len(), 1, "{:?}", listed.problems);
            assert!(listed.problems[0].contains(said), "{:?}", listed.problems);
            assert_eq!(listed.pending_deletion, said == "about to be deleted");
        }
        let dated =
            key().key_state(KeyState::PendingReplicaDeletion).deletion_date(DateTime::from_secs(86_400));
        let dated = show(&dated.build().unwrap()).unwrap();
        assert!(
            dated.pending_deletion
                && dated.attributes.contains(&"deleted on 1970-01-02T00:00:00Z".to_owned())
        );
        let cipher = key().key_usage(KeyUsageType::EncryptDecrypt).build().unwrap();
        assert!(show(&cipher).is_none());
        assert!(problems(&cipher)[0].contains("ENCRYPT_DECRYPT"));
        let imported = show(&key().origin(OriginType::External).build().unwrap()).unwrap();
        assert!(imported.attributes.iter().any(|text| text.starts_with("imported")));
    }
}
