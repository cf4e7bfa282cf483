//! jabberctl: one line to the control socket, the answer to standard output.

#[path = "jabberctl/mod.rs"]
mod jabberctl;

fn main() -> std::process::ExitCode {
    jabberctl::run(std::env::args_os().skip(1))
}
