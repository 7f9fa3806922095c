//! Where the sources, the tools and the built programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The checkout this binary belongs to.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Finds the checkout: `BURSAR_CHECKOUT`, else the directory this crate was
    /// built in, else the nearest one above the working directory.
    ///
    /// # Errors
    /// When none of them holds the sources.
    pub fn find() -> anyhow::Result<Self> {
        let told = std::env::var_os("BURSAR_CHECKOUT").map(PathBuf::from);
        let built = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .map(Path::to_owned);
        let here = std::env::current_dir().context("the working directory cannot be read")?;
        told.into_iter()
            .chain(built)
            .chain(here.ancestors().map(Path::to_owned))
            .find(|root| root.join("shared/devmesh/Cargo.toml").is_file())
            .map(|root| Self { root })
            .context("no checkout of Bursar found; run this inside one, or set BURSAR_CHECKOUT")
    }

    /// Its top directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The home of the mesh that `make up` starts.
    #[must_use]
    pub fn default_home(&self) -> PathBuf {
        self.root.join(".bursar")
    }

    /// The programs of the pinned tools, after checking that they are there.
    ///
    /// # Errors
    /// When they have not been installed.
    pub fn tools(&self) -> anyhow::Result<PathBuf> {
        let programs = self.tools_directory().join("bin");
        if !programs.join("postgres").exists() {
            bail!("no tools in {}; run `make tools`", programs.display());
        }
        Ok(programs)
    }

    /// Where the tools are installed: `BURSAR_TOOLS_DIR`, else `.tools`.
    #[must_use]
    pub fn tools_directory(&self) -> PathBuf {
        std::env::var_os("BURSAR_TOOLS_DIR").map_or_else(|| self.root.join(".tools"), PathBuf::from)
    }
}

/// The directory that holds the services' binaries: `BURSAR_BIN_DIR`, else the
/// one this program is in (for a test, the one above `deps`).
///
/// # Errors
/// When the running program's path cannot be read.
pub fn binaries() -> anyhow::Result<PathBuf> {
    if let Some(told) = std::env::var_os("BURSAR_BIN_DIR") {
        return Ok(PathBuf::from(told));
    }
    let program = std::env::current_exe().context("the program's own path cannot be read")?;
    let directory = program
        .parent()
        .context("the program's path has no directory")?;
    Ok(match directory.file_name() {
        Some(name) if name == "deps" || name == "examples" => {
            directory.parent().unwrap_or(directory).to_owned()
        }
        _ => directory.to_owned(),
    })
}
