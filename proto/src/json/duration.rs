//! `google.protobuf.Duration` is a plain message to Mesos: seconds and nanoseconds, both always shown.

use super::{Error, Json, Reader, write};

impl Json for prost_types::Duration {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seconds\":");
        write::integer(out, self.seconds);
        out.extend_from_slice(b",\"nanos\":");
        write::integer(out, self.nanos);
        out.push(b'}');
    }

    fn read_json(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let mut object = reader.object()?;
        while let Some(key) = reader.key(&mut object)? {
            match &*key {
                "seconds" => {
                    if reader.present("seconds")? {
                        self.seconds = reader.integer()?;
                    }
                }
                "nanos" => {
                    if reader.present("nanos")? {
                        self.nanos = reader.integer()?;
                    }
                }
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}
