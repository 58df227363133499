use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use adulis_repository::{Mirrored, Problem, is_model_folder, loose_model};
use object_store::ObjectMeta;
use object_store::path::Path as ObjectKey;

use crate::key::{Key, path_of, top};
use crate::requests::Look;
use crate::{StorageError, StorageUrl};

/// Objects of one repository, at most.
const MAX_OBJECTS: usize = 100_000;

/// An object that is to be in the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: ObjectKey,
    pub(crate) size: u64,
    pub(crate) e_tag: Option<String>,
    pub(crate) modified: SystemTime,
    /// An object without content that stands for a folder, as consoles and copying tools make them.
    pub(crate) is_folder: bool,
}

/// What lies in a repository.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Objects by their path in the mirror. What belongs to no model is not among them.
    pub(crate) objects: BTreeMap<PathBuf, Object>,
    /// The names of all that may be a model.
    pub(crate) names: BTreeSet<String>,
    /// The model that the whole is, if it is one.
    pub(crate) single: Option<String>,
    /// What was left out.
    pub(crate) notes: Vec<Problem>,
}

impl Listing {
    /// The model that a path belongs to.
    pub(crate) fn model_of<'a>(&'a self, path: &'a Path) -> Option<&'a str> {
        match &self.single {
            Some(name) => Some(name),
            None => match top(path)? {
                (folder, true) => Some(folder),
                (file, false) => loose_model(file),
            },
        }
    }
}

/// All objects of a repository.
pub(crate) async fn list_all(look: &Look, url: &StorageUrl) -> Result<Listing, StorageError> {
    let found = collect(look, url.prefix(), false).await?.objects;
    let mut listing = Listing::default();
    let mut objects = read(url, found, &mut listing.notes);
    settle_folders(&mut objects, url, &mut listing.notes);
    let tops = || objects.iter().filter_map(|(path, object)| Some((top(path)?, object.is_folder)));
    let files = tops().filter(|((_, more), is_folder)| !more && !is_folder).map(|((name, _), _)| name);
    let folders = tops().filter(|((_, more), is_folder)| *more || *is_folder).map(|((name, _), _)| name);
    if is_model_folder(files, folders) {
        listing.single = Some(url.name().to_owned());
    }
    // A folder that is there by its own object only is a model's, too.
    let names = objects.iter().filter_map(|(path, object)| match &listing.single {
        Some(name) => Some(name.clone()),
        None if object.is_folder => top(path).map(|(name, _)| name.to_owned()),
        None => listing.model_of(path).map(str::to_owned),
    });
    listing.names = names.collect();
    objects.retain(|path, object| object.is_folder || listing.model_of(path).is_some());
    listing.objects = objects;
    Ok(listing)
}

/// The objects of some models, and the names of all.
pub(crate) async fn list_named(
    look: &Look,
    url: &StorageUrl,
    names: &[String],
) -> Result<Listing, StorageError> {
    let mut listing = list_names(look, url).await?;
    if listing.single.is_some() {
        let wanted = names.iter().any(|name| listing.names.contains(name));
        return if wanted { list_all(look, url).await } else { Ok(listing) };
    }
    let mut objects = std::mem::take(&mut listing.objects);
    objects.retain(|path, _| {
        listing.model_of(path).is_some_and(|name| names.iter().any(|wanted| wanted == name))
    });
    for name in names.iter().filter(|name| listing.names.contains(*name)) {
        let Ok(prefix) = ObjectKey::parse(format!("{}/{name}", url.prefix())) else {
            continue;
        };
        let found = collect(look, &prefix, false).await?.objects;
        objects.extend(read(url, found, &mut listing.notes));
        if objects.len() > MAX_OBJECTS {
            return Err(StorageError::Objects { limit: MAX_OBJECTS });
        }
    }
    settle_folders(&mut objects, url, &mut listing.notes);
    listing.objects = objects;
    Ok(listing)
}

