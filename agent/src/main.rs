//! `weir-agent`: see [`weir_agent::cli`].

fn main() -> std::process::ExitCode {
    weir_agent::cli::main()
}
