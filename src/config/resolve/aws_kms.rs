//! `[backend.NAME]` with `kind = "aws-kms"`.

use super::{Path, Resolver, SECOND};
use crate::backend::aws_kms;
use crate::config::file::AwsKms;
use crate::config::units::{DurationText, Quantity};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Resolver<'_> {
    pub(super) fn aws_kms(&mut self, path: &Path, name: &str, written: &AwsKms) -> aws_kms::Settings {
        if !is_region(&written.region) {
            self.fault(&path.key("region"), "write a region such as \"eu-central-1\"");
        }
        if let Some(endpoint) = &written.endpoint
            && let Err(problem) = aws_kms::check_endpoint(endpoint)
        {
            self.fault(&path.key("endpoint"), problem);
        }
        let profile_fits =
            |profile: &String| (1..=128).contains(&profile.len()) && !profile.chars().any(char::is_control);
        if written.profile.as_ref().is_some_and(|profile| !profile_fits(profile)) {
            self.fault(&path.key("profile"), "write the name of a profile in the AWS configuration files");
        }
        if written.role.as_ref().is_some_and(|role| !is_role(role)) {
            let message = "write the ARN of an IAM role, such as \"arn:aws:iam::111122223333:role/jwsd\"";
            self.fault(&path.key("role"), message);
        }
        let millis = Duration::from_millis;
        let key = path.key("connect_timeout");
        let connect_timeout = self.quantity(&key, &written.connect_timeout, millis(10)..=SECOND * 10);
        let attempt = path.key("attempt_timeout");
        let attempt_timeout = self.quantity(&attempt, &written.attempt_timeout, millis(20)..=SECOND * 30);
        let both = written.attempt_timeout.value().is_ok_and(|written| written == attempt_timeout);
        if connect_timeout > attempt_timeout && both {
            self.fault(&key, "longer than `attempt_timeout`, which includes it: write at most that");
        }
        aws_kms::Settings {
            name: name.to_owned(),
            region: written.region.clone(),
            endpoint: written.endpoint.clone(),
            profile: written.profile.clone(),
            role: written.role.clone(),
            rate: self.rate(&path.key("rate"), &written.rate).get(),
            concurrency: self.in_range(&path.key("concurrency"), written.concurrency, 1..=1024),
            connect_timeout,
            attempt_timeout,
            hedge: written.hedge,
            generate: written.generate,
            deletion_days: self.deletion_days(&path.key("deletion_window"), &written.deletion_window),
        }
    }

    fn deletion_days(&mut self, path: &Path, written: &DurationText) -> u8 {
        let window = self.quantity(path, written, DAY * 7..=DAY * 30);
        let days = u8::try_from(window.as_secs() / DAY.as_secs()).unwrap_or(30);
        if window != DAY * u32::from(days) {
            self.fault(path, "AWS counts whole days: write \"7d\" to \"30d\"");
        }
        days
    }
}

/// `eu-central-1`, `us-gov-west-1`, `eusc-de-east-1`.
fn is_region(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('-').collect();
    let all = |part: &&str, fits: fn(&u8) -> bool| !part.is_empty() && part.as_bytes().iter().all(fits);
    let number = parts.pop();
    text.len() <= 64
        && parts.len() >= 2
        && parts.iter().all(|part| all(part, u8::is_ascii_lowercase))
        && number.is_some_and(|number| all(&number, u8::is_ascii_digit))
}

fn is_role(arn: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_/-".contains(&byte);
    match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "iam", "", account, role] => {
            (*partition == "aws" || partition.starts_with("aws-"))
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && role.strip_prefix("role/").is_some_and(|name| !name.is_empty() && name.bytes().all(fits))
        }
        _ => false,
    }
}
