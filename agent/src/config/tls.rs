//! How the line to the broker is encrypted, and by whom each side is known.
//!
//! In: `ca_file`, `client_cert_file` and `client_key_file` of a section, and the files they name. Out: what rustls
//! needs, or every problem. Trusts nothing but `ca_file`: a depot's broker has a certificate of the depot's own. It may
//! speak TLS 1.2, as brokers in the field do that nobody can upgrade; the line to the hub may not
//! (`docs/decisions/0008-certificate-and-signature.md`).

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::read::{Problem, Section};

/// `None` without `ca_file`, or with a problem.
pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Arc<ClientConfig>> {
    let ca_file = section.optional_path("ca_file", problems);
    let cert_file = section.optional_path("client_cert_file", problems);
    let key_file = section.optional_path("client_key_file", problems);
    if ca_file.is_none() && (cert_file.is_some() || key_file.is_some()) {
        problems.push(section.problem("ca_file", "is missing", "name the certificates by which the broker is trusted"));
    }
    let client = match (cert_file, key_file) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            let certs = certificates(section, "client_cert_file", &cert, problems);
            let key = private_key(section, &key, problems);
            Some((certs?, key?))
        }
        (Some(_), None) => {
            problems.push(section.problem("client_key_file", "is missing", "name the key of client_cert_file"));
            return None;
        }
        (None, Some(_)) => {
            problems.push(section.problem("client_cert_file", "is missing", "name the certificate of client_key_file"));
            return None;
        }
    };
    let ca_file = ca_file?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(section, "ca_file", &ca_file, problems)? {
        if let Err(error) = roots.add(certificate) {
            let what = format!("{} holds a certificate that cannot be used: {error}", ca_file.display());
            problems.push(section.problem("ca_file", what, "name certificates of an authority, in PEM"));
            return None;
        }
    }
    match config(roots, client) {
        Ok(config) => Some(Arc::new(config)),
        Err(error) => {
            problems.push(section.problem(
                "client_cert_file",
                format!("does not go with client_key_file: {error}"),
                "name a certificate and the key that it was made for",
            ));
            None
        }
    }
}

type Client = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn config(roots: RootCertStore, client: Option<Client>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificates, key)) => builder.with_client_auth_cert(certificates, key),
    }
}

fn certificates(
    section: &Section,
    key: &str,
    path: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let what = match read {
        Ok(certificates) if !certificates.is_empty() => return Some(certificates),
        Ok(_) => format!("{} holds no certificate", path.display()),
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    };
    problems.push(section.problem(key, what, "name a file of certificates in PEM, readable by the agent"));
    None
}

fn private_key(section: &Section, path: &Path, problems: &mut Vec<Problem>) -> Option<PrivateKeyDer<'static>> {
    match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => Some(key),
        Err(error) => {
            problems.push(section.problem(
                "client_key_file",
                format!("{} cannot be read: {error}", path.display()),
                "name a file with the private key in PEM, readable by the agent alone",
            ));
            None
        }
    }
}
