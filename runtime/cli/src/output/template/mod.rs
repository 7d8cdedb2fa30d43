//! Go's `text/template` over JSON, as far as formats for lists and `inspect` need it.
//!
//! Scripts written for Podman hold formats such as `{{.State.Status}}` or
//! `{{range .Mounts}}{{.Source}} {{end}}`; they must give the same text here. A [`Template`] is read
//! once ([`Template::parse`]: `lex` makes tokens, `parse` a tree) and written for any number of
//! values ([`Template::render`]: `eval` walks the tree, `functions` holds what it can call and
//! `format` how Go prints).
//!
//! There are fields, variables, pipelines, parentheses, `if`/`else if`/`else`, `with`, `range` with
//! `break`, `continue` and `else`, trim markers, comments, and the functions of `functions`. There
//! are no nested templates (`define`, `block`). A field that does not exist is an error that names
//! those that do, except in maps of the user's own keys such as labels.

mod eval;
mod format;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Value};

/// A template that has been read.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// Why a template can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// The byte of the template where it is wrong.
    at: usize,
    message: String,
}

impl Error {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "template, at character {}: {}", self.at + 1, self.message)
    }
}

impl std::error::Error for Error {}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { nodes: parse::parse(lex::pieces(text)?)? })
    }

    /// The text of the template with `value` as its `.`.
    pub(crate) fn render(&self, value: &Value) -> Result<String, Error> {
        eval::render(&self.nodes, value)
    }

    /// The row of headings above a table: the same template written for a value whose fields hold
    /// their own names, in capitals, or what `special` has for them.
    pub(crate) fn heading(&self, special: &[(&str, &str)]) -> Result<String, Error> {
        let mut names = Map::new();
        collect(&self.nodes, &mut |fields| name(&mut names, fields, special));
        self.render(&Value::Object(names))
    }
}

/// Calls `see` with every chain of fields in the nodes.
fn collect(nodes: &[parse::Node], see: &mut dyn FnMut(&[String])) {
    for node in nodes {
        match node {
            parse::Node::Output(pipeline) => collect_pipeline(pipeline, see),
            parse::Node::Branch(branch) => {
                collect_pipeline(&branch.condition, see);
                collect(&branch.body, see);
                collect(&branch.otherwise, see);
            }
            parse::Node::Text(_) | parse::Node::Break | parse::Node::Continue => {}
        }
    }
}

fn collect_pipeline(pipeline: &parse::Pipeline, see: &mut dyn FnMut(&[String])) {
    for call in &pipeline.commands {
        for operand in std::iter::once(&call.operand).chain(&call.arguments) {
            match &operand.base {
                parse::Base::Dot => see(&operand.fields),
                parse::Base::Parentheses(inner) => collect_pipeline(inner, see),
                _ => {}
            }
        }
    }
}

/// Puts the heading of one chain of fields into the tree of headings.
fn name(names: &mut Map<String, Value>, fields: &[String], special: &[(&str, &str)]) {
    let Some((field, rest)) = fields.split_first() else {
        return;
    };
    if rest.is_empty() {
        let heading = special.iter().find(|(name, _)| name == field);
        let heading = heading.map_or_else(|| spaced(field), |(_, heading)| (*heading).to_owned());
        names.entry(field.clone()).or_insert(Value::String(heading));
    } else if let Value::Object(inner) =
        names.entry(field.clone()).or_insert_with(|| Value::Object(Map::new()))
    {
        name(inner, rest, special);
    }
}

/// `CreatedSince` becomes `CREATED SINCE`, `IPAddress` becomes `IP ADDRESS`.
fn spaced(field: &str) -> String {
    let letters: Vec<char> = field.chars().collect();
    let mut out = String::new();
    for (place, letter) in letters.iter().enumerate() {
        let after_small = place > 0 && letters[place - 1].is_lowercase();
        let before_small = letters.get(place + 1).is_some_and(|next| next.is_lowercase());
        if place > 0 && letter.is_uppercase() && (after_small || before_small) {
            out.push(' ');
        }
        out.extend(letter.to_uppercase());
    }
    out
}
