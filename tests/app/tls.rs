//! TLS that ends at the front door.

use std::{net::SocketAddr, path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::TestApp;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for localhost, as PEM.
fn pair(of: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, of).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Who trusts this authority alone.
fn client(trusted: &Authority, address: SocketAddr) -> Client {
    let authority = Certificate::from_pem(trusted.pem().as_bytes()).unwrap();
    Client::builder()
        .tls_certs_only([authority])
        .resolve("localhost", address)
        .build()
        .unwrap()
}

/// An installation whose front door has the certificate, and where that is.
async fn serve(folder: &Path, more: &str) -> (TestApp, SocketAddr) {
    let path = |name: &str| folder.join(name).display().to_string();
    let app = TestApp::configured(&format!(
        "[server]\ntls_cert_file = {:?}\ntls_key_file = {:?}\n{more}",
        path("cert.pem"),
        path("key.pem")
    ))
    .await;
    let address = app.url.strip_prefix("http://").unwrap().parse().unwrap();
    (app, address)
}

fn write(folder: &Path, (certificate, key): &(String, String)) {
    std::fs::write(folder.join("cert.pem"), certificate).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

#[tokio::test]
async fn a_certificate_is_served_and_a_new_one_taken_up() {
    let (first, second) = (authority(), authority());
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &pair(&first));
    let (_app, address) = serve(folder.path(), "").await;
    let url = format!("https://localhost:{}/health/live", address.port());
    let get = async |client: &Client| client.get(&url).send().await.map(|a| a.status().as_u16());
    // Keeps its connection.
    let old = client(&first, address);
    assert_eq!(get(&old).await.unwrap(), 200);
    assert!(
        get(&client(&second, address)).await.is_err(),
        "another authority's"
    );

    write(folder.path(), &pair(&second));
    let fresh = || client(&second, address);
    while get(&fresh()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&old).await.unwrap(), 200, "an open connection goes on");
    assert!(get(&client(&first, address)).await.is_err());
}

#[tokio::test]
async fn what_is_no_tls_does_no_harm() {
    let trusted = authority();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &pair(&trusted));
    let limits = "header_timeout_seconds = 1\nmax_connections = 10";
    let (_app, address) = serve(folder.path(), limits).await;
    let said = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end as any.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let plain = said(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
    let (head, body) = plain.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["type"], "/problems/https-required");

    // More than there are places; each is given back in time.
    let silent: &[u8] = b"";
    let garbage = [
        silent,
        b"\x16\x03\x01",
        b"\x16\x03\x01\xff\xff\xff\xff",
        b"\0\0\0\0",
    ];
    let crowd = (0..6).flat_map(|_| garbage).map(said);
    let ends = futures::future::join_all(crowd);
    let ends = tokio::time::timeout(Duration::from_secs(30), ends).await;
    ends.expect("whoever does not shake hands is let go");
    let url = format!("https://localhost:{}/health/live", address.port());
    let answer = client(&trusted, address).get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}
