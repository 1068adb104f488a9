//! The SDK's client, with everything that it would decide by itself decided here: no retries, no waiting, a dated set
//! of behaviours, and an endpoint that is HTTPS unless it is on this very machine.
//!
//! HTTPS goes through the proxy that `HTTPS_PROXY` and `NO_PROXY` of the daemon's environment name, as with every AWS
//! SDK: a proxy sees the host's name and ciphertext. A loopback endpoint is never reached through one.

use super::Settings;
use super::credentials::Keeper;
use super::skew::Skew;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Config, IdentityCache, Region, StalledStreamProtectionConfig};
use std::net::IpAddr;
use std::time::Duration;

/// Retries of whoever hands out credentials, within its own limit; not of KMS.
const CREDENTIAL_TRIES: u32 = 3;

fn behavior() -> BehaviorVersion {
    // By date: an upgrade of the SDK must not change retries or the TLS stack unseen.
    BehaviorVersion::v2026_01_12()
}

/// Whether `endpoint` may be used: `https://HOST`, or `http://` and a loopback address. What is signed is no secret,
/// but whoever answers in the service's place decides whether anything works.
///
/// # Errors
/// What to write instead.
pub fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    is_plain(endpoint).map(drop)
}

/// Whether the endpoint is plain HTTP.
fn is_plain(endpoint: &str) -> Result<bool, &'static str> {
    const FORM: &str = "write an address such as \"https://kms.eu-central-1.amazonaws.com\", without a path";
    let uri: hyper::Uri = endpoint.parse().map_err(|_| FORM)?;
    let authority = uri.authority().ok_or(FORM)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if authority.as_str().contains('@')
        || uri.path() != "/"
        || uri.query().is_some()
        || endpoint.contains('#')
    {
        return Err(FORM);
    }
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_own = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(false),
        Some("http") if is_own => Ok(true),
        Some("http") => Err("write https: only an address of this host may be reached without TLS"),
        _ => Err(FORM),
    }
}

/// A client for one region.
///
/// # Errors
/// As [`check_endpoint`].
pub(super) fn build(settings: &Settings, keeper: Keeper, skew: Skew) -> Result<Client, &'static str> {
    let mut config = Config::builder()
        .behavior_version(behavior())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(keeper)
        .time_source(skew)
        .disable_clock_skew_correction(true)
        // The keeper caches.
        .identity_cache(IdentityCache::no_cache())
        // Repeating is `Replicas`'s business.
        .retry_config(RetryConfig::disabled())
        // The rest of the time is measured around each call.
        .timeout_config(TimeoutConfig::builder().connect_timeout(settings.connect_timeout).build())
        // Bodies are a few kilobytes, and every call has an end.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint) = &settings.endpoint {
        if is_plain(endpoint)? {
            config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
        config = config.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(config.build()))
}

/// The chain that finds credentials: environment, profile, web identity, container, instance; then the role.
pub(super) async fn chain(settings: &Settings) -> SharedCredentialsProvider {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout.max(Duration::from_secs(1)))
        .operation_attempt_timeout(Duration::from_secs(3));
    let mut loader = aws_config::defaults(behavior())
        .region(Region::new(settings.region.clone()))
        .retry_config(RetryConfig::standard().with_max_attempts(CREDENTIAL_TRIES))
        .timeout_config(timeouts.build());
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    if let Some(role) = &settings.role {
        let role = AssumeRoleProvider::builder(role).session_name("jwsd").configure(&config).build();
        return SharedCredentialsProvider::new(role.await);
    }
    match config.credentials_provider() {
        Some(provider) => provider,
        // The loader always sets one.
        None => SharedCredentialsProvider::new(
            aws_config::default_provider::credentials::DefaultCredentialsChain::builder().build().await,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for good in [
            "https://kms.eu-central-1.amazonaws.com",
            "https://vpce-1-2.kms.eu-central-1.vpce.amazonaws.com:443",
            "http://127.0.0.1:4566",
            "http://[::1]:4566/",
            "http://localhost:4566",
        ] {
            assert_eq!(check_endpoint(good), Ok(()), "{good}");
        }
        for bad in [
            "http://kms.eu-central-1.amazonaws.com",
            "http://10.0.0.1:4566",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com/",
            "ftp://127.0.0.1",
            "127.0.0.1:4566",
            "https://",
            "https://me@kms.example",
            "https://kms.example/path",
            "https://kms.example?a",
            "https://kms.example#a",
            "",
        ] {
            assert!(check_endpoint(bad).is_err(), "{bad}");
        }
    }
}
