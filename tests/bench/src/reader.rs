//! A client that asks one thing after the other on one connection and reads the answers as fast as they come. It blocks, and has a
//! thread to itself, so that it takes nothing from the load beside it but its share of the processors.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use crate::BenchError;

/// What an answer was.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of the body.
    pub(crate) bytes: u64,
}

/// A connection that is kept open.
#[derive(Debug)]
pub(crate) struct Reader {
    address: String,
    stream: BufReader<TcpStream>,
    line: String,
    /// See [`Reader::giving_way`].
    gives_way: bool,
    /// Where bodies go that nobody looks at.
    waste: Vec<u8>,
}

impl Reader {
    pub(crate) fn connect(address: &str) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(address)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| broken(address, &error))?;
        Ok(Self {
            address: address.to_owned(),
            stream: BufReader::with_capacity(256 << 10, stream),
            line: String::new(),
            waste: Vec::new(),
            gives_way: false,
        })
    }

    /// Lets other threads go first after every chunk: it stands for a client on another machine, and what is timed beside it must not
    /// wait until this thread's turn on the processor is over.
    pub(crate) fn giving_way(mut self) -> Self {
        self.gives_way = true;
        self
    }

    /// GET; the body is counted and thrown away.
    pub(crate) fn get(&mut self, path: &str) -> Result<Answer, BenchError> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.ask(request.as_bytes(), None)
    }

    /// GET of a JSON object.
    pub(crate) fn json(&mut self, path: &str) -> Result<serde_json::Value, BenchError> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let mut body = Vec::new();
        self.ask(request.as_bytes(), Some(&mut body))?;
        serde_json::from_slice(&body).map_err(|error| broken(&self.address, &error))
    }

    /// POST to the operator API, the answer wanted in `accept`.
    pub(crate) fn operator(&mut self, call: &str, accept: &str) -> Result<Answer, BenchError> {
        let request = format!(
            "POST /api/v1 HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: {accept}\r\nContent-Length: {}\r\n\r\n{call}",
            self.address,
            call.len()
        );
        self.ask(request.as_bytes(), None)
    }

    /// A request with a JSON document; gives status and body, whatever they are.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        document: &str,
    ) -> Result<(u16, Vec<u8>), BenchError> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{document}",
            self.address,
            document.len()
        );
        let mut body = Vec::new();
        let answer = self
            .exchange(request.as_bytes(), Some(&mut body))
            .map_err(|error| broken(&self.address, &error))?;
        Ok((answer.status, body))
    }

    fn ask(&mut self, request: &[u8], keep: Option<&mut Vec<u8>>) -> Result<Answer, BenchError> {
        let answer = self
            .exchange(request, keep)
            .map_err(|error| broken(&self.address, &error))?;
        if answer.status == 200 {
            return Ok(answer);
        }
        Err(BenchError::Refused(format!(
            "a read was answered with {}",
            answer.status
        )))
    }

    fn exchange(
        &mut self,
        request: &[u8],
        mut keep: Option<&mut Vec<u8>>,
    ) -> std::io::Result<Answer> {
        self.stream.get_mut().write_all(request)?;
        let status = self.line()?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| malformed("the status line"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().map_err(|_| malformed("the length"))?;
            }
            chunked |= line == "transfer-encoding: chunked";
        }
        if !chunked {
            self.body(length, keep)?;
            return Ok(Answer {
                status,
                bytes: length,
            });
        }
        let mut bytes = 0;
        loop {
            let size = u64::from_str_radix(&self.line()?, 16).map_err(|_| malformed("a chunk"))?;
            self.body(size, keep.as_deref_mut())?;
            self.line()?;
            if self.gives_way {
                std::thread::yield_now();
            }
            bytes += size;
            if size == 0 {
                return Ok(Answer { status, bytes });
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.line.trim_end().to_owned())
    }

    fn body(&mut self, length: u64, keep: Option<&mut Vec<u8>>) -> std::io::Result<()> {
        let kept = match keep {
            Some(keep) => keep,
            None => {
                self.waste.clear();
                &mut self.waste
            }
        };
        let before = kept.len() as u64;
        (&mut self.stream).take(length).read_to_end(kept)?;
        if kept.len() as u64 - before == length {
            return Ok(());
        }
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

fn malformed(what: &str) -> std::io::Error {
    std::io::Error::other(format!("{what} of an answer cannot be read"))
}

fn broken(address: &str, reason: &dyn std::fmt::Display) -> BenchError {
    BenchError::Broken {
        address: address.to_owned(),
        reason: reason.to_string(),
    }
}
