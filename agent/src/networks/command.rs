//! Other programs: run to their end, within a time, with words for how they failed.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::containerizer::DEFAULT_PATH;

/// Whether this program is there.
pub(super) fn is_there(program: &str) -> bool {
    let mut directories = DEFAULT_PATH.split(':').map(Path::new);
    directories.any(|directory| directory.join(program).is_file())
}

/// No program here does more than talk to the kernel.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of what a program says.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;

/// Runs a program with this input. Blocks. Answers with what it wrote, whether it succeeded or not.
pub(super) fn run(command: &mut Command, input: &[u8]) -> Result<(bool, Vec<u8>, String), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("cannot run {name}: {error}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut read = Vec::new();
            if let Some(pipe) = pipe {
                let _ = pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut read);
            }
            read
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input says by its end whether that mattered.
        let _ = stdin.write_all(input);
    }
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name} did not end within {PATIENCE:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let said = |reader: std::thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    let (stdout, stderr) = (said(stdout), said(stderr));
    let complaint = String::from_utf8_lossy(&stderr).trim().replace('\n', "; ");
    Ok((status.success(), stdout, complaint))
}

/// Runs a program of which only success is wanted, and what it says then.
pub(super) fn must(program: &str, arguments: &[&str]) -> Result<String, String> {
    must_of(program, arguments, "")
}

/// As [`must`], with an input: several commands, one a line.
pub(super) fn must_of(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    // The agent's own PATH may be that of somebody who is not root.
    command.args(arguments).env("PATH", DEFAULT_PATH);
    let (success, stdout, complaint) = run(&mut command, input.as_bytes())?;
    if !success {
        let said = [arguments.join(" "), input.trim().replace('\n', "; ")].join(" ");
        return Err(format!("{program} {}: {complaint}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