/// The names of all that may be a model; of objects only those that lie in no folder.
pub(crate) async fn list_names(look: &Look, url: &StorageUrl) -> Result<Listing, StorageError> {
    let found = collect(look, url.prefix(), true).await?;
    let mut listing = Listing::default();
    let folders: BTreeSet<String> = found.folders.iter().filter_map(|key| folder(url, key)).collect();
    let mut objects = read(url, found.objects, &mut listing.notes);
    // Their folders are there by what lies in them.
    objects.retain(|path, object| {
        !object.is_folder || !path.to_str().is_some_and(|path| folders.contains(path))
    });
    let loose = objects
        .iter()
        .filter(|(_, object)| !object.is_folder)
        .filter_map(|(path, _)| path.to_str());
    let empty = objects
        .iter()
        .filter(|(_, object)| object.is_folder)
        .filter_map(|(path, _)| path.to_str());
    let folders: Vec<&str> = folders.iter().map(String::as_str).chain(empty).collect();
    if is_model_folder(loose.clone(), folders.iter().copied()) {
        listing.single = Some(url.name().to_owned());
        listing.names.insert(url.name().to_owned());
    } else {
        let names = folders.into_iter().chain(loose.filter_map(loose_model));
        listing.names = names.map(str::to_owned).collect();
    }
    listing.objects = objects;
    Ok(listing)
}

/// Which objects are listed.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    All,
    Named(Vec<String>),
}

impl From<Mirrored<'_>> for Wanted {
    fn from(models: Mirrored<'_>) -> Self {
        match models {
            Mirrored::All { .. } => Self::All,
            Mirrored::Named(names) => Self::Named(names.iter().map(|&name| name.to_owned()).collect()),
        }
    }
}

/// What a listing tells, all pages of it.
#[derive(Default)]
struct Found {
    objects: Vec<ObjectMeta>,
    /// Where those that lie in further folders are not told, these.
    folders: BTreeSet<ObjectKey>,
}

async fn collect(look: &Look, prefix: &ObjectKey, by_folder: bool) -> Result<Found, StorageError> {
    let (mut found, mut token) = (Found::default(), None);
    loop {
        let page = look.list(prefix, by_folder, token.as_deref()).await?;
        found.objects.extend(page.result.objects);
        found.folders.extend(page.result.common_prefixes);
        if found.objects.len() + found.folders.len() > MAX_OBJECTS {
            return Err(StorageError::Objects { limit: MAX_OBJECTS });
        }
        token = page.page_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// A key without the repository's prefix; `None` for the prefix itself and for what lies elsewhere.
fn relative<'a>(url: &StorageUrl, key: &'a ObjectKey) -> Option<&'a str> {
    let (prefix, key) = (url.prefix().as_ref(), key.as_ref());
    let rest = if prefix.is_empty() {
        key
    } else {
        key.strip_prefix(prefix)?.strip_prefix('/')?
    };
    (!rest.is_empty()).then_some(rest)
}

/// The name of a folder that a listing with delimiters told.
fn folder(url: &StorageUrl, key: &ObjectKey) -> Option<String> {
    match path_of(relative(url, key)?) {
        Key::File(path) => path.to_str().map(str::to_owned),
        Key::Hidden | Key::Refused(_) => None,
    }
}

fn read(url: &StorageUrl, found: Vec<ObjectMeta>, notes: &mut Vec<Problem>) -> BTreeMap<PathBuf, Object> {
    let mut objects = BTreeMap::new();
    for meta in found {
        let Some(key) = relative(url, &meta.location) else {
            continue;
        };
        match path_of(key) {
            Key::Hidden => {}
            Key::Refused(reason) => notes.push(left_out(url, key, reason)),
            Key::File(path) => {
                // The slash that ends the key of such an object does not come through.
                let is_folder = meta.size == 0 && path.extension().is_none();
                let modified = SystemTime::from(meta.last_modified);
                let ObjectMeta { location: key, size, e_tag, .. } = meta;
                objects.insert(path, Object { key, size, e_tag, modified, is_folder });
            }
        }
    }
    objects
}

/// Takes out objects that lie where a folder is: those without content quietly.
fn settle_folders(objects: &mut BTreeMap<PathBuf, Object>, url: &StorageUrl, notes: &mut Vec<Problem>) {
    let folders: HashSet<PathBuf> =
        objects.keys().flat_map(|path| path.ancestors().skip(1).map(Path::to_owned)).collect();
    objects.retain(|path, object| {
        let is_folder = folders.contains(path);
        if is_folder && object.size > 0 {
            notes.push(left_out(url, &path.to_string_lossy(), "is an object and a folder at once"));
        }
        !is_folder
    });
}

fn left_out(url: &StorageUrl, key: &str, reason: &str) -> Problem {
    Problem {
        path: PathBuf::from(format!("{url}/{key}")),
        model: None,
        key: None,
        message: format!("is left out: {reason}"),
        remedy: None,
    }
}

#[cfg(test)]
mod tests;
