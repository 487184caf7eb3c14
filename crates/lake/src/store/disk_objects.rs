//! A folder of a disk as an object store, for the Delta library.
//!
//! Unlike the one that comes with `object_store` it is durable: what a put has written is synced.

use crate::disk::{Disk, Entry};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path as Name;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What errors call this store.
const NAME: &str = "folder";

/// The files below a folder.
#[derive(Clone, Debug)]
pub(super) struct DiskObjects {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

impl DiskObjects {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root }
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_ref())
    }

    fn write(&self, name: &Name, bytes: &[u8], mode: &PutMode) -> Result<()> {
        let path = self.path(name);
        match mode {
            PutMode::Overwrite => {}
            PutMode::Create if self.disk.entry(&path).is_ok() => {
                let source = io::Error::from(io::ErrorKind::AlreadyExists).into();
                return Err(Error::AlreadyExists { path: name.to_string(), source });
            }
            PutMode::Create => {}
            PutMode::Update(_) => return Err(not_supported("conditional updates")),
        }
        let parent = path.parent().unwrap_or(&self.root);
        let draft = parent.join(format!("{}.tmp", name.filename().unwrap_or_default()));
        let write = || {
            self.disk.create_folder(parent)?;
            self.disk.write_synced(&draft, bytes)?;
            self.disk.rename(&draft, &path)?;
            self.disk.sync_folder(parent)
        };
        write().map_err(|error| fault(name, error))
    }

    fn meta(&self, name: &Name) -> Result<ObjectMeta> {
        let entry = self.disk.entry(&self.path(name)).map_err(|error| fault(name, error))?;
        if entry.is_folder {
            return Err(fault(name, io::ErrorKind::NotFound.into()));
        }
        Ok(meta(name.clone(), &entry))
    }

    fn list_below(&self, folder: &Path, name: &Name, found: &mut Vec<ObjectMeta>) -> Result<()> {
        for entry in self.disk.list(folder).map_err(|error| fault(name, error))? {
            let name = name.clone().join(entry.name());
            if entry.is_folder {
                self.list_below(&entry.path, &name, found)?;
            } else {
                found.push(meta(name, &entry));
            }
        }
        Ok(())
    }

    fn list_all(&self, prefix: Option<&Name>) -> Result<Vec<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        let mut found = Vec::new();
        self.list_below(&self.path(&prefix), &prefix, &mut found)?;
        // The Delta library counts on the order of the names.
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    fn remove(&self, name: Name) -> Result<Name> {
        match self.disk.remove(&self.path(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(&name, error)),
            _ => Ok(name),
        }
    }
}

impl fmt::Display for DiskObjects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DiskObjects {
    async fn put_opts(&self, name: &Name, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write(name, &Bytes::from(payload), &options.mode)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        name: &Name,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Parts { objects: self.clone(), name: name.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, name: &Name, options: GetOptions) -> Result<GetResult> {
        let meta = self.meta(name)?;
        options.check_preconditions(&meta)?;
        let bytes = match options.head {
            true => Bytes::new(),
            false => self.disk.read(&self.path(name)).map_err(|error| fault(name, error))?.into(),
        };
        let range = match options.range.filter(|_| !options.head) {
            Some(range) => {
                let range = range.as_range(bytes.len() as u64);
                range.map_err(|error| Error::Generic { store: NAME, source: Box::new(error) })?
            }
            None => 0..bytes.len() as u64,
        };
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    fn delete_stream(&self, names: BoxStream<'static, Result<Name>>) -> BoxStream<'static, Result<Name>> {
        let objects = self.clone();
        names.map(move |name| objects.remove(name?)).boxed()
    }

    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.list_all(prefix) {
            Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
        for entry in self.disk.list(&self.path(&prefix)).map_err(|error| fault(&prefix, error))? {
            let name = prefix.clone().join(entry.name());
            match entry.is_folder {
                true => common_prefixes.push(name),
                false => objects.push(meta(name, &entry)),
            }
        }
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, _from: &Name, _to: &Name, _options: CopyOptions) -> Result<()> {
        Err(not_supported("copies"))
    }
}

/// A file that comes in parts. They are kept in memory: only a large checkpoint comes so.
#[derive(Debug)]
struct Parts {
    objects: DiskObjects,
    name: Name,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.push(part.into());
        Box::pin(futures::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.objects.write(&self.name, &self.parts.concat(), &PutMode::Overwrite)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

fn meta(location: Name, entry: &Entry) -> ObjectMeta {
    let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(entry.modified).unwrap_or_default());
    ObjectMeta { location, last_modified: modified.into(), size: entry.bytes, e_tag: None, version: None }
}

fn fault(name: &Name, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: name.to_string(), source: error.into() },
        _ => Error::Generic { store: NAME, source: Box::new(error) },
    }
}

fn not_supported(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} in a folder").into() }
}
