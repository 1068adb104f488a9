//! Making keys, and finding again what was made when nobody heard the answer.
//!
//! A key that we made has its label as description, as tag `jwsd:key` and as alias, and its id as tag `jwsd:id`. The
//! alias is for people and makes the search short; it is never taken for a proof, as it can be moved. KMS is
//! eventually consistent: for some seconds, sometimes minutes, a new key may be in no list.

use super::error::Kind;
use super::store::Backend;
use super::{list, spec};
use crate::backend::{Class, Error, Generated, KeySpec, NOT_ALLOWED, PREFIX};
use crate::jose::hex;
use aws_sdk_kms::types::{KeyMetadata, KeyUsageType, Tag};

const KEY_TAG: &str = "jwsd:key";
const ID_TAG: &str = "jwsd:id";

/// The alias of a key with this label, if it is one of ours: `[a-zA-Z0-9/_-]`, at most 256 characters.
pub(super) fn alias(label: &str) -> Option<String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "/_-".contains(letter);
    let letters = label.chars().map(|letter| if fits(letter) { letter } else { '_' });
    label.starts_with(PREFIX).then(|| format!("alias/{}", letters.take(250).collect::<String>()))
}

impl Backend {
    pub(super) async fn make(&self, id: &[u8], label: &str, spec: KeySpec) -> Result<Generated, Error> {
        let service = &self.service;
        if !service.settings.generate {
            return Err(service.error(Kind::Misconfigured, "not allowed", NOT_ALLOWED));
        }
        let kind = spec::kind(spec).ok_or_else(|| {
            service.error(Kind::Bug, "key size", format!("no RSA keys of {} bits", spec.rsa_bits))
        })?;
        let tag = |key: &str, value: String| {
            let tag = Tag::builder().tag_key(key).tag_value(value).build();
            tag.map_err(|error| service.error(Kind::Bug, "tag", error.to_string()))
        };
        let tags = vec![tag(KEY_TAG, label.to_owned())?, tag(ID_TAG, hex(id))?];
        let made = service
            .write(|client| {
                client
                    .create_key()
                    .key_spec(kind)
                    .key_usage(KeyUsageType::SignVerify)
                    .description(label)
                    .set_tags(Some(tags))
                    .send()
            })
            .await
            .map_err(|error| Error {
                message: format!(
                    "{}; if a key was made all the same, it has the tag {ID_TAG}={}",
                    error.message,
                    hex(id)
                ),
                ..error
            })?;
        let arn = made.key_metadata.and_then(|metadata| metadata.arn);
        let arn =
            arn.ok_or_else(|| service.error(Kind::Bug, "no ARN", "KMS does not say the ARN of the new key"))?;
        self.give_alias(&arn, label).await;
        let (public, _) = self.public_key(&arn, spec.algorithm).await?;
        Ok(Generated { id: arn.into_bytes(), public })
    }

    pub(super) async fn look_for_made(&self, id: &[u8], label: &str) -> Result<Option<Vec<u8>>, Error> {
        let service = &self.service;
        if let Some(alias) = alias(label)
            && let Some(metadata) = self.behind(&alias).await?
            && let Some(arn) = candidate(&metadata, label)
            && self.has_id(arn, id).await?
        {
            return Ok(Some(arn.as_bytes().to_vec()));
        }
        let mut candidates = Vec::new();
        let look = |metadata: &KeyMetadata| candidates.extend(candidate(metadata, label).map(str::to_owned));
        list::each(service, usize::MAX, look).await?;
        let mut made = Vec::new();
        for arn in candidates {
            if self.has_id(&arn, id).await? {
                made.push(arn);
            }
        }
        match made.as_slice() {
            [] => Ok(None),
            [arn] => {
                self.give_alias(arn, label).await;
                Ok(Some(arn.as_bytes().to_vec()))
            }
            _ => {
                let message = format!(
                    "several keys are described as {label} and have the tag {ID_TAG}={}: schedule the deletion of \
                     all of {} that no version is known by",
                    hex(id),
                    made.join(", ")
                );
                Err(service.error(Kind::Misconfigured, "ambiguous", message))
            }
        }
    }

    /// Nothing depends on the alias, so that a key which is not given any is good all the same.
    async fn give_alias(&self, arn: &str, label: &str) {
        let Some(alias) = alias(label) else { return };
        let service = &self.service;
        let given = service
            .repeat(true, |client| client.create_alias().alias_name(&alias).target_key_id(arn).send())
            .await;
        let Err(error) = given else { return };
        let is_there = || async {
            let behind = self.behind(&alias).await.ok().flatten();
            behind.and_then(|metadata| metadata.arn).as_deref() == Some(arn)
        };
        // Of the attempt before, whose answer was lost.
        if error.code.starts_with("AlreadyExistsException") && is_there().await {
            return;
        }
        tracing::warn!(backend = service.settings.name, arn, alias, %error, "Key has no alias");
    }

    /// The key that an alias stands for.
    pub(super) async fn behind(&self, alias: &str) -> Result<Option<KeyMetadata>, Error> {
        match self.service.repeat(false, |client| client.describe_key().key_id(alias).send()).await {
            Ok(answer) => Ok(answer.key_metadata),
            // Denied too: where rights depend on a key's tags, that is what is said of an alias without a key.
            Err(error) if error.class == Class::Misconfigured => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn has_id(&self, arn: &str, id: &[u8]) -> Result<bool, Error> {
        let tags = self.service.repeat(true, |client| client.list_resource_tags().key_id(arn).send()).await?;
        let id = hex(id);
        Ok(tags.tags().iter().any(|tag| tag.tag_key() == ID_TAG && tag.tag_value() == id))
    }
}

/// The ARN of a key that may be the one that was made. One that is about to be deleted is none any more.
fn candidate<'a>(metadata: &'a KeyMetadata, label: &str) -> Option<&'a str> {
    let may_be = metadata.key_usage == Some(KeyUsageType::SignVerify)
        && metadata.description.as_deref() == Some(label)
        && !list::is_pending_deletion(metadata);
    metadata.arn.as_deref().filter(|_| may_be)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::label;
    use proptest::prelude::*;

    #[test]
    fn only_keys_of_ours_have_aliases() {
        let made = alias("jwsd/production/access/9f3a21c07b5d");
        assert_eq!(made.as_deref(), Some("alias/jwsd/production/access/9f3a21c07b5d"));
        for other in ["access", "", "jwsd", "alias/jwsd/", "aws/jwsd/"] {
            assert_eq!(alias(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_name_gives_what_kms_takes(
            environment in "[a-z0-9][a-z0-9._-]{0,62}",
            key in "[a-z0-9][a-z0-9._-]{0,62}",
            id in any::<[u8; 16]>(),
        ) {
            let label = label(&environment, &key, &id);
            let alias = alias(&label).unwrap();
            prop_assert!(alias.len() <= 256 && alias.ends_with(&hex(&id[..6])));
            prop_assert!(alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte)));
            // What KMS takes for the value of a tag, and for a description.
            let tag = |byte: u8| byte.is_ascii_alphanumeric() || b" _.:/=+-@".contains(&byte);
            prop_assert!(label.len() <= 256 && label.bytes().all(tag));
        }
    }
}
