//! Whether the services of a pod have all ended, once none of them is on its way any more.
//!
//! A look at the wrong moment would be the last one: systemd starts the unit that looks when a service has ended, and
//! does nothing if that unit is still busy with the one before. So it is busy as long as a service is neither up nor
//! down, and sees that one's end itself.

use std::time::{Duration, Instant};

use sampan_status::systemd::{Systemd, Unit};

const PAUSE: Duration = Duration::from_millis(100);
/// Beside what systemd allows the slowest member for its stop.
const MARGIN: Duration = Duration::from_secs(10);
/// So long at most, also where a stop may take for ever.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a service has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Up,
    Between,
    Down,
}

fn stage(unit: &Unit) -> Stage {
    match unit.active_state.as_str() {
        _ if unit.has_job => Stage::Between,
        "activating" | "deactivating" => Stage::Between,
        "inactive" | "failed" => Stage::Down,
        _ => Stage::Up,
    }
}

/// Waits until the members of `owner` are up or down, and returns them if all are down. `None`: one is up, or goes on
/// being in between for longer than its stop may take, or `owner` itself ends, begins or has ended.
///
/// # Errors
/// D-Bus's.
pub(crate) fn ended(owner: &str, members: &[String], systemd: &Systemd) -> anyhow::Result<Option<Vec<Unit>>> {
    let begun = Instant::now();
    loop {
        let own = systemd.unit(owner)?;
        if own.has_job || own.active_state != "active" {
            return Ok(None);
        }
        let units = members.iter().map(|name| systemd.unit(name)).collect::<Result<Vec<_>, _>>()?;
        let is_at = |wanted| units.iter().any(|unit| stage(unit) == wanted);
        if is_at(Stage::Up) || begun.elapsed() > patience(&units) {
            return Ok(None);
        }
        if !is_at(Stage::Between) {
            return Ok(Some(units));
        }
        std::thread::sleep(PAUSE);
    }
}

fn patience(units: &[Unit]) -> Duration {
    let slowest = units.iter().map(|unit| unit.stop_timeout).max().unwrap_or_default();
    Duration::from_micros(slowest).saturating_add(MARGIN).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active_state: &str, has_job: bool, stop_timeout: u64) -> Unit {
        let mut unit = Unit::default();
        (unit.active_state, unit.has_job, unit.stop_timeout) =
            (active_state.to_owned(), has_job, stop_timeout);
        unit
    }

    /// Two containers that end together: the look after the first end finds the second one deactivating.
    #[test]
    fn who_is_on_its_way_is_waited_for() {
        for (state, has_job, wanted) in [
            ("active", false, Stage::Up),
            ("reloading", false, Stage::Up),
            ("deactivating", false, Stage::Between),
            ("activating", false, Stage::Between),
            ("active", true, Stage::Between),
            ("inactive", true, Stage::Between),
            ("inactive", false, Stage::Down),
            ("failed", false, Stage::Down),
        ] {
            assert_eq!(stage(&unit(state, has_job, 0)), wanted, "{state} {has_job}");
        }
    }

    #[test]
    fn patience_ends() {
        let units = [unit("deactivating", false, 90_000_000), unit("active", false, 5)];
        assert_eq!(patience(&units), Duration::from_secs(100));
        assert_eq!(patience(&[unit("deactivating", false, u64::MAX)]), LONGEST);
    }
}
