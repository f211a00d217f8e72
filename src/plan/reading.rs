//! Which scripts a change is about: those that differ, those that say what depends on them, and the tool's own. Of a
//! thousand relations nearly all are none of them, and need not be read. Looks for names in texts: too many found cost
//! time, and change nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::lock::Script;
use super::object::{Catalog, Identity, Kind, Unreadable};
use super::table::quoted;

/// What the title of a script begins with that is about no relation.
const OWN: &str = "medallion: ";

/// What the scripts of before and now make, as far as a change is about it; `named` are relations, quoted, that it is
/// about besides.
///
/// # Errors
///
/// A statement is none of those that scripts are made of.
pub fn about(
    before: &[Script],
    now: &[Script],
    named: impl IntoIterator<Item = String>,
) -> Result<(Catalog, Catalog), Unreadable> {
    let (old, new) = (by_title(before), by_title(now));
    // By a title of two, scripts would not be told apart.
    if old.len() < before.len() || new.len() < now.len() {
        return Ok((read(before)?, read(now)?));
    }
    let mut reading = Reading { names: named.into_iter().collect(), parts: BTreeMap::new() };
    let stays = |script: &Script| old.get(script.title.as_str()) == new.get(script.title.as_str());
    let (mut gone, mut made) = (BTreeMap::new(), BTreeMap::new());
    for (scripts, parts) in [(before, &mut gone), (now, &mut made)] {
        for script in scripts.iter().filter(|script| !stays(script)) {
            parts.insert(script.title.as_str(), read(std::slice::from_ref(script))?);
        }
    }
    for title in gone.keys().chain(made.keys()) {
        reading.differ(gone.get(title), made.get(title));
    }
    let mut rest: Vec<&Script> = Vec::new();
    for script in now.iter().filter(|script| stays(script)) {
        if script.title.starts_with(OWN) {
            reading.parts.insert(&script.title, read(std::slice::from_ref(script))?);
        } else {
            rest.push(script);
        }
    }
    let changed: Vec<&Catalog> = gone.values().chain(made.values()).collect();
    loop {
        let count = (reading.names.len(), reading.parts.len());
        reading.follow(&changed);
        let (read_now, others) =
            rest.into_iter().partition(|script| mentions(&script.sql, |name| reading.names.contains(name)));
        rest = others;
        let read_now: Vec<&Script> = read_now;
        for script in read_now {
            reading.parts.insert(&script.title, read(std::slice::from_ref(script))?);
        }
        if count == (reading.names.len(), reading.parts.len()) {
            break;
        }
    }
    let whole = |scripts: &[Script], changed: &BTreeMap<&str, Catalog>| {
        let mut catalog = Catalog::default();
        for script in scripts {
            let title = script.title.as_str();
            if let Some(part) = changed.get(title).or_else(|| reading.parts.get(title)) {
                catalog.objects.extend(part.objects.iter().cloned());
                catalog.comments.extend(part.comments.iter().cloned());
                catalog.grants.extend(part.grants.iter().cloned());
            }
        }
        catalog
    };
    Ok((whole(before, &gone), whole(now, &made)))
}

fn by_title(scripts: &[Script]) -> BTreeMap<&str, &str> {
    scripts.iter().map(|one| (one.title.as_str(), one.sql.as_str())).collect()
}

fn read(scripts: &[Script]) -> Result<Catalog, Unreadable> {
    Catalog::read(scripts.iter().map(|one| (one.title.as_str(), one.sql.as_str())))
}

/// What is found on the way.
struct Reading<'a> {
    /// What may go or change, quoted, and what reads it.
    names: BTreeSet<String>,
    /// The scripts that stay as they are and have been read.
    parts: BTreeMap<&'a str, Catalog>,
}

impl Reading<'_> {
    /// Takes the names of what differs in a script, or stands in one state of it alone.
    fn differ(&mut self, gone: Option<&Catalog>, made: Option<&Catalog>) {
        let sql = |catalog: Option<&Catalog>| -> BTreeSet<(Identity, String)> {
            let objects = catalog.into_iter().flat_map(|catalog| &catalog.objects);
            objects.map(|one| (one.identity.clone(), one.sql.clone())).collect()
        };
        let (gone, made) = (sql(gone), sql(made));
        for (identity, _) in gone.symmetric_difference(&made) {
            // What an index holds rows of may stand in another script.
            self.names.extend((identity.kind == Kind::Index).then(|| identity.of.clone()));
            self.names.insert(identity.name.clone());
        }
    }

    /// Takes the names of what reads one of them, until there are no more.
    fn follow(&mut self, changed: &[&Catalog]) {
        loop {
            let parts = self.parts.values().chain(changed.iter().copied());
            let readers: Vec<String> = parts
                .flat_map(|part| &part.objects)
                .filter(|one| !self.names.contains(&one.identity.name))
                .filter(|one| one.reads.iter().any(|name| self.names.contains(name)))
                .map(|one| one.identity.name.clone())
                .collect();
            if readers.is_empty() {
                return;
            }
            self.names.extend(readers);
        }
    }
}

/// Whether a text holds one of the names of two parts that are asked for, in a string too.
fn mentions(text: &str, is_asked: impl Fn(&str) -> bool) -> bool {
    let mut from = 0;
    while let Some(found) = text[from..].find("\".\"") {
        let dot = from + found + 1;
        from = dot + 1;
        let Some(start) = opening(&text[..dot]) else { continue };
        let Some((second, _)) = quoted(&text[dot + 1..]) else { continue };
        let name = &text[start..dot + 1 + second.len()];
        if is_asked(name) || name.contains("''") && is_asked(&name.replace("''", "'")) {
            return true;
        }
    }
    false
}

/// Where the quoted name begins with which a text ends.
fn opening(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = bytes.len().checked_sub(1)?;
    loop {
        at = text[..at].rfind('"')?;
        // Two of them are one in the name.
        if at > 0 && bytes[at - 1] == b'"' {
            at -= 1;
        } else {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let text = r#"a lone " here; SELECT "a"".b"."c" FROM x('"it''s"."d"'), "e"."f"."g""#;
        for name in [r#""a"".b"."c""#, r#""it's"."d""#, r#""e"."f""#, r#""f"."g""#] {
            assert!(mentions(text, |one| one == name), "{name}");
        }
        assert!(!mentions(text, |one| one == r#""b"."c""#));
    }
}
