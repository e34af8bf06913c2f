//! One line, from opening to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{SerialPort, SerialPortBuilderExt, SerialStream};
use weir_protocol::frame::{self, Decoder, MAX_FRAME};
use weir_protocol::serial::{Down, Up};

use super::Lines;
use crate::counters::Event;
use crate::intake::task::LinkHandle;

/// Bytes read at once.
const READ: usize = 4096;
/// A line that does not take a frame for this long is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens a line.
pub fn open(path: &Path, baud: u32) -> io::Result<SerialStream> {
    let mut port = tokio_serial::new(path.to_string_lossy(), baud).open_native_async().map_err(io::Error::from)?;
    // USB CDC devices send only to a terminal that is ready; a pty has no such line and says ENOTTY.
    if let Err(error) = port.write_data_terminal_ready(true) {
        tracing::debug!(%error, "no DTR on this line");
    }
    Ok(port)
}

/// Reads and answers one line until it ends or everything stops; false if it could not be opened.
pub(super) async fn run(path: PathBuf, baud: u32, mut lines: Lines) -> bool {
    let mut port = match open(&path, baud) {
        Ok(port) => port,
        Err(error) => {
            lines.counters.warn(Event::SourceFailed, || format!("{}: {error}", path.display()));
            lines.report.failed(format!("{}: {error}", path.display()));
            return false;
        }
    };
    tracing::info!(line = %path.display(), baud, "line opened");
    let _open = Open::new(&lines);
    let (link, mut answers) = lines.intake.attach().await;
    let mut decoder: Box<Decoder<MAX_FRAME>> = Box::default();
    let mut buffer = vec![0; READ];
    let ended = loop {
        tokio::select! {
            read = port.read(&mut buffer) => match read {
                Ok(0) => break "it ended".to_owned(),
                Ok(length) => {
                    if let Err(error) = take(&buffer[..length], &mut decoder, &link, &mut port, &lines).await {
                        break error.to_string();
                    }
                }
                Err(error) => break error.to_string(),
            },
            answer = answers.recv() => match answer {
                Some(down) => {
                    if let Err(error) = write(&mut port, &down).await {
                        break error.to_string();
                    }
                }
                None => break "the intake ended".to_owned(),
            },
            _ = lines.stop.changed() => {
                // The intake ends when nobody can reach it any more, and its answers with it.
                drop((link, lines));
                finish(&mut port, &mut answers).await;
                return true;
            }
        }
    };
    tracing::warn!(line = %path.display(), reason = ended, "line closed");
    lines.report.error(format!("{}: closed: {ended}", path.display()));
    link.close().await;
    true
}

/// Counts a line while it is open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(lines: &Lines) -> Self {
        lines.report.running();
        lines.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&lines.open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was received is still acknowledged when its commit is done; the channel closes after that.
async fn finish(port: &mut SerialStream, answers: &mut tokio::sync::mpsc::Receiver<Down>) {
    while let Some(down) = answers.recv().await {
        if write(port, &down).await.is_err() {
            return;
        }
    }
}

/// Finds the frames in what was read.
async fn take(
    mut bytes: &[u8],
    decoder: &mut Decoder<MAX_FRAME>,
    link: &LinkHandle,
    port: &mut SerialStream,
    lines: &Lines,
) -> io::Result<()> {
    while let Some(found) = decoder.feed(&mut bytes) {
        match found {
            Ok(message) => match frame::message(message) {
                // Answered here, because every moment until then is an error of the device's clock.
                Ok(Up::TimeRequest { sent }) => {
                    write(port, &Down::TimeSync { sent, time: lines.clock.now() }).await?;
                }
                known => {
                    if let Ok(Up::Readings(run)) = known {
                        lines.report.gave(run.readings.iter().count() as u64, lines.clock.now());
                    }
                    link.send(message.to_vec()).await;
                }
            },
            Err(error) => lines.counters.warn(error.into(), || format!("line {}: {error}", port_name(port))),
        }
    }
    Ok(())
}

async fn write(port: &mut SerialStream, down: &Down) -> io::Result<()> {
    let Some(frame) = frame::to_vec(down) else { return Ok(()) };
    tokio::time::timeout(WRITE_TIMEOUT, port.write_all(&frame)).await?
}

fn port_name(port: &SerialStream) -> String {
    port.name().unwrap_or_default()
}
