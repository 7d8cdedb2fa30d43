//! `sampan image prune`: images that nothing needs.
//!
//! What is kept is what a unit may need: every image with a name, and the one that each name led to before, so that a
//! unit can go back; with `--all` still what containers use and what unit files name.

use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;

use jiff::Timestamp;
use sampan_image::{Image, Prune, Pruned, Registries, Store};

use crate::context::Context;
use crate::output::filter::Filters;
use crate::output::{self, human};
use crate::quadlet::place;
use crate::users;

/// `sampan image prune [options]`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --all an image goes that no name leads to, that no name led to before its present image, \
                        and that no container uses. So a unit can always go back to the image that it had before. The \
                        timer sampan-prune.timer does this once a week where it is enabled."
)]
pub(crate) struct Options {
    #[command(flatten)]
    choice: Choice,
    /// Don't ask
    #[arg(long, short)]
    force: bool,
}

/// Which images.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// Also images with a name and those that a name led to before, unless a container uses them or a unit file
    /// names them
    #[arg(long, short)]
    all: bool,
    /// Only some: label=, until= (a moment, or how long ago, as 24h)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Filters, understood.
#[derive(Debug)]
pub(crate) struct Wanted {
    filters: Filters,
    until: Option<Timestamp>,
}

impl Choice {
    /// Understands the filters.
    ///
    /// # Errors
    /// An unknown filter; an `until` that is no time.
    pub(crate) fn wanted(&self) -> anyhow::Result<Wanted> {
        let filters = Filters::parse(&self.filter, &["label", "until"])?;
        Ok(Wanted { until: filters.until()?, filters })
    }

    /// Whether there is a filter by time.
    pub(crate) fn has_until(&self) -> bool {
        self.filter.iter().any(|filter| filter.starts_with("until="))
    }

    /// Whether something with these labels, made then, passes the filters.
    pub(crate) fn fits(&self, labels: &BTreeMap<String, String>, created: &str) -> bool {
        self.wanted().is_ok_and(|wanted| wanted.fits(labels, Some(created)))
    }

    /// What goes, for the question.
    pub(crate) fn what(&self) -> &'static str {
        match self.all {
            true => "all images that no container uses and no unit file names",
            false => "all images that no name leads to or led to before",
        }
    }
}

impl Wanted {
    fn fits(&self, labels: &BTreeMap<String, String>, created: Option<&str>) -> bool {
        let is_older = |until| {
            created.and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|created| created < until)
        };
        self.filters.labels(labels) && self.until.is_none_or(is_older)
    }
}

/// Asks, removes, and says what.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let wanted = options.choice.wanted()?;
    let warning = format!("WARNING! This will remove {}.", options.choice.what());
    if !options.force && !output::confirm(&warning)? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = prune(&options.choice, &wanted, context)?;
    output::lines(lines(&pruned))?;
    remark(&pruned);
    Ok(ExitCode::SUCCESS)
}

/// Removes.
///
/// # Errors
/// The store's; the containers can't be listed.
pub(crate) fn prune(choice: &Choice, wanted: &Wanted, context: &Context) -> anyhow::Result<Pruned> {
    let store = context.store()?;
    let registries = context.registries()?;
    let of_units = if choice.all { of_unit_files(&store, &registries)? } else { HashSet::new() };
    // First the right to remove, then who uses what: what starts in between would lose its image.
    let removal = store.removal()?;
    let in_use = users::images(context)?;
    let keep = |image: &Image| {
        let labels = image.config.labels_of_config().cloned().unwrap_or_default();
        of_units.contains(&image.id) || !wanted.fits(&labels.into_iter().collect(), image.created.as_deref())
    };
    Ok(removal.prune(&Prune { all: choice.all, in_use: &in_use, keep: &keep })?)
}

/// One line for each image that is gone.
pub(crate) fn lines(pruned: &Pruned) -> Vec<String> {
    pruned.images.iter().map(|(id, _)| id.clone()).collect()
}

/// What was kept and why, on standard error: the output is for scripts.
pub(crate) fn remark(pruned: &Pruned) {
    if !pruned.previous.is_empty() {
        let number = pruned.previous.len();
        let what = if number == 1 { "1 image was" } else { &format!("{number} images were") };
        eprintln!("{what} kept that a name led to before: --all removes such as well");
    }
    if pruned.collected.layers > 0 && pruned.images.is_empty() {
        eprintln!("removed {} that no image had", human::size(pruned.collected.bytes));
    }
}

