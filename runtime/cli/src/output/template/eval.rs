//! Walks the tree of a template with a value as its `.` and writes text.

use serde_json::{Map, Value};

use super::Error;
use super::format::display;
use super::functions::{kind, truth};
use super::parse::{Base, Branch, BranchKind, Call, Node, Operand, Pipeline};

/// The most that one template may write: a format string is not trusted to be sane.
const MAX_OUTPUT: usize = 256 << 20;

/// Writes the template with `root` as `.` and as `$`.
pub(super) fn render(nodes: &[Node], root: &Value) -> Result<String, Error> {
    let mut scope = Scope { out: String::new(), variables: vec![(String::new(), root.clone())] };
    scope.nodes(nodes, root)?;
    Ok(scope.out)
}

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// What is written so far, and the variables in sight, innermost last.
struct Scope {
    out: String,
    variables: Vec<(String, Value)>,
}

impl Scope {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Error> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::On
                }
                Node::Output(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.out.push_str(&display(&value));
                    }
                    Flow::On
                }
                Node::Branch(branch) => self.branch(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if self.out.len() > MAX_OUTPUT {
                return Err(Error::new(0, format!("the output is longer than {MAX_OUTPUT} bytes")));
            }
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// Variables that a branch declares are gone behind its `{{end}}`.
    fn branch(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Error> {
        let depth = self.variables.len();
        let flow = match branch.kind {
            BranchKind::Range => self.range(branch, dot),
            BranchKind::If | BranchKind::With => {
                let value = self.pipeline(&branch.condition, dot)?;
                match (truth(&value), branch.kind) {
                    (true, BranchKind::With) => self.nodes(&branch.body, &value),
                    (true, _) => self.nodes(&branch.body, dot),
                    (false, _) => self.nodes(&branch.otherwise, dot),
                }
            }
        };
        self.variables.truncate(depth);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Error> {
        let value = self.commands(&branch.condition, dot)?;
        let pairs: Vec<(Value, Value)> = match value {
            Value::Null => Vec::new(),
            Value::Array(list) => (0_u64..).map(Value::from).zip(list).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            Value::Number(count) if count.as_u64().is_some_and(|count| count <= 1 << 20) => {
                let count = count.as_u64().unwrap_or_default();
                (0..count).map(|number| (number.into(), number.into())).collect()
            }
            other => {
                let at = branch.condition.commands[0].at;
                return Err(Error::new(at, format!("{{{{range}}}} cannot go over a {}", kind(&other))));
            }
        };
        if pairs.is_empty() {
            return self.nodes(&branch.otherwise, dot);
        }
        let names = &branch.condition.variables;
        let depth = self.variables.len();
        for (key, value) in pairs {
            match names.as_slice() {
                [] => {}
                [one] => self.variables.push((one.clone(), value.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), value.clone()));
                }
            }
            let flow = self.nodes(&branch.body, &value)?;
            self.variables.truncate(depth);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// The value of a pipeline, stored in its variable if it names one.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let value = self.commands(pipeline, dot)?;
        let at = pipeline.commands[0].at;
        match pipeline.variables.as_slice() {
            [] => {}
            [name] if pipeline.declares => self.variables.push((name.clone(), value.clone())),
            [name] => {
                let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                let slot = known.ok_or_else(|| undefined(at, name))?;
                slot.1 = value.clone();
            }
            _ => return Err(Error::new(at, "only {{range}} sets two variables")),
        }
        Ok(value)
    }

    fn commands(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut piped = None;
        for call in &pipeline.commands {
            piped = Some(self.call(call, piped, dot)?);
        }
        Ok(piped.unwrap_or_default())
    }

    fn call(&self, call: &Call, piped: Option<Value>, dot: &Value) -> Result<Value, Error> {
        let Base::Function(function) = &call.operand.base else {
            let mut arguments = self.values(&call.arguments, dot)?;
            arguments.extend(piped);
            let value = self.operand(&call.operand, dot)?;
            return match arguments.as_slice() {
                [] => Ok(value),
                arguments => lookup(call, &value, arguments),
            };
        };
        let value = match function.name {
            name @ ("and" | "or") if !call.arguments.is_empty() || piped.is_some() => {
                self.decide(&call.arguments, piped, name == "or", dot)?
            }
            _ => {
                let mut arguments = self.values(&call.arguments, dot)?;
                arguments.extend(piped);
                function.call(&arguments).map_err(|why| Error::new(call.at, why))?
            }
        };
        fields(value, &call.operand)
    }

    /// `and` and `or`: the first argument that decides, else the last.
    fn decide(
        &self,
        operands: &[Operand],
        piped: Option<Value>,
        decisive: bool,
        dot: &Value,
    ) -> Result<Value, Error> {
        let mut value = Value::Null;
        for operand in operands {
            value = self.operand(operand, dot)?;
            if truth(&value) == decisive {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    fn values(&self, operands: &[Operand], dot: &Value) -> Result<Vec<Value>, Error> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, Error> {
        match &operand.base {
            Base::Dot => path(dot, operand).cloned(),
            Base::Literal(value) => Ok(value.clone()),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = known.ok_or_else(|| undefined(operand.at, name))?;
                path(value, operand).cloned()
            }
            Base::Function(function) => {
                let value = function.call(&[]).map_err(|why| Error::new(operand.at, why))?;
                fields(value, operand)
            }
            Base::Parentheses(pipeline) => fields(self.commands(pipeline, dot)?, operand),
        }
    }
}

fn undefined(at: usize, name: &str) -> Error {
    Error::new(at, format!("no variable ${name}"))
}

fn fields(value: Value, operand: &Operand) -> Result<Value, Error> {
    path(&value, operand).cloned()
}

const NOTHING: &Value = &Value::Null;

/// The field of a field of `value` that the operand names.
fn path<'a>(value: &'a Value, operand: &Operand) -> Result<&'a Value, Error> {
    let mut value = value;
    let mut parent = "";
    for name in &operand.fields {
        value = match value {
            Value::Object(map) => match find(map, name) {
                Some(value) => value,
                None if MAPS.contains(&parent) => NOTHING,
                None => return Err(unknown(operand.at, name, map)),
            },
            Value::Null => return Err(Error::new(operand.at, format!("no field .{name} in nil"))),
            other => {
                let message = format!("no field .{name} in a {}", kind(other));
                return Err(Error::new(operand.at, message));
            }
        };
        parent = name;
    }
    Ok(value)
}

/// Fields that hold a map with any keys, where a missing key is no mistake but no value.
const MAPS: &[&str] = &[
    "Annotations",
    "Data",
    "ExposedPorts",
    "IPAMOptions",
    "Label",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// A field by its name. Go's names and the JSON names differ in case and underscores (`.ID` and
/// `Id`, `.HostIP` and `host_ip`), and Podman takes both for some of them; here both always do.
fn find<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let alias = |name: &str| match name {
        "Dst" => map.get("Destination"),
        "Src" => map.get("Source"),
        _ => None,
    };
    map.get(name).or_else(|| alias(name)).or_else(|| {
        let mut alike = map.iter().filter(|(key, _)| plain(key) == plain(name));
        alike.next().filter(|_| alike.next().is_none()).map(|(_, value)| value)
    })
}

fn unknown(at: usize, name: &str, map: &Map<String, Value>) -> Error {
    let mut known: Vec<String> = map.keys().map(|key| format!(".{key}")).collect();
    known.sort();
    Error::new(at, format!("no field .{name}; there are: {}", known.join(" ")))
}

/// `.Label "key"`: in Podman a method, here a map that is called with a key.
fn lookup(call: &Call, value: &Value, arguments: &[Value]) -> Result<Value, Error> {
    match (value, arguments) {
        (Value::Object(map), [Value::String(key)]) => {
            Ok(map.get(key).cloned().unwrap_or_else(|| String::new().into()))
        }
        _ => {
            let name = call.operand.fields.last().map_or("", String::as_str);
            Err(Error::new(call.at, format!(".{name} takes no arguments")))
        }
    }
}
