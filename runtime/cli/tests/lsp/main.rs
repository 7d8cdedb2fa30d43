//! `sampan lsp` as an editor sees it: the built program, spoken to over its standard input and output.

mod client;
mod completion;
mod diagnostics;
mod navigation;
mod protocol;