/// Ids of images that unit files name, wherever in the services' commands. A word that is no image's name finds none,
/// and one too many is kept rather than one too few.
fn of_unit_files(store: &Store, registries: &Registries) -> anyhow::Result<HashSet<String>> {
    let mut words: HashSet<String> = HashSet::new();
    sampan_generator::generate(&place::Chosen::default().place().generation(Vec::new()), &mut |unit| {
        words.extend(words_of(unit.text));
    });
    let yaml: Vec<String> = words.iter().filter(|word| is_yaml(word)).cloned().collect();
    for path in yaml {
        // What can't be read is the business of its service.
        words.extend(images_of_yaml(&std::fs::read_to_string(path).unwrap_or_default()));
    }
    let mut found = HashSet::new();
    for word in words {
        // Beginnings of ids are no names that a unit file would have.
        if let Ok(Some(image)) = store.find(&word, registries)
            && !image.id.starts_with(&word)
        {
            found.insert(image.id);
        }
    }
    Ok(found)
}

/// The words of a unit's commands that are no options.
fn words_of(unit: &str) -> Vec<String> {
    let commands = unit.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let words = commands.flat_map(str::split_whitespace);
    words.map(|word| word.trim_matches('"').to_owned()).filter(|word| !word.starts_with('-')).collect()
}

fn is_yaml(word: &str) -> bool {
    word.starts_with('/') && (word.ends_with(".yaml") || word.ends_with(".yml"))
}

fn images_of_yaml(text: &str) -> Vec<String> {
    let value = |line: &str| {
        let value = line.trim_start().trim_start_matches("- ").strip_prefix("image:")?.trim();
        Some(value.trim_matches(['"', '\'']).to_owned())
    };
    text.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(filters: &[&str]) -> Choice {
        Choice { all: false, filter: filters.iter().map(|filter| (*filter).to_owned()).collect() }
    }

    #[test]
    fn until_is_a_moment_or_a_time_ago() {
        let labels = BTreeMap::from([("keep".to_owned(), "no".to_owned())]);
        let ago = |seconds| (Timestamp::now() - jiff::SignedDuration::from_secs(seconds)).to_string();
        assert!(choice(&["until=1h"]).fits(&labels, &ago(3700)));
        assert!(!choice(&["until=1h"]).fits(&labels, &ago(3500)));
        assert!(choice(&["until=2026-01-31T12:00:00Z"]).fits(&labels, "2026-01-31T11:59:59Z"));
        assert!(!choice(&["until=2026-01-31T12:00:00Z"]).fits(&labels, "2026-01-31T12:00:01Z"));
        assert!(!choice(&["until=1h", "until=3h"]).fits(&labels, &ago(7200)), "all of them hold");
        assert!(choice(&["label=keep=no"]).fits(&labels, "2026-01-31T11:59:59Z"));
        assert!(!choice(&["label=keep=yes"]).fits(&labels, "2026-01-31T11:59:59Z"));
        let error = choice(&["until=tomorrow"]).wanted().unwrap_err().to_string();
        assert!(error.contains("as 24h"), "{error}");
        assert!(choice(&["dangling=true"]).wanted().unwrap_err().to_string().contains("label, until"));
    }

    #[test]
    fn the_images_of_units_are_among_the_words_of_their_commands() {
        let unit = "[Service]\nExecStart=/usr/bin/sampan run --name web -v /a:/b quay.io/a/web:1 sh -c \"x\"\n\
                    ExecStop=/usr/bin/sampan stop other\n";
        let words = words_of(unit);
        assert!(words.contains(&"quay.io/a/web:1".to_owned()) && !words.contains(&"other".to_owned()));
        assert!(is_yaml("/etc/x.yaml") && !is_yaml("x.yaml"));
        let yaml =
            "spec:\n  containers:\n  - image: quay.io/a\n    name: a\n  - name: b\n    image: \"b:1\"\n";
        assert_eq!(images_of_yaml(yaml), ["quay.io/a", "b:1"]);
    }
}
