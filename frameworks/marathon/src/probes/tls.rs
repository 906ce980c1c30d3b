//! TLS for probes: whatever certificate a task has is taken, as Marathon does. A probe asks whether somebody serves, not who.

pub(super) use tepui_http::tls::any_certificate;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        sync::Arc,
        thread,
    };

    use rustls::{
        ServerConfig, ServerConnection, StreamOwned,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    };
    use tepui_marathon_core::ProbeOutcome;

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
