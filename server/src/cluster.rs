//! Makes a data folder and writes its configuration. A folder is made aside and renamed into place when it is
//! complete, so that a death in the middle leaves nothing half made. Starts no server.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process,
};

use crate::{
    Durability, Error, USER, failure,
    installation::Installation,
    place::{Place, failed},
    postmaster, socket,
};

/// How the folders are called that are not complete yet.
const UNFINISHED: &str = "postgres.unfinished-";

/// Below this, shared memory as containers limit it does not hold what parallel queries share.
const SMALL_SHARED_MEMORY: u64 = 256 * 1024 * 1024;

/// The major version that made the data; none when there are no data.
pub fn made_by(place: &Place) -> Result<Option<String>, Error> {
    let data = place.data();
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(version) => return Ok(Some(version.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => (),
        Err(source) => return Err(failed("read", &path, source)),
    }
    match fs::read_dir(data).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(None),
        Ok(false) => Err(Error::NoDataFolder { path: data.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", data, source)),
    }
}

/// Makes the data folder. Only for who holds the lock and has seen that there are no data.
pub fn make(place: &Place, installation: &Installation, durability: Durability) -> Result<(), Error> {
    remove_unfinished(place.home());
    let unfinished = place.home().join(format!("{UNFINISHED}{}", process::id()));
    let made = initialise(place, installation, durability, &unfinished).and_then(|()| {
        fs::rename(&unfinished, place.data()).map_err(|source| failed("create", place.data(), source))?;
        File::open(place.home())
            .and_then(|folder| folder.sync_all())
            .map_err(|source| failed("write", place.home(), source))
    });
    if made.is_err() {
        remove_unfinished(place.home());
    }
    made
}

/// Writes the configuration, whole, on every start; what a user sets with `ALTER SYSTEM` stands beside and wins.
pub fn configure(place: &Place, durability: Durability, socket_folder: &Path) -> Result<(), Error> {
    let path = place.data().join("postgresql.conf");
    let text = configuration(place, durability, socket_folder);
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let aside = place.data().join(format!("postgresql.conf.{}", process::id()));
    // The folder may be another user's: never write through a link that was put there.
    let _ = fs::remove_file(&aside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|source| failed("write", &path, source))
        .and_then(|()| place.account().own(&aside))
        .and_then(|()| fs::rename(&aside, &path).map_err(|source| failed("write", &path, source)));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

fn initialise(
    place: &Place,
    installation: &Installation,
    durability: Durability,
    unfinished: &Path,
) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(unfinished)
        .map_err(|source| failed("create", unfinished, source))?;
    place.account().own(unfinished)?;
    // Sorted by code point and read as UTF-8 on every machine; not every system has the second locale.
    let mut said = String::new();
    for character_type in ["C.UTF-8", "C"] {
        let mut command = place.account().command(installation.program("initdb"));
        command
            .arg("--pgdata")
            .arg(unfinished)
            .arg(format!("--username={USER}"))
            .args(["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"])
            .arg(format!("--lc-ctype={character_type}"))
            .arg("--no-instructions");
        if durability == Durability::Scratch {
            command.arg("--no-sync");
        }
        let output = command
            .output()
            .map_err(|source| Error::Program { program: installation.program("initdb"), source })?;
        if output.status.success() {
            return Ok(());
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !said.contains("locale") {
            break;
        }
    }
    Err(failure::disk_full(&said, place.home(), None)
        .unwrap_or_else(|| Error::Initdb { data: place.data().to_owned(), reason: failure::reason(&said) }))
}

/// Removes what a death in the middle left; an `initdb` that still writes there is left to its end and removed later.
fn remove_unfinished(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn configuration(place: &Place, durability: Durability, socket_folder: &Path) -> String {
    let name = postmaster::cluster_name(&place.fingerprint());
    // One folder of a list: quoted for the list, then for the file.
    let folder = format!("\"{}\"", socket_folder.display().to_string().replace('"', "\"\""));
    let mut settings: Vec<(&str, String)> = vec![
        ("cluster_name", name),
        ("listen_addresses", String::new()),
        ("port", socket::PORT.to_string()),
        ("unix_socket_directories", folder),
        ("unix_socket_permissions", "0700".to_owned()),
    ];
    settings.extend(FIXED.map(|(setting, value)| (setting, value.to_owned())));
    if has_small_shared_memory() {
        settings.push(("dynamic_shared_memory_type", "mmap".to_owned()));
    }
    let by_durability: &[(&str, &str)] = match durability {
        Durability::Durable => &LOG_OF_A_DAY,
        Durability::Scratch => &FAST,
    };
    settings.extend(by_durability.iter().map(|(setting, value)| (*setting, (*value).to_owned())));

    let mut text =
        String::from("# Written anew by medallion on every start; use ALTER SYSTEM to change a setting.\n");
    for (setting, value) in settings {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        text.push_str(&format!("{setting} = '{value}'\n"));
    }
    text
}

/// What every server has: logical decoding, room for many databases with a slot each, the same answers everywhere,
/// and no more memory than a small machine has.
const FIXED: [(&str, &str); 23] = [
    ("max_connections", "200"),
    ("wal_level", "logical"),
    ("max_wal_senders", "32"),
    ("max_replication_slots", "256"),
    ("max_locks_per_transaction", "256"),
    ("shared_buffers", "128MB"),
    ("work_mem", "16MB"),
    ("maintenance_work_mem", "128MB"),
    ("max_wal_size", "1GB"),
    ("min_wal_size", "80MB"),
    ("random_page_cost", "1.1"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("default_text_search_config", "pg_catalog.english"),
    ("update_process_title", "on"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_checkpoints", "off"),
];

/// A file an hour, each written over a day later: the log is bounded however long the server runs.
const LOG_OF_A_DAY: [(&str, &str); 7] = [
    ("logging_collector", "on"),
    ("log_destination", "stderr"),
    ("log_directory", "log"),
    ("log_filename", "server-%H.log"),
    ("log_rotation_age", "60"),
    ("log_rotation_size", "0"),
    ("log_truncate_on_rotation", "on"),
];

/// Nothing is forced to disk. Commits stay synchronous: what was committed must outlive a killed server, and handing
/// it to the kernel is enough for that.
const FAST: [(&str, &str); 2] = [("fsync", "off"), ("full_page_writes", "off")];

fn has_small_shared_memory() -> bool {
    cfg!(target_os = "linux")
        && rustix::fs::statvfs("/dev/shm")
            .map_or(true, |space| space.f_blocks.saturating_mul(space.f_frsize) < SMALL_SHARED_MEMORY)
}
