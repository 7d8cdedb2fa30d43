//! The functions a template can call: Go's own that make sense for JSON, and those Podman adds.
//!
//! One table names them all. `and` and `or` stand in it too, but `eval` evaluates their arguments
//! one by one and stops at the first that decides.

use std::cmp::Ordering;

use serde_json::Value;

use super::format::{display, inner, sprintf};

/// What a function yields, or why it can't, without the place.
type Outcome = Result<Value, String>;

/// An entry of the table of functions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    /// As templates write it.
    pub(super) name: &'static str,
    /// The fewest arguments.
    least: usize,
    /// The most arguments.
    most: usize,
    body: fn(&[Value]) -> Outcome,
}

const ANY: usize = usize::MAX;

const FUNCTIONS: &[Function] = &[
    Function { name: "and", least: 1, most: ANY, body: last },
    Function { name: "eq", least: 2, most: ANY, body: eq },
    Function { name: "ge", least: 2, most: 2, body: |a| order(a, Ordering::is_ge) },
    Function { name: "gt", least: 2, most: 2, body: |a| order(a, Ordering::is_gt) },
    Function { name: "index", least: 1, most: ANY, body: index },
    Function { name: "join", least: 2, most: 2, body: join },
    Function { name: "json", least: 1, most: 1, body: json },
    Function { name: "le", least: 2, most: 2, body: |a| order(a, Ordering::is_le) },
    Function { name: "len", least: 1, most: 1, body: len },
    Function { name: "lower", least: 1, most: 1, body: |a| Ok(text(&a[0])?.to_lowercase().into()) },
    Function { name: "lt", least: 2, most: 2, body: |a| order(a, Ordering::is_lt) },
    Function { name: "ne", least: 2, most: 2, body: |a| Ok((!equal(&a[0], &a[1])?).into()) },
    Function { name: "not", least: 1, most: 1, body: |a| Ok((!truth(&a[0])).into()) },
    Function { name: "or", least: 1, most: ANY, body: last },
    Function { name: "pad", least: 3, most: 3, body: pad },
    Function { name: "print", least: 0, most: ANY, body: |a| Ok(print(a).into()) },
    Function { name: "printf", least: 1, most: ANY, body: |a| Ok(sprintf(text(&a[0])?, &a[1..]).into()) },
    Function { name: "println", least: 0, most: ANY, body: println },
    Function { name: "slice", least: 1, most: 3, body: slice },
    Function { name: "split", least: 2, most: 2, body: split },
    Function { name: "title", least: 1, most: 1, body: |a| Ok(title(text(&a[0])?).into()) },
    Function { name: "truncate", least: 2, most: 2, body: truncate },
    Function { name: "upper", least: 1, most: 1, body: |a| Ok(text(&a[0])?.to_uppercase().into()) },
];

impl Function {
    /// The function of this name.
    pub(super) fn find(name: &str) -> Option<Function> {
        FUNCTIONS.iter().find(|function| function.name == name).copied()
    }

    /// All names, sorted.
    pub(super) fn names() -> Vec<&'static str> {
        FUNCTIONS.iter().map(|function| function.name).collect()
    }

    /// Calls it, after counting the arguments.
    pub(super) fn call(&self, arguments: &[Value]) -> Outcome {
        let (name, count) = (self.name, arguments.len());
        if count < self.least || count > self.most {
            let wants = match (self.least, self.most) {
                (least, most) if least == most => least.to_string(),
                (least, ANY) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(format!("{name} takes {wants} arguments, not {count}"));
        }
        (self.body)(arguments).map_err(|why| format!("{name}: {why}"))
    }
}

/// Whether `{{if}}` takes its first branch: nothing, `false`, 0 and what is empty are false.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// What Go calls the type, as far as JSON has it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("wants a string, not a {}", kind(value)))
}

fn integer(value: &Value) -> Result<usize, String> {
    let integer = value.as_u64().and_then(|integer| usize::try_from(integer).ok());
    integer.ok_or_else(|| format!("{} is no index or length", display(value)))
}

/// `and` and `or` once `eval` knows which argument decides: it passes that one alone.
fn last(arguments: &[Value]) -> Outcome {
    Ok(arguments.last().cloned().unwrap_or_default())
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err(format!("cannot compare a {} with a {}", kind(a), kind(b)))
        }
        _ => compare(a, b).map(Ordering::is_eq),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
        },
        _ => None,
    };
    order.ok_or_else(|| format!("cannot compare a {} with a {}", kind(a), kind(b)))
}

/// True if the first equals any of the others.
fn eq(arguments: &[Value]) -> Outcome {
    let mut found = false;
    for other in &arguments[1..] {
        found |= equal(&arguments[0], other)?;
    }
    Ok(found.into())
}

