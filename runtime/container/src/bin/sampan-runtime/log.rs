//! Errors: on standard error for people, and in the file of `--log` for the caller, who reads them from there.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use crate::args::{Global, LogFormat};

/// Writes an error to both places.
pub(crate) fn error(global: &Global, message: &str) {
    eprintln!("sampan-runtime: {message}");
    let Some(path) = &global.log else {
        return;
    };
    let time = jiff::Timestamp::now();
    let line = match global.log_format {
        LogFormat::Json => {
            let line = serde_json::json!({"level": "error", "msg": message, "time": time.to_string()});
            format!("{line}\n")
        }
        LogFormat::Text => format!("time=\"{time}\" level=error msg={message:?}\n"),
    };
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    // Nothing is left to complain to: the message is on standard error already.
    let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
}
