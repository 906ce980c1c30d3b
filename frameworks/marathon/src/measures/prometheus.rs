//! Numbers of Prometheus: an answer of its HTTP API, or a page in its text format.

use std::collections::BTreeMap;

use serde_json::Value;

/// The sum of the samples of an answer or, if `sample` names some, of a page.
///
/// # Errors
/// What is wrong with it, or that nothing is there.
pub(super) fn total(page: &str, sample: Option<&str>) -> Result<f64, String> {
    match sample {
        None => answered(page),
        Some(sample) => {
            let (name, labels) = series(sample)
                .filter(|(_, rest)| rest.trim().is_empty())
                .map(|(series, _)| series)
                .ok_or_else(|| {
                    format!("`{sample}` is not of the form name or name{{label=\"value\"}}")
                })?;
            summed(page, &name, &labels)
        }
    }
}

/// Of the API: a vector or a scalar.
fn answered(page: &str) -> Result<f64, String> {
    let answer: Value = serde_json::from_str(page).map_err(|error| {
        format!(
            "is no answer of Prometheus ({error}); `sample` is needed to read a page of metrics"
        )
    })?;
    if answer["status"] != "success" {
        let error = answer["error"].as_str().unwrap_or("it has no status");
        return Err(format!("Prometheus refused the query: {error}"));
    }
    let data = &answer["data"];
    let number = |value: &Value| {
        let text = value[1].as_str().unwrap_or_default();
        text.parse::<f64>()
            .map_err(|_| format!("`{text}` is not a number"))
    };
    match data["resultType"].as_str() {
        Some("scalar") => number(&data["result"]),
        Some("vector") => {
            let samples = data["result"].as_array().map_or(&[][..], Vec::as_slice);
            if samples.is_empty() {
                return Err("the query has no result".to_owned());
            }
            samples.iter().map(|one| number(&one["value"])).sum()
        }
        other => Err(format!(
            "the query gives a {}, not a vector or a scalar",
            other.unwrap_or("nothing")
        )),
    }
}

type Labels = BTreeMap<String, String>;

/// Of a page: all samples of this name that have at least these labels.
fn summed(page: &str, name: &str, labels: &Labels) -> Result<f64, String> {
    let (mut sum, mut found) = (0.0, false);
    for line in page.lines() {
        let line = line.trim();
        if line.starts_with('#') || !line.starts_with(name) {
            continue;
        }
        let Some(((own, has), rest)) = series(line) else {
            continue;
        };
        let admitted = labels
            .iter()
            .all(|(label, value)| has.get(label) == Some(value));
        if own != name || !admitted {
            continue;
        }
        let text = rest.split_whitespace().next().unwrap_or_default();
        let value = match text {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            text => text
                .parse::<f64>()
                .map_err(|_| format!("`{text}` is not a number"))?,
        };
        (sum, found) = (sum + value, true);
    }
    match found {
        true => Ok(sum),
        false => Err(format!("no sample of {name} is there")),
    }
}

/// A name with labels, and what follows it.
fn series(text: &str) -> Option<((String, Labels), &str)> {
    let end = text
        .find(|symbol: char| !(symbol.is_ascii_alphanumeric() || symbol == '_' || symbol == ':'))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, value) = rest.split_once('=')?;
            let (value, after) = quoted(value.trim_start())?;
            labels.insert(label.trim().to_owned(), value);
            rest = after;
        }
    }
    Some(((name.to_owned(), labels), rest))
}

/// A text in double quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let (mut value, mut escaped) = (String::new(), false);
    for (at, symbol) in inside.char_indices() {
        match symbol {
            'n' if escaped => value.push('\n'),
            _ if escaped => value.push(symbol),
            '\\' => {
                escaped = true;
                continue;
            }
            '"' => return Some((value, &inside[at + 1..])),
            _ => value.push(symbol),
        }
        escaped = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP requests_total Requests.\n# TYPE requests_total counter\n\
        requests_total{code=\"200\",path=\"/a \\\"b\\\", c\"} 10\n\
        requests_total{code=\"500\"} 2.5 1700000000000\n\
        requests_total_other 99\n\
        queue_length 7e1\n\
        bad{a=\"1\"} x\n\
        most +Inf\n";

    #[test]
    fn samples_of_a_page_are_added_up() {
        for (sample, want) in [
            ("requests_total", Ok(12.5)),
            ("requests_total{code=\"200\"}", Ok(10.0)),
            (
                "requests_total{code=\"200\", path=\"/a \\\"b\\\", c\"}",
                Ok(10.0),
            ),
            ("queue_length", Ok(70.0)),
            ("most", Ok(f64::INFINITY)),
            ("requests", Err("no sample of requests is there")),
            (
                "requests_total{code=\"404\"}",
                Err("no sample of requests_total"),
            ),
            ("bad", Err("`x` is not a number")),
            ("{a=\"1\"}", Err("is not of the form")),
            ("queue_length{a=", Err("is not of the form")),
            ("queue_length 1", Err("is not of the form")),
        ] {
            match (total(PAGE, Some(sample)), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{sample}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{sample}: {got}"),
                (got, want) => panic!("{sample}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn answers_of_the_api_are_read() {
        for (answer, want) in [
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"4.25"]}}"#,
                Ok(4.25),
            ),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1"},"value":[1,"2"]},{"metric":{},"value":[1,"3"]}]}}"#,
                Ok(5.0),
            ),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
                Err("no result"),
            ),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
                Err("a matrix, not a vector"),
            ),
            (
                r#"{"status":"error","error":"bad_data: parse error"}"#,
                Err("refused the query: bad_data"),
            ),
            ("up 1", Err("`sample` is needed")),
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}"#,
                Err("`x` is not a number"),
            ),
        ] {
            match (total(answer, None), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{answer}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{answer}: {got:?}, not {want:?}"),
            }
        }
    }
}
