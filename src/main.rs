//! `banyan`: see `banyan help`.

fn main() -> std::process::ExitCode {
    match banyan::cli::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("banyan: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
