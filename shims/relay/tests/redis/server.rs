//! A Redis of one's own: started, and ended with the value.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `redis-server`, on a port of its own and without anything on disk.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl RedisServer {
    /// Starts one; `None` if the program is not there, which is said.
    pub(crate) fn start() -> Option<Self> {
        // Somebody may take the port between looking for it and using it.
        (0..5).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            Self::start_on(port)
        })
    }

    /// Starts one on a port; `None` if that fails, which is said.
    pub(crate) fn start_on(port: u16) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("moqt-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        let spawned = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                eprintln!(
                    "SKIPPED: redis-server cannot be started ({error}): apt-get install redis-server"
                );
                return None;
            }
        };
        let mut server = Self { child, port, folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if server.child.try_wait().ok()?.is_some() {
                return None;
            }
            if server.client().get_connection().is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A client beside the one that is tested.
    pub(crate) fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
