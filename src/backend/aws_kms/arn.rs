//! Names of KMS keys (`arn:PARTITION:kms:REGION:ACCOUNT:key/ID`).
//!
//! Pure. An alias is never taken for a key: whoever may move it could swap keys.

/// The ARN of a key, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arn<'a> {
    partition: &'a str,
    pub(super) region: &'a str,
    account: &'a str,
    id: &'a str,
}

impl<'a> Arn<'a> {
    /// `None` unless it is the ARN of a key.
    pub(super) fn of_key(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (arn, partition, service, region, account, resource) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        let id = resource.strip_prefix("key/")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let whole = arn == "arn" && service == "kms" && !id.is_empty() && id.bytes().all(fits);
        whole.then_some(Self { partition, region, account, id })
    }

    /// The ARN of the copy of this key in `region`: itself at home, and elsewhere if it is a multi-Region key, which
    /// has the same id everywhere.
    pub(super) fn copy_in(&self, region: &str) -> Option<String> {
        (self.region == region || self.id.starts_with("mrk-"))
            .then(|| format!("arn:{}:kms:{region}:{}:key/{}", self.partition, self.account, self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const MULTI: &str = "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";

    #[test]
    fn only_keys_are_keys() {
        assert_eq!(Arn::of_key(PLAIN).unwrap().region, "eu-central-1");
        for other in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-central-1:111122223333:alias/jwsd",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:kms:eu-central-1:111122223333:key/1/2",
            "arn:aws:iam:eu-central-1:111122223333:key/1",
        ] {
            assert_eq!(Arn::of_key(other), None, "{other}");
        }
    }

    #[test]
    fn copies_are_at_home_or_of_multi_region_keys() {
        let copy = |text, region| Arn::of_key(text).unwrap().copy_in(region);
        assert_eq!(copy(PLAIN, "eu-central-1").as_deref(), Some(PLAIN));
        assert_eq!(copy(PLAIN, "eu-west-1"), None);
        assert_eq!(copy(MULTI, "cn-northwest-1"), Some(MULTI.replace("cn-north-1", "cn-northwest-1")));
    }
}
