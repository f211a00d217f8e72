//! A project begins in a folder of any name, or is refused with a reason.

use std::fs;
use std::process::Command;

const CALLED: [&str; 15] = [
    "it's",
    "a b",
    "$(touch canary)",
    "`touch canary`; touch canary",
    "\"; DROP TABLE canary; --",
    "lib",
    "self",
    "true",
    "1shop",
    "größe",
    "\u{202e}x",
    "a\nb",
    "{{ x }}",
    "...",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

#[test]
fn a_project_of_any_name_is_one_or_is_refused() {
    let mut begun = 0;
    for called in CALLED {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join(called);
        let tool = |arguments: &[&str], at: &std::path::Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_medallion"));
            command.args(arguments).current_dir(at);
            command.env_remove("MEDALLION_SPEC").env_remove("SOURCE_DATABASE_URL");
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (status, said) = tool(&["new", project.to_str().unwrap()], folder.path());
        if status != Some(0) {
            assert!(status == Some(2) && said.starts_with("error: "), "{called:?}: {status:?} {said}");
            assert!(!project.exists(), "{called:?} is refused, and something is written");
            continue;
        }
        begun += 1;
        let manifest: toml::Table = fs::read_to_string(project.join("Cargo.toml")).unwrap().parse().unwrap();
        let warehouse = &manifest["workspace"]["metadata"]["medallion"]["default-warehouse"];
        let warehouse = warehouse.as_str().unwrap();
        assert!(warehouse.bytes().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'_'));
        assert!(project.join("spec").join(warehouse).join("spec.toml").exists());
        for verb in [&["check"] as &[&str], &["generate", "--check"]] {
            let (status, said) = tool(verb, &project);
            assert_eq!(status, Some(0), "{called:?} {verb:?}: {said}");
        }
        let there = fs::read_dir(folder.path()).unwrap().count();
        assert!(there == 1 && !project.join("canary").exists(), "{called:?} is more than a name");
    }
    assert!(begun > 8, "{begun} were begun");
}
