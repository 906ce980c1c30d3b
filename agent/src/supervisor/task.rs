//! From a forked process to the task's program: the last steps, each of which can fail with words.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid};

use super::message::{
    Credentials, Launch, Program, Streams, Window, failed, failed_io, failure, send_descriptor,
};
use super::{passwd, sys};
use crate::containerizer::beneath::{open_without_links, through};
use crate::containerizer::isolators::Isolators;
use crate::containerizer::{Command, DEFAULT_PATH, LaunchFailure};

/// What a shell would say with: "command not found".
const NOT_EXECUTED: i32 = 127;

/// Where a program's output goes.
pub(super) enum Output<'a> {
    /// As a launch says, with the descriptors for it; standard input too.
    Launch(&'a Launch, &'a [OwnedFd]),
    /// To these descriptors.
    Pipes(&'a OwnedFd, &'a OwnedFd),
}

/// Becomes the program, or tells why not.
pub(super) fn main(
    program: &Program,
    isolators: &Isolators,
    failures: BorrowedFd<'_>,
    output: Output<'_>,
) -> ! {
    if let Err(failure) = become_program(program, isolators, output) {
        tell(failures, &failure);
    }
    sys::exit(NOT_EXECUTED);
}

/// Writes a failure, in one piece.
pub(super) fn tell(failures: BorrowedFd<'_>, failure: &LaunchFailure) {
    if let Ok(bytes) = serde_json::to_vec(failure) {
        let _ = nix::unistd::write(failures, &bytes);
    }
}

fn become_program(
    program: &Program,
    isolators: &Isolators,
    output: Output<'_>,
) -> Result<(), LaunchFailure> {
    nix::unistd::setsid().map_err(failed("make a session", ""))?;
    isolators.enter()?;
    let credentials = match &program.named_inside {
        Some(user) => Some(passwd::look_up(user)?),
        None => program.credentials.clone(),
    };
    match output {
        Output::Launch(launch, streams) => {
            if let (Some(root), Some(_), Some(own)) =
                (&launch.root, &program.named_inside, &credentials)
            {
                let (uid, gid) = (Uid::from_raw(own.uid), Gid::from_raw(own.gid));
                nix::unistd::chown(&root.sandbox_inside, Some(uid), Some(gid)).map_err(failed(
                    "give the sandbox to the user",
                    root.sandbox_inside.to_string_lossy(),
                ))?;
            }
            match (launch.streams, streams) {
                (Streams::Files, _) => {
                    let open =
                        |path| open_output(path, launch.root.is_none(), credentials.as_ref());
                    let (stdout, stderr) = (open(&launch.stdout)?, open(&launch.stderr)?);
                    redirect(None, &stdout, &stderr)?;
                }
                (Streams::Given, [stdin, stdout, stderr]) => {
                    for stream in [stdin, stdout, stderr] {
                        // So that it may be opened anew, by /dev/stdout; what cannot be owned can still be used.
                        let _ = give(stream, credentials.as_ref());
                    }
                    redirect(Some(stdin), stdout, stderr)?;
                }
                (Streams::Sent(window) | Streams::Kept(window), [socket]) => {
                    enter_terminal(window, socket, credentials.as_ref())?;
                }
                _ => return Err(failure("find the container's streams", "descriptors", 0)),
            }
        }
        Output::Pipes(stdout, stderr) => {
            redirect(None, stdout, stderr)?;
        }
    }
    let directory = &program.working_directory;
    let subject = directory.to_string_lossy();
    let words = "change to the directory";
    if program.on_host {
        open_without_links(directory).and_then(|sandbox| nix::unistd::fchdir(&sandbox))
    } else {
        nix::unistd::chdir(directory)
    }
    .map_err(failed(words, &subject))?;
    // A path such as /proc/self/fd/N could lead to what was opened on the host: then it has no name from here.
    if !nix::unistd::getcwd().is_ok_and(|there| there.is_absolute()) {
        return Err(failure(
            "change to a directory that is not the container's",
            &subject,
            0,
        ));
    }
    isolators.seal()?;
    if let Some(credentials) = &credentials {
        switch_user(credentials)?;
    }
    // Their actions are the default ones since the launcher began.
    sys::unblock_signals();
    Err(execute(program))
}

fn redirect(
    stdin: Option<&OwnedFd>,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) -> Result<(), LaunchFailure> {
    if let Some(stdin) = stdin {
        nix::unistd::dup2_stdin(stdin).map_err(failed("redirect standard input", ""))?;
    }
    nix::unistd::dup2_stdout(stdout).map_err(failed("redirect standard output", ""))?;
    nix::unistd::dup2_stderr(stderr).map_err(failed("redirect standard error", ""))
}

/// Opens a terminal inside, so that it has a name there, and passes its other side out.
fn enter_terminal(
    window: Window,
    socket: &OwnedFd,
    user: Option<&Credentials>,
) -> Result<(), LaunchFailure> {
    let (holder, programs) =
        sys::open_terminal(window).map_err(failed("open a terminal", "/dev/ptmx"))?;
    let _ = give(&programs, user);
    sys::control_by(programs.as_fd()).map_err(failed("take the terminal", ""))?;
    send_descriptor(socket.as_fd(), holder.as_fd()).map_err(failed("pass the terminal on", ""))?;
    redirect(Some(&programs), &programs, &programs)
}

