//! YAML as JSON values: for descriptions, which are plain data. Aliases are refused, since they let a few bytes stand for
//! any number.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Deepest nesting; descriptions have six levels.
const DEPTH_LIMIT: usize = 32;

/// A collection under construction, with the key that a mapping waits to give a value.
enum Open {
    List(Vec<Value>),
    Table(Map<String, Value>, Option<String>),
}

/// The first document of a text.
///
/// # Errors
/// What was found.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| e.to_string())?;
        let closed = match event {
            Event::Alias(_) => return Err(format!("an alias in line {}", span.start.line())),
            Event::Scalar(text, style, ..) => Some(scalar(&text, style)),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Table(Map::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list)) => Some(Value::Array(list)),
                Some(Open::Table(table, _)) => Some(Value::Object(table)),
                None => return Err("an end without a beginning".to_owned()),
            },
            _ => None,
        };
        if open.len() > DEPTH_LIMIT {
            return Err(format!("more than {DEPTH_LIMIT} levels"));
        }
        let Some(value) = closed else { continue };
        match open.last_mut() {
            None => return Ok(value),
            Some(Open::List(list)) => list.push(value),
            Some(Open::Table(table, key)) => match key.take() {
                Some(key) => drop(table.insert(key, value)),
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
        }
    }
    Err("no document".to_owned())
}

/// A scalar by the core schema; quoted ones are text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_data_becomes_json() {
        let text =
            "a: 1\nb: [x, 2.5, 'no', no, true, ~]\nc:\n  - {d: \"3\", e: }\n  - |\n    two\n    lines\n";
        let expected = serde_json::json!({
            "a": 1, "b": ["x", 2.5, "no", "no", true, null], "c": [{"d": "3", "e": null}, "two\nlines\n"]
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_grows_without_measure_is_refused() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert!(parse(bomb).unwrap_err().contains("alias"));
        assert!(parse(&"[".repeat(500)).is_err());
        assert!(parse("a: [1").is_err() && parse("").is_err());
    }
}
