//! `sampan images`: one row for each name of each image.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use sampan_image::{Image, Reference};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::filter::{Filters, matches};
use crate::output::{self, Format, human};
use crate::users;

/// What stands where a name would be.
const NONE: &str = "<none>";

/// The keys of `--filter`; `after` is another word for `since`.
const KEYS: [&str; 10] =
    ["reference", "label", "label!", "id", "dangling", "containers", "before", "since", "after", "until"];

/// `sampan images [options] [IMAGE]`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All images; there are no intermediate ones, so it changes nothing
    #[arg(long, short)]
    all: bool,
    /// Show the digests of the manifests
    #[arg(long)]
    digests: bool,
    /// Only some: reference=, label=, label!=, id=, dangling=, containers=, before=, since=, until=
    #[arg(long, short, value_name = "KEY=VALUE", conflicts_with = "image")]
    filter: Vec<String>,
    /// json, or a Go template for each row
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
    /// The ids alone
    #[arg(long, short)]
    quiet: bool,
    /// By what the rows are sorted
    #[arg(long, value_name = "KEY", default_value = "created", value_parser = ["created", "id", "repository", "size", "tag"])]
    sort: String,
    /// Only images of this name
    image: Option<String>,
}

/// A row: an image under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    repository: String,
    tag: String,
    name: Option<String>,
    id: String,
    digest: String,
    repo_digests: Vec<String>,
    names: Vec<String>,
    created: Timestamp,
    size: u64,
    labels: BTreeMap<String, String>,
    architecture: String,
    containers: usize,
}

/// A row with Podman's field names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    id: &'a str,
    parent_id: &'static str,
    repo_tags: &'a [String],
    repo_digests: &'a [String],
    size: u64,
    shared_size: u64,
    virtual_size: u64,
    labels: &'a BTreeMap<String, String>,
    containers: usize,
    dangling: bool,
    arch: &'a str,
    digest: &'a str,
    names: &'a [String],
    os: &'static str,
    created: i64,
    created_at: String,
    repository: &'a str,
    tag: &'a str,
}

