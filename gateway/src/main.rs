//! The binary; see [`weir_gateway::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_gateway::cli::main()
}
