//! Privileges that a migration gives or takes: what changed, and on objects that were made anew all of them. What
//! somebody else has granted on these is kept elsewhere.

use std::collections::BTreeSet;

use super::difference::Step;
use super::object::{Catalog, Grant, Identity, Kind};

/// The statements: what is given or taken otherwise than before, one for the objects of a section on which a role
/// is given the same.
pub(super) fn steps(
    old: &Catalog,
    new: &Catalog,
    made: &BTreeSet<&Identity>,
    stands: impl Fn(&Identity) -> bool,
) -> Vec<Step> {
    let held: BTreeSet<&Grant> = old.grants.iter().map(|(_, grant)| grant).collect();
    let wanted: BTreeSet<&Grant> = new.grants.iter().map(|(_, grant)| grant).collect();
    let made: BTreeSet<Granted> = made.iter().filter_map(|object| granted(object)).collect();
    let is_made = |grant: &Grant| made.contains(&on(grant));
    let fallen = old.objects.iter().map(|one| &one.identity).filter(|one| !stands(one));
    let fallen: BTreeSet<Granted> = fallen.filter_map(granted).collect();
    let mut changes: Vec<(&str, Grant)> = Vec::new();
    for (section, grant) in &old.grants {
        if !wanted.contains(grant) && !is_made(grant) && !fallen.contains(&on(grant)) {
            changes.push((section, Grant { given: !grant.given, ..grant.clone() }));
        }
    }
    for (section, grant) in &new.grants {
        let is_said = changes.iter().any(|(_, change)| change == grant);
        if (!held.contains(grant) || is_made(grant)) && !is_said {
            changes.push((section, grant.clone()));
        }
    }
    grouped(&changes)
}

/// What privileges are given on: a class of objects, and the name by which GRANT calls one.
type Granted = (&'static str, String);

/// What a grant is on. A sequence is called without its class as well.
fn on(grant: &Grant) -> Granted {
    let class = match grant.class.as_str() {
        "FUNCTION " => "FUNCTION ",
        "SCHEMA " => "SCHEMA ",
        "TYPE " => "TYPE ",
        _ => "",
    };
    (class, grant.object.clone())
}

fn granted(object: &Identity) -> Option<Granted> {
    Some(match object.kind {
        Kind::Function => ("FUNCTION ", format!("{}{}", object.name, object.of)),
        Kind::Schema => ("SCHEMA ", object.name.clone()),
        Kind::Type => ("TYPE ", object.name.clone()),
        Kind::Table | Kind::View | Kind::MaterializedView | Kind::Partition | Kind::Sequence => {
            ("", object.name.clone())
        }
        Kind::Index | Kind::Trigger | Kind::Block => return None,
    })
}

/// Privileges that one statement gives or takes.
struct Statement<'a> {
    section: &'a str,
    given: bool,
    class: &'a str,
    role: &'a str,
    privileges: Vec<&'a str>,
    objects: Vec<&'a str>,
}

impl Statement<'_> {
    fn sql(&self) -> String {
        let (verb, to) = if self.given { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
        let (privileges, class, role) = (self.privileges.join(", "), self.class, self.role);
        match self.objects.as_slice() {
            [object] => format!("{verb} {privileges} ON {class}{object} {to} {role};"),
            several => {
                let objects = several.join(",\n    ");
                format!("{verb} {privileges} ON{}{}\n    {objects}\n{to} {role};", space(class), class.trim())
            }
        }
    }
}

fn space(class: &str) -> &'static str {
    if class.is_empty() { "" } else { " " }
}

fn grouped(changes: &[(&str, Grant)]) -> Vec<Step> {
    let mut single: Vec<Statement<'_>> = Vec::new();
    for (section, grant) in changes {
        let found = single.iter_mut().find(|one| {
            one.given == grant.given
                && one.class == grant.class
                && one.role == grant.role
                && one.objects == [grant.object.as_str()]
        });
        match found {
            Some(one) if one.privileges.contains(&grant.privilege.as_str()) => {}
            Some(one) => one.privileges.push(&grant.privilege),
            None => single.push(Statement {
                section,
                given: grant.given,
                class: &grant.class,
                role: &grant.role,
                privileges: vec![&grant.privilege],
                objects: vec![&grant.object],
            }),
        }
    }
    let mut statements: Vec<Statement<'_>> = Vec::new();
    for one in single {
        let found = statements.iter_mut().find(|other| {
            (other.section, other.given, other.class, other.role)
                == (one.section, one.given, one.class, one.role)
                && other.privileges == one.privileges
        });
        match found {
            Some(other) => other.objects.extend(one.objects),
            None => statements.push(one),
        }
    }
    statements.iter().map(|one| Step::new(one.section, one.sql())).collect()
}
