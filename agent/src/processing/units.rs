//! Conversion between units of one kind, by their UCUM case-sensitive codes (ucum.org).
//!
//! A unit is a line to the base of its kind: `base = factor * value + shift`. What is not in the table is not guessed.

/// Units of one kind; the first is the base.
struct Kind {
    name: &'static str,
    /// Code, factor and shift.
    units: &'static [(&'static str, f64, f64)],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "temperature",
        units: &[
            ("K", 1.0, 0.0),
            ("Cel", 1.0, 273.15),
            ("[degF]", 5.0 / 9.0, 459.67 * 5.0 / 9.0),
            ("mK", 1e-3, 0.0),
            ("mCel", 1e-3, 273.15),
        ],
    },
    Kind {
        name: "pressure",
        units: &[
            ("Pa", 1.0, 0.0),
            ("hPa", 1e2, 0.0),
            ("kPa", 1e3, 0.0),
            ("MPa", 1e6, 0.0),
            ("mbar", 1e2, 0.0),
            ("bar", 1e5, 0.0),
            ("[psi]", 6_894.757_293_168, 0.0),
            ("mm[Hg]", 133.322, 0.0),
            ("atm", 101_325.0, 0.0),
        ],
    },
    Kind {
        name: "length",
        units: &[
            ("m", 1.0, 0.0),
            ("um", 1e-6, 0.0),
            ("mm", 1e-3, 0.0),
            ("cm", 1e-2, 0.0),
            ("km", 1e3, 0.0),
            ("[in_i]", 0.0254, 0.0),
            ("[ft_i]", 0.3048, 0.0),
            ("[yd_i]", 0.9144, 0.0),
            ("[mi_i]", 1_609.344, 0.0),
            ("[nmi_i]", 1_852.0, 0.0),
        ],
    },
    Kind {
        name: "mass",
        units: &[
            ("kg", 1.0, 0.0),
            ("g", 1e-3, 0.0),
            ("mg", 1e-6, 0.0),
            ("t", 1e3, 0.0),
            ("[lb_av]", 0.453_592_37, 0.0),
            ("[oz_av]", 0.028_349_523_125, 0.0),
        ],
    },
    Kind {
        name: "speed",
        units: &[
            ("m/s", 1.0, 0.0),
            ("km/h", 1.0 / 3.6, 0.0),
            ("[mi_i]/h", 0.447_04, 0.0),
            ("[kn_i]", 1_852.0 / 3_600.0, 0.0),
        ],
    },
    Kind { name: "acceleration", units: &[("m/s2", 1.0, 0.0), ("[g]", 9.806_65, 0.0)] },
    Kind {
        name: "energy",
        units: &[
            ("J", 1.0, 0.0),
            ("kJ", 1e3, 0.0),
            ("MJ", 1e6, 0.0),
            ("W.h", 3.6e3, 0.0),
            ("kW.h", 3.6e6, 0.0),
            ("MW.h", 3.6e9, 0.0),
            ("cal", 4.184, 0.0),
            ("kcal", 4.184e3, 0.0),
            ("[Btu_IT]", 1_055.055_852_62, 0.0),
        ],
    },
    Kind {
        name: "power",
        units: &[
            ("W", 1.0, 0.0),
            ("uW", 1e-6, 0.0),
            ("mW", 1e-3, 0.0),
            ("kW", 1e3, 0.0),
            ("MW", 1e6, 0.0),
            ("[HP]", 745.699_871_582_270_2, 0.0),
        ],
    },
    Kind {
        name: "fraction",
        units: &[("1", 1.0, 0.0), ("%", 1e-2, 0.0), ("[ppth]", 1e-3, 0.0), ("[ppm]", 1e-6, 0.0), ("[ppb]", 1e-9, 0.0)],
    },
    Kind {
        name: "amount of data",
        units: &[
            ("By", 1.0, 0.0),
            ("kBy", 1e3, 0.0),
            ("MBy", 1e6, 0.0),
            ("GBy", 1e9, 0.0),
            ("KiBy", 1_024.0, 0.0),
            ("MiBy", 1_048_576.0, 0.0),
            ("GiBy", 1_073_741_824.0, 0.0),
            ("bit", 0.125, 0.0),
        ],
    },
    Kind {
        name: "data rate",
        units: &[
            ("By/s", 1.0, 0.0),
            ("kBy/s", 1e3, 0.0),
            ("MBy/s", 1e6, 0.0),
            ("bit/s", 0.125, 0.0),
            ("kbit/s", 125.0, 0.0),
            ("Mbit/s", 125e3, 0.0),
        ],
    },
    Kind {
        name: "time",
        units: &[
            ("s", 1.0, 0.0),
            ("ns", 1e-9, 0.0),
            ("us", 1e-6, 0.0),
            ("ms", 1e-3, 0.0),
            ("min", 60.0, 0.0),
            ("h", 3_600.0, 0.0),
            ("d", 86_400.0, 0.0),
        ],
    },
    Kind {
        name: "rate",
        units: &[
            ("Hz", 1.0, 0.0),
            ("/s", 1.0, 0.0),
            ("kHz", 1e3, 0.0),
            ("MHz", 1e6, 0.0),
            ("GHz", 1e9, 0.0),
            ("/min", 1.0 / 60.0, 0.0),
            ("/h", 1.0 / 3_600.0, 0.0),
        ],
    },
    Kind { name: "voltage", units: &[("V", 1.0, 0.0), ("uV", 1e-6, 0.0), ("mV", 1e-3, 0.0), ("kV", 1e3, 0.0)] },
    Kind { name: "current", units: &[("A", 1.0, 0.0), ("uA", 1e-6, 0.0), ("mA", 1e-3, 0.0)] },
    Kind { name: "charge", units: &[("C", 1.0, 0.0), ("mA.h", 3.6, 0.0), ("A.h", 3.6e3, 0.0)] },
    Kind { name: "resistance", units: &[("Ohm", 1.0, 0.0), ("kOhm", 1e3, 0.0), ("MOhm", 1e6, 0.0)] },
    Kind { name: "volume", units: &[("m3", 1.0, 0.0), ("L", 1e-3, 0.0), ("mL", 1e-6, 0.0)] },
    Kind {
        name: "flow",
        units: &[("m3/s", 1.0, 0.0), ("m3/h", 1.0 / 3_600.0, 0.0), ("L/s", 1e-3, 0.0), ("L/min", 1e-3 / 60.0, 0.0)],
    },
    Kind { name: "angle", units: &[("rad", 1.0, 0.0), ("deg", core::f64::consts::PI / 180.0, 0.0)] },
];

