//! Messages: errors on standard error for people, and in the file of `--log` for the caller, who reads them from
//! there; with `--debug` also what the library has to say.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use log::{LevelFilter, Log, Metadata, Record};

use crate::args::{Global, LogFormat};

/// Writes an error to both places.
pub(crate) fn error(global: &Global, message: &str) {
    eprintln!("sampan-runtime: {message}");
    if let Some(path) = &global.log {
        append(path, global.log_format, "error", message);
    }
}

/// Lets the library's messages through, if they are wanted.
pub(crate) fn init(global: &Global) {
    if global.debug {
        let logger = Messages { path: global.log.clone(), format: global.log_format };
        // It fails only if there is a logger already, and this is the one place that sets one.
        if log::set_boxed_logger(Box::new(logger)).is_ok() {
            log::set_max_level(LevelFilter::Debug);
        }
    }
}

struct Messages {
    path: Option<PathBuf>,
    format: LogFormat,
}

impl Log for Messages {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (level, message) = (record.level().as_str().to_lowercase(), record.args().to_string());
        match &self.path {
            Some(path) => append(path, self.format, &level, &message),
            None => eprintln!("sampan-runtime: {level}: {message}"),
        }
    }

    fn flush(&self) {}
}

fn append(path: &Path, format: LogFormat, level: &str, message: &str) {
    let time = jiff::Timestamp::now();
    let line = match format {
        LogFormat::Json => {
            let line = serde_json::json!({"level": level, "msg": message, "time": time.to_string()});
            format!("{line}\n")
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
    };
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    // Nothing is left to complain to: an error is on standard error already.
    let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
}
