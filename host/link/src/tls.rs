//! TLS for the server's end: TLS 1.3 with the one provider, our own authority on both sides.

use std::sync::Arc;

use capstan_model::Timestamp;
use capstan_wire::{ALPN_ENROLL, ALPN_WORKER};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::{Authority, Error, Options};

/// Unsent bytes of one worker that are kept in memory: orders and acknowledgements are small.
const SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// Connections that wait for us to look at them; beyond it they are turned away.
const BACKLOG: usize = 256;

/// The server's configuration with a fresh certificate.
///
/// A client without a certificate gets through the handshake, because newcomers have none; [`crate::serve`] decides by the
/// protocol that was agreed on. A certificate of another authority does not.
pub(crate) fn server_config(
    authority: &Authority,
    options: &Options,
    now: Timestamp,
) -> Result<ServerConfig, Error> {
    let tls = tls(authority, now).map_err(Error::Tls)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|e| Error::Tls(e.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport(options)))
        .max_incoming(BACKLOG);
    Ok(config)
}

fn tls(authority: &Authority, now: Timestamp) -> Result<rustls::ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let root = CertificateDer::from(authority.certificate().to_vec());
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(|e| e.to_string())?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| e.to_string())?;
    let (certificate, key) = authority.issue_server(now).map_err(|e| e.to_string())?;
    // The authority's certificate goes along: a newcomer knows its fingerprint only.
    let chain = vec![CertificateDer::from(certificate), root];
    let key = PrivatePkcs8KeyDer::from(key.to_vec());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(clients)
                .with_single_cert(chain, key.into())
        })
        .map_err(|e| e.to_string())?;
    tls.alpn_protocols = vec![ALPN_WORKER.to_vec(), ALPN_ENROLL.to_vec()];
    // Workers connect rarely: every connection proves itself anew.
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

fn transport(options: &Options) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(options.idle).ok())
        .receive_window(VarInt::from_u32(options.connection_window))
        .stream_receive_window(VarInt::from_u32(options.stream_window))
        .send_window(SEND_WINDOW)
        .max_concurrent_uni_streams(VarInt::from_u32(options.log_streams))
        // The control stream.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(options.segmentation_offload);
    transport
}
