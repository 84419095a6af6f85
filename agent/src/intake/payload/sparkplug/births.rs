//! What nodes and devices said of themselves at birth, without which their data cannot be read.
//!
//! In: births and deaths. Out: the name behind an alias, who is there, and each node as text to be stored: the driver
//! writes it in the transaction of the birth's own readings, so that after a restart no node has to be asked again.
//! The agent sends devices no commands, a request for rebirth neither.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::time::UtcMs;
use serde::{Deserialize, Serialize};

use super::wire::Metric;
use crate::core::input::Learned;

/// Keys of stored births begin with it.
const PREFIX: &str = "sparkplug/";
/// Metrics that one node and its devices may declare. More are refused.
const METRICS_MAX: usize = 5_000;
/// Nodes that are kept. A further one is refused.
const NODES_MAX: usize = 1_000;
/// What all births together may take, in bytes: names, and [`METRIC_BYTES`] for each metric. More are refused.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a metric takes beside its name, about.
const METRIC_BYTES: usize = 96;

/// Every node that was born.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Births {
    nodes: BTreeMap<String, Node>,
}

/// One node, since its newest birth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// When it was born, by its own clock.
    pub born: UtcMs,
    /// Which of its sessions this is; its death must name the same.
    pub bd_seq: Option<u64>,
    /// Whether it is there.
    pub alive: bool,
    /// Its devices that are there.
    pub devices: BTreeSet<String>,
    /// Metrics by device (empty for the node's own) and name.
    metrics: BTreeMap<String, BTreeMap<String, Declared>>,
    #[serde(skip)]
    aliases: BTreeMap<u64, (String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Declared {
    alias: Option<u64>,
    datatype: Option<u32>,
}

impl Births {
    /// Those that were stored: keys and texts of the store's rule state, of which others are passed over.
    #[must_use]
    pub fn restored<'a>(rules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut births = Self::default();
        for (key, body) in rules {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            match serde_json::from_str::<Node>(body) {
                Ok(mut node) => {
                    node.index();
                    births.nodes.insert(name.to_owned(), node);
                }
                // Its data go to quarantine with the reason until its next birth.
                Err(error) => tracing::warn!(node = name, "the birth of {name} cannot be read from the store: {error}"),
            }
        }
        births
    }

    /// The node of this name (`group/node`), if it was born and has not died since.
    #[must_use]
    pub fn alive(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name).filter(|node| node.alive)
    }

    /// A node is born: whatever was known of it and its devices is void.
    /// # Errors
    /// What is too much.
    pub fn node(
        &mut self,
        name: &str,
        born: UtcMs,
        bd_seq: Option<u64>,
        metrics: &[Metric],
    ) -> Result<Learned, String> {
        if !self.nodes.contains_key(name) && self.nodes.len() >= NODES_MAX {
            return Err(format!("more than {NODES_MAX} nodes"));
        }
        let mut node = Node { born, bd_seq, alive: true, ..Node::default() };
        node.declare("", metrics)?;
        self.has_room_for(name, &node)?;
        self.nodes.insert(name.to_owned(), node);
        self.learned(name)
    }

    fn has_room_for(&self, name: &str, node: &Node) -> Result<(), String> {
        let others: usize = self.nodes.iter().filter(|(held, _)| *held != name).map(|(_, node)| node.bytes()).sum();
        if others + node.bytes() > BYTES_MAX {
            return Err(format!("more than {BYTES_MAX} bytes of births in all"));
        }
        Ok(())
    }

    /// A device of a node that is alive is born.
    /// # Errors
    /// What is too much.
    pub fn device(&mut self, name: &str, device: &str, metrics: &[Metric]) -> Result<Learned, String> {
        if let Some(mut node) = self.nodes.get(name).cloned() {
            node.declare(device, metrics)?;
            node.devices.insert(device.to_owned());
            self.has_room_for(name, &node)?;
            self.nodes.insert(name.to_owned(), node);
        }
        self.learned(name)
    }

    /// A device is gone; false if it was so before.
    pub fn device_gone(&mut self, name: &str, device: &str) -> bool {
        self.nodes.get_mut(name).is_some_and(|node| node.devices.remove(device))
    }

    /// A node is gone, and its devices with it.
    pub fn node_gone(&mut self, name: &str) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.alive = false;
            node.devices.clear();
        }
    }

    /// How the node stands now, to be stored.
    /// # Errors
    /// When it cannot be written as text.
    pub fn learned(&self, name: &str) -> Result<Learned, String> {
        let body = serde_json::to_string(&self.nodes.get(name)).map_err(|error| error.to_string())?;
        Ok(Learned { key: format!("{PREFIX}{name}"), body })
    }
}

impl Node {
    fn declare(&mut self, device: &str, metrics: &[Metric]) -> Result<(), String> {
        let held: usize = self.metrics.iter().filter(|(of, _)| *of != device).map(|(_, metrics)| metrics.len()).sum();
        if held + metrics.len() > METRICS_MAX {
            return Err(format!("more than {METRICS_MAX} metrics of one node"));
        }
        let declared = metrics.iter().filter_map(|metric| {
            Some((metric.name.clone()?, Declared { alias: metric.alias, datatype: metric.datatype }))
        });
        self.metrics.insert(device.to_owned(), declared.collect());
        self.index();
        Ok(())
    }

    /// What it takes, about. A name stands twice: as declared, and behind its alias.
    fn bytes(&self) -> usize {
        let metrics = self.metrics.values().flat_map(BTreeMap::keys).map(|name| 2 * name.len() + METRIC_BYTES);
        metrics.sum::<usize>() + self.devices.iter().map(|device| device.len() + METRIC_BYTES).sum::<usize>()
    }

    fn index(&mut self) {
        self.aliases.clear();
        for (device, metrics) in &self.metrics {
            for (name, declared) in metrics {
                if let Some(alias) = declared.alias {
                    self.aliases.insert(alias, (device.clone(), name.clone()));
                }
            }
        }
    }

    /// Name and type of a metric of a data message; `None` for an alias that no birth declared.
    #[must_use]
    pub fn resolve(&self, device: &str, metric: &Metric) -> Option<(String, Option<u32>)> {
        let (device, name) = match (&metric.name, metric.alias) {
            (Some(name), _) => (device.to_owned(), name.clone()),
            (None, Some(alias)) => self.aliases.get(&alias)?.clone(),
            (None, None) => return None,
        };
        let declared = self.metrics.get(&device).and_then(|metrics| metrics.get(&name));
        Some((name, metric.datatype.or_else(|| declared.and_then(|declared| declared.datatype))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn births_without_end_are_refused_at_a_bound_and_those_before_stay() {
        let metric = |n: usize| {
            let mut metric = Metric::default();
            let _ = metric.name.insert(format!("{n:0>1000}"));
            metric
        };
        let metrics: Vec<Metric> = (0..1_000).map(metric).collect();
        let mut births = Births::default();
        let born = (0..50).filter(|n| births.node(&format!("G/{n}"), UtcMs(0), None, &metrics).is_ok()).count();
        assert!((3..5).contains(&born), "{born} nodes of 2 MB each");
        assert!(births.device("G/0", "d", &metrics).is_err());
        assert!(births.alive("G/0").is_some_and(|node| node.devices.is_empty()), "and nothing of it is left");
        assert!(births.node("G/0", UtcMs(1), None, &metrics[..10]).is_ok(), "its own next birth takes its place");
    }
}