/// Lists images.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let mut filters = Filters::parse(&options.filter, &KEYS)?;
    if let Some(name) = &options.image {
        ensure!(!name.is_empty(), "the name of an image cannot be empty");
        filters.add("reference", name);
    }
    let containers = users::of(context, |state| state.image.is_some())?;
    let used: Vec<_> = containers.into_iter().filter_map(|(_, state)| state.image).collect();
    let mut rows = Vec::new();
    let store = context.store()?;
    let images = store.images()?;
    for image in &images {
        rows.extend(rows_of(image, used.iter().filter(|used| used.id == image.id).count()));
    }
    check(&filters)?;
    let bounds = Bounds::of(&filters, |name| {
        let image = super::find(&store, name, &context.registries()?)?;
        Ok(created(&image))
    })?;
    rows.retain(|row| wanted(row, &filters) && bounds.hold(row.created));
    sort(&mut rows, &options.sort);
    if options.quiet && options.format.is_none() {
        let mut seen = BTreeSet::new();
        let once = rows.iter().filter(|row| seen.insert(&row.id));
        output::lines(once.map(|row| id(row, options.no_trunc)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let digest = if options.digests { "\t{{.Digest}}" } else { "" };
    let columns =
        format!("{{{{.Repository}}}}\t{{{{.Tag}}}}{digest}\t{{{{.ID}}}}\t{{{{.Created}}}}\t{{{{.Size}}}}");
    match Format::of(options.format.as_deref(), &columns)? {
        Format::Json => output::json(&rows.iter().map(shown).collect::<Vec<_>>())?,
        Format::Listing(listing) => {
            let rows = rows.iter().map(|row| fields(row, options.no_trunc)).collect();
            listing.print(rows, !options.noheading, &[("ID", "IMAGE ID")])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn rows_of(image: &Image, containers: usize) -> Vec<Row> {
    let labels = image.config.labels_of_config().cloned().unwrap_or_default();
    let bare = Row {
        repository: NONE.to_owned(),
        tag: NONE.to_owned(),
        name: None,
        id: image.id.clone(),
        digest: image.digest.to_string(),
        repo_digests: image.repo_digests.clone(),
        names: image.names.clone(),
        created: created(image),
        size: image.size,
        labels: labels.into_iter().collect(),
        architecture: image.config.architecture().to_string(),
        containers,
    };
    let named = image.names.iter().map(|name| {
        let reference = Reference::parse(name).ok();
        let tag = reference.as_ref().and_then(|reference| reference.tag()).unwrap_or(NONE).to_owned();
        let repository = reference.map_or_else(|| name.clone(), |reference| reference.repository());
        Row { repository, tag, name: Some(name.clone()), ..bare.clone() }
    });
    let rows: Vec<Row> = named.collect();
    if rows.is_empty() { vec![bare] } else { rows }
}

fn created(image: &Image) -> Timestamp {
    image.created.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Values that are neither yes nor no would hide everything.
fn check(filters: &Filters) -> anyhow::Result<()> {
    for key in ["dangling", "containers"] {
        let is_word = |value: &str| ["true", "false"].contains(&value);
        ensure!(!filters.has(key) || filters.any(key, is_word), "--filter {key}= is true or false");
    }
    Ok(())
}

/// Between which times an image must have been built.
#[derive(Debug, Default)]
struct Bounds {
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Bounds {
    /// `created` tells when the image was built that a filter names.
    fn of(filters: &Filters, created: impl Fn(&str) -> anyhow::Result<Timestamp>) -> anyhow::Result<Self> {
        let mut bounds = Self::default();
        for key in ["since", "after"] {
            for name in filters.values(key) {
                bounds.after = bounds.after.max(Some(created(name)?));
            }
        }
        let mut ends = Vec::new();
        for name in filters.values("before") {
            ends.push(created(name)?);
        }
        for text in filters.values("until") {
            ends.push(moment(text)?);
        }
        bounds.before = ends.into_iter().min();
        Ok(bounds)
    }

    fn hold(&self, created: Timestamp) -> bool {
        self.after.is_none_or(|after| created > after) && self.before.is_none_or(|before| created < before)
    }
}

/// A time, or how long ago it was: `2026-01-31T00:00:00Z`, `2026-01-31`, `1700000000`, `24h`.
fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return Ok(date.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp());
    }
    if let Ok(seconds) = text.parse() {
        return Ok(Timestamp::from_second(seconds)?);
    }
    let ago = crate::run::size::duration(text);
    let ago =
        ago.with_context(|| format!("--filter until={text}: neither a time nor a duration such as 24h"))?;
    Ok(Timestamp::now().checked_sub(jiff::SignedDuration::try_from(ago)?)?)
}

fn wanted(row: &Row, filters: &Filters) -> bool {
    filters.any("id", |id| row.id.starts_with(id.trim_start_matches("sha256:")))
        && filters.any("dangling", |wanted| wanted == row.name.is_none().to_string())
        && filters.any("reference", |wanted| refers(row, wanted))
        && filters.any("containers", |wanted| wanted == (row.containers > 0).to_string())
        && filters.labels(&row.labels)
        && filters.values("label!").all(|unwanted| !has_label(row, unwanted))
}

fn has_label(row: &Row, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => row.labels.get(name).is_some_and(|label| label == value),
        None => row.labels.contains_key(wanted),
    }
}

/// Whether a name, a name without tag, the end of a path (`nginx`), or a part of a name between
/// `*`s means this row.
fn refers(row: &Row, wanted: &str) -> bool {
    let Some(name) = &row.name else { return false };
    if let Some(part) = wanted.strip_prefix('*').or_else(|| wanted.strip_suffix('*')) {
        let pattern = match (wanted.starts_with('*'), wanted.ends_with('*')) {
            (true, true) => part.trim_end_matches('*').to_owned(),
            (true, false) => format!("{part}$"),
            _ => format!("^{part}"),
        };
        return matches(name, &pattern);
    }
    let ends =
        |whole: &str| whole == wanted || whole.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/'));
    ends(name) || ends(&row.repository)
}

fn sort(rows: &mut [Row], key: &str) {
    match key {
        "id" => rows.sort_by(|a, b| a.id.cmp(&b.id)),
        "repository" => rows.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag))),
        "size" => rows.sort_by_key(|row| row.size),
        "tag" => rows.sort_by(|a, b| a.tag.cmp(&b.tag)),
        _ => rows.sort_by_key(|row| std::cmp::Reverse(row.created)),
    }
}

fn id(row: &Row, whole: bool) -> &str {
    output::short_id(&row.id, whole)
}

fn shown(row: &Row) -> Shown<'_> {
    Shown {
        id: &row.id,
        parent_id: "",
        repo_tags: &row.names,
        repo_digests: &row.repo_digests,
        size: row.size,
        shared_size: 0,
        virtual_size: row.size,
        labels: &row.labels,
        containers: row.containers,
        dangling: row.name.is_none(),
        arch: &row.architecture,
        digest: &row.digest,
        names: &row.names,
        os: "linux",
        created: row.created.as_second(),
        created_at: row.created.to_string(),
        repository: &row.repository,
        tag: &row.tag,
    }
}

