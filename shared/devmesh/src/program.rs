//! This program itself, as a file: daemons start it, and are replaced when it
//! was rebuilt.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

const NAME: &str = "bursar-devmesh";

/// The path of the `bursar-devmesh` binary: the running one, or, in a test, the
/// one built beside it.
///
/// # Errors
/// When it is not there.
pub fn path() -> io::Result<&'static PathBuf> {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = PATH.get() {
        return Ok(path);
    }
    let own = std::env::current_exe()?;
    // Linux marks the path of a program that was replaced while it runs.
    let shown = own.to_string_lossy();
    let own = PathBuf::from(shown.strip_suffix(" (deleted)").unwrap_or(&shown));
    let path = if own.file_name().is_some_and(|name| name == NAME) {
        own
    } else {
        let path = crate::checkout::binaries()
            .map_err(io::Error::other)?
            .join(NAME);
        if !path.is_file() {
            let message = format!("{} has not been built", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        path
    };
    Ok(PATH.get_or_init(|| path))
}

/// Tells this build from another.
///
/// # Errors
/// When the program is not there.
pub fn fingerprint() -> io::Result<String> {
    Ok(crate::plan::fingerprint(path()?))
}
