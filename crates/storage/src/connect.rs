use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{Certificate, ClientConfigKey, ClientOptions, RetryConfig};

use crate::error::reason;
use crate::requests::Store;
use crate::{Location, StorageError, StorageOptions, StorageUrl};

/// A host on the way is there at once, or not at all.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The variable that Azure's own tools have for an account's key, which the library does not know.
const AZURE_KEY: &str = "AZURE_STORAGE_KEY";

/// A client of what a URL leads to, with the environment's credentials. Asks nobody yet.
pub(crate) fn connect(url: &StorageUrl, options: &StorageOptions) -> Result<Arc<dyn Store>, StorageError> {
    // Whoever embeds us may have chosen already; then that one holds.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let opened: Result<Arc<dyn Store>, object_store::Error> = match url.location() {
        Location::S3 { endpoint, bucket } => {
            s3(endpoint.as_deref(), bucket, options)?.build().map(|store| Arc::new(store) as _)
        }
        Location::Gcs { bucket } => gcs(bucket, options)?.build().map(|store| Arc::new(store) as _),
        Location::Azure { account, container } => {
            azure(account, container, options)?.build().map(|store| Arc::new(store) as _)
        }
    };
    opened.map_err(|error| StorageError::Open { reason: reason(&error) })
}

pub(crate) fn s3(
    endpoint: Option<&str>,
    bucket: &str,
    options: &StorageOptions,
) -> Result<AmazonS3Builder, StorageError> {
    let set = checked("storage.s3.endpoint", options.s3.endpoint.as_deref(), options)?;
    let mut client = client(options, "AWS_", |key| match key {
        AmazonS3ConfigKey::Client(key) => Some(key),
        _ => None,
    })?;
    // A URL that names its host has said how it is spoken to.
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        client = client.with_allow_http(true);
    }
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(client)
        .with_retry(no_retries());
    if let Some(region) = &options.s3.region {
        builder = builder.with_region(region);
    }
    if options.s3.virtual_hosted_style {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if let Some(endpoint) = endpoint.or(set) {
        // This key is stronger than AWS_ENDPOINT_URL.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    Ok(builder)
}

fn gcs(bucket: &str, options: &StorageOptions) -> Result<GoogleCloudStorageBuilder, StorageError> {
    let endpoint = checked("storage.gcs.endpoint", options.gcs.endpoint.as_deref(), options)?;
    let client = client(options, "GOOGLE_", |key| match key {
        GoogleConfigKey::Client(key) => Some(key),
        _ => None,
    })?;
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(client)
        .with_retry(no_retries());
    Ok(match endpoint {
        Some(endpoint) => builder.with_base_url(endpoint),
        None => builder,
    })
}

fn azure(
    account: &str,
    container: &str,
    options: &StorageOptions,
) -> Result<MicrosoftAzureBuilder, StorageError> {
    let endpoint = checked("storage.azure.endpoint", options.azure.endpoint.as_deref(), options)?;
    let client = client(options, "AZURE_", |key| match key {
        AzureConfigKey::Client(key) => Some(key),
        _ => None,
    })?;
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(account)
        .with_container_name(container)
        .with_client_options(client)
        .with_retry(no_retries());
    if let Some(key) = std::env::var(AZURE_KEY).ok().filter(|key| !key.is_empty()) {
        builder = builder.with_access_key(key);
    }
    Ok(match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint.to_owned()),
        None => builder,
    })
}

/// An endpoint that was set, if it is one.
fn checked<'a>(
    key: &'static str,
    endpoint: Option<&'a str>,
    options: &StorageOptions,
) -> Result<Option<&'a str>, StorageError> {
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let fault = |message: &str| Err(StorageError::Setting { key, message: message.to_owned() });
    if endpoint.contains('@') {
        return fault("must not hold credentials: they come from the environment");
    }
    match endpoint.split_once("://") {
        Some(("https", _)) => Ok(Some(endpoint.trim_end_matches('/'))),
        Some(("http", _)) if options.allow_http => Ok(Some(endpoint.trim_end_matches('/'))),
        Some(("http", _)) => fault("is plain HTTP, which storage.allow_http = true allows"),
        _ => fault("is no URL: expected https://HOST or http://HOST"),
    }
}

/// The library tries nothing again: its loops know of no budget and no breaker. [`crate::requests`] does.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// What every client is told: what the environment says of proxies and the like, and our own limits. The library's limit for a
/// request as a whole would cut large objects off.
fn client<K: FromStr>(
    options: &StorageOptions,
    prefix: &str,
    of_client: impl Fn(K) -> Option<ClientConfigKey>,
) -> Result<ClientOptions, StorageError> {
    let mut client = ClientOptions::new();
    for (name, value) in std::env::vars_os() {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
            && name.starts_with(prefix)
            && let Some(key) = name.to_ascii_lowercase().parse().ok().and_then(&of_client)
        {
            client = client.with_config(key, value);
        }
    }
    client = client
        .with_timeout(options.mirror_timeout)
        .with_read_timeout(options.timeout)
        .with_connect_timeout(options.timeout.min(MAX_CONNECT_TIMEOUT));
    if options.allow_http {
        client = client.with_allow_http(true);
    }
    for root in fallback_roots() {
        let root =
            Certificate::from_der(root).map_err(|error| StorageError::Open { reason: reason(&error) })?;
        client = client.with_root_certificate(root);
    }
    Ok(client)
}

/// Mozilla's root certificates where the system has none, as in slim containers: there, not even plain HTTP would be spoken.
fn fallback_roots() -> &'static [rustls::pki_types::CertificateDer<'static>] {
    let has_own = !rustls_native_certs::load_native_certs().certs.is_empty();
    if has_own { &[] } else { webpki_root_certs::TLS_SERVER_ROOT_CERTS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str, options: &StorageOptions) -> Result<String, String> {
        let url: StorageUrl = url.parse().unwrap();
        connect(&url, options).map(|store| store.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_opens() {
        let options = StorageOptions::default();
        assert_eq!(opened("s3://bucket/x", &options).unwrap(), "AmazonS3(bucket)");
        assert_eq!(opened("s3://localhost:1/bucket/x", &options).unwrap(), "AmazonS3(bucket)");
        assert_eq!(opened("gs://bucket/x", &options).unwrap(), "GoogleCloudStorage(bucket)");
        let azure = opened("as://account/container/x", &options).unwrap();
        assert!(azure.contains("account") && azure.contains("container"), "{azure}");
    }

    #[test]
    fn endpoints_are_checked() {
        let with = |endpoint: &str, allow_http| {
            let mut options = StorageOptions { allow_http, ..StorageOptions::default() };
            options.s3.endpoint = Some(endpoint.to_owned());
            opened("s3://bucket", &options)
        };
        assert!(with("https://minio.example", false).is_ok());
        assert!(with("http://minio.example:9000/", true).is_ok());
        let plain = "storage.s3.endpoint is plain HTTP, which storage.allow_http = true allows";
        assert_eq!(with("http://minio.example", false).unwrap_err(), plain);
        assert!(with("minio.example", true).unwrap_err().contains("is no URL"));
        let secret = with("https://key:secret@minio.example", false).unwrap_err();
        assert!(secret.contains("credentials") && !secret.contains("secret@"), "{secret}");
    }
}
