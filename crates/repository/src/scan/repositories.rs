use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Folder, Kind};
use super::model;
use super::search::{Search, Wanted};
use crate::{Mirrored, RemoteRepository, Scan};

/// Model files, model folders and repositories as people name them, to be looked through again and again while a server
/// runs. Those that lie elsewhere are mirrored first, as far as their models are asked for.
#[derive(Debug, Clone, Default)]
pub struct Repositories(Vec<Place>);

#[derive(Debug, Clone)]
enum Place {
    Local(PathBuf),
    Remote(Arc<dyn RemoteRepository>),
}

impl Repositories {
    /// These paths. Nothing is read yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths.into_iter().map(Place::Local).collect())
    }

    /// Adds a path.
    pub fn add(&mut self, path: PathBuf) {
        self.0.push(Place::Local(path));
    }

    /// Adds a repository that lies elsewhere.
    pub fn add_remote(&mut self, repository: Arc<dyn RemoteRepository>) {
        self.0.push(Place::Remote(repository));
    }

    /// Adds what others hold.
    pub fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any lies elsewhere.
    #[must_use]
    pub fn has_remote(&self) -> bool {
        self.remote().next().is_some()
    }

    fn remote(&self) -> impl Iterator<Item = &Arc<dyn RemoteRepository>> {
        self.0.iter().filter_map(|place| match place {
            Place::Local(_) => None,
            Place::Remote(remote) => Some(remote),
        })
    }

    /// All models, as [`crate::scan`] finds them, with the [`crate::Fingerprint`] of each. A fingerprint is older than what was
    /// read of its model: what is written meanwhile is seen at the next look. Nobody may be reading models of repositories that
    /// lie elsewhere.
    ///
    /// Cost: that of [`crate::scan`], and one system call per file and folder of the models; and what is fetched.
    #[must_use]
    pub fn scan(&self) -> Scan {
        self.scan_but(&|_| false)
    }

    /// The same while somebody reads some models: `busy` says which. Of those, what was fetched earlier is told.
    #[must_use]
    pub fn scan_but(&self, busy: &dyn Fn(&str) -> bool) -> Scan {
        let mut search = Search::new(Wanted { fingerprints: true, ..Wanted::default() });
        for place in &self.0 {
            match place {
                Place::Local(path) => search.path(path),
                Place::Remote(remote) => {
                    mirror(&mut search, &**remote, Mirrored::All { but: busy });
                    // Each model is whole there, whatever went wrong.
                    search.mirror(remote.folder());
                }
            }
        }
        self.told_by_url(search.finish())
    }

    /// What is on this machine, as [`Repositories::scan`] finds it; of the others only whether they can be read.
    #[must_use]
    pub fn scan_local(&self) -> Scan {
        let mut search = Search::new(Wanted { fingerprints: true, ..Wanted::default() });
        for place in &self.0 {
            match place {
                Place::Local(path) => search.path(path),
                Place::Remote(remote) => {
                    remote.list().err().into_iter().for_each(|problem| search.problem(problem));
                }
            }
        }
        search.finish()
    }

    /// Models by their names, as [`Repositories::scan`] would find them. Nobody may be reading them.
    #[must_use]
    pub fn scan_named(&self, names: &[&str]) -> Scan {
        self.look(Wanted { names: Some(names), config: None, fingerprints: true })
    }

    /// One model by its name, as [`crate::scan`] would find it, with its fingerprint. Where there is no such model, neither
    /// [`Scan::models`] nor [`Scan::failed`] has an entry.
    ///
    /// `config`, in Triton's JSON form, stands in for the model's own configuration, which is not even read then.
    ///
    /// Cost: one listing per repository, and that of [`Repositories::scan`] for this model.
    #[must_use]
    pub fn find(&self, name: &str, config: Option<&[u8]>) -> Scan {
        self.look(Wanted { names: Some(&[name]), config, fingerprints: true })
    }

    /// Of a repository that cannot be read, nothing is told but that: what was fetched earlier may be out of date.
    fn look(&self, wanted: Wanted<'_>) -> Scan {
        let mut search = Search::new(wanted);
        for place in &self.0 {
            match place {
                Place::Local(path) => search.path(path),
                Place::Remote(remote) => {
                    let names = wanted.names.unwrap_or_default();
                    if mirror(&mut search, &**remote, Mirrored::Named(names)) {
                        search.mirror(remote.folder());
                    }
                }
            }
        }
        self.told_by_url(search.finish())
    }

    /// The names of all that may be a model, each with the repository that it lies in. Nothing but the repositories'
    /// own folders is read, so that a folder with something else in it is named too.
    ///
    /// Cost: one listing per repository; of one that lies elsewhere over the network.
    #[must_use]
    pub fn names(&self) -> BTreeMap<String, PathBuf> {
        // What cannot be read now has the names that it had; a scan tells what is wrong with it.
        self.names_with(|remote| remote.list().unwrap_or_else(|_| remote.known()))
    }

    /// The same without asking those that lie elsewhere: as they were when they were asked last.
    #[must_use]
    pub fn known_names(&self) -> BTreeMap<String, PathBuf> {
        self.names_with(|remote| remote.known())
    }

    fn names_with(
        &self,
        ask: impl Fn(&dyn RemoteRepository) -> BTreeSet<String>,
    ) -> BTreeMap<String, PathBuf> {
        let mut names = BTreeMap::new();
        for place in &self.0 {
            match place {
                Place::Local(path) => put_path(&mut names, path),
                Place::Remote(remote) => {
                    let url = PathBuf::from(remote.url());
                    names.extend(ask(&**remote).into_iter().map(|name| (name, url.clone())));
                }
            }
        }
        names
    }

    /// Whether a repository has something of this name that may be a model. Of those that lie elsewhere: had it when it was
    /// asked for last.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let mut names = BTreeMap::new();
        self.0.iter().any(|place| match place {
            Place::Local(path) => {
                put_path(&mut names, path);
                names.contains_key(name)
            }
            Place::Remote(remote) => remote.known().contains(name),
        })
    }

    /// A folder's name as people know it: the URL of what it mirrors, or the path.
    #[must_use]
    pub fn named(&self, folder: &Path) -> PathBuf {
        self.remote()
            .find_map(|remote| by_url(&**remote, folder))
            .unwrap_or_else(|| folder.to_owned())
    }

    /// Makes what is being fetched fail soon, and all that is asked for later, as far as it lies elsewhere.
    pub fn close(&self) {
        self.remote().for_each(|remote| remote.close());
    }

    /// The same, with URLs in place of the folders that mirror them.
    fn told_by_url(&self, mut scan: Scan) -> Scan {
        let failed = scan.failed.iter_mut().flat_map(|failed| &mut failed.problems);
        let all = failed.chain(&mut scan.problems).chain(&mut scan.empty).chain(&mut scan.notes);
        for problem in all {
            problem.path = self.named(&problem.path);
        }
        scan
    }
}

