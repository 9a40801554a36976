//! A native peer on the page's board: it is there by name, draws a flower now and then, and takes the oldest back.

#[cfg(not(target_arch = "wasm32"))]
mod flower;
#[cfg(not(target_arch = "wasm32"))]
mod native;

fn main() -> std::process::ExitCode {
    #[cfg(not(target_arch = "wasm32"))]
    return native::main();
    #[cfg(target_arch = "wasm32")]
    std::process::ExitCode::FAILURE
}
