//! What commands say on standard output: this crate's own `print!` and `println!`, in place of std's, which panic when nobody reads any more.
//!
//! A reader that has seen enough (`tepui task list | head`) ends the command, quietly and in good order.

use std::{
    fmt,
    io::{self, Write},
    process::exit,
};

macro_rules! print {
    ($($words:tt)*) => { $crate::say::say(format_args!($($words)*), "") };
}

macro_rules! println {
    () => { $crate::say::say(format_args!(""), "\n") };
    ($($words:tt)*) => { $crate::say::say(format_args!($($words)*), "\n") };
}

/// Writes words and what ends them; ends the process if they cannot be written: well if the reader has gone, with 1 and the cause otherwise.
pub(crate) fn say(words: fmt::Arguments<'_>, end: &str) {
    let mut out = io::stdout().lock();
    let written = out
        .write_fmt(words)
        .and_then(|()| out.write_all(end.as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit(0),
        Err(error) => {
            eprintln!("tepui: nothing can be written to standard output: {error}");
            exit(1);
        }
    }
}
