//! How laws of feeds are drawn, and what they print is compared. Knows no warehouse.

use std::path::Path;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// As many cases as usual, the same each time; others where `PROPTEST_CASES` says how many.
pub fn runner(usual: u32, max_shrink_iters: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(usual),
        failure_persistence: None,
        max_shrink_iters,
        ..Config::default()
    };
    match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// Compares what is rendered with what was expected, in a file below `tests/`, or rewrites that.
pub fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("MEDALLION_UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{name}: MEDALLION_UPDATE=1 rewrites it");
}
