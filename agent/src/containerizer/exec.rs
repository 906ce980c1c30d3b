//! A command inside a container: the agent's side.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::libc;
use nix::unistd::pipe2;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe::Receiver;

use super::error::ContainerizerError;
use super::event::{ExecOutput, WaitStatus};
use super::spec::{ContainerId, ExecSpec};
use super::{Inner, inside, user};
use crate::supervisor::message::{self, Exec, Program, Report, RequestKind};

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 4096;

/// One output of the command, of which the first `limit` bytes are kept.
struct Output {
    pipe: Receiver,
    open: bool,
    kept: Vec<u8>,
    limit: usize,
}

impl Output {
    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads once; for ever pending after the end.
    async fn read(&mut self) {
        if !self.open {
            return std::future::pending().await;
        }
        let mut chunk = [0; CHUNK_BYTES];
        match self.pipe.read(&mut chunk).await {
            Ok(length) if length > 0 => self.keep(&chunk[..length]),
            _ => self.open = false,
        }
    }

    /// What is there already, without waiting for those who may hold the pipe for longer than the command lives.
    fn rest(mut self) -> Vec<u8> {
        let mut chunk = [0; CHUNK_BYTES];
        while let Ok(length @ 1..) = self.pipe.try_read(&mut chunk) {
            if self.kept.len() == self.limit {
                break;
            }
            self.keep(&chunk[..length]);
        }
        self.kept
    }
}

pub(super) async fn run(
    inner: &Inner,
    container: &ContainerId,
    spec: ExecSpec,
) -> Result<ExecOutput, ContainerizerError> {
    let (placement, confinement, running) = inner.running(container)?;
    let failed = |source| ContainerizerError::Launcher {
        action: "run a command in a container",
        source,
    };
    let init = running
        .init
        .open()
        .map_err(failed)?
        .ok_or_else(|| ContainerizerError::NotRunning(container.clone()))?;
    let own_user = spec.user.is_some();
    let mut program = Program {
        command: spec.command,
        environment: spec.environment,
        working_directory: PathBuf::from("/"),
        on_host: false,
        credentials: user::resolve(spec.user).await?,
        named_inside: None,
        rlimits: Vec::new(),
        seal: confinement.seal,
    };
    if spec.inherit
        && let Some(parent) = inner.program(container)?
    {
        inside::inherit(&mut program, own_user, parent);
    }
    let output = |limit| -> io::Result<_> {
        let (pipe, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((
            Output {
                pipe: Receiver::from_owned_fd(pipe)?,
                open: true,
                kept: Vec::new(),
                limit,
            },
            theirs,
        ))
    };
    let (mut stdout, their_stdout) = output(spec.output_limit_bytes).map_err(failed)?;
    let (mut stderr, their_stderr) = output(spec.output_limit_bytes).map_err(failed)?;
    let exec = Exec {
        namespaces: confinement.namespaces,
        capabilities: confinement.capabilities,
        placement,
        program,
    };
    let fds = [init.as_fd(), their_stdout.as_fd(), their_stderr.as_fd()];
    let reports = inner
        .launcher
        .request(RequestKind::Exec, &exec, &fds)
        .await?;
    drop((their_stdout, their_stderr));
    let report = loop {
        tokio::select! {
            report = reports.async_io(Interest::READABLE, |socket| message::receive_report(socket.as_fd())) => break report.map_err(failed)?,
            () = stdout.read() => {}
            () = stderr.read() => {}
        }
    };
    let status = match report {
        Some(Report::Ended(status)) => status,
        Some(Report::Failed(failure)) => return Err(ContainerizerError::Exec(failure)),
        // The helper was killed, and with it the answer.
        Some(Report::Started { .. }) | None => WaitStatus::killed(libc::SIGKILL),
    };
    Ok(ExecOutput {
        status,
        stdout: stdout.rest(),
        stderr: stderr.rest(),
    })
}
