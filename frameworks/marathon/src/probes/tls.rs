//! TLS for probes: whatever certificate a task has is taken, as Marathon does. A probe asks whether somebody serves, not who.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// A configuration under which every certificate is good.
pub(super) fn any_certificate() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider);
    // Ring knows the suites of both versions, so this cannot fail.
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3");
    builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// Takes every certificate, if its holder has the key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
    use tepui_marathon_core::ProbeOutcome;

    use super::*;
    use crate::probes::http::{Client, Target};

    /// Serves one request over TLS with a certificate that nobody has signed, that names another host and is out of date.
    fn server() -> u16 {
        let certificate = CertificateDer::from(include_bytes!("testdata/certificate.der").to_vec());
        let key = include_bytes!("testdata/key.der").to_vec();
        let key = PrivateKeyDer::try_from(key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                let config = config.with_no_client_auth();
                config.with_single_cert(vec![certificate], key)
            });
        let config = Arc::new(config.expect("fits"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a client");
            let connection = ServerConnection::new(config).expect("good");
            let mut stream = StreamOwned::new(connection, socket);
            let mut request = [0; 1024];
            let read = stream.read(&mut request).expect("a request");
            assert!(request[..read].starts_with(b"GET /x HTTP/1.1"));
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).expect("written");
            stream.conn.send_close_notify();
            let _ = stream.flush(); // the client may have gone
        });
        port
    }

    #[tokio::test]
    async fn any_certificate_is_taken() {
        let target = Target {
            host: "127.0.0.1",
            port: server(),
            tls: true,
            path: "/x",
        };
        let outcome = Client::new().probe(target, false).await;
        assert_eq!(outcome, ProbeOutcome::Healthy);
    }
}
