//! keepfresh-server
fn main() {}
