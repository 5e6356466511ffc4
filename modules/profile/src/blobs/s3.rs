//! Blobs as objects of an S3-compatible store, each request signed by itself (AWS Signature Version 4).

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use axum::body::Bytes;
use reqwest::{Client, Method, Response, StatusCode, redirect::Policy};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

use super::{BlobStore, Key, MAX_BYTES};
use crate::config::Config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For a request as a whole.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a signature is good for: the clocks of two machines, and a request that waits.
const SIGNED_FOR: Duration = Duration::from_secs(300);

pub(super) struct S3 {
    http: Client,
    bucket: Bucket,
    credentials: Credentials,
}

impl S3 {
    /// Asks nobody anything: a store that is away must not keep profiles from being served.
    ///
    /// # Errors
    /// When the configuration names no store.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let endpoint = Url::parse(&config.s3_endpoint).context("profile.s3_endpoint")?;
        let style = if config.s3_path_style {
            UrlStyle::Path
        } else {
            UrlStyle::VirtualHost
        };
        let (name, region) = (config.s3_bucket.clone(), config.s3_region.clone());
        let bucket = Bucket::new(endpoint, style, name, region).context("profile.s3_endpoint")?;
        let credentials = Credentials::new(
            &*config.s3_access_key_id,
            config.s3_secret_access_key.expose(),
        );
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A signature is for one address; where a redirect leads, nobody has configured.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .context("the client for profile.s3_endpoint")?;
        Ok(Self {
            http,
            bucket,
            credentials,
        })
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<Bytes>,
    ) -> anyhow::Result<Response> {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await;
        // The URL carries a signature: not for logs.
        answer.map_err(|error| anyhow::Error::new(error.without_url()).context("the S3 store"))
    }
}

fn refused(status: StatusCode) -> anyhow::Error {
    anyhow::anyhow!("the S3 store answers {status}")
}

#[async_trait]
impl BlobStore for S3 {
    async fn put(&self, key: &Key, content: Bytes) -> anyhow::Result<()> {
        let action = self.bucket.put_object(Some(&self.credentials), &key.0);
        let url = action.sign(SIGNED_FOR);
        let answer = self.send(Method::PUT, url, Some(content)).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => {
                not_found(answer).await?;
                bail!(refused(StatusCode::NOT_FOUND))
            }
            status => bail!(refused(status)),
        }
    }

    async fn get(&self, key: &Key) -> anyhow::Result<Option<Bytes>> {
        let action = self.bucket.get_object(Some(&self.credentials), &key.0);
        let url = action.sign(SIGNED_FOR);
        let mut answer = self.send(Method::GET, url, None).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return not_found(answer).await,
            status => bail!(refused(status)),
        }
        let mut content = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            let bytes = content.len() + chunk.len();
            ensure!(
                bytes <= MAX_BYTES,
                "the S3 store sends more than a blob has"
            );
            content.extend_from_slice(&chunk);
        }
        Ok(Some(content.into()))
    }

    async fn delete(&self, key: &Key) -> anyhow::Result<()> {
        let action = self.bucket.delete_object(Some(&self.credentials), &key.0);
        let url = action.sign(SIGNED_FOR);
        let answer = self.send(Method::DELETE, url, None).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => not_found(answer).await.map(drop),
            status => bail!(refused(status)),
        }
    }
}

/// 404 says that the object is not there, or that the bucket is not: then whoever configured it has to know,
/// and nothing is to be forgotten as deleted.
async fn not_found(mut answer: Response) -> anyhow::Result<Option<Bytes>> {
    let mut said = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        said.extend_from_slice(&chunk);
        if said.len() > 4_096 {
            break;
        }
    }
    let no_bucket = b"NoSuchBucket";
    ensure!(
        !said.windows(no_bucket.len()).any(|part| part == no_bucket),
        "the S3 store knows no bucket of that name (profile.s3_bucket)"
    );
    Ok(None)
}

#[cfg(test)]
pub(super) mod tests {
    use hyper_util::rt::TokioIo;
    use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
    use tempfile::TempDir;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{config::tests::config, domain::AvatarSize};

    /// A server that checks signatures, on a folder with one bucket.
    pub(in super::super) struct Server {
        address: std::net::SocketAddr,
        _folder: TempDir,
    }

    impl Server {
        pub(in super::super) async fn start() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(folder.path().join("pictures")).expect("a bucket");
            let files = s3s_fs::FileSystem::new(folder.path()).expect("a store");
            let mut service = S3ServiceBuilder::new(files);
            service.set_auth(SimpleAuth::from_single("ada", "the secret"));
            let service = service.build();
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let http = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(http.serve_connection(TokioIo::new(socket), service.clone()));
                }
            });
            Self {
                address,
                _folder: folder,
            }
        }

        pub(in super::super) fn store(&self, overrides: &str) -> S3 {
            S3::new(&config(&self.section(overrides)).expect("valid")).expect("a store")
        }

        fn section(&self, overrides: &str) -> String {
            let mut table: toml::Table = format!(
                "blobs = \"s3\"\ns3_endpoint = \"http://{}\"\ns3_bucket = \"pictures\"\n\
                 s3_access_key_id = \"ada\"\ns3_secret_access_key = \"the secret\"",
                self.address
            )
            .parse()
            .expect("TOML");
            table.extend(overrides.parse::<toml::Table>().expect("TOML"));
            table.to_string()
        }
    }

    /// Whatever is asked of it fails, for this reason, and the error holds no signature.
    async fn assert_refuses(store: &S3, why: &str) {
        let key = Key::of_avatar(uuid::Uuid::nil(), AvatarSize::Small);
        let refusals = [
            store.put(&key, Bytes::from_static(b"x")).await.err(),
            store.get(&key).await.err(),
            store.delete(&key).await.err(),
        ];
        for refused in refusals {
            let refused = format!("{:#}", refused.expect("it is refused"));
            assert!(refused.contains(why), "{refused}");
            assert!(!refused.contains("Signature"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_store_that_refuses_is_not_one_without_the_blob() {
        let server = Server::start().await;
        for (overrides, why) in [
            ("s3_secret_access_key = \"another\"", "403"),
            ("s3_access_key_id = \"eve\"", "403"),
            // Nobody is there.
            ("s3_endpoint = \"http://127.0.0.1:9\"", "the S3 store"),
        ] {
            assert_refuses(&server.store(overrides), why).await;
        }
    }

    /// In AWS's words: the server above makes buckets as it needs them.
    #[tokio::test]
    async fn a_bucket_that_is_not_there_is_not_an_empty_one() {
        let no_bucket = || async {
            let said = "<Error><Code>NoSuchBucket</Code><BucketName>pictures</BucketName></Error>";
            (axum::http::StatusCode::NOT_FOUND, said)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(no_bucket);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let server = Server::start().await;
        let store = server.store(&format!("s3_endpoint = \"{endpoint}\""));
        assert_refuses(&store, "profile.s3_bucket").await;
    }
}
