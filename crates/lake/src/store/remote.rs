//! Buckets by their URL. Credentials and endpoints come from the environment, as the providers' own tools
//! read them.

use crate::Error;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Name;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// A place for tables, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A prefix of a bucket.
    Bucket(Url),
}

impl Place {
    /// Reads `s3://bucket/prefix`, `gs://…`, `az://…`, `abfss://…` or `file:///folder`. The error says what
    /// would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!(
                "{text:?} is not a URL ({error}); write s3://bucket/prefix, gs://…, az://… or file:///folder"
            )
        })?;
        let may_have_user = matches!(url.scheme(), "abfs" | "abfss");
        if url.password().is_some() || !(url.username().is_empty() || may_have_user) {
            return Err(
                "credentials do not belong into the URL; they are taken from the environment".to_owned()
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL of a storage ends with its path; leave out what follows ? or #".to_owned());
        }
        match url.scheme() {
            "file" => {
                let path = url.to_file_path();
                path.map(Self::Folder).map_err(|()| format!("{text:?} names no folder; write file:///folder"))
            }
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => match url.host_str() {
                Some(host) if !host.is_empty() => Ok(Self::Bucket(url)),
                _ => Err(format!("{text:?} names no bucket; write {}://bucket/prefix", url.scheme())),
            },
            scheme => Err(format!("{scheme}:// is not known; there are s3://, gs://, az:// and file://")),
        }
    }
}

/// The bucket that `url` names, and the prefix in it. Asks nothing of it yet. Requests are not tried again
/// by the client: [`super::requests`] does that, and bounds their time.
pub(super) fn connect(url: &Url) -> Result<(Arc<dyn ObjectStore>, Name), Error> {
    let fault =
        |error: object_store::Error| Error::Storage { place: url.to_string(), why: error.to_string() };
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    // Longer than our own bound, which depends on the size of the body.
    let (timeout, connect) = (ClientConfigKey::Timeout, ClientConfigKey::ConnectTimeout);
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "gs" => {
            let client = |key| object_store::gcp::GoogleConfigKey::Client(key);
            let builder = GoogleCloudStorageBuilder::from_env()
                .with_config(client(timeout), LONGEST_REQUEST)
                .with_config(client(connect), LONGEST_CONNECT)
                .with_url(url.as_str())
                .with_retry(once);
            Arc::new(builder.build().map_err(fault)?)
        }
        "s3" | "s3a" => {
            let client = |key| object_store::aws::AmazonS3ConfigKey::Client(key);
            let builder = AmazonS3Builder::from_env()
                .with_config(client(timeout), LONGEST_REQUEST)
                .with_config(client(connect), LONGEST_CONNECT)
                .with_url(url.as_str())
                .with_retry(once);
            Arc::new(builder.build().map_err(fault)?)
        }
        _ => {
            let client = |key| object_store::azure::AzureConfigKey::Client(key);
            let builder = MicrosoftAzureBuilder::from_env()
                .with_config(client(timeout), LONGEST_REQUEST)
                .with_config(client(connect), LONGEST_CONNECT)
                .with_url(url.as_str())
                .with_retry(once);
            Arc::new(builder.build().map_err(fault)?)
        }
    };
    let prefix = Name::from_url_path(url.path());
    let prefix = prefix.map_err(|error| Error::Storage { place: url.to_string(), why: error.to_string() })?;
    Ok((store, prefix))
}

const LONGEST_REQUEST: &str = "3600 seconds";
const LONGEST_CONNECT: &str = "5 seconds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, expect) in [
            ("s3://bucket/some/prefix", "bucket"),
            ("s3://bucket", "bucket"),
            ("gs://bucket/x", "bucket"),
            ("az://container/x", "bucket"),
            ("abfss://container@account.dfs.core.windows.net/x", "bucket"),
            ("file:///var/lib/x", "folder"),
            ("/var/lib/x", "is not a URL"),
            ("s3:///x", "names no bucket"),
            ("s3://key:secret@bucket", "credentials do not belong"),
            ("s3://bucket?x=y", "ends with its path"),
            ("https://bucket.s3.amazonaws.com", "is not known"),
        ] {
            let place = match Place::parse(text) {
                Ok(Place::Folder(_)) => "folder".to_owned(),
                Ok(Place::Bucket(_)) => "bucket".to_owned(),
                Err(why) => why,
            };
            assert!(place.contains(expect) && !place.contains("secret"), "{text}: {place}");
        }
    }
}