fn give(stream: &OwnedFd, user: Option<&Credentials>) -> nix::Result<()> {
    let Some(user) = user else { return Ok(()) };
    nix::unistd::fchown(stream, Some(Uid::from_raw(user.uid)), None)
}

/// A file for output: appended to, created for the task's user; never through a link that somebody has put in the sandbox. `on_host`: by its
/// path there, which then has no links at all.
pub(super) fn open_output(
    path: &Path,
    on_host: bool,
    owner: Option<&Credentials>,
) -> Result<OwnedFd, LaunchFailure> {
    let subject = path.to_string_lossy();
    let directory;
    let mut path = path.to_owned();
    if on_host && let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        // The sandbox may be in another container's, where directories may be changed for links.
        directory = open_without_links(parent).map_err(failed("create", &subject))?;
        path = through(&directory).join(name);
    }
    let path = &path;
    let open = |options: &mut OpenOptions| {
        options
            .append(true)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY)
            .open(path)
    };
    let file: File = match open(OpenOptions::new().create_new(true)) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            let file = open(&mut OpenOptions::new()).map_err(failed_io("open", &subject))?;
            let kind = file
                .metadata()
                .map_err(failed_io("examine", &subject))?
                .mode()
                & libc::S_IFMT;
            if kind != libc::S_IFREG && kind != libc::S_IFCHR {
                return Err(failure("write output to what is not a file", &subject, 0));
            }
            file
        }
        created => {
            let file = created.map_err(failed_io("create", &subject))?;
            if let Some(owner) = owner {
                nix::unistd::fchown(
                    &file,
                    Some(Uid::from_raw(owner.uid)),
                    Some(Gid::from_raw(owner.gid)),
                )
                .map_err(failed("give to the task's user", &subject))?;
            }
            file
        }
    };
    Ok(file.into())
}

fn switch_user(credentials: &Credentials) -> Result<(), LaunchFailure> {
    let words = "become the task's user";
    let groups: Vec<_> = credentials
        .groups
        .iter()
        .copied()
        .map(Gid::from_raw)
        .collect();
    nix::unistd::setgroups(&groups).map_err(failed(words, "setgroups"))?;
    nix::unistd::setgid(Gid::from_raw(credentials.gid)).map_err(failed(words, "setgid"))?;
    nix::unistd::setuid(Uid::from_raw(credentials.uid)).map_err(failed(words, "setuid"))
}

/// Returns only if no candidate could be executed.
fn execute(program: &Program) -> LaunchFailure {
    let (executable, arguments) = match &program.command {
        Command::Hold => return failure("execute nothing", "", 0),
        Command::Shell(text) => ("/bin/sh", vec!["sh", "-c", text]),
        Command::Exec {
            executable,
            arguments,
        } if arguments.is_empty() => (executable.as_str(), vec![executable.as_str()]),
        Command::Exec {
            executable,
            arguments,
        } => (
            executable.as_str(),
            arguments.iter().map(String::as_str).collect(),
        ),
    };
    let mut path = DEFAULT_PATH;
    let mut environment = Vec::with_capacity(program.environment.len() + 1);
    for (name, value) in &program.environment {
        if name == "PATH" {
            path = value;
        }
        environment.push(format!("{name}={value}"));
    }
    if !program.environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(format!("PATH={DEFAULT_PATH}"));
    }
    let texts = |texts: Vec<String>| {
        texts
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(arguments), Ok(environment)) = (
        texts(arguments.into_iter().map(str::to_owned).collect()),
        texts(environment),
    ) else {
        return failure(
            "execute a command whose arguments or environment contain NUL",
            executable,
            0,
        );
    };
    let mut cause = Errno::ENOENT;
    for candidate in candidates(executable, path) {
        let Ok(candidate) = CString::new(candidate) else {
            break;
        };
        let Err(errno) = nix::unistd::execve(&candidate, &arguments, &environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // As execvp: a file that may not be executed is remembered, and the search goes on.
            Errno::EACCES => cause = errno,
            _ => return failure("execute", executable, errno as i32),
        }
    }
    failure("execute", executable, cause as i32)
}

/// Where an executable may be: itself, or below each directory of PATH if it has no slash.
fn candidates(executable: &str, path: &str) -> Vec<String> {
    if executable.contains('/') || executable.is_empty() {
        return vec![executable.to_owned()];
    }
    path.split(':')
        .map(|directory| {
            format!(
                "{}/{executable}",
                if directory.is_empty() { "." } else { directory }
            )
        })
        .collect()
}

/// Standard output and error as pipes, for [`Output::Pipes`].
pub(super) fn pipes(fds: &mut impl Iterator<Item = OwnedFd>) -> Option<(OwnedFd, OwnedFd)> {
    Some((fds.next()?, fds.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_searched_as_execvp_does() {
        for (executable, path, expected) in [
            ("/bin/true", "/usr/bin", vec!["/bin/true"]),
            ("./run", "/usr/bin", vec!["./run"]),
            ("true", "/usr/bin:/bin", vec!["/usr/bin/true", "/bin/true"]),
            ("true", "", vec!["./true"]),
            ("", "/bin", vec![""]),
        ] {
            assert_eq!(
                candidates(executable, path),
                expected,
                "{executable} in {path}"
            );
        }
    }
}
