//! Questions to the file system of a volume. What keeps it may be out of reach, and then the file system does not answer, for minutes or for
//! ever: such a question holds up nothing but the one who asks, and him not for long.

use std::path::Path;
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a file system may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Questions at a time, those that nobody waits for any more among them: each has a thread, which ends when the file system answers.
static ASKED: Semaphore = Semaphore::const_new(64);

/// Puts a question, which may block, about this place.
///
/// # Errors
///
/// There is no answer in time: says where from, and what to look at.
pub(super) async fn ask<T: Send + 'static>(
    place: &Path,
    question: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, String> {
    ask_within(PATIENCE, place, question).await
}

async fn ask_within<T: Send + 'static>(
    patience: Duration,
    place: &Path,
    question: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, String> {
    let silent = || {
        format!(
            "the file system at {} has not answered within {patience:?}: see whether what keeps the volume can be reached from this machine",
            place.display()
        )
    };
    let asked = place.to_owned();
    let answer = async {
        // It is never closed.
        let permit = ASKED.acquire().await.ok()?;
        let thread = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            question(&asked)
        });
        thread.await.ok()
    };
    let answer = tokio::time::timeout(patience, answer).await;
    answer.ok().flatten().ok_or_else(silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_a_silent_file_system_is_told_so_and_others_are_answered() {
        let (wake, hangs) = std::sync::mpsc::channel::<()>();
        let place = Path::new("/gone");
        let silent = ask_within(Duration::from_millis(20), place, move |_| hangs.recv());
        let told = silent.await.unwrap_err();
        assert_eq!(
            told,
            "the file system at /gone has not answered within 20ms: see whether what keeps the volume can be reached from this machine"
        );
        assert_eq!(ask(Path::new("/"), Path::is_dir).await, Ok(true));
        // The thread ends when there is an answer.
        drop(wake);
    }
}
