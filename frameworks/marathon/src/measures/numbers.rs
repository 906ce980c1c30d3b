//! Numbers of Prometheus, fetched so that whoever does not answer holds nobody else up.
//!
//! Each host is asked by a few at once. One that did not answer in time is not asked again for a while, and then among others of its kind only,
//! until it answers: who answers shares the permits with those that do.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::probes::HttpClient;

/// Requests under way at once.
const MAX_ASKED: usize = 64;
/// Of these, to one host.
const MAX_OF_HOST: usize = 4;
/// Requests under way at once to hosts that did not answer the last time.
const MAX_DOUBTFUL: usize = 16;
/// A request that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(5);
/// A host that did not answer is not asked again before.
const PAUSE: Duration = Duration::from_secs(10);
/// Hosts that are remembered; when there are more, those that nobody asks are forgotten.
const MAX_HOSTS: usize = 1024;
/// Of a page of metrics, or an answer of Prometheus, so much is read, in bytes.
const MAX_PAGE: usize = 8 << 20;

/// All hosts that are asked for numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    client: HttpClient,
    good: Semaphore,
    doubtful: Semaphore,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    limit: Duration,
}

#[derive(Debug)]
struct Host {
    permits: Semaphore,
    /// When it did not answer, unless it has answered since.
    silent: Mutex<Option<Instant>>,
}

impl Numbers {
    pub(super) fn new(client: HttpClient) -> Self {
        Self {
            client,
            good: Semaphore::new(MAX_ASKED),
            doubtful: Semaphore::new(MAX_DOUBTFUL),
            hosts: Mutex::default(),
            limit: LIMIT,
        }
    }

    /// The page at a URL.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) async fn page(&self, url: &str) -> Result<Bytes, String> {
        let name = host_of(url)?;
        let host = self.host(&name);
        let over = |_| "nothing is measured any more".to_owned();
        let _of_host = host.permits.acquire().await.map_err(over)?;
        let silent = *host.silent.lock();
        if silent.is_some_and(|since| since.elapsed() < PAUSE) {
            let limit = self.limit.as_secs();
            return Err(format!("{name} has just not answered within {limit} s"));
        }
        let pool = if silent.is_some() {
            &self.doubtful
        } else {
            &self.good
        };
        let _permit = pool.acquire().await.map_err(over)?;
        let answer = timeout(self.limit, self.client.fetch(url, MAX_PAGE)).await;
        *host.silent.lock() = answer.is_err().then(Instant::now);
        answer.unwrap_or_else(|_| Err(format!("nothing came within {} s", self.limit.as_secs())))
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= MAX_HOSTS {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = Arc::new(Host {
            permits: Semaphore::new(MAX_OF_HOST),
            silent: Mutex::default(),
        });
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

/// Whom a URL asks.
fn host_of(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|error| format!("is no URL: {error}"))?;
    let authority = uri.authority().map(|one| one.as_str().to_ascii_lowercase());
    authority.ok_or_else(|| format!("{url} names no host"))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
    };

    use super::*;

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        (listener, format!("http://{address}/metrics"))
    }

    async fn serve(listener: TcpListener) {
        while let Ok((mut peer, _)) = listener.accept().await {
            let _ = peer.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\na 1\n";
            peer.write_all(answer.as_bytes()).await.ok();
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_holds_nobody_else_up() {
        // They take connections and never answer: for more apps each than there are permits.
        let mut hanging = Vec::new();
        for _ in 0..3 {
            hanging.push(listener().await);
        }
        let (good, url) = listener().await;
        let server = tokio::spawn(serve(good));
        let numbers = Arc::new(Numbers::new(HttpClient::new()));
        let mut waiting = JoinSet::new();
        for (_, url) in &hanging {
            for _ in 0..2 * MAX_ASKED {
                let (numbers, url) = (Arc::clone(&numbers), url.clone());
                waiting.spawn(async move { numbers.page(&url).await });
            }
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(
            numbers.good.available_permits() < MAX_ASKED,
            "some are asked"
        );
        let answer = timeout(LIMIT / 2, numbers.page(&url)).await;
        assert_eq!(answer.expect("at once"), Ok(Bytes::from_static(b"a 1\n")));
        waiting.shutdown().await;
        server.abort();
    }

    #[tokio::test]
    async fn who_did_not_answer_is_asked_again_after_a_while_and_believed_when_it_answers() {
        let (silent, url) = listener().await;
        let mut numbers = Numbers::new(HttpClient::new());
        numbers.limit = Duration::from_millis(100);
        let first = numbers.page(&url).await.expect_err("it says nothing");
        assert!(first.starts_with("nothing came"), "{first}");
        let second = numbers.page(&url).await.expect_err("it was not asked");
        assert!(second.contains("has just not answered"), "{second}");
        let name = host_of(&url).expect("a host");
        let host = numbers.host(&name);
        let long_ago = Instant::now().checked_sub(PAUSE).expect("a time");
        *host.silent.lock() = Some(long_ago);
        numbers.limit = LIMIT;
        let server = tokio::spawn(serve(silent));
        assert_eq!(numbers.page(&url).await, Ok(Bytes::from_static(b"a 1\n")));
        assert_eq!(*host.silent.lock(), None);
        server.abort();
    }

    #[test]
    fn a_url_names_whom_it_asks() {
        assert_eq!(
            host_of("http://Prom:9090/api?x=1"),
            Ok("prom:9090".to_owned())
        );
        assert!(host_of("/metrics").is_err());
    }
}
