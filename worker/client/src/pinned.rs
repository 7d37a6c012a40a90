//! Trust in one authority that is known by its fingerprint only: the first contact of a worker with its master.

use std::sync::{Arc, OnceLock};

use capstan_model::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Accepts a server whose certificate was issued by the authority with this fingerprint, which it must send along.
#[derive(Debug)]
pub(crate) struct Pinned {
    fingerprint: Digest,
    provider: Arc<CryptoProvider>,
    found: OnceLock<Digest>,
}

impl Pinned {
    pub fn new(fingerprint: Digest, provider: Arc<CryptoProvider>) -> Self {
        Self {
            fingerprint,
            provider,
            found: OnceLock::new(),
        }
    }

    /// The fingerprint of the authority that was shown, if it was another.
    pub fn foreign(&self) -> Option<Digest> {
        self.found.get().copied()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = intermediates.iter().find(|c| Digest::of(c) == self.fingerprint) else {
            let shown = intermediates.last().unwrap_or(end_entity);
            // The first answer is the one to report.
            let _already = self.found.set(Digest::of(shown));
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
