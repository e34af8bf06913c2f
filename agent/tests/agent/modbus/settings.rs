//! Register maps that make no sense.

use weir_agent::source::modbus;

use super::config;

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let device = |more: &str| format!("[[modbus]]\ndevice = \"plc\"\n{more}");
    let register = |more: &str| {
        device(&format!("address = \"tcp://plc:502\"\n[[modbus.register]]\nname = \"x\"\naddress = 0\n{more}"))
    };
    let refused = [
        (device("address = \"udp://plc\"\nregister = []"), "expected \"tcp://plc.example:502\""),
        (device("address = \"rtu://ttyUSB0\"\nregister = []"), "the whole path"),
        (device("address = \"rtu:///dev/ttyS0?speed=9\"\nregister = []"), "expected baud=9600"),
        (device("address = \"tcp://plc\"\nregister = []"), "got 0 registers"),
        (device("address = \"rtu:///dev/ttyS0\"\nunit = 0\nregister = []"), "expected 1 to 247"),
        (register("type = \"u15\""), "u15"),
        (register("type = \"f32\"\nbit = 3"), "`bit` is for"),
        (register("type = \"bit\"\nbit = 16"), "expected 0 (least significant) to 15"),
        (register("type = \"bit\"\nscale = 2.0"), "`scale` is for numbers"),
        (register("type = \"string\""), "a text has a length"),
        (register("type = \"u16\"\nlength = 2"), "`length` is for"),
        (register("type = \"string\"\nlength = 65"), "expected 1 to 64 registers"),
        (register("type = \"string\"\nlength = 2\nbyte_order = \"dcba\""), "a text is"),
        (register("kind = \"coil\"\ntype = \"u16\""), "a coil is one bit"),
        (register("scale = 0.0"), "not 0"),
        (register("unit = \"\""), "UCUM"),
        (register("[[modbus.register]]\nname = \"x\"\naddress = 1"), "there twice"),
        (register("[[modbus.register]]\nname = \"y\"\naddress = 65535\ntype = \"f32\""), "past 65535"),
    ];
    for (text, expected) in refused {
        let error = config(&text).expect_err(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let crowd = |devices: usize, registers: usize| -> String {
        let register = |at| format!("[[modbus.register]]\nname = \"r{at}\"\naddress = {at}\n");
        let map: String = (0..registers).map(register).collect();
        (0..devices).map(|at| format!("[[modbus]]\ndevice = \"d{at}\"\naddress = \"tcp://plc\"\n{map}")).collect()
    };
    assert!(config(&crowd(modbus::MAX_DEVICES, 1)).is_ok() && config(&crowd(1, 256)).is_ok());
    assert!(config(&crowd(modbus::MAX_DEVICES + 1, 1)).expect_err("too many").contains("at most 64"));
    assert!(config(&crowd(1, 257)).expect_err("too many").contains("expected 1 to 256"));
    let two_speeds = ["baud=9600", "baud=19200"]
        .map(|speed| {
            format!("[[modbus]]\ndevice = \"{speed}\"\naddress = \"rtu:///dev/ttyS0?{speed}\"\n[[modbus.register]]\nname = \"x\"\naddress = 0\n")
                .replace("device = \"baud=", "device = \"b")
        })
        .concat();
    assert!(config(&two_speeds).expect_err("two speeds").contains("set otherwise above"));
}
