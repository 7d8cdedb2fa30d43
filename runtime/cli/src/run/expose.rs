//! Ports that an image (`EXPOSE`) or a user (`--expose`) says that the program listens on. That is a remark, until
//! `--publish-all` gives each of them a port of the host.

use anyhow::anyhow;
use sampan_network::{PortMapping, parse_ports};

use super::network::{Network, Plan};
use super::options::Options;
use crate::blame::Blamed as _;

/// Adds what `--publish-all` publishes to the plan: each exposed port that the user hasn't published himself, on a
/// port of the host that is free. `of_image` are the image's, as `80/tcp`.
///
/// On the host's network there is nothing to publish, as with `--publish`.
///
/// # Errors
/// A malformed port, in every case; ports without a network.
pub(super) fn publish(plan: &mut Plan, options: &Options, of_image: &[String]) -> anyhow::Result<()> {
    let mut exposed = Vec::new();
    for text in &options.expose {
        exposed.extend(ports(text).blame("ExposeHostPort", text)?);
    }
    if !options.publish_all {
        return Ok(());
    }
    for text in of_image {
        exposed.extend(ports(text).map_err(|error| error.context("EXPOSE of the image"))?);
    }
    match plan.network {
        Network::Joined(_) => {}
        Network::Host => return Ok(()),
        Network::None | Network::Path(_) if exposed.is_empty() => return Ok(()),
        Network::None | Network::Path(_) => {
            let words = options.net.network.join(" ");
            return Err(anyhow!(
                "--publish-all needs a network of the container's own: with Network={words} there is nothing to publish from"
            ))
            .blame("PodmanArgs", "--publish-all");
        }
    }
    for port in exposed {
        let is_published = plan.ports.iter().any(|other| {
            let row = other.container_port..=other.container_port.saturating_add(other.range - 1);
            other.protocol == port.protocol && row.contains(&port.container_port)
        });
        if !is_published {
            plan.ports.push(port);
        }
    }
    Ok(())
}

/// The ports of `PORT[-END][/PROTOCOL]`, one by one: their ports on the host need not be a row.
fn ports(text: &str) -> anyhow::Result<Vec<PortMapping>> {
    if text.contains(':') {
        return Err(anyhow!(
            "\"{text}\" names an address or a port of the host: write PORT[-END][/PROTOCOL] here, or publish it \
             (PublishPort=, -p)"
        ));
    }
    let each = |row: PortMapping| {
        (0..row.range).map(move |n| PortMapping {
            container_port: row.container_port + n,
            range: 1,
            ..row.clone()
        })
    };
    Ok(parse_ports(text)?.into_iter().flat_map(each).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn published(words: &[&str], network: Network, of_image: &[&str]) -> anyhow::Result<Vec<String>> {
        let line = ["run"].iter().chain(words).chain(&["image"]);
        let options = Line::parse_from(line).options;
        let ports = options.net.publish.iter().flat_map(|text| parse_ports(text).unwrap()).collect();
        let mut plan = Plan { network, ports, names: Vec::new() };
        let of_image: Vec<String> = of_image.iter().map(|text| (*text).to_owned()).collect();
        publish(&mut plan, &options, &of_image)?;
        Ok(plan.ports.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_exposed_port_is_published_once() {
        let joined = || Network::Joined(Vec::new());
        let ports = published(
            &["-P", "--expose", "53/udp", "--expose", "8000-8001"],
            joined(),
            &["80/tcp", "53/udp"],
        );
        let all = ["0.0.0.0:0->53/udp", "0.0.0.0:0->8000/tcp", "0.0.0.0:0->8001/tcp", "0.0.0.0:0->80/tcp"];
        assert_eq!(ports.unwrap(), all);
        // The user's own choice of a port comes first.
        let ports = published(&["-P", "-p", "8080-8081:80-81"], joined(), &["81", "82/tcp", "80/udp"]);
        assert_eq!(
            ports.unwrap(),
            ["0.0.0.0:8080-8081->80-81/tcp", "0.0.0.0:0->82/tcp", "0.0.0.0:0->80/udp"]
        );
        let without = published(&["--expose", "53/udp"], joined(), &["80/tcp"]);
        assert!(without.unwrap().is_empty());
        assert!(published(&["-P"], Network::Host, &["80/tcp"]).unwrap().is_empty());
        assert!(published(&["--publish-all"], Network::None, &[]).unwrap().is_empty());
    }

    #[test]
    fn what_exposes_nothing_is_refused() {
        for (words, of_image, part) in [
            (&["--expose", "8080:80"][..], &[][..], "publish it"),
            (&["--expose", "80/icmp"], &[], "80/icmp"),
            (&["-P"], &["http/tcp"], "EXPOSE of the image"),
        ] {
            let error = published(words, Network::Joined(Vec::new()), of_image).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
        let error = published(&["-P", "--network", "none"], Network::None, &["80/tcp"]).unwrap_err();
        assert!(format!("{error:#}").contains("Network=none"), "{error:#}");
    }
}
