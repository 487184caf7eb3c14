//! TODO
/// stub
pub struct Engine;
/// stub
pub struct ScanStats { /** */ pub rows: u64, /** */ pub bytes: u64, /** */ pub files: u64 }
