//! The host's ruleset, as `nft -j list ruleset` tells it (libnftables-json(5)), and what
//! becomes of a packet in it.
//!
//! A packet is followed through the chains of one hook, as far as its properties are
//! known. A rule that asks for something that isn't known doesn't count, and the outcome
//! is then less certain.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// How deep chains may call each other; the kernel's own limit (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// All tables, chains and rules.
#[derive(Debug)]
pub(super) struct Ruleset {
    objects: Vec<Value>,
}

/// A chain that the kernel calls by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) name: String,
    drops: bool,
}

/// The first packet of a connection.
#[derive(Clone, Debug)]
pub(super) struct Packet<'a> {
    /// The interface where it comes in.
    pub(super) from: &'a str,
    /// The interface where it goes out.
    pub(super) to: &'a str,
    /// Whether a published port led it here.
    pub(super) is_dnat: bool,
}

/// What becomes of a packet in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Dropped {
        /// The chain whose rule or policy it is.
        by: String,
        /// Whether a rule that couldn't be judged might have let it pass.
        is_certain: bool,
    },
}

/// The verdict of a chain that was called.
enum Verdict {
    Accept,
    Drop(String),
    Return,
}

impl Ruleset {
    /// Reads the host's.
    ///
    /// # Errors
    /// `nft` isn't there, or may not look.
    pub(super) fn read() -> anyhow::Result<Self> {
        let output = Command::new("nft").args(["-j", "list", "ruleset"]).output().context("running nft")?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "nft -j list ruleset: {}", words.trim());
        Self::parse(&output.stdout)
    }

    fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let mut value: Value = serde_json::from_slice(json).context("reading what nft -j printed")?;
        let objects = value["nftables"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(Self { objects })
    }

    /// The chains of the hook `forward` that can drop packets.
    pub(super) fn forward_chains(&self) -> Vec<Chain> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.objects
            .iter()
            .map(|object| &object["chain"])
            .filter(|chain| chain["hook"] == "forward" && chain["type"] == "filter")
            .map(|chain| Chain {
                family: text(&chain["family"]),
                table: text(&chain["table"]),
                name: text(&chain["name"]),
                drops: chain["policy"] == "drop",
            })
            .collect()
    }

    /// Whether the chain's table has a chain of this name.
    pub(super) fn has_beside(&self, chain: &Chain, name: &str) -> bool {
        self.objects.iter().map(|object| &object["chain"]).any(|other| {
            other["family"] == chain.family && other["table"] == chain.table && other["name"] == name
        })
    }

    /// What becomes of a packet in a chain of the hook `forward`.
    pub(super) fn fate(&self, chain: &Chain, packet: &Packet<'_>) -> Fate {
        let mut is_certain = true;
        match self.follow(chain, &chain.name, packet, &mut is_certain, 0) {
            Verdict::Drop(by) => Fate::Dropped { by, is_certain },
            Verdict::Return if chain.drops => Fate::Dropped { by: chain.name.clone(), is_certain },
            Verdict::Accept | Verdict::Return => Fate::Passes,
        }
    }

    fn follow(
        &self,
        base: &Chain,
        name: &str,
        packet: &Packet<'_>,
        certain: &mut bool,
        depth: usize,
    ) -> Verdict {
        let rules = self.objects.iter().map(|object| &object["rule"]).filter(|rule| {
            rule["family"] == base.family && rule["table"] == base.table && rule["chain"] == name
        });
        for rule in rules {
            let expressions = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
            let answers: Vec<_> = expressions.iter().map(|expression| packet.matches(expression)).collect();
            if answers.contains(&Some(false)) {
                continue;
            }
            let is_known = !answers.contains(&None);
            for expression in expressions {
                let called = ["jump", "goto"].map(|verb| expression[verb]["target"].as_str());
                let verdict = if has(expression, "accept") {
                    Verdict::Accept
                } else if has(expression, "drop") || has(expression, "reject") || is_reject(expression) {
                    Verdict::Drop(name.to_owned())
                } else if has(expression, "return") {
                    Verdict::Return
                } else if let Some(target) = called[0].or(called[1])
                    && depth < DEEPEST
                {
                    match self.follow(base, target, packet, certain, depth + 1) {
                        // After a goto, what follows is the caller's.
                        Verdict::Return if called[0].is_some() => continue,
                        verdict => verdict,
                    }
                } else {
                    continue;
                };
                if is_known {
                    return verdict;
                }
                // What might drop it is not held against the ruleset.
                if matches!(verdict, Verdict::Accept | Verdict::Return) {
                    *certain = false;
                }
                break;
            }
        }
        Verdict::Return
    }
}

impl Packet<'_> {
    /// Whether an expression of a rule lets the packet on; absent if that isn't known.
    fn matches(&self, expression: &Value) -> Option<bool> {
        if has(expression, "xt") && !is_reject(expression) {
            return None;
        }
        let matched = &expression["match"];
        if matched.is_null() {
            // Counters, logs, verdicts.
            return Some(true);
        }
        let right = &matched["right"];
        let is_one_of = match (matched["left"]["meta"]["key"].as_str(), matched["left"]["ct"]["key"].as_str())
        {
            (Some("iifname" | "iif"), _) => is_interface(right, self.from)?,
            (Some("oifname" | "oif"), _) => is_interface(right, self.to)?,
            (_, Some("state")) => values(right).any(|state| state == "new"),
            (_, Some("status")) => self.is_dnat && values(right).any(|status| status == "dnat"),
            _ => return None,
        };
        Some(is_one_of != (matched["op"] == "!="))
    }
}

