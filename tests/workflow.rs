//! The workflow that pull requests run: what it may do and what it trusts, told from its text; and its own steps, run by a
//! shell in a repository like that of a pull request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;

const WORKFLOW: &str = include_str!("../.github/workflows/warehouse.yml");

/// The scripts of the steps, each with the step's name.
fn scripts() -> Vec<(String, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = WORKFLOW.lines().collect();
    let mut name = "";
    let mut scripts = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if let Some(step) = line.trim_start().strip_prefix("- name: ") {
            name = step;
        }
        let Some(script) = line.trim_start().strip_prefix("run: ") else { continue };
        let script = match script {
            "|" => {
                let block = lines[number + 1..].iter();
                let block = block.take_while(|below| below.trim().is_empty() || indent(below) > indent(line));
                block.map(|line| line.trim_start()).collect::<Vec<_>>().join("\n")
            }
            one => one.trim_matches('\'').to_owned(),
        };
        scripts.push((name.to_owned(), script));
    }
    scripts
}

#[test]
fn it_trusts_nothing_that_a_pull_request_can_choose() {
    // Whoever opens a pull request must not reach what runs with the base's rights.
    assert!(!WORKFLOW.contains("pull_request_target") && !WORKFLOW.contains("secrets."));
    assert!(WORKFLOW.contains("\npermissions:\n  contents: read\n"));
    let writes: Vec<&str> = WORKFLOW.lines().filter(|line| line.trim_end().ends_with(": write")).collect();
    assert_eq!(writes, ["      pull-requests: write"]);
    // The job that writes has no checkout and runs nothing that was built of the pull request.
    let (_, comment) = WORKFLOW.split_once("\n  comment:\n").unwrap();
    let (comment, _) = comment.split_once("\n  verify:\n").unwrap();
    assert!(!comment.contains("checkout") && !comment.contains("MEDALLION"));

    let uses: Vec<&str> =
        WORKFLOW.lines().filter_map(|line| line.split_once("uses: ").map(|(_, one)| one)).collect();
    assert!(uses.len() > 4);
    for action in uses {
        let (_, pinned) = action.split_once('@').unwrap();
        let (hash, version) =
            pinned.split_once(" # v").unwrap_or_else(|| panic!("{action} does not say its version"));
        assert!(hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        assert!(version.split('.').count() == 3, "{action}");
    }
    let checkouts = WORKFLOW.matches("uses: actions/checkout@").count();
    assert_eq!(WORKFLOW.matches("persist-credentials: false").count(), checkouts);

    // What an expression unfolds to would be read as shell: it comes by the environment.
    let scripts = scripts();
    assert!(scripts.len() > 8, "{scripts:?}");
    for (name, script) in scripts {
        assert!(!script.contains("${{"), "{name}: {script}");
    }
}

#[test]
fn its_steps_check_a_pull_request_and_show_its_plan() {
    let base = tempfile::tempdir().unwrap();
    let origin = base.path().join("origin");
    fs::create_dir_all(origin.join("spec/shop")).unwrap();
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evolution/shop");
    for file in ["spec.toml", "best_days.sql"] {
        fs::copy(shop.join(file), origin.join("spec/shop").join(file)).unwrap();
    }
    run(
        &origin,
        "git init --quiet --initial-branch=main && \"$MEDALLION\" generate && git add --all && git commit --quiet -m begin",
    );
    run(base.path(), "git clone --quiet origin 'pull request'");
    let checkout = base.path().join("pull request");
    let spec = checkout.join("spec/shop/spec.toml");
    let text = fs::read_to_string(&spec).unwrap();
    fs::write(
        &spec,
        text.replacen("name = \"points\", type = \"integer\"", "name = \"points\", type = \"bigint\"", 1),
    )
    .unwrap();
    run(
        &checkout,
        "git checkout --quiet -b feature && \"$MEDALLION\" generate && git add --all && git commit --quiet -m change",
    );

    let step = |name: &str| {
        let all = scripts();
        let (_, script) =
            all.into_iter().find(|(step, _)| step == name).unwrap_or_else(|| panic!("no step `{name}`"));
        run(&checkout, &script)
    };
    step("The spec is right");
    step("Everything is generated");
    step("It goes together with what the base has done");
    step("What the migration would do");
    let summary = fs::read_to_string(checkout.join("summary.md")).unwrap();
    assert!(summary.contains("m000002_dim_customer_hist_change_points"), "{summary}");
    assert!(summary.contains("ALTER COLUMN \"points\" TYPE bigint"), "{summary}");
    assert_eq!(fs::read_to_string(checkout.join("plan.md")).unwrap(), summary);
    // GitHub checks out what the merge would be, on no branch, when the base has gone on.
    run(&origin, "echo more > README && git add --all && git commit --quiet -m more");
    run(
        &checkout,
        "git fetch --quiet && git checkout --quiet --detach origin/main && git merge --quiet --no-edit feature",
    );
    fs::remove_file(checkout.join("summary.md")).unwrap();
    for name in
        ["The spec is right", "Everything is generated", "It goes together with what the base has done"]
    {
        step(name);
    }
    step("What the migration would do");
    assert_eq!(fs::read_to_string(checkout.join("summary.md")).unwrap(), summary);
    // Nothing of the checkout is another than before.
    assert_eq!(run(&checkout, "git status --porcelain --untracked-files=no"), "");
    step("Everything is generated");
}

/// The plan is posted once, and brought up to date from then on; one that is too long for a comment says so.
#[test]
fn its_comment_is_one_a_pull_request() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let (_, script) = scripts().into_iter().find(|(name, _)| name.starts_with("Post it")).unwrap();
    // What `gh` is told, and what it would say of the comments that are there.
    fs::write(
        place.join("gh"),
        "#!/bin/sh\necho \"$*\" >> said\ncase \"$*\" in *--paginate*) cat there ;; esac\n",
    )
    .unwrap();
    run(place, "chmod +x gh");
    let long = format!("{}\n{}", "<details>\n\n```sql", "SELECT 'é';\n".repeat(9000));
    for (plan, there, told) in [
        ("No hazards.\n", "", "--method POST repos/ann/shop/issues/7/comments --field body=@body.md"),
        (
            "No hazards.\n",
            "41\n42\n",
            "--method PATCH repos/ann/shop/issues/comments/41 --field body=@body.md",
        ),
        (&long, "", "--method POST repos/ann/shop/issues/7/comments --field body=@body.md"),
    ] {
        fs::write(place.join("plan.md"), plan).unwrap();
        fs::write(place.join("there"), there).unwrap();
        fs::write(place.join("said"), "").unwrap();
        run(place, &format!("export PATH=\"$PWD:$PATH\" GITHUB_REPOSITORY=ann/shop NUMBER=7\n{script}"));
        let said = fs::read_to_string(place.join("said")).unwrap();
        assert!(said.lines().next().unwrap().contains("repos/ann/shop/issues/7/comments"), "{said}");
        assert_eq!(said.lines().last().unwrap(), format!("api {told}"));
        let body = String::from_utf8_lossy(&fs::read(place.join("body.md")).unwrap()).into_owned();
        assert!(
            body.starts_with("<!-- the plan of medallion -->\n") && body.len() < 65_536,
            "{}",
            body.len()
        );
        assert_eq!(body.contains("It goes on"), plan == long);
        assert_eq!(body.matches("```").count() % 2, 0);
    }
}

/// Runs a script as a step is run.
fn run(folder: &Path, script: &str) -> String {
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
        .current_dir(folder)
        .env_remove("MEDALLION_SPEC")
        .envs([
            ("MEDALLION", env!("CARGO_BIN_EXE_medallion")),
            ("GITHUB_BASE_REF", "main"),
            ("GITHUB_STEP_SUMMARY", "summary.md"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Ann"),
            ("GIT_AUTHOR_EMAIL", "ann@shop.example"),
            ("GIT_COMMITTER_NAME", "Ann"),
            ("GIT_COMMITTER_EMAIL", "ann@shop.example"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
