//! The command `untorn`.
fn main() {}