/// What templates of `images` see.
fn fields(row: &Row, whole: bool) -> Value {
    let ago = format!("{} ago", human::since(row.created));
    let moment = human::moment(row.created);
    let id = if whole { format!("sha256:{}", row.id) } else { id(row, false).to_owned() };
    json!({
        "ID": id,
        "Repository": row.repository,
        "Tag": row.tag,
        "Digest": row.digest,
        "Created": ago,
        "CreatedSince": ago,
        "CreatedAt": moment,
        "CreatedTime": moment,
        "Size": human::size(row.size),
        "VirtualSize": row.size,
        "SharedSize": 0,
        "Labels": row.labels,
        "Names": row.names,
        "RepoTags": row.names,
        "RepoDigests": row.repo_digests,
        "Containers": row.containers,
        "Dangling": row.name.is_none(),
        "Arch": row.architecture,
        "Os": "linux",
        "ParentId": "",
        "ReadOnly": false,
        "History": row.names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: Option<&str>, id: &str) -> Row {
        let reference = name.map(|name| Reference::parse(name).unwrap());
        Row {
            repository: reference.as_ref().map_or(NONE.to_owned(), |reference| reference.repository()),
            tag: reference.as_ref().and_then(|reference| reference.tag()).unwrap_or(NONE).to_owned(),
            name: name.map(str::to_owned),
            id: id.repeat(32),
            digest: "sha256:ab".into(),
            repo_digests: Vec::new(),
            names: name.map(str::to_owned).into_iter().collect(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            size: 107_400_000,
            labels: BTreeMap::new(),
            architecture: "amd64".into(),
            containers: 0,
        }
    }

    fn filters(options: &[&str]) -> Filters {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Filters::parse(&options, &KEYS).unwrap()
    }

    #[test]
    fn images_are_chosen_by_age() {
        let times = |options: &[&str]| {
            let created = |name: &str| Ok(name.parse::<Timestamp>()?);
            let bounds = Bounds::of(&filters(options), created).unwrap();
            ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]
                .map(|text| bounds.hold(text.parse().unwrap()))
        };
        assert_eq!(times(&[]), [true, true, true]);
        assert_eq!(times(&["since=2025-01-01T00:00:00Z"]), [false, true, true]);
        assert_eq!(times(&["after=2026-01-01T00:00:00Z"]), [false, false, true]);
        assert_eq!(times(&["before=2026-01-01T00:00:00Z"]), [true, false, false]);
        assert_eq!(times(&["until=2026-06-01", "since=2025-01-01T00:00:00Z"]), [false, true, false]);
        assert_eq!(moment("1767225600").unwrap().to_string(), "2026-01-01T00:00:00Z");
        assert!(moment("24h").unwrap() < Timestamp::now());
        assert!(moment("yesterday").unwrap_err().to_string().contains("until=yesterday"));
    }

    #[test]
    fn images_are_chosen_by_labels_and_use() {
        let mut row = row(Some("quay.io/a/web:1"), "ab");
        row.labels.insert("tier".into(), "front".into());
        for (filter, is) in [
            ("label=tier", true),
            ("label!=tier", false),
            ("label!=tier=back", true),
            ("label!=tier=front", false),
            ("containers=true", false),
            ("containers=false", true),
            ("dangling=false", true),
        ] {
            assert_eq!(wanted(&row, &filters(&[filter])), is, "{filter}");
        }
        assert!(check(&filters(&["dangling=yes"])).is_err());
    }

    #[test]
    fn json_has_podmans_field_names() {
        let row = row(Some("quay.io/a/web:1"), "ab");
        let json = serde_json::to_value(shown(&row)).unwrap();
        assert_eq!(json["Id"], row.id.as_str());
        assert_eq!(json["Repository"], "quay.io/a/web");
        assert_eq!(json["Tag"], "1");
        assert_eq!(json["Created"], 1_767_225_600);
        assert_eq!(json["CreatedAt"], "2026-01-01T00:00:00Z");
        for field in
            ["ParentId", "RepoTags", "RepoDigests", "VirtualSize", "SharedSize", "Labels", "Containers"]
        {
            assert!(json.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn tables_have_podmans_columns() {
        let format = Format::of(None, "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}").unwrap();
        let Format::Listing(listing) = format else { panic!("JSON") };
        let rows = vec![fields(&row(Some("quay.io/a/web:1"), "ab"), false), fields(&row(None, "cd"), false)];
        assert_eq!(
            listing.text(rows, true, &[("ID", "IMAGE ID")]).unwrap(),
            "REPOSITORY     TAG         IMAGE ID      SIZE\n\
             quay.io/a/web  1           abababababab  107 MB\n\
             <none>         <none>      cdcdcdcdcdcd  107 MB\n"
        );
    }

    #[test]
    fn references_may_leave_things_out() {
        let row = row(Some("quay.io/a/web:1"), "ab");
        for (wanted, is) in [
            ("quay.io/a/web:1", true),
            ("quay.io/a/web", true),
            ("a/web", true),
            ("web", true),
            ("web:1", true),
            ("web:2", false),
            ("eb", false),
            ("*web*", true),
            ("quay.io/*", true),
            ("*:2", false),
        ] {
            assert_eq!(refers(&row, wanted), is, "{wanted}");
        }
    }
}
