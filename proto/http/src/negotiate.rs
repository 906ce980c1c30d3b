//! JSON or protobuf: what a request is in, and what its answer may be in.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use prost::Message;
use tepui_proto::json::Json;

use crate::Refusal;

/// The two forms in which Mesos' v1 API speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// What the request's body is in. Like Mesos it takes the two names and nothing that looks like them.
    pub fn of_body(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get(CONTENT_TYPE).map(|value| value.as_bytes()) {
            None => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "Expecting 'Content-Type' to be present",
            )),
            Some(b"application/json") => Ok(Self::Json),
            Some(b"application/x-protobuf") => Ok(Self::Protobuf),
            Some(_) => Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Expecting 'Content-Type' of application/json or application/x-protobuf",
            )),
        }
    }

    /// What the answer may be in; JSON if both will do.
    pub fn of_answer(headers: &HeaderMap) -> Result<Self, Refusal> {
        [Self::Json, Self::Protobuf]
            .into_iter()
            .find(|format| accepts(headers, format.media_type()))
            .ok_or_else(|| {
                Refusal::new(
                    StatusCode::NOT_ACCEPTABLE,
                    "Expecting 'Accept' to allow application/json or application/x-protobuf",
                )
            })
    }

    /// Reads a message, with all its required fields.
    pub fn decode<M: Json + Default + tepui_proto::wire::Checked>(
        self,
        body: &[u8],
    ) -> Result<M, String> {
        match self {
            Self::Json => tepui_proto::json::from_slice(body).map_err(|error| {
                let what = if error.is_syntax() {
                    "Failed to parse body into JSON"
                } else {
                    "Failed to convert JSON into Call protobuf"
                };
                format!("{what}: {error}")
            }),
            Self::Protobuf => tepui_proto::wire::decode(body)
                .map_err(|error| format!("Failed to parse body into Call protobuf: {error}")),
        }
    }

    /// A message in this form.
    pub fn to_vec<M: Message + Json>(self, message: &M) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(message, &mut out);
        out
    }

    /// Appends a message.
    pub fn encode<M: Message + Json>(self, message: &M, out: &mut Vec<u8>) {
        match self {
            Self::Json => tepui_proto::json::write(message, out),
            // A Vec grows as it must: this cannot fail.
            Self::Protobuf => drop(message.encode(out)),
        }
    }
}

/// Whether `Accept` admits a media type: absent means everything, the most specific range that matches decides, `q=0` excludes.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let family = media_type.split('/').next().unwrap_or_default();
    let mut best: Option<(u8, bool)> = None;
    for range in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let specific = match parts.next().unwrap_or_default() {
            name if name.eq_ignore_ascii_case(media_type) => 2,
            name if name
                .strip_suffix("/*")
                .is_some_and(|of| of.eq_ignore_ascii_case(family)) =>
            {
                1
            }
            "*/*" => 0,
            _ => continue,
        };
        let admitted = !excluded(parts);
        if best.is_none_or(|(so_far, _)| specific > so_far) {
            best = Some((specific, admitted));
        }
    }
    best.is_some_and(|(_, admitted)| admitted)
}

/// Whether the answer may be packed with gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for coding in headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let mut parts = coding.split(';').map(str::trim);
        match parts.next().unwrap_or_default() {
            "gzip" | "x-gzip" => return !excluded(parts),
            "*" => any = !excluded(parts),
            _ => {}
        }
    }
    any
}

/// `q=0` in any spelling.
fn excluded<'a>(mut parameters: impl Iterator<Item = &'a str>) -> bool {
    parameters.any(|parameter| {
        let quality = parameter
            .strip_prefix("q=")
            .or_else(|| parameter.strip_prefix("Q="));
        quality
            .and_then(|quality| quality.trim().parse::<f32>().ok())
            .is_some_and(|quality| quality <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &http::HeaderName, values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (name.clone(), value.parse().expect("a header")))
            .collect()
    }

    #[test]
    fn json_wins_when_both_are_accepted() {
        for (accept, expected) in [
            (&[][..], Ok(Format::Json)),
            (&["*/*"], Ok(Format::Json)),
            (&["application/*"], Ok(Format::Json)),
            (&["application/json"], Ok(Format::Json)),
            (&["application/x-protobuf"], Ok(Format::Protobuf)),
            (
                &["application/x-protobuf;q=1, application/json;q=0.1"],
                Ok(Format::Json),
            ),
            (&["application/json;q=0, */*"], Ok(Format::Protobuf)),
            (
                &["application/x-protobuf", "application/json"],
                Ok(Format::Json),
            ),
            (&["text/html"], Err(406)),
            (&["application/recordio"], Err(406)),
            (&["*/*;q=0"], Err(406)),
        ] {
            let answer = Format::of_answer(&headers(&ACCEPT, accept))
                .map_err(|refusal| refusal.status.as_u16());
            assert_eq!(answer, expected, "{accept:?}");
        }
    }

    #[test]
    fn bodies_are_in_exactly_two_forms() {
        for (content_type, expected) in [
            (&[][..], Err(400)),
            (&["application/json"], Ok(Format::Json)),
            (&["application/x-protobuf"], Ok(Format::Protobuf)),
            (&["application/json; charset=utf-8"], Err(415)),
            (&["application/recordio"], Err(415)),
            (&["text/plain"], Err(415)),
        ] {
            let format = Format::of_body(&headers(&CONTENT_TYPE, content_type))
                .map_err(|refusal| refusal.status.as_u16());
            assert_eq!(format, expected, "{content_type:?}");
        }
    }

    #[test]
    fn gzip_must_be_admitted() {
        for (value, expected) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["deflate, gzip;q=0.5"], true),
            (&["gzip;q=0"], false),
            (&["*"], true),
            (&["gzip;q=0, *"], false),
            (&["identity"], false),
        ] {
            assert_eq!(
                accepts_gzip(&headers(&ACCEPT_ENCODING, value)),
                expected,
                "{value:?}"
            );
        }
    }
}
