//! The server without a leader, and backups that are read slowly.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn targets_without_a_path_are_refused() {
    let config = Arc::new(Config::new("127.0.0.1:5050", "unused"));
    let standing = watch::channel(Standing::Following("127.0.0.1:1".to_owned())).1;
    let face = Arc::new(Face::new(config, "127.0.0.1:8080".to_owned(), standing));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(Arc::clone(&face).serve(listener));
    let ask = async |method: &str, target: &str| {
        let mut stream = TcpStream::connect(address).await.expect("listens");
        let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        answer
    };
    let mut refused = 0;
    for method in ["CONNECT", "GET", "POST", "OPTIONS"] {
        for target in ["a:1", "a", "[::1]:8080", "*"] {
            let answer = ask(method, target).await;
            let asked = format!("{method} {target}");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{asked}: {answer}");
            let sentence = format!(
                "{{\"message\":\"The target '{target}' of this {method} request has no path"
            );
            assert!(answer.contains(&sentence), "{asked}: {answer}");
            refused += 1;
        }
    }
    assert_eq!(face.stats.answers[4].load(Ordering::Relaxed), refused);
    // Followers send on; nobody listens there.
    let answer = ask("GET", "/ping").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    server.abort();
}

#[tokio::test]
async fn a_backup_stands_in_the_way_of_the_next_until_it_is_read_or_too_old() {
    let one = Arc::new(Semaphore::new(1));
    let take = || Arc::clone(&one).try_acquire_owned();
    use futures::StreamExt as _;
    // More than waits to be read.
    let make = |to: mpsc::Sender<Bytes>| async move {
        for _ in 0..BACKUP_PIECES + 2 {
            let _ = to.send(Bytes::from_static(b"all")).await;
        }
    };
    let patience = Duration::from_secs(600);
    let mut pieces = made(make, take().expect("nobody has it"), patience);
    assert_eq!(pieces.next().await.as_deref(), Some(&b"all"[..]));
    tokio::task::yield_now().await;
    assert!(take().is_err(), "a part is still to be read");
    assert_eq!(pieces.count().await, BACKUP_PIECES + 1);
    let permit = Arc::clone(&one).acquire_owned().await.expect("it is read");
    let patience = Duration::from_millis(50);
    let since = Instant::now();
    let unread = made(make, permit, patience);
    let _permit = one.acquire().await.expect("open");
    assert!(since.elapsed() >= patience, "{:?}", since.elapsed());
    drop(unread);
}
