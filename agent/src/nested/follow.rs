//! Reads on a file that a container writes, from its present end to the container's.
//!
//! The file is another's: no link leads to it, and nothing but a plain file is read. One that is cut short is read from its beginning again;
//! one that is moved away, as those who rotate logs do, is read on until its successor is there, and that after it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncSeekExt, Interest};
use tokio::sync::{mpsc, watch};

use super::streams::{Kind, Piece};
use super::tree::Stage;
use crate::containerizer::beneath::Beneath;
use crate::containerizer::{register, watch_file};

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 32 << 10;
/// How often the successor of a file that was moved away is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Which file, in which sandbox.
pub(super) struct Followed {
    pub(super) sandbox: PathBuf,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

impl Followed {
    /// Opens it; `None` if there is no such file.
    fn open(&self) -> io::Result<Option<(File, AsyncFd<OwnedFd>)>> {
        let opened = Beneath::new(&self.sandbox)
            .and_then(|beneath| beneath.read_plain(Path::new(self.name)));
        let file = match opened {
            Ok(file) => file,
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let watched = register(watch_file(file.as_fd())?, Interest::READABLE)?;
        Ok(Some((file, watched)))
    }

    /// Sends what is written until the container has ended or nobody wants it any more.
    pub(super) async fn run(
        self,
        to: mpsc::Sender<Piece>,
        mut stage: watch::Receiver<Stage>,
    ) -> io::Result<()> {
        let Some((file, mut watched)) = self.open()? else {
            return Ok(());
        };
        let mut file = tokio::fs::File::from_std(file);
        let mut at = file.seek(io::SeekFrom::End(0)).await?;
        let mut buffer = vec![0; PIECE_BYTES];
        let (mut moved, mut over) = (false, false);
        loop {
            // What was written before it was moved comes before what its successor has.
            let next = if moved { self.open()? } else { None };
            loop {
                let length = file.read(&mut buffer).await?;
                if length == 0 {
                    break;
                }
                at += length as u64;
                let piece = Piece {
                    kind: self.kind,
                    data: Bytes::copy_from_slice(&buffer[..length]),
                };
                if to.send(piece).await.is_err() {
                    return Ok(());
                }
            }
            if let Some((next, next_watched)) = next {
                file = tokio::fs::File::from_std(next);
                watched = next_watched;
                (at, moved) = (0, false);
                continue;
            }
            if over {
                return Ok(());
            }
            if file.metadata().await?.len() < at {
                file.rewind().await?;
                at = 0;
                continue;
            }
            tokio::select! {
                now = has_moved(&watched) => moved |= now?,
                () = tokio::time::sleep(LOOK), if moved => {}
                // An error: it was removed, and so has ended.
                _ = stage.wait_for(|stage| matches!(stage, Stage::Ended(_))) => over = true,
                () = to.closed() => return Ok(()),
            }
        }
    }
}

/// Waits until something happens to the file; whether it goes by another name now, or none.
async fn has_moved(watched: &AsyncFd<OwnedFd>) -> io::Result<bool> {
    // An event is four numbers, the second of which says what happened; a file that is watched itself has no name with it.
    const EVENT_BYTES: usize = 16;
    let mut events = [0u8; 64 * EVENT_BYTES];
    let length = watched
        .async_io(Interest::READABLE, |fd| {
            Ok(nix::unistd::read(fd, &mut events)?)
        })
        .await?;
    let masks = events[..length].chunks_exact(EVENT_BYTES).map(|event| {
        let mask = [event[4], event[5], event[6], event[7]];
        u32::from_ne_bytes(mask)
    });
    let mut moved = masks.filter(|mask| mask & (libc::IN_MOVE_SELF | libc::IN_DELETE_SELF) != 0);
    Ok(moved.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_file_is_read_on_through_cuts_and_moves_to_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        std::fs::write(&path, "before\n").unwrap();
        let (to, mut pieces) = super::super::streams::queue();
        let (stage, running) = watch::channel(Stage::Running { pid: 1 });
        let followed = Followed {
            sandbox: dir.path().to_owned(),
            name: "stdout",
            kind: Kind::Out,
        };
        let following = tokio::spawn(followed.run(to, running));
        let append = |text: &str| {
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let mut seen = String::new();
        // Where it begins is not known from outside: it has begun once something is seen.
        while seen.is_empty() {
            append("x\n");
            let pause = Duration::from_millis(20);
            if let Ok(Some(piece)) = tokio::time::timeout(pause, pieces.recv()).await {
                seen.push_str(std::str::from_utf8(&piece.data).unwrap());
            }
        }
        assert!(!seen.contains("before"), "{seen}");
        let mut until = async |wanted: &str| {
            while !seen.ends_with(wanted) {
                let piece = pieces.recv().await.unwrap();
                seen.push_str(std::str::from_utf8(&piece.data).unwrap());
            }
        };
        append("one\n");
        until("one\n").await;
        File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        append("two\n");
        until("two\n").await;
        // Its writer goes on for a while, and its successor comes later.
        let mut writer = File::options().append(true).open(&path).unwrap();
        std::fs::rename(&path, dir.path().join("stdout.1")).unwrap();
        writer.write_all(b"late\n").unwrap();
        until("late\n").await;
        append("three\n");
        until("three\n").await;
        append("four\n");
        stage.send_replace(Stage::Ended(Arc::default()));
        until("four\n").await;
        assert_eq!(pieces.recv().await, None);
        following.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("stdout")).unwrap();
        let (to, _pieces) = super::super::streams::queue();
        let (_stage, running) = watch::channel(Stage::Launching);
        let followed = Followed {
            sandbox: dir.path().to_owned(),
            name: "stdout",
            kind: Kind::Out,
        };
        followed.run(to, running).await.unwrap_err();
    }
}
