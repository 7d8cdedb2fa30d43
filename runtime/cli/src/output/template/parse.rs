//! From tokens to a tree: text, pipelines, and the three actions that have a body.

use serde_json::Value;

use super::Error;
use super::functions::Function;
use super::lex::{Kind, Piece, Token};

/// One thing that a template does.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Copies text.
    Text(String),
    /// Prints what a pipeline yields (nothing, if it declares or assigns a variable).
    Output(Pipeline),
    /// `if`, `with` or `range`.
    Branch(Box<Branch>),
    /// Leaves the innermost `range`.
    Break,
    /// Goes on with the next turn of the innermost `range`.
    Continue,
}

/// `{{if}}`, `{{with}}` or `{{range}}` up to its `{{end}}`.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) condition: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum BranchKind {
    If,
    With,
    Range,
}

/// Commands joined by `|`: the value of each is the last argument of the next.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// `$x :=`, `$k, $v :=` or `$x =`.
    pub(super) variables: Vec<String>,
    /// Whether it is `:=`, which makes variables, and not `=`.
    pub(super) declares: bool,
    pub(super) commands: Vec<Call>,
}

/// A function or a value, and the arguments behind it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) at: usize,
    pub(super) operand: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// A word of a [`Call`], and the fields that are glued to it.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(Function),
    Parentheses(Box<Pipeline>),
}

/// How deep parentheses, and how deep branches, may nest: each level costs stack.
const MAX_DEPTH: usize = 100;

/// Reads a whole template.
pub(super) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { pieces: pieces.into_iter(), depth: 0, ranges: 0 };
    let (nodes, end) = parser.body()?;
    match end {
        End::Template => Ok(nodes),
        End::Here(at) => Err(Error::new(at, "{{end}} without {{if}}, {{with}} or {{range}}")),
        End::Else(at, _) => Err(Error::new(at, "{{else}} without {{if}}, {{with}} or {{range}}")),
    }
}

