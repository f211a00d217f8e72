//! Stands before a server as a load balancer or a pooler does: closes what it accepts, lets through, or swallows all
//! that is said. Who asks for options as a session begins is refused, as by some poolers. Knows no message but that.

use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Accepts, and closes.
    Closed,
    /// Lets through.
    Open,
    /// Lets nothing through, and says nothing of it.
    Silent,
}

/// A gate before a server.
pub struct Gatekeeper {
    /// The database behind it, by way of it.
    pub url: String,
    gate: watch::Sender<Gate>,
}

impl Gatekeeper {
    /// Before the database of a URL, which names a socket.
    pub async fn before(url: &str, gate: Gate) -> Self {
        let behind = PgConnectOptions::from_str(url).unwrap();
        let socket = behind.get_socket().unwrap().join(format!(".s.PGSQL.{}", behind.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (user, database) = (behind.get_username(), behind.get_database().unwrap());
        let (gate, now) = watch::channel(gate);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if *now.borrow() == Gate::Closed {
                    // What was not read before would be told as a connection that was broken off.
                    let _ = client.read(&mut [0; 1024]).await;
                } else {
                    tokio::spawn(through(client, socket.clone(), now.clone()));
                }
            }
        });
        Self { url: format!("postgresql://{user}@{address}/{database}"), gate }
    }

    /// From now on.
    pub fn is(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }
}

async fn through(client: TcpStream, socket: PathBuf, gate: watch::Receiver<Gate>) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(pass(from_client, to_server, gate.clone()), pass(from_server, to_client, gate));
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    gate: watch::Receiver<Gate>,
) {
    const OPTIONS: &[u8] = b"\0options\0";
    let mut piece = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut piece).await {
        if *gate.borrow() == Gate::Silent {
            return std::future::pending().await;
        }
        let piece = &piece[..read];
        let is_refused = piece.windows(OPTIONS.len()).any(|bytes| bytes == OPTIONS);
        if read == 0 || is_refused || to.write_all(piece).await.is_err() {
            break;
        }
    }
    // The other side hears of it, and ends as well.
    let _ = to.shutdown().await;
}
