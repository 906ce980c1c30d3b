//! What happened, line by line: told, or only digested, so that two runs can be compared.

use std::fmt;

use tepui_model::Time;

/// What becomes of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Nothing: the fastest.
    Off,
    /// They are digested into one number.
    Digest,
    /// They are printed, and digested.
    Print,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Tracer {
    mode: Trace,
    digest: u64,
}

impl Tracer {
    pub(crate) fn new(mode: Trace) -> Self {
        Self {
            mode,
            digest: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(crate) fn line(&mut self, now: Time, line: fmt::Arguments<'_>) {
        if self.mode == Trace::Off {
            return;
        }
        let line = format!("{now:?} {line}");
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.mode == Trace::Print {
            println!("{line}");
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}