fn order(arguments: &[Value], holds: fn(Ordering) -> bool) -> Outcome {
    Ok(holds(compare(&arguments[0], &arguments[1])?).into())
}

/// `index list 1` and `index map "key"`, and on into what is there. A key that is not in the map
/// yields the empty string, as Go does for maps of strings. An element of a string is a byte.
fn index(arguments: &[Value]) -> Outcome {
    if let [Value::String(text), place] = arguments {
        let byte = text.as_bytes().get(integer(place)?);
        return byte.map(|byte| (*byte).into()).ok_or_else(|| format!("{text:?} is shorter"));
    }
    let mut value = &arguments[0];
    let nothing = Value::String(String::new());
    for key in &arguments[1..] {
        value = match value {
            Value::Array(list) => {
                let place = integer(key)?;
                let missing = || format!("{place} is beyond the end of a list of {}", list.len());
                list.get(place).ok_or_else(missing)?
            }
            Value::Object(map) => map.get(text(key)?).unwrap_or(&nothing),
            other => return Err(format!("a {} has no elements", kind(other))),
        };
    }
    Ok(value.clone())
}

fn len(arguments: &[Value]) -> Outcome {
    match &arguments[0] {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => Err(format!("a {} has no length", kind(other))),
    }
}

/// Podman declares it as (list, separator), as Go's `strings.Join`.
fn join(arguments: &[Value]) -> Outcome {
    let separator = text(&arguments[1])?;
    match &arguments[0] {
        Value::Null => Ok(String::new().into()),
        Value::Array(list) => Ok(list.iter().map(display).collect::<Vec<_>>().join(separator).into()),
        other => Err(format!("wants a list, not a {}", kind(other))),
    }
}

fn json(arguments: &[Value]) -> Outcome {
    Ok(arguments[0].to_string().into())
}

fn split(arguments: &[Value]) -> Outcome {
    let (whole, separator) = (text(&arguments[0])?, text(&arguments[1])?);
    Ok(match separator {
        "" => whole.chars().map(|c| Value::from(c.to_string())).collect(),
        _ => whole.split(separator).map(Value::from).collect(),
    })
}

/// The first letter of every word made upper case.
pub(super) fn title(text: &str) -> String {
    let mut inside = false;
    let letters = text.chars().flat_map(|c| {
        let first = !inside && c.is_alphabetic();
        inside = c.is_alphanumeric() || c == '_' || c == '\'';
        let (upper, same) = if first { (Some(c.to_uppercase()), None) } else { (None, Some(c)) };
        upper.into_iter().flatten().chain(same)
    });
    letters.collect()
}

/// `pad text before after`: spaces around what is not empty.
fn pad(arguments: &[Value]) -> Outcome {
    let source = text(&arguments[0])?;
    let (before, after) = (integer(&arguments[1])?.min(1024), integer(&arguments[2])?.min(1024));
    Ok(match source {
        "" => String::new().into(),
        source => format!("{}{source}{}", " ".repeat(before), " ".repeat(after)).into(),
    })
}

fn truncate(arguments: &[Value]) -> Outcome {
    let length = integer(&arguments[1])?;
    Ok(text(&arguments[0])?.chars().take(length).collect::<String>().into())
}

/// `slice x 1 2` is Go's `x[1:2]`, of a string (its bytes) or a list.
fn slice(arguments: &[Value]) -> Outcome {
    let length = len(&arguments[..1])?.as_u64().and_then(|length| usize::try_from(length).ok());
    let length = length.unwrap_or_default();
    let start = arguments.get(1).map_or(Ok(0), integer)?;
    let end = arguments.get(2).map_or(Ok(length), integer)?;
    let beyond = || format!("[{start}:{end}] is not within a length of {length}");
    match &arguments[0] {
        Value::String(text) => text.get(start..end).map(Value::from).ok_or_else(beyond),
        Value::Array(list) => list.get(start..end).map(Value::from).ok_or_else(beyond),
        other => Err(format!("a {} cannot be sliced", kind(other))),
    }
}

/// Go's `fmt.Sprint`: a space between two that are both no strings.
fn print(arguments: &[Value]) -> String {
    let mut out = String::new();
    for (place, value) in arguments.iter().enumerate() {
        let spaced = place > 0 && !value.is_string() && !arguments[place - 1].is_string();
        out.push_str(if spaced { " " } else { "" });
        out.push_str(&inner(value));
    }
    out
}

fn println(arguments: &[Value]) -> Outcome {
    let words: Vec<String> = arguments.iter().map(inner).collect();
    Ok(format!("{}\n", words.join(" ")).into())
}
