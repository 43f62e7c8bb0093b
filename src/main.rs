//! The `landfall` command: arguments, a command, an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    landfall::main(landfall::Registry::with_builtin_steps())
}
