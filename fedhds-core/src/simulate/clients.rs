//! Where a simulation has its clients' records from.

use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::files::Replacement;
use crate::types::ClientId;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The clients of a simulation. A client is read in the rounds that sample it and let go after them, so that thousands need no more memory
/// than those of a round.
///
/// `Vec<ClientData>` holds all of them in memory, [`ClientFile`] none.
pub trait Clients: Send + Sync {
    /// The clients, ascending, none twice.
    fn ids(&self) -> Vec<ClientId>;

    /// A client's records, the same whenever it is asked.
    ///
    /// # Errors
    /// What keeps them from being read, with the client.
    fn read(&self, client: ClientId) -> Result<Cow<'_, ClientData>>;

    /// How many records a client holds, where that is known without reading them.
    fn count(&self, client: ClientId) -> Option<usize> {
        let _ = client;
        None
    }
}

impl Clients for Vec<ClientData> {
    fn ids(&self) -> Vec<ClientId> {
        self.iter().map(|data| data.client).collect()
    }

    fn read(&self, client: ClientId) -> Result<Cow<'_, ClientData>> {
        let data = held(self, client).map(Cow::Borrowed);
        data.ok_or_else(|| Error::input("client", "one of the simulation's", client))
    }

    fn count(&self, client: ClientId) -> Option<usize> {
        held(self, client).map(|data| data.records.len())
    }
}

/// Of clients in ascending order.
fn held(clients: &[ClientData], client: ClientId) -> Option<&ClientData> {
    clients.binary_search_by_key(&client, |data| data.client).ok().and_then(|at| clients.get(at))
}

/// What a client file begins with.
const MAGIC: &[u8; 8] = b"fedhdsC1";

/// Where a client stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    client: ClientId,
    records: u32,
    start: u64,
    len: u64,
}

/// The clients of a federation in one file, read one by one.
///
/// # Example
/// ```
/// use fedhds_core::dataset::ClientData;
/// use fedhds_core::simulate::{ClientFile, Clients as _};
/// use fedhds_core::types::{ClientId, Record};
///
/// let folder = tempfile::tempdir()?;
/// let client = |number| ClientData {
///     client: ClientId(number),
///     name: format!("phone {number}"),
///     records: vec![Record { id: format!("r{number}"), instruction: "Add 1 and 2.".into(), ..Record::default() }],
/// };
/// let file = ClientFile::write(folder.path().join("clients"), (0..1000).map(|number| Ok(client(number))))?;
/// assert_eq!(file.read(ClientId(7))?.name, "phone 7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientFile {
    path: PathBuf,
    places: Vec<Place>,
}

impl ClientFile {
    /// Writes clients to a file as they come, one in memory at a time, and opens it. The file is there whole or not at all.
    ///
    /// # Errors
    /// [`Error::Input`] where ids do not ascend; what `clients` returns; [`Error::Io`] for a file that cannot be written.
    pub fn write(path: impl Into<PathBuf>, clients: impl IntoIterator<Item = Result<ClientData>>) -> Result<Self> {
        let path = path.into();
        let mut file = Replacement::of(&path)?;
        file.write(MAGIC)?;
        let mut places: Vec<Place> = Vec::new();
        let mut start = MAGIC.len() as u64;
        for data in clients {
            let data = data?;
            if let Some(last) = places.last().filter(|last| last.client >= data.client) {
                let got = format!("{} after {}", data.client, last.client);
                return Err(Error::input("clients", "ids in ascending order, none twice", got));
            }
            let bytes = encoded(&data)?;
            file.write(&bytes)?;
            let len = bytes.len() as u64;
            let records = u32::try_from(data.records.len()).unwrap_or(u32::MAX);
            places.push(Place { client: data.client, records, start, len });
            start += len;
        }
        // What stands where, and where that begins, at the end: it is known last.
        file.write(&encoded(&places)?)?;
        file.write(&start.to_le_bytes())?;
        file.finish()?;
        Ok(Self { path, places })
    }

