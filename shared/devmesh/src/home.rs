//! The directory that holds everything one mesh knows and keeps.
//!
//! A mesh is its home: two homes are two meshes that share nothing, and removing
//! a home (`bursar-devmesh reset`) removes the mesh. Files are replaced whole by
//! rename, so a reader never meets half of one.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

pub mod json;

/// A directory whose owner alone may enter: it holds secrets.
const PRIVATE_DIRECTORY_MODE: u32 = 0o700;

/// The paths of one mesh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// Creates the directory if need be and opens it.
    ///
    /// # Errors
    /// When it cannot be created or resolved.
    pub fn open_or_create(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(PRIVATE_DIRECTORY_MODE);
        builder.create(path)?;
        let home = Self {
            path: path.canonicalize()?,
        };
        for directory in [home.path.join("run"), home.logs(), home.gateway()] {
            builder.create(directory)?;
        }
        Ok(home)
    }

    /// Opens an existing home; `None` when there is none at that path.
    ///
    /// # Errors
    /// When the path cannot be resolved for another reason than its absence.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match path.canonicalize() {
            Ok(path) if path.join("run").is_dir() => Ok(Some(Self { path })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory itself, canonical.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the mesh is meant to be.
    #[must_use]
    pub fn intent(&self) -> PathBuf {
        self.path.join("intent.json")
    }

    /// Generated passwords and keys; readable by the owner only.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.path.join("secrets.json")
    }

    /// The ports chosen for this mesh.
    #[must_use]
    pub fn ports(&self) -> PathBuf {
        self.path.join("ports.json")
    }

    /// What the supervisor last saw.
    #[must_use]
    pub fn observed(&self) -> PathBuf {
        self.path.join("observed.json")
    }

    /// Held by `up`, `down` and `reset` while they work.
    #[must_use]
    pub fn command_lock(&self) -> PathBuf {
        self.path.join("command.lock")
    }

    /// The record of a running process.
    #[must_use]
    pub fn record(&self, name: &str) -> PathBuf {
        self.path.join("run").join(format!("{name}.json"))
    }

    /// The lock a running process holds.
    #[must_use]
    pub fn lock(&self, name: &str) -> PathBuf {
        self.path.join("run").join(format!("{name}.lock"))
    }

    /// One log file a process.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The log of one process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The gateway's settings and generated configuration.
    #[must_use]
    pub fn gateway(&self) -> PathBuf {
        self.path.join("gateway")
    }

    /// Valkey's data.
    #[must_use]
    pub fn valkey(&self) -> PathBuf {
        self.path.join("valkey")
    }

    /// Where PostgreSQL's data (and, for root, its programs) live.
    ///
    /// PostgreSQL refuses to run as root, and the unprivileged user it runs as
    /// may be unable to enter the checkout, so root keeps it in a directory of
    /// that user's, named after this home.
    #[must_use]
    pub fn postgres(&self, is_root: bool) -> PathBuf {
        if is_root {
            let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
            Path::new("/var/tmp").join(format!("bursar-{}", &hex::encode(digest)[..16]))
        } else {
            self.path.join("postgres")
        }
    }

    /// Takes the lock that keeps `up`, `down` and `reset` from each other,
    /// waiting for it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock_commands(&self) -> io::Result<File> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.command_lock())?;
        file.lock()?;
        Ok(file)
    }

    /// Removes the mesh's state. Everything must have been stopped before.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        let is_root = nix::unistd::geteuid().is_root();
        for path in [self.postgres(is_root), self.path.clone()] {
            match fs::remove_dir_all(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
