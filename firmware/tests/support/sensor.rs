//! A sensor whose every value is another number, and that can be unplugged.

use std::cell::Cell;
use std::rc::Rc;

use weir_firmware::Sensor;
use weir_firmware::sensor::{SensorError, Values};
use weir_protocol::{Channel, ChannelId, Value, ValueKind};

const CHANNELS: [Channel<'static>; 2] = [
    Channel { id: ChannelId(0), name: "even", unit: "1", kind: ValueKind::Integer, resolution: 1.0 },
    Channel { id: ChannelId(1), name: "odd", unit: "1", kind: ValueKind::Integer, resolution: 1.0 },
];

/// Measurement `n` is the values `2 n` and `2 n + 1`. Clones are the same sensor.
#[derive(Clone, Default)]
pub struct Counting {
    /// Measurements so far, over all lives of the device.
    pub measured: Rc<Cell<u64>>,
    pub unplugged: Rc<Cell<bool>>,
}

impl Sensor for Counting {
    fn channels(&self) -> &[Channel<'static>] {
        &CHANNELS
    }

    fn measure(&mut self) -> Result<Values, SensorError> {
        if self.unplugged.get() {
            return Err(SensorError::Missing);
        }
        let number = self.measured.get();
        self.measured.set(number + 1);
        let value = |i| Value::Integer((2 * number + i) as i64);
        Ok(Values::from_iter([(ChannelId(0), value(0)), (ChannelId(1), value(1))]))
    }
}