    /// Opens a file that [`write`](Self::write) made; of its clients only the places are read.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::Input`] for one that is none of these, or is damaged.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let io = |e| Error::io(&path, e);
        let damaged = |what: &str| Error::input(&path.display().to_string(), "a file of clients", what);
        let mut file = File::open(&path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut magic = [0; MAGIC.len()];
        if size < (MAGIC.len() + 8) as u64 || file.read_exact(&mut magic).is_err() || magic != *MAGIC {
            return Err(damaged("another file"));
        }
        let end = size - 8;
        let mut start = [0; 8];
        file.seek(SeekFrom::Start(end)).map_err(io)?;
        file.read_exact(&mut start).map_err(io)?;
        let start = u64::from_le_bytes(start);
        if start > end {
            return Err(damaged("a table beyond its end"));
        }
        let table = part(&mut file, start, end - start).map_err(io)?;
        let places: Vec<Place> = postcard::from_bytes(&table).map_err(|_| damaged("a table that cannot be read"))?;
        let within = |place: &Place| place.start.checked_add(place.len).is_some_and(|last| last <= start);
        if !places.iter().all(within) || !places.is_sorted_by(|a, b| a.client < b.client) {
            return Err(damaged("a table with places beyond it, or clients out of order"));
        }
        Ok(Self { path, places })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn place(&self, client: ClientId) -> Option<&Place> {
        self.places.binary_search_by_key(&client, |place| place.client).ok().and_then(|at| self.places.get(at))
    }
}

fn encoded(what: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(what).map_err(|e| Error::input("clients", "what can be written", e))
}

fn part(file: &mut File, start: u64, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Clients for ClientFile {
    fn ids(&self) -> Vec<ClientId> {
        self.places.iter().map(|place| place.client).collect()
    }

    fn read(&self, client: ClientId) -> Result<Cow<'_, ClientData>> {
        let place = self.place(client).ok_or_else(|| Error::input("client", "one of the file's", client))?;
        let io = |e| Error::io(&self.path, e);
        // Opened for each: clients are read by several threads at once.
        let mut file = File::open(&self.path).map_err(io)?;
        let bytes = part(&mut file, place.start, place.len).map_err(io)?;
        let data: Option<ClientData> = postcard::from_bytes(&bytes).ok();
        let data = data.filter(|data| data.client == client && data.records.len() == place.records as usize);
        let what = format!("client {client} in {}", self.path.display());
        data.map(Cow::Owned).ok_or_else(|| Error::input(&what, "its records", "bytes that are not"))
    }

    fn count(&self, client: ClientId) -> Option<usize> {
        self.place(client).map(|place| place.records as usize)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::simulate::toy;

    #[test]
    fn a_file_gives_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients");
        let clients = toy::data(5, 7, 2).clients;
        let written = ClientFile::write(&path, clients.iter().cloned().map(Ok)).unwrap();
        let opened = ClientFile::open(&path).unwrap();
        assert_eq!(written.ids(), opened.ids());
        assert_eq!(opened.ids(), clients.ids());
        for data in &clients {
            for file in [&written, &opened] {
                assert_eq!(*file.read(data.client).unwrap(), *data);
                assert_eq!(file.count(data.client), Some(data.records.len()));
            }
        }
        assert!(opened.read(ClientId(99)).unwrap_err().to_string().contains("99"));
        assert!(clients.read(ClientId(99)).is_err() && clients.count(ClientId(99)).is_none());
        let none = ClientFile::write(&path, []).unwrap();
        assert!(none.ids().is_empty() && ClientFile::open(&path).unwrap().ids().is_empty());
    }

    #[test]
    fn what_is_no_client_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients");
        let clients = toy::data(3, 4, 2).clients;
        let mut twice = clients.clone();
        twice[1].client = twice[0].client;
        let error = ClientFile::write(&path, twice.into_iter().map(Ok)).unwrap_err().to_string();
        assert!(error.contains("ascending"), "{error}");
        let broken = ClientFile::write(&path, [Err(Error::Cancelled)]);
        assert!(matches!(broken, Err(Error::Cancelled)) && !path.exists(), "nothing is left behind");
        assert!(ClientFile::open(&path).is_err());
        ClientFile::write(&path, clients.into_iter().map(Ok)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(ClientFile::open(&path).is_err(), "cut to {len} bytes");
        }
        // Whatever a byte becomes, nothing panics.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x81;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(file) = ClientFile::open(&path) {
                file.ids().into_iter().for_each(|client| drop(file.read(client)));
            }
        }
    }
}
