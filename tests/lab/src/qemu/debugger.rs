//! Just enough of the GDB remote serial protocol to make the processor run in a circle.
//!
//! A packet is `$`, text, `#` and two hexadecimal digits of the sum of the text; the other side says `+` to it.
//! QEMU stops the machine when somebody connects, and lets it go on when they detach.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const PATIENCE: Duration = Duration::from_secs(10);
/// In RAM below the stack, where nothing is.
const CIRCLE: u32 = 0x2000_f000;
/// `b .`, Thumb, as it is in memory.
const BRANCH_TO_ITSELF: &str = "fee7";
/// Where the program counter is among the registers, in hexadecimal digits; each register has eight.
const PC: std::ops::Range<usize> = 15 * 8..16 * 8;
/// The longest answer: all registers.
const ANSWER: usize = 4096;

/// Makes the processor behind this socket branch to itself for ever.
pub(super) fn hang(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket).with_context(|| format!("no debugger at {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut session = Session { output: stream.try_clone()?, input: BufReader::new(stream) };
    // Also swallows what QEMU says of itself when somebody connects.
    session.ask("?", |answer| answer.starts_with('T'))?;
    session.ask(&format!("M{CIRCLE:x},2:{BRANCH_TO_ITSELF}"), |answer| answer == "OK")?;
    let mut registers = session.ask("g", |answer| answer.len() > PC.end)?;
    let pc: String = CIRCLE.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    registers.replace_range(PC, &pc);
    session.ask(&format!("G{registers}"), |answer| answer == "OK")?;
    session.ask("D", |answer| answer == "OK").map(|_| ())
}

struct Session {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Session {
    /// Sends a packet and returns the first answer that `fits`; others are late news of the machine.
    fn ask(&mut self, text: &str, fits: impl Fn(&str) -> bool) -> Result<String> {
        write!(self.output, "${text}#{:02x}", sum(text))?;
        loop {
            let answer = self.answer().with_context(|| format!("the debugger does not answer {text:?}"))?;
            self.output.write_all(b"+")?;
            if fits(&answer) {
                return Ok(answer);
            }
            if !answer.starts_with('T') {
                bail!("the debugger answers {answer:?} to {text:?}");
            }
        }
    }

    fn answer(&mut self) -> Result<String> {
        let mut byte = || -> Result<u8> {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            Ok(byte[0])
        };
        while byte()? != b'$' {}
        let mut answer = String::new();
        loop {
            match byte()? {
                b'#' => break,
                other if answer.len() < ANSWER => answer.push(other.into()),
                _ => bail!("more than {ANSWER} bytes"),
            }
        }
        let sum_of = [byte()?, byte()?];
        if format!("{:02x}", sum(&answer)).as_bytes() != sum_of {
            bail!("wrong sum of {answer:?}");
        }
        Ok(answer)
    }
}

fn sum(text: &str) -> u8 {
    text.bytes().fold(0, u8::wrapping_add)
}
