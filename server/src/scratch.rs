//! Servers for tests, thrown away afterwards, however the test ends.
//!
//! Three things see to that. A *guardian* process waits on a pipe that only the owner holds open; when the owner drops
//! it, exits or is killed, the guardian stops the server and deletes its folders: that is the only way in which they
//! ever go, so the way is well trodden. The owner holds a lock on a file in the folder, which the kernel releases at its
//! death. And every new scratch server first clears the folders whose lock nobody holds, for the case that the guardian
//! was killed too.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io::ErrorKind,
    ops::Deref,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    Durability, Error, Options, Server,
    account::Account,
    place::{Place, failed, resolved},
    postmaster,
};

const PREFIX: &str = "medallion-scratch-";

/// Waits until the pipe is closed, then ends the server in folder `$1`, whose socket is in folder `$2` and whose
/// processes carry the name `$3`. Whatever still writes there makes the deletion fail, hence the repetition.
const GUARDIAN: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
serves() {
    { cat "/proc/$1/cmdline" || ps -p "$1" -o args=; } | tr '\0' ' ' | grep -q "cluster_name=$2"
}
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if read -r pid < "$1/postgres/postmaster.pid" && serves "$pid" "$3"; then
        kill -QUIT "$pid"
        sleep 0.1
        continue
    fi
    rm -rf -- "$1" "$2"
    test -e "$1" || exit 0
    sleep 0.5
done
"#;

/// A running server of one's own; dropping it stops the server and deletes its data.
#[derive(Debug)]
pub struct Scratch {
    server: Server,
    guardian: Child,
    /// Locked as long as this process lives.
    _alive: File,
}

impl Scratch {
    pub(crate) fn start(options: Options) -> Result<Scratch, Error> {
        let (base, account) = base()?;
        clear_abandoned(&base, &account, &options);
        let home = new_folder(&base, &account)?;
        let alive = mark_alive(&home)?;
        account.own(&home)?;
        let options = Options { durability: Durability::Scratch, directory: Some(home.clone()), ..options };
        let server = Server::at(Place::at(home)?, options);
        let guardian = guard(&server)?;
        // From here on dropping the value clears up, whatever fails.
        let scratch = Scratch { server, guardian, _alive: alive };
        scratch.server.start()?;
        Ok(scratch)
    }
}

impl Deref for Scratch {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        // Who cannot be waited for has ended; either way there is nobody to tell.
        let _ = self.guardian.wait();
    }
}

/// The server that the tests of this process share; it is never dropped, so its guardian sees the process end.
pub fn shared() -> Result<&'static Server, Error> {
    static SHARED: OnceLock<Scratch> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(scratch) = SHARED.get() {
        return Ok(scratch);
    }
    let scratch = Scratch::start(Options::from_environment())?;
    Ok(SHARED.get_or_init(|| scratch))
}

/// The folder that scratch servers are made in, and who runs them.
fn base() -> Result<(PathBuf, Account), Error> {
    let base = resolved(&env::temp_dir());
    let account = Account::for_data(&base.join(format!("{PREFIX}of-nobody")))?;
    if account.reaches(&base)? { Ok((base, account)) } else { Ok((PathBuf::from("/tmp"), account)) }
}

fn new_folder(base: &Path, account: &Account) -> Result<PathBuf, Error> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = base.join(format!("{PREFIX}{}-{}-{number}", account.uid, process::id()));
        match DirBuilder::new().mode(0o700).create(&home) {
            Ok(()) => return Ok(home),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => (),
            Err(source) => return Err(failed("create", &home, source)),
        }
    }
}

/// Locks a file of the folder and only then gives it the name that [`clear_abandoned`] looks for.
fn mark_alive(home: &Path) -> Result<File, Error> {
    let aside = home.join("alive.new");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|file| {
            file.lock()?;
            fs::rename(&aside, home.join("alive"))?;
            Ok(file)
        })
        .map_err(|source| failed("lock", &aside, source))
}

fn guard(server: &Server) -> Result<Child, Error> {
    let place = server.place();
    place
        .account()
        .command("/bin/sh")
        .args(["-c", GUARDIAN, "medallion-guardian"])
        .arg(place.home())
        .arg(server.socket_folder())
        .arg(postmaster::cluster_name(&place.fingerprint()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Program { program: "/bin/sh".into(), source })
}

/// Ends the scratch servers of owners that are no more. What fails here fails nobody: the next one tries again.
fn clear_abandoned(base: &Path, account: &Account, options: &Options) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    let prefix = format!("{PREFIX}{}-", account.uid);
    for home in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        let home = home.path();
        let is_ours =
            fs::symlink_metadata(&home).is_ok_and(|found| found.is_dir() && found.uid() == account.uid);
        let mark = home.join("alive");
        if !is_ours || !fs::symlink_metadata(&mark).is_ok_and(|found| found.is_file()) {
            continue;
        }
        let Ok(file) = File::open(&mark) else {
            continue;
        };
        if file.try_lock().is_ok()
            && let Ok(place) = Place::at(home.clone())
            && Server::at(place, options.clone()).stop_immediate().is_ok()
        {
            let _ = fs::remove_dir_all(&home);
        }
    }
}
