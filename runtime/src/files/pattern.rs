//! Which paths a feed means, and the fields that their folders tell: `events/date=*/*.jsonl`. Knows no storage.

use std::collections::BTreeMap;

/// A path with `*` for any part of a name, and `**` for any folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<String>,
}

impl Pattern {
    /// Reads it.
    pub fn new(path: &str) -> Self {
        Self { parts: path.split('/').map(str::to_owned).collect() }
    }

    /// The folders that all of its paths begin with.
    pub fn folder(&self) -> String {
        let (_, folders) = self.parts.split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
        let plain: Vec<&str> =
            folders.iter().take_while(|part| !part.contains('*')).map(String::as_str).collect();
        plain.join("/")
    }

    /// The fields that a path's folders tell, where it is one that is meant.
    pub fn fields(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let parts: Vec<&str> = path.split('/').collect();
        let mut fields = BTreeMap::new();
        meets(&self.parts, &parts, &mut fields).then_some(fields)
    }
}

fn meets(pattern: &[String], path: &[&str], fields: &mut BTreeMap<String, String>) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            (0..=path.len()).any(|skipped| meets(rest, &path[skipped..], fields))
        }
        (Some((first, rest)), Some((name, others))) => {
            if !is_like(first.as_bytes(), name.as_bytes()) || !meets(rest, others, fields) {
                return false;
            }
            if let (false, Some(field)) = (rest.is_empty(), first.strip_suffix("=*"))
                && let Some(value) = name.get(field.len() + 1..)
            {
                fields.insert(field.to_owned(), value.to_owned());
            }
            true
        }
        _ => false,
    }
}

/// Whether a name is one that a part with stars means. Names that begin with a point or an underscore are of files
/// that are none yet, or of no rows: they have to be named so.
fn is_like(part: &[u8], name: &[u8]) -> bool {
    let hidden = matches!(name.first(), Some(b'.' | b'_'));
    if hidden && part.first() != name.first() {
        return false;
    }
    // Where the last star stands, and how much of the name it has taken: one more, where what follows fails.
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match part.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == name[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    read = taken + 1;
                }
                None => return false,
            },
        }
    }
    part[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        Pattern::new(pattern).fields(path).map(|fields| fields.into_iter().collect())
    }

    #[test]
    fn a_folder_tells_a_field() {
        let told = fields("events/date=*/*.jsonl", "events/date=2026-01-02/part-1.jsonl");
        assert_eq!(told, Some(vec![("date".to_owned(), "2026-01-02".to_owned())]));
        assert_eq!(fields("events/date=*/*.jsonl", "events/date=2026-01-02/part-1.json"), None);
        assert_eq!(fields("events/date=*/*.jsonl", "events/part-1.jsonl"), None);
    }

    #[test]
    fn stars_stand_for_parts_of_names() {
        for path in ["a.csv", "aba.csv", "a.b.csv"] {
            assert_eq!(fields("a*.csv", path), Some(vec![]), "{path}");
        }
        for path in ["b.csv", "a.csv.part", "a/b.csv", ".a.csv"] {
            assert_eq!(fields("a*.csv", path), None, "{path}");
        }
        assert_eq!(fields("*.csv", "_a.csv"), None);
        assert_eq!(fields("_*.csv", "_a.csv"), Some(vec![]));
    }

    #[test]
    fn two_stars_stand_for_folders() {
        for path in ["x.csv", "a/x.csv", "a/b/x.csv"] {
            assert_eq!(fields("**/*.csv", path), Some(vec![]), "{path}");
        }
        assert_eq!(Pattern::new("a/b/c=*/d.csv").folder(), "a/b");
        assert_eq!(Pattern::new("products.json").folder(), "");
    }
}
