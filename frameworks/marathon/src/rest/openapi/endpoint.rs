//! What an endpoint is made of, for the [`table`](super::table).

use Carries::Json;
use Takes::Flag;

/// A path and a method.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    /// With `{…}` for parameters.
    pub(super) path: &'static str,
    pub(super) what: &'static str,
    /// Of the query.
    pub(super) parameters: &'static [Parameter],
    /// The schema of the body, if there is one.
    pub(super) body: Option<&'static str>,
    pub(super) answers: &'static [Answer],
    /// What is refused, beside what any request may be.
    pub(super) refusals: &'static [Refusal],
}

/// A parameter of the query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) takes: Takes,
}

/// What a parameter takes.
#[derive(Debug)]
pub(super) enum Takes {
    /// `true` in any letter case; anything else is false. With the default.
    Flag(bool),
    /// A text.
    One,
    /// Texts; the parameter is repeated. Those that are known; others are ignored, unless it is among what is refused. None: any.
    Many(&'static [&'static str]),
    /// A number above 0.
    Counted { required: bool },
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) carries: Carries,
    /// Headers beside those of every answer.
    pub(super) headers: &'static [&'static str],
}

/// What an answer carries.
#[derive(Debug)]
pub(super) enum Carries {
    Empty,
    /// By the name of its schema.
    Json(&'static str),
    Text,
    /// A part of the page that tells of the API, of this media type.
    Page(&'static str),
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Backup,
}

/// A status and when it is answered; the body is an `Error`.
pub(super) type Refusal = (u16, &'static str);

pub(super) const fn answer(status: u16, what: &'static str, carries: Carries) -> Answer {
    Answer {
        status,
        what,
        carries,
        headers: &[],
    }
}

pub(super) const fn ok(schema: &'static str) -> Answer {
    answer(200, "the answer", Json(schema))
}

pub(super) const fn deploys(
    status: u16,
    what: &'static str,
    carries: Carries,
    headers: &'static [&'static str],
) -> Answer {
    Answer {
        status,
        what,
        carries,
        headers,
    }
}

pub(super) const fn flag(name: &'static str, default: bool, what: &'static str) -> Parameter {
    Parameter {
        name,
        what,
        takes: Flag(default),
    }
}

pub(super) const fn get(
    path: &'static str,
    what: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Answer],
    refusals: &'static [Refusal],
) -> Endpoint {
    Endpoint {
        method: "GET",
        path,
        what,
        parameters,
        body: None,
        answers,
        refusals,
    }
}
