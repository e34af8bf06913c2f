//! Readings that their source keeps on disk by itself, with the identity that they have: given again after a crash, they
//! are the same ones, and the intake takes what it does not have.
//!
//! Towards the intake it is a device with a durable ring, on a line of its own that is open for as long as it takes. Its
//! restart ends exactly with what was given; what follows under the same restart begins it again. Whoever keeps them tells
//! the intake of the restarts ([`crate::intake::Intake::with_own`]), so that a feed of the same device does not say that
//! they are gone.

use tokio::time::sleep;
use weir_protocol::{DeviceId, Restart, Sequence, ValueKind};

use super::channels::Channels;
use super::device::Device;
use super::task::SILENCE;
use super::{PutError, Sample};
use crate::intake::task::Handle;
use crate::processing::ABOVE_RULES;

/// Readings of one restart that follow on.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The device.
    pub device: DeviceId,
    /// The restart, which nothing else gives readings under.
    pub restart: Restart,
    /// The sequence of the first.
    pub first: Sequence,
    /// All channels of text that the device has under such restarts; their ids, which are above those of feeds and rules,
    /// follow from the order.
    pub channels: &'a [&'a str],
    /// The readings, in those channels.
    pub samples: &'a [Sample<'a>],
}

impl Recorded<'_> {
    /// As a device that is ready to give them.
    fn device(&self) -> Result<Device, PutError> {
        let mut channels = Channels::new(ABOVE_RULES);
        for name in self.channels {
            channels.learn(name, "1", ValueKind::Text, 0.0)?;
        }
        let mut device = Device::kept(self.device, self.restart, self.first, self.samples.len(), channels);
        for sample in self.samples {
            device.push(sample)?;
        }
        Ok(device)
    }

    /// Gives them to `intake`; returns once all of them are on disk there.
    pub(crate) async fn bring(&self, intake: Handle) -> Result<(), PutError> {
        let mut device = self.device()?;
        let (link, mut answers) = intake.attach().await;
        drop(intake);
        while !device.ring.is_empty() {
            while let Some(message) = device.next_message() {
                link.send(message).await;
            }
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some(down) => device.take(&down),
                    None => return Err(PutError::Stopping),
                },
                () = sleep(SILENCE) => device.break_silence(),
            }
        }
        link.finish(device.key()).await;
        link.close().await;
        Ok(())
    }
}
