//! What an IIO channel measures, by the name of its files (Documentation/ABI/testing/sysfs-bus-iio of the Linux
//! kernel).
//!
//! A file is `in_<type>[number][_modifier]_raw` or `..._input`. A value is `(raw + offset) * scale`, or what `_input`
//! says, in the unit that the ABI gives the type; thousandths become the unit itself. A type that is not here is not read:
//! a quaternion (`rot`) is not one number, and a number without a known unit would mislead.

/// A type of channel: what its files begin with behind `in_`, the UCUM unit, and how many of the ABI's units that is.
const TYPES: [(&str, &str, f64); 35] = [
    ("voltage", "V", 1e3),
    ("altvoltage", "V", 1e3),
    ("current", "A", 1e3),
    ("altcurrent", "A", 1e3),
    ("power", "W", 1e3),
    ("energy", "J", 1.0),
    ("resistance", "Ohm", 1.0),
    ("capacitance", "nF", 1.0),
    ("electricalconductivity", "S/m", 1.0),
    ("phaseshift", "rad", 1.0),
    ("temp", "Cel", 1e3),
    ("humidityrelative", "%", 1e3),
    ("pressure", "kPa", 1.0),
    ("accel", "m/s2", 1.0),
    ("gravity", "m/s2", 1.0),
    ("anglvel", "rad/s", 1.0),
    ("angl", "rad", 1.0),
    ("deltaangl", "rad", 1.0),
    ("velocity", "m/s", 1.0),
    ("deltavelocity", "m/s", 1.0),
    ("incli", "deg", 1.0),
    ("positionrelative", "%", 1e3),
    ("magn", "G", 1.0),
    ("illuminance", "lx", 1.0),
    ("intensity", "1", 1.0),
    ("colortemp", "K", 1.0),
    ("uvindex", "1", 1.0),
    ("distance", "m", 1.0),
    ("proximity", "1", 1.0),
    ("concentration", "%", 1.0),
    ("ph", "[pH]", 1.0),
    ("activity", "%", 1.0),
    ("steps", "1", 1.0),
    ("count", "1", 1.0),
    ("index", "1", 1.0),
];

/// What a channel measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantity {
    /// A UCUM code.
    pub(super) unit: &'static str,
    /// How many of the ABI's units that is.
    pub(super) steps: f64,
}

/// What the channel of this name (`temp`, `voltage0`, `accel_x`, `voltage0-voltage1`) measures; nothing if the ABI
/// does not say.
pub(super) fn of(channel: &str) -> Option<Quantity> {
    // The type is what comes before a number, a modifier or the second input of a difference.
    let kind = channel.split(|c: char| c.is_ascii_digit() || c == '_' || c == '-').next()?;
    let (_, unit, steps) = TYPES.iter().find(|(name, ..)| *name == kind)?;
    Some(Quantity { unit, steps: *steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_abi() {
        let cases = [
            ("temp", "Cel", 1e3),
            ("temp1", "Cel", 1e3),
            ("temp_ambient", "Cel", 1e3),
            ("voltage0", "V", 1e3),
            ("voltage0-voltage1", "V", 1e3),
            ("humidityrelative", "%", 1e3),
            ("pressure", "kPa", 1.0),
            ("accel_x", "m/s2", 1.0),
            ("anglvel_z", "rad/s", 1.0),
            ("angl", "rad", 1.0),
            ("magn_y", "G", 1.0),
            ("illuminance", "lx", 1.0),
            ("resistance", "Ohm", 1.0),
            ("current1", "A", 1e3),
            ("concentration_co2", "%", 1.0),
            ("steps", "1", 1.0),
        ];
        for (channel, unit, steps) in cases {
            assert_eq!(of(channel), Some(Quantity { unit, steps }), "{channel}");
        }
        assert_eq!((of("timestamp"), of("rot_quaternion")), (None, None));
    }
}