/// Brings models up to date; `false` if that failed.
fn mirror(search: &mut Search<'_>, remote: &dyn RemoteRepository, models: Mirrored<'_>) -> bool {
    match remote.mirror(models) {
        Ok(notes) => {
            search.notes(notes);
            true
        }
        Err(problem) => {
            search.problem(problem);
            false
        }
    }
}

/// The URL of what a path in a repository's folder mirrors, or of what the folder lies in.
fn by_url(remote: &dyn RemoteRepository, path: &Path) -> Option<PathBuf> {
    let (folder, url) = (remote.folder(), Path::new(remote.url()));
    match path.strip_prefix(folder) {
        Ok(rest) if rest.as_os_str().is_empty() => Some(url.to_owned()),
        Ok(rest) => Some(url.join(rest)),
        Err(_) => (folder.parent() == Some(path)).then(|| url.parent().unwrap_or(url).to_owned()),
    }
}

fn put_path(names: &mut BTreeMap<String, PathBuf>, path: &Path) {
    // What cannot be read now has no names; a scan tells what is wrong with it.
    let Ok(canonical) = path.canonicalize() else {
        return;
    };
    let folder = canonical.is_dir().then(|| Folder::read(path)).and_then(Result::ok);
    match folder {
        None => put_file(names, path),
        Some(folder) if folder.is_model() => put(names, model::name_of(&canonical), path),
        Some(folder) => put_entries(names, path, &folder),
    }
}

fn put(names: &mut BTreeMap<String, PathBuf>, name: String, path: &Path) {
    names.insert(name, path.parent().unwrap_or(path).to_owned());
}

/// A model file that is named by itself.
fn put_file(names: &mut BTreeMap<String, PathBuf>, path: &Path) {
    match model::home_of(path) {
        Some((directory, _)) => put(names, model::name_of(directory), directory),
        None => put(names, model::stem(path), path),
    }
}

fn put_entries(names: &mut BTreeMap<String, PathBuf>, path: &Path, folder: &Folder) {
    for entry in &folder.entries {
        let inner = path.join(&entry.name);
        match (entry.kind, entry.name.to_str()) {
            (Kind::Folder, Some(name)) => put(names, name.to_owned(), &inner),
            (Kind::File, Some(_)) if model::is_model_file(&inner) => put(names, model::stem(&inner), &inner),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
