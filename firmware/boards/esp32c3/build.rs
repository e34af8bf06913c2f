//! Gives the linker esp-hal's script.

fn main() {
    println!("cargo:rustc-link-arg-bins=-Tlinkall.x");
}
