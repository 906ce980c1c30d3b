//! Writing the legacy endpoints' JSON straight into bytes, in the order of the calls.

/// Where commas go.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

/// Appends a string with its escapes.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    // Neither a Vec nor a str can fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a double: always with a fraction or an exponent, as Mesos does.
pub(crate) fn double(value: f64, out: &mut Vec<u8>) {
    let value = if value.is_finite() { value } else { 0.0 };
    out.extend_from_slice(ryu::Buffer::new().format(value).as_bytes());
}

/// Appends an integer.
pub(crate) fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an object.
pub(crate) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, first: true });
    out.push(b'}');
}

/// Appends members without the braces around them.
pub(crate) fn members(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    fill(&mut Object { out, first: true });
}

/// Appends members after others.
pub(crate) fn members_after(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    fill(&mut Object { out, first: false });
}

/// Appends a list.
pub(crate) fn list<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

impl Object<'_> {
    /// Adds a member whose value `write` appends.
    pub(crate) fn with(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        string(key, self.out);
        self.out.push(b':');
        write(self.out);
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) {
        self.with(key, |out| string(value, out));
    }

    pub(crate) fn double(&mut self, key: &str, value: f64) {
        self.with(key, |out| double(value, out));
    }

    pub(crate) fn integer(&mut self, key: &str, value: i64) {
        self.with(key, |out| integer(value, out));
    }

    pub(crate) fn boolean(&mut self, key: &str, value: bool) {
        self.with(key, |out| {
            out.extend_from_slice(if value { b"true" } else { b"false" })
        });
    }

    pub(crate) fn strings<S: AsRef<str>>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = S>,
    ) {
        self.with(key, |out| {
            list(values, out, |value, out| string(value.as_ref(), out))
        });
    }

    pub(crate) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.with(key, |out| object(out, fill));
    }

    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(T, &mut Vec<u8>),
    ) {
        self.with(key, |out| list(items, out, write));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_what_mesos_writes() {
        let mut out = Vec::new();
        object(&mut out, |o| {
            o.string("s", "a\"b\n");
            o.double("whole", 15.0);
            o.double("part", 0.1);
            o.double("none", f64::NAN);
            o.integer("i", -3);
            o.boolean("b", true);
            o.strings("l", ["x", "y"]);
            o.object("empty", |_| {});
        });
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            r#"{"s":"a\"b\n","whole":15.0,"part":0.1,"none":0.0,"i":-3,"b":true,"l":["x","y"],"empty":{}}"#
        );
    }
}
