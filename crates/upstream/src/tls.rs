//! TLS to an upstream: rustls over aws-lc-rs. Its certificate is always verified.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{Settings, SetupError};

/// The client's side, from the files that are named; an error names the key.
pub(crate) fn config(settings: &Settings) -> Result<Arc<ClientConfig>, SetupError> {
    let fault = |key, path: &Path, why: &dyn std::fmt::Display| {
        SetupError(format!("{key} = {:?}: {why}", path.display()))
    };
    let certificates = |key, path: &Path| {
        let read = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(key, path, &error))?;
        if read.is_empty() {
            return Err(fault(key, path, &"there is no certificate in it"));
        }
        Ok(read)
    };
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            for certificate in certificates("ca_file", path)? {
                let added = roots.add(certificate);
                added.map_err(|error| fault("ca_file", path, &error))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let mut config = match (&settings.cert_file, &settings.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("cert_file", certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key);
            let secret = secret.map_err(|error| fault("key_file", key, &error))?;
            let made = builder.with_client_auth_cert(chain, secret);
            made.map_err(|error| fault("cert_file", certificate, &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            let why = "cert_file and key_file belong together: set both";
            return Err(SetupError(why.to_owned()));
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
