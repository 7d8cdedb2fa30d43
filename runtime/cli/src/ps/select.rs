//! Which containers `sampan ps` shows, and in which order.

use super::Row;
use crate::output::filter::{Filters, matches};

const KEYS: &[&str] =
    &["id", "name", "label", "status", "ancestor", "network", "volume", "health", "pod", "exited"];

/// What the options ask for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) filter: &'a [String],
    /// Also those that don't run.
    pub(super) all: bool,
    /// Only so many, the last made.
    pub(super) last: Option<usize>,
    pub(super) sort: &'a str,
}

/// The rows that are wanted, in order.
///
/// # Errors
/// A filter that does not exist.
pub(super) fn select(mut rows: Vec<Row>, wanted: &Wanted<'_>) -> anyhow::Result<Vec<Row>> {
    let filters = Filters::parse(wanted.filter, KEYS)?;
    let any_state = wanted.all || wanted.last.is_some() || filters.has("status") || filters.has("exited");
    rows.retain(|row| (any_state || row.state == "running") && fits(row, &filters));
    if let Some(last) = wanted.last {
        rows.sort_by_key(|row| std::cmp::Reverse(row.made));
        rows.truncate(last);
    }
    sort(&mut rows, wanted.sort);
    Ok(rows)
}

fn fits(row: &Row, filters: &Filters) -> bool {
    filters.any("id", |id| row.id.starts_with(id))
        && filters.any("name", |name| row.names.iter().any(|own| matches(own, name)))
        && filters.any("status", |status| row.state == if status == "stopped" { "exited" } else { status })
        && filters.any("ancestor", |image| is_from(row, image))
        && filters.any("pod", |pod| row.pod_name == pod || (!row.pod.is_empty() && row.pod.starts_with(pod)))
        && filters.any("network", |network| row.networks.iter().any(|own| own == network))
        && filters.any("volume", |volume| row.volumes.iter().any(|own| own == volume))
        && filters.any(
            "health",
            |health| if row.health.is_empty() { health == "none" } else { row.health == health },
        )
        && filters.any("exited", |code| row.exited && row.exit_code.to_string() == code)
        && filters.labels(&row.labels)
}

/// Whether the container's image is meant by an id, a name, or a name without registry or tag.
fn is_from(row: &Row, image: &str) -> bool {
    let untagged = match row.image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => &row.image,
    };
    let ends =
        |whole: &str| whole == image || whole.strip_suffix(image).is_some_and(|rest| rest.ends_with('/'));
    let id = image.strip_prefix("sha256:").unwrap_or(image);
    ends(&row.image) || ends(untagged) || (id.len() >= 3 && row.image_id.starts_with(id))
}

fn sort(rows: &mut [Row], key: &str) {
    match key {
        "command" => rows.sort_by(|a, b| a.command.cmp(&b.command)),
        "id" => rows.sort_by(|a, b| a.id.cmp(&b.id)),
        "image" => rows.sort_by(|a, b| a.image.cmp(&b.image)),
        "names" => rows.sort_by(|a, b| a.names.cmp(&b.names)),
        "runningfor" => rows.sort_by_key(|row| row.started_at),
        "status" => rows.sort_by(|a, b| a.state.cmp(b.state)),
        _ => rows.sort_by_key(|row| row.made),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::state;
    use super::*;
    use sampan_container::state::Status;

    fn rows() -> Vec<Row> {
        let mut new = state("new");
        new.created = "2026-02-02T00:00:00Z".into();
        new.status = Status::Created;
        new.labels.clear();
        new.networks.clear();
        vec![Row::of(state("web"), String::new()), Row::of(new, "healthy".into())]
    }

    fn names(filter: &[&str], all: bool, last: Option<usize>, sort: &str) -> Vec<String> {
        let filter: Vec<String> = filter.iter().map(|filter| (*filter).to_owned()).collect();
        let rows = select(rows(), &Wanted { filter: &filter, all, last, sort }).unwrap();
        rows.into_iter().flat_map(|row| row.names).collect()
    }

    #[test]
    fn only_running_ones_are_shown_unless_asked() {
        assert!(names(&[], false, None, "created").is_empty());
        assert_eq!(names(&[], true, None, "created"), ["web", "new"]);
        assert_eq!(names(&[], false, Some(1), "created"), ["new"]);
        assert_eq!(names(&["status=exited"], false, None, "created"), ["web"]);
        assert_eq!(names(&["status=stopped", "status=created"], false, None, "created"), ["web", "new"]);
    }

    #[test]
    fn filters_choose() {
        for (filter, expected) in [
            ("name=we", &["web"][..]),
            ("name=^eb", &[]),
            ("id=web0", &["web"]),
            ("label=app", &["web"]),
            ("label=app=db", &[]),
            ("ancestor=quay.io/a/web:1", &["web", "new"]),
            ("ancestor=web", &["web", "new"]),
            ("ancestor=eb", &[]),
            ("ancestor=abab", &["web", "new"]),
            ("network=front", &["web"]),
            ("volume=data", &["web", "new"]),
            ("volume=/data", &["web", "new"]),
            ("health=healthy", &["new"]),
            ("exited=3", &["web"]),
        ] {
            assert_eq!(names(&[filter], true, None, "created"), expected, "{filter}");
        }
        let rows = select(rows(), &Wanted { filter: &["nme=x".into()], all: true, last: None, sort: "id" });
        assert!(rows.unwrap_err().to_string().contains("ancestor"));
    }

    #[test]
    fn rows_are_sorted() {
        assert_eq!(names(&[], true, None, "names"), ["new", "web"]);
        assert_eq!(names(&[], true, None, "status"), ["new", "web"]);
    }
}
