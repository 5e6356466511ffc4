//! TLS where it ends here: a certificate and its key from files, which are looked at again and again, so
//! that one that was renewed is taken up without a restart.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tokio_util::sync::CancellationToken;

use crate::config::Server;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first byte of a handshake (RFC 8446 §5.1); nothing of HTTP begins so.
pub const HANDSHAKE: u8 = 0x16;

pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<[Seen; 2]>,
}

/// By what a file differs from one that it was before.
type Seen = Option<(SystemTime, u64, u64)>;

impl Tls {
    /// From the files that are named; nothing where none is.
    ///
    /// # Errors
    /// Name the key of the configuration.
    pub fn of(config: &Server) -> anyhow::Result<Option<Arc<Self>>> {
        let (certificate, key) = (&config.tls_cert_file, &config.tls_key_file);
        let named = |path: &Path| !path.as_os_str().is_empty();
        if !named(certificate) && !named(key) {
            return Ok(None);
        }
        ensure!(
            named(certificate) && named(key),
            "server.tls_cert_file and server.tls_key_file belong together: set both"
        );
        // Before they are read: what changes meanwhile is seen next time.
        let seen = Mutex::new([seen(certificate), seen(key)]);
        Ok(Some(Arc::new(Self {
            current: ArcSwap::from_pointee(load(certificate, key)?),
            certificate: certificate.clone(),
            key: key.clone(),
            seen,
        })))
    }

    /// For one handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.current.load_full().into()
    }

    /// Takes up what the files become, until `stop`. A pair that cannot be used changes nothing.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let follow = async {
            loop {
                ticks.tick().await;
                self.look();
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    fn look(&self) {
        let now = [seen(&self.certificate), seen(&self.key)];
        let before = {
            let mut seen = self.seen.lock().expect("no holder panics");
            std::mem::replace(&mut *seen, now)
        };
        if now == before {
            return;
        }
        match load(&self.certificate, &self.key) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!("a new certificate is served");
            }
            // Two files are not changed at once: the other one may follow.
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the certificate has changed and cannot be used; the one before is served on"
            ),
        }
    }
}

fn seen(path: &Path) -> Seen {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn load(certificate: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let named = |name: &str, path: &Path| format!("server.{name} = {:?}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| named("tls_cert_file", certificate))?;
    ensure!(
        !chain.is_empty(),
        "{}: there is no certificate in it",
        named("tls_cert_file", certificate)
    );
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| named("tls_key_file", key))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .with_context(|| named("tls_cert_file", certificate))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair() -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        [params.self_signed(&key).unwrap().pem(), key.serialize_pem()]
    }

    #[test]
    fn only_a_pair_that_can_be_used_is_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let [first, new] = [pair(), pair()];
        fs::write(&certificate, &first[0]).unwrap();
        fs::write(&key, &first[1]).unwrap();
        let tls = Tls {
            current: ArcSwap::from_pointee(load(&certificate, &key).unwrap()),
            seen: Mutex::new([seen(&certificate), seen(&key)]),
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let mut served = tls.current.load_full();
        let mut is_new = || {
            tls.look();
            let before = std::mem::replace(&mut served, tls.current.load_full());
            !Arc::ptr_eq(&before, &served)
        };
        assert!(!is_new(), "nothing has changed");
        fs::write(&certificate, "no certificate").unwrap();
        assert!(!is_new(), "no certificate");
        fs::write(&certificate, &new[0]).unwrap();
        assert!(!is_new(), "with the key of another");
        fs::remove_file(&key).unwrap();
        assert!(!is_new(), "without a key");
        fs::write(&key, &new[1]).unwrap();
        assert!(is_new());
        assert!(!is_new(), "once");
    }
}