/// From one unit to another: `to = factor * from + shift`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    /// What a difference is multiplied by.
    pub factor: f64,
    /// What is added then.
    pub shift: f64,
}

/// The conversion between two units. `Err` says what is known instead.
pub fn conversion(from: &str, to: &str) -> Result<Conversion, String> {
    if from == to {
        return Ok(Conversion { factor: 1.0, shift: 0.0 });
    }
    let (kind, (_, factor, shift)) = find(to).ok_or_else(|| unknown(to))?;
    let Some((_, from_factor, from_shift)) = kind.units.iter().find(|(code, ..)| *code == from) else {
        return Err(format!("{from} is no unit of {} that can become {to}; {}", kind.name, list(kind)));
    };
    Ok(Conversion { factor: from_factor / factor, shift: (from_shift - shift) / factor })
}

/// Whether other units can become this one. `Err` says which can.
pub fn check(unit: &str) -> Result<(), String> {
    find(unit).map(|_| ()).ok_or_else(|| unknown(unit))
}

fn find(unit: &str) -> Option<(&'static Kind, (&'static str, f64, f64))> {
    KINDS.iter().find_map(|kind| Some((kind, *kind.units.iter().find(|(code, ..)| *code == unit)?)))
}

fn unknown(unit: &str) -> String {
    let known: Vec<&str> = KINDS.iter().flat_map(|kind| kind.units).map(|(code, ..)| *code).collect();
    format!("got unit {unit:?}, expected one of {}", known.join(" "))
}

fn list(kind: &Kind) -> String {
    let codes: Vec<&str> = kind.units.iter().map(|(code, ..)| *code).collect();
    format!("known are {}", codes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_tables_of_physics() {
        let cases = [
            (100.0, "Cel", "[degF]", 212.0),
            (-40.0, "[degF]", "Cel", -40.0),
            (0.0, "K", "Cel", -273.15),
            (21_500.0, "mCel", "Cel", 21.5),
            (1_013.25, "hPa", "atm", 1.0),
            (1.0, "[psi]", "kPa", 6.894_757_293_168),
            (1.0, "[mi_i]", "km", 1.609_344),
            (36.0, "km/h", "m/s", 10.0),
            (1.0, "kW.h", "MJ", 3.6),
            (50.0, "%", "1", 0.5),
            (1.0, "GiBy", "MiBy", 1_024.0),
            (8.0, "Mbit/s", "MBy/s", 1.0),
            (90.0, "min", "h", 1.5),
            (1_500.0, "/min", "Hz", 25.0),
            (180.0, "deg", "rad", core::f64::consts::PI),
            (2.0, "furlong", "furlong", 2.0),
        ];
        for (value, from, to, expected) in cases {
            let Conversion { factor, shift } = conversion(from, to).expect("known");
            let got = factor * value + shift;
            assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{value} {from} is {got} {to}");
        }
    }

    #[test]
    fn there_and_back_is_where_one_was_for_every_pair() {
        for kind in KINDS {
            for (from, ..) in kind.units {
                for (to, ..) in kind.units {
                    let (there, back) = (conversion(from, to).expect("known"), conversion(to, from).expect("known"));
                    let value = back.factor * (there.factor * 12.5 + there.shift) + back.shift;
                    assert!((value - 12.5).abs() < 1e-6, "{from} to {to} and back: {value}");
                }
            }
        }
    }

    #[test]
    fn no_unit_is_of_two_kinds() {
        let mut all: Vec<&str> = KINDS.iter().flat_map(|kind| kind.units).map(|(code, ..)| *code).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn what_cannot_be_says_what_can() {
        let wrong = conversion("Pa", "Cel").expect_err("pressure is no temperature");
        assert!(wrong.contains("temperature") && wrong.contains("[degF]"), "{wrong}");
        assert!(check("celsius").expect_err("no code").contains("Cel"));
    }
}
