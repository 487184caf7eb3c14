//! Bytes to profiles, with the errors of this crate.

use crate::error::Error;
use everflame_profile::Profile;

pub(crate) fn pprof(_bytes: &[u8]) -> Result<Profile, Error> {
    Err(Error::unprocessable("pprof: no reader yet"))
}

pub(crate) fn folded(_bytes: &[u8]) -> Result<Profile, Error> {
    Err(Error::unprocessable("folded: no reader yet"))
}

pub(crate) fn lines(_bytes: &[u8]) -> Result<Profile, Error> {
    Err(Error::unprocessable("lines: no reader yet"))
}
