//! Settings that were once called good and then did nothing, or something else than was meant.

use weir_agent::config::Config;
use weir_protocol::settings::Source;

#[test]
fn settings_that_cannot_work_are_refused_before_the_agent_starts() {
    let cases = [
        // It depended on where the agent was started.
        ("data_dir = \"data\"", "1:12: got \"data\", expected a whole path such as \"/var/lib/weir/agent\""),
        // The queue was kept in clear, although its owner had turned encryption on.
        ("[queue.encryption]", "1:1: got no key, expected key_file or credential"),
        ("[queue.encryption]\nprevious_key_file = \"/k\"", "1:1: got no key, expected key_file or credential"),
        // No line was ever found.
        ("[[serial]]\npath = \"/dev/*/tty\"", "2:8: got \"/dev/*/tty\", expected * and ? in the last part alone"),
        ("[[serial]]\npath = \"/dev/tty\"\nbaud = 0", "3:8: got 0 bits per second, expected 300 to 4000000"),
        // The agent did nothing else any more than look for lines.
        ("[[serial]]\npath = \"/dev/tty\"\npoll = \"0s\"", "3:8: got 0ms, expected 1ms or more"),
        // No sample was ever taken.
        (
            "[[modbus]]\ndevice = \"m\"\naddress = \"tcp://h:502\"\n[[modbus.register]]\nname = \"t\"\naddress = 1\nunit = \"°C\"",
            "7:8: got \"°C\", expected a UCUM code of 1 to 32 characters such as \"Cel\"",
        ),
        (
            "[line_protocol]\n[[line_protocol.unit]]\nchannel = \"*\"\nunit = \"deg C\"",
            "4:8: got \"deg C\", expected a UCUM code",
        ),
        // What people write who count brackets otherwise.
        ("[serial]\npath = \"/dev/tty\"", "also if there is but one: [[serial]]"),
        ("[[line_protocol]]\nlisten = \"127.0.0.1:8086\"", "write it with single brackets: [line_protocol]"),
        ("[[exec]]\ndevice = \"x\"\ncommand = \"/bin/date\"", "write a list: [\"/bin/date\"]"),
    ];
    for (text, expected) in cases {
        let refused = Config::of(&Source::new("agent.toml", text)).map(drop).expect_err(text).to_string();
        assert!(refused.contains(expected), "{text}\n\n{refused}");
    }
}
