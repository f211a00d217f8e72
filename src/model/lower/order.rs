//! Orders things that need each other: what is needed first, ties by name. Knows names only.

use std::collections::{BTreeMap, BTreeSet};

/// An order, or what stands in its way.
pub(super) struct Ordered {
    /// All names, each after what it needs, as far as that can be.
    pub names: Vec<String>,
    /// Names that need each other, in a ring, starting at the smallest.
    pub cycles: Vec<Vec<String>>,
}

/// Orders names by what each needs; needs that are no names are passed over.
pub(super) fn order(needs: &BTreeMap<String, BTreeSet<String>>) -> Ordered {
    let mut left = needs
        .iter()
        .map(|(name, needs_of)| {
            let known = needs_of.iter().filter(|need| needs.contains_key(*need)).cloned();
            (name.clone(), known.collect::<BTreeSet<_>>())
        })
        .collect::<BTreeMap<_, _>>();
    let mut users = BTreeMap::<String, Vec<String>>::new();
    for (name, needs_of) in &left {
        for need in needs_of {
            users.entry(need.clone()).or_default().push(name.clone());
        }
    }
    let mut ready = left
        .iter()
        .filter(|(_, needs_of)| needs_of.is_empty())
        .map(|(name, _)| name.clone())
        .collect::<BTreeSet<_>>();
    let mut names = Vec::new();
    while let Some(name) = ready.pop_first() {
        left.remove(&name);
        for user in users.get(&name).into_iter().flatten() {
            if let Some(needs_of) = left.get_mut(user) {
                needs_of.remove(&name);
                if needs_of.is_empty() {
                    ready.insert(user.clone());
                }
            }
        }
        names.push(name);
    }
    let cycles = cycles(&left);
    names.extend(left.into_keys());
    Ordered { names, cycles }
}

/// Rings among names of which each needs another: from each name onwards until one comes again.
fn cycles(left: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for start in left.keys() {
        let mut path = Vec::<String>::new();
        let mut name = start;
        while seen.insert(name.clone()) {
            path.push(name.clone());
            let Some(next) = left.get(name).and_then(BTreeSet::first) else { break };
            name = next;
        }
        if let Some(position) = path.iter().position(|step| step == name) {
            let mut ring = path.split_off(position);
            let smallest = (0..ring.len()).min_by_key(|index| &ring[*index]).unwrap_or(0);
            ring.rotate_left(smallest);
            found.push(ring);
        }
    }
    found
}

/// A ring, for a reader.
pub(super) fn ring(names: &[String]) -> String {
    let closed = names.iter().chain(names.first());
    closed.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" -> ")
}