/// What a list of nodes ended at.
enum End {
    Template,
    Here(usize),
    /// The tokens behind `else`.
    Else(usize, Vec<Token>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    /// How many branches are open.
    depth: usize,
    /// How many `{{range}}`s are open: `{{break}}` needs one.
    ranges: usize,
}

impl Parser {
    fn body(&mut self) -> Result<(Vec<Node>, End), Error> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (at, mut tokens) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action { at, tokens } => (at, tokens),
            };
            let open = tokens.iter().filter(|token| token.kind == Kind::Open).count();
            if open > MAX_DEPTH || self.depth > MAX_DEPTH {
                return Err(Error::new(at, "this nests too deep"));
            }
            let keyword = match tokens.first().map(|token| &token.kind) {
                Some(Kind::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" if tokens.len() == 1 => return Ok((nodes, End::Here(at))),
                "else" => return Ok((nodes, End::Else(at, tokens.split_off(1)))),
                "if" | "with" | "range" => nodes.push(self.branch(at, &keyword, &tokens[1..])?),
                "break" | "continue" if self.ranges == 0 => {
                    return Err(Error::new(at, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    let message = format!("{{{{{keyword}}}}} is not supported: a format is one template");
                    return Err(Error::new(at, message));
                }
                _ => nodes.push(Node::Output(pipeline(at, &tokens)?)),
            }
        }
        Ok((nodes, End::Template))
    }

    fn branch(&mut self, at: usize, keyword: &str, tokens: &[Token]) -> Result<Node, Error> {
        let kind = match keyword {
            "if" => BranchKind::If,
            "with" => BranchKind::With,
            _ => BranchKind::Range,
        };
        let condition = pipeline(at, tokens)?;
        let most = if kind == BranchKind::Range { 2 } else { 1 };
        if condition.variables.len() > most {
            return Err(Error::new(at, format!("too many variables in {{{{{keyword}}}}}")));
        }
        self.depth += 1;
        self.ranges += usize::from(kind == BranchKind::Range);
        let (body, end) = self.body()?;
        self.ranges -= usize::from(kind == BranchKind::Range);
        let otherwise = match end {
            End::Here(_) => Vec::new(),
            End::Template => return Err(Error::new(at, format!("{{{{{keyword}}}}} without {{{{end}}}}"))),
            End::Else(at, tokens) => self.otherwise(at, kind, &tokens)?,
        };
        self.depth -= 1;
        Ok(Node::Branch(Box::new(Branch { kind, condition, body, otherwise })))
    }

    /// What follows `{{else}}`, `{{else if …}}` or `{{else with …}}`, up to `{{end}}`.
    fn otherwise(&mut self, at: usize, kind: BranchKind, tokens: &[Token]) -> Result<Vec<Node>, Error> {
        let keyword = match tokens.first().map(|token| &token.kind) {
            Some(Kind::Word(word)) => word.as_str(),
            Some(_) => "something",
            None => {
                let (nodes, end) = self.body()?;
                return match end {
                    End::Here(_) => Ok(nodes),
                    End::Template => Err(Error::new(at, "{{else}} without {{end}}")),
                    End::Else(at, _) => Err(Error::new(at, "a second {{else}}")),
                };
            }
        };
        match (keyword, kind) {
            ("if", BranchKind::If) | ("with", BranchKind::With) => {
                Ok(vec![self.branch(at, keyword, &tokens[1..])?])
            }
            _ => Err(Error::new(at, format!("{keyword} cannot stand behind this {{{{else}}}}"))),
        }
    }
}

/// Reads a whole action as a pipeline.
fn pipeline(at: usize, tokens: &[Token]) -> Result<Pipeline, Error> {
    let (pipeline, rest) = pipeline_part(at, tokens)?;
    match rest.first() {
        None => Ok(pipeline),
        Some(token) => Err(Error::new(token.at, ") without (")),
    }
}

/// Reads a pipeline up to the end or to a `)`, and yields what is left.
fn pipeline_part(at: usize, tokens: &[Token]) -> Result<(Pipeline, &[Token]), Error> {
    let (variables, declares, mut rest) = variables(tokens);
    let mut commands = Vec::new();
    loop {
        let (call, after) = call(rest.first().map_or(at, |token| token.at), rest)?;
        if commands.is_empty() || matches!(call.operand.base, Base::Function(_)) || is_field(&call) {
            commands.push(call);
        } else {
            return Err(Error::new(call.at, "only a function can take a value from a |"));
        }
        match after.first().map(|token| &token.kind) {
            Some(Kind::Pipe) => rest = &after[1..],
            _ => return Ok((Pipeline { variables, declares, commands }, after)),
        }
    }
}

/// A field may be something that can be called with an argument (see `eval`).
fn is_field(call: &Call) -> bool {
    !call.operand.fields.is_empty()
}

/// `$x :=`, `$x, $y :=` and `$x =` at the head of a pipeline.
fn variables(tokens: &[Token]) -> (Vec<String>, bool, &[Token]) {
    let kind = |index: usize| tokens.get(index).map(|token| &token.kind);
    let name = |index: usize| match kind(index) {
        Some(Kind::Variable(name)) => Some(name.clone()),
        _ => None,
    };
    let ends = |index: usize| match kind(index) {
        Some(Kind::Declare) => Some(true),
        Some(Kind::Assign) => Some(false),
        _ => None,
    };
    if let (Some(first), Some(declares)) = (name(0), ends(1)) {
        return (vec![first], declares, &tokens[2..]);
    }
    if let (Some(first), Some(Kind::Comma), Some(second), Some(declares)) =
        (name(0), kind(1), name(2), ends(3))
    {
        return (vec![first, second], declares, &tokens[4..]);
    }
    (Vec::new(), false, tokens)
}

fn call(at: usize, tokens: &[Token]) -> Result<(Call, &[Token]), Error> {
    let mut operands = Vec::new();
    let mut rest = tokens;
    while let Some(token) = rest.first() {
        if matches!(token.kind, Kind::Pipe | Kind::Close) {
            break;
        }
        if token.glued && !operands.is_empty() {
            return Err(Error::new(token.at, "white space is missing before this"));
        }
        let (operand, after) = operand(token, &rest[1..])?;
        operands.push(operand);
        rest = after;
    }
    if operands.is_empty() {
        return Err(Error::new(at, "a value is missing"));
    }
    let operand = operands.remove(0);
    let callable = matches!(operand.base, Base::Function(_)) || !operand.fields.is_empty();
    match operands.first() {
        Some(argument) if !callable => Err(Error::new(argument.at, "an argument behind what is no function")),
        _ => Ok((Call { at, operand, arguments: operands }, rest)),
    }
}

fn operand<'a>(token: &Token, rest: &'a [Token]) -> Result<(Operand, &'a [Token]), Error> {
    let (mut rest, mut fields) = (rest, Vec::new());
    let base = match &token.kind {
        Kind::Dot => Base::Dot,
        Kind::Field(name) => {
            fields.push(name.clone());
            Base::Dot
        }
        Kind::Variable(name) => Base::Variable(name.clone()),
        Kind::Literal(value) => Base::Literal(value.clone()),
        Kind::Word(word) => match word.as_str() {
            "true" => Base::Literal(Value::Bool(true)),
            "false" => Base::Literal(Value::Bool(false)),
            "nil" => Base::Literal(Value::Null),
            name => Base::Function(Function::find(name).ok_or_else(|| {
                let known = Function::names().join(", ");
                Error::new(token.at, format!("no function {name:?}; there are: {known}"))
            })?),
        },
        Kind::Open => {
            let (inner, after) = pipeline_part(token.at, rest)?;
            let closed = matches!(after.first().map(|token| &token.kind), Some(Kind::Close));
            rest = if closed { &after[1..] } else { return Err(Error::new(token.at, "( without )")) };
            Base::Parentheses(Box::new(inner))
        }
        Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign => {
            return Err(Error::new(token.at, "a value is missing here"));
        }
    };
    while let Some(Token { glued: true, kind: Kind::Field(name), .. }) = rest.first() {
        fields.push(name.clone());
        rest = &rest[1..];
    }
    Ok((Operand { at: token.at, base, fields }, rest))
}
