//! TLS, and certificates on both sides.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

use crate::support::{Front, OK};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `<name>.pem` and `<name>.key` for a host.
    fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A server with the certificate of that name; it may ask clients for one of ours.
    async fn serve(&self, name: &str, mutual: bool) -> String {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let config = builder.with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut bytes = [0; 4_096];
                    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await;
                    let _ = stream.write_all(OK).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        format!("https://127.0.0.1:{port}")
    }
}

#[tokio::test]
async fn a_certificate_is_verified_always() {
    let ours = Authority::new();
    ours.issue("good", "127.0.0.1");
    ours.issue("other", "other.example");
    let good = ours.serve("good", false).await;
    let ca = format!("ca_file = {:?}", ours.path("ca.pem"));
    let answer = Front::at(std::slice::from_ref(&good), &ca)
        .await
        .get("/")
        .await;
    assert_eq!((answer.status, &*answer.body), (200, "ok"));
    // Not one of the public authorities; another host's certificate.
    assert_eq!(Front::at(&[good], "").await.get("/").await.status, 503);
    let other = ours.serve("other", false).await;
    assert_eq!(Front::at(&[other], &ca).await.get("/").await.status, 503);
}

#[tokio::test]
async fn who_must_show_a_certificate_can() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("server", "127.0.0.1");
    ours.issue("edge", "edge.example");
    theirs.issue("edge", "edge.example");
    let at = [ours.serve("server", true).await];
    let settings = |authority: &Authority| {
        format!(
            "ca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}",
            ours.path("ca.pem"),
            authority.path("edge.pem"),
            authority.path("edge.key"),
        )
    };
    assert_eq!(
        Front::at(&at, &settings(&ours)).await.get("/").await.status,
        200
    );
    let stranger = Front::at(&at, &settings(&theirs)).await.get("/").await;
    assert!(matches!(stranger.status, 502 | 503), "{stranger:?}");
    let nobody = format!("ca_file = {:?}", ours.path("ca.pem"));
    let nobody = Front::at(&at, &nobody).await.get("/").await;
    assert!(matches!(nobody.status, 502 | 503), "{nobody:?}");
}
