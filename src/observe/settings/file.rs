use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::apply::Applied;
use super::read::Settings;
use crate::config::ConfigError;
use crate::macros::debug_fields;

/// Why a file was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the file")]
    Read(#[from] io::Error),
    /// Its format or a setting is wrong.
    #[error("{0}")]
    Parse(String),
    /// A live policy cannot be changed like this.
    #[error(transparent)]
    Apply(#[from] ConfigError),
}

impl FileError {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Read(a), Self::Read(b)) => a.kind() == b.kind(),
            (a, b) => a.to_string() == b.to_string(),
        }
    }
}

/// A file of settings that is read again on request. If it is bad, the last good settings stay in
/// force.
///
/// `P` parses the text, for example `|text| toml::from_str(text)`.
///
/// ```no_run
/// use std::time::Duration;
/// use seawall::settings::File;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut file = File::open("seawall.toml", |text| toml::from_str(text))?;
/// let orders = file.settings().client("orders")?.build()?;
/// loop {
///     tokio::time::sleep(Duration::from_secs(5)).await;
///     match file.check() {
///         Ok(None) => {}
///         Ok(Some(applied)) => println!("{applied}"),
///         Err(error) => eprintln!("{error}; the settings before stay"),
///     }
/// }
/// # }
/// ```
pub struct File<P> {
    path: PathBuf,
    parse: P,
    settings: Settings,
    /// What was read last. None if it could not be read.
    text: Option<String>,
    rejected: Option<FileError>,
}

impl<P, E> File<P>
where
    P: Fn(&str) -> Result<Settings, E>,
    E: fmt::Display,
{
    /// Reads the file, and changes no policy. It blocks for as long as the file is read, and so
    /// does [`check`](Self::check).
    ///
    /// # Errors
    /// If it cannot be read or is bad.
    pub fn open(path: impl Into<PathBuf>, parse: P) -> Result<Self, FileError> {
        let path = path.into();
        let text = fs::read_to_string(&path)?;
        let settings = parse(&text).map_err(|error| FileError::Parse(error.to_string()))?;
        Ok(Self {
            path,
            parse,
            settings,
            text: Some(text),
            rejected: None,
        })
    }

    /// Reads the file again. If its text has changed, [applies](Settings::apply_after) the sections
    /// that have changed, and returns what became of them.
    ///
    /// # Errors
    /// If it is bad. The last good settings stay then, and no policy has changed. Each error is
    /// returned once, with a `tracing` warning, until the file or the error changes;
    /// [`rejected`](Self::rejected) returns it for as long as it lasts.
    pub fn check(&mut self) -> Result<Option<Applied>, &FileError> {
        match self.reload() {
            Ok(applied) => {
                #[cfg(feature = "tracing")]
                if let Some(applied) = &applied {
                    tracing::info!(target: "seawall", { resilience.path = %self.path.display(), resilience.applied = %applied }, "settings applied");
                }
                Ok(applied)
            }
            Err(error) => {
                let again = self
                    .rejected
                    .as_ref()
                    .is_some_and(|other| other.is_like(&error));
                if again {
                    return Ok(None);
                }
                #[cfg(feature = "tracing")]
                tracing::warn!(target: "seawall", { resilience.path = %self.path.display(), resilience.error = %error }, "settings rejected, and those before stay");
                Err(self.rejected.insert(error))
            }
        }
    }

    /// None if the file has not changed since it was read last.
    fn reload(&mut self) -> Result<Option<Applied>, FileError> {
        let before = self.text.take();
        let text = fs::read_to_string(&self.path)?;
        let same = before.as_ref() == Some(&text);
        let text = self.text.insert(text);
        if same {
            return Ok(None);
        }
        let settings = (self.parse)(text);
        let settings = settings.map_err(|error| FileError::Parse(error.to_string()))?;
        let applied = settings.apply_after(&self.settings)?;
        self.settings = settings;
        self.rejected = None;
        Ok(Some(applied))
    }
}

impl<P> File<P> {
    /// The last good settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Why the file as it is now is not in force. None if it is.
    pub fn rejected(&self) -> Option<&FileError> {
        self.rejected.as_ref()
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

debug_fields!([P] File<P>, this: path = this.path, rejected = this.rejected);
