//! The syntax of unit files, as systemd.syntax(7) and systemd.exec(5) define it.
//!
//! [`scanner`] turns a file's text into sections and entries that remember where they stood;
//! [`lines`] tells single lines apart;
//! [`words`] splits a value into words and writes words back; [`values`] reads booleans and
//! numbers. Nothing here knows what a key means.

pub mod lines;
pub mod scanner;
pub mod values;
pub mod words;