/// Whether a pattern, or one of a set, means the interface; absent for a named set.
fn is_interface(right: &Value, interface: &str) -> Option<bool> {
    if values(right).any(|name| name.starts_with('@')) {
        return None;
    }
    Some(values(right).any(|name| match name.strip_suffix('*') {
        Some(prefix) => interface.starts_with(prefix),
        None => name == interface,
    }))
}

/// A single value, a list, or a set of them.
fn values(value: &Value) -> impl Iterator<Item = &str> {
    let many = value["set"].as_array().or(value.as_array());
    let one = value.as_str();
    many.into_iter().flatten().filter_map(Value::as_str).chain(one)
}

fn has(expression: &Value, key: &str) -> bool {
    expression.get(key).is_some()
}

/// The target REJECT of iptables(8), which nft shows as what it is.
fn is_reject(expression: &Value) -> bool {
    expression["xt"]["name"] == "REJECT"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OUT: Packet<'_> = Packet { from: "sampan0", to: "eth0", is_dnat: false };
    const IN: Packet<'_> = Packet { from: "eth0", to: "sampan0", is_dnat: true };

    /// A table `ip filter` with a chain FORWARD of this policy and these rules, and a chain
    /// DOCKER-USER with those.
    fn ruleset(policy: &str, rules: &[Value], called: &[Value]) -> (Ruleset, Chain) {
        let rule = |chain: &str, expression: &Value| json!({"rule": {"family": "ip", "table": "filter", "chain": chain, "expr": expression}});
        let mut objects = vec![
            json!({"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter",
                             "hook": "forward", "policy": policy}}),
            json!({"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER"}}),
        ];
        objects.extend(rules.iter().map(|expression| rule("FORWARD", expression)));
        objects.extend(called.iter().map(|expression| rule("DOCKER-USER", expression)));
        let ruleset = Ruleset::parse(json!({"nftables": objects}).to_string().as_bytes()).unwrap();
        let chain = ruleset.forward_chains().remove(0);
        (ruleset, chain)
    }

    fn interface(key: &str, op: &str, name: &str) -> Value {
        json!({"match": {"op": op, "left": {"meta": {"key": key}}, "right": name}})
    }

    fn dropped(by: &str, is_certain: bool) -> Fate {
        Fate::Dropped { by: by.to_owned(), is_certain }
    }

    #[test]
    fn a_policy_drops_what_no_rule_accepts() {
        let (rules, chain) = ruleset("drop", &[], &[]);
        assert_eq!(rules.fate(&chain, &OUT), dropped("FORWARD", true));
        let (rules, chain) = ruleset("accept", &[], &[]);
        assert_eq!(rules.fate(&chain, &OUT), Fate::Passes);
    }

    #[test]
    fn rules_count_as_far_as_they_match() {
        let docker = json!([interface("iifname", "==", "docker0"), {"accept": null}]);
        let (rules, chain) = ruleset("drop", std::slice::from_ref(&docker), &[]);
        assert_eq!(rules.fate(&chain, &OUT), dropped("FORWARD", true));
        let ours = json!([interface("iifname", "==", "sampan*"), {"counter": {}}, {"accept": null}]);
        let (rules, chain) = ruleset("drop", &[docker, ours], &[]);
        assert_eq!(rules.fate(&chain, &OUT), Fate::Passes);
        assert_eq!(rules.fate(&chain, &IN), dropped("FORWARD", true));
        let dnat = json!([{"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, {"accept": null}]);
        let (rules, chain) = ruleset("drop", &[dnat], &[]);
        assert_eq!(rules.fate(&chain, &IN), Fate::Passes);
        let established = json!([
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
            {"accept": null}
        ]);
        let (rules, chain) = ruleset("drop", &[established], &[]);
        assert_eq!(rules.fate(&chain, &IN), dropped("FORWARD", true));
    }

    #[test]
    fn chains_are_followed_and_named() {
        let jump = json!([{"jump": {"target": "DOCKER-USER"}}]);
        let reject =
            json!([interface("oifname", "!=", "docker0"), {"xt": {"type": "target", "name": "REJECT"}}]);
        let (rules, chain) = ruleset("accept", std::slice::from_ref(&jump), &[reject]);
        assert_eq!(rules.fate(&chain, &IN), dropped("DOCKER-USER", true));
        assert!(rules.has_beside(&chain, "DOCKER-USER") && !rules.has_beside(&chain, "ufw"));
        let back = json!([{"return": null}]);
        let (rules, chain) = ruleset("accept", &[jump], &[back]);
        assert_eq!(rules.fate(&chain, &IN), Fate::Passes);
    }

    #[test]
    fn what_is_not_understood_makes_less_certain() {
        let unknown =
            json!({"match": {"op": "==", "left": {"payload": {"field": "saddr"}}, "right": "10.0.0.1"}});
        let (rules, chain) = ruleset("drop", &[json!([unknown.clone(), {"accept": null}])], &[]);
        assert_eq!(rules.fate(&chain, &OUT), dropped("FORWARD", false));
        let (rules, chain) = ruleset("accept", &[json!([unknown, {"drop": null}])], &[]);
        assert_eq!(rules.fate(&chain, &OUT), Fate::Passes);
    }
}
