//! The ring that a board has today: flash, or RAM when the flash or the entropy is not there.

use embedded_storage::nor_flash::MultiwriteNorFlash;
use weir_protocol::serial::Held;
use weir_protocol::serial::device_to_agent::Ring as Kind;
use weir_protocol::{Restart, Sequence};

use super::{Acknowledged, FlashRing, PushError, RamRing, Ring, Run, Sample};

/// Either ring, chosen at start; takes the memory of the larger one.
#[expect(clippy::large_enum_variant, reason = "there is one, it lives for ever, and there is no heap to move it to")]
pub enum AnyRing<F, const N: usize> {
    /// Survives a loss of power.
    Flash(FlashRing<F>),
    /// Does not.
    Ram(RamRing<N>),
}

macro_rules! either {
    ($self:ident, $ring:ident => $call:expr) => {
        match $self {
            Self::Flash($ring) => $call,
            Self::Ram($ring) => $call,
        }
    };
}

impl<F: MultiwriteNorFlash, const N: usize> Ring for AnyRing<F, N> {
    fn kind(&self) -> Kind {
        either!(self, ring => ring.kind())
    }

    fn held(&self) -> &[Held] {
        either!(self, ring => ring.held())
    }

    fn oldest(&self) -> Held {
        either!(self, ring => ring.oldest())
    }

    fn push(&mut self, sample: &Sample) -> Result<u64, PushError> {
        either!(self, ring => ring.push(sample))
    }

    fn read(&mut self, from: Sequence, upto: Sequence, run: &mut Run) {
        either!(self, ring => ring.read(from, upto, run));
    }

    fn acknowledge(&mut self, restart: Restart, accepted: Sequence) -> Acknowledged {
        either!(self, ring => ring.acknowledge(restart, accepted))
    }

    fn assign(&mut self, restart: Restart) -> bool {
        either!(self, ring => ring.assign(restart))
    }
}
