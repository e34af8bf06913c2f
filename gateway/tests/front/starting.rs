//! A gateway whose logs take long to read.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_gateway::config::Config;
use weir_gateway::lock::last_claim;
use weir_gateway::run::{RunError, World, run};
use weir_protocol::time::SystemClock;
use weir_storage::{File, Fs, Mode, RealFs};

use crate::world::{get, settings};

/// A disk on which listing a directory, as recovery does first, waits until the test lets it go on.
struct SlowDisk {
    reached: mpsc::UnboundedSender<()>,
    released: Mutex<Receiver<()>>,
}

impl Fs for SlowDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        RealFs.open(path, mode)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let _ = self.reached.send(());
        // Goes on when the test says so or has ended.
        let _ = self.released.lock().unwrap().recv();
        RealFs.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFs.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.sync_dir(dir)
    }
}

struct Starting {
    http: std::net::SocketAddr,
    ready: oneshot::Receiver<()>,
    stop: oneshot::Sender<()>,
    release: Sender<()>,
    served: JoinHandle<Result<(), RunError>>,
    _data: tempfile::TempDir,
}

/// A gateway in the middle of its recovery.
async fn starting() -> Starting {
    let data = tempfile::tempdir().unwrap();
    let config = Config::load(None, settings(data.path())).unwrap();
    let (reached, mut recovering) = mpsc::unbounded_channel();
    let (release, released) = channel();
    let world = World {
        fs: Arc::new(SlowDisk { reached, released: Mutex::new(released) }),
        clock: Arc::new(SystemClock),
        reload: Arc::default(),
        #[cfg(feature = "plant")]
        plant: None,
    };
    let (told, ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let shutdown = async move {
            let _ = stopped.await;
        };
        run(&config, world, shutdown, move |_| told.send(()).unwrap()).await
    });
    recovering.recv().await.unwrap();
    let http = last_claim(&RealFs, data.path()).unwrap().http;
    Starting { http, ready, stop, release, served, _data: data }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// HTTP used to be served only when recovery had ended, so that nobody could tell a gateway that reads a long log
/// from one that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_reads_its_logs_says_that_it_lives_and_is_not_ready() {
    let gateway = starting().await;
    assert_eq!(get(gateway.http, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(gateway.http, "/readyz").await, (503, "starting: the logs are being read\n".to_owned()));
    let (status, body) = get(gateway.http, "/topics").await;
    assert_eq!((status, body.contains("starting")), (503, true));
    drop(gateway.release);
    timeout(PATIENCE, gateway.ready).await.unwrap().unwrap();
    assert_eq!(get(gateway.http, "/readyz").await, (200, "ready\n".to_owned()));
    gateway.stop.send(()).unwrap();
    timeout(PATIENCE, gateway.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_reads_its_logs_can_be_stopped() {
    let gateway = starting().await;
    gateway.stop.send(()).unwrap();
    timeout(PATIENCE, gateway.served).await.unwrap().unwrap().unwrap();
    drop(gateway.release);
}
