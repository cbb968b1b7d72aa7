//! The store that the options name.

#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
use super::BucketStore;
#[cfg(feature = "postgres")]
use super::PostgresStore;
use super::{EmbeddedStore, Leadership, Store, StoreError};
#[cfg(any(
    feature = "azure",
    feature = "gcs",
    feature = "postgres",
    feature = "s3"
))]
use crate::election::ClusterId;
#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
use crate::objects::Bucket;
#[cfg(feature = "postgres")]
use crate::postgres::Database;
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::RecordOp;
use std::fmt;
use std::path::PathBuf;

/// Where a store is.
#[derive(Debug, Clone)]
pub enum StorePlace {
    /// In this data folder.
    Folder(PathBuf),
    /// In this database, under the name of this cluster.
    #[cfg(feature = "postgres")]
    Postgres(Database, ClusterId),
    /// In this bucket, under the name of this cluster.
    #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
    Bucket(Bucket, ClusterId),
}

/// A store of one of the kinds that survive the process.
#[derive(Debug, Clone)]
pub enum ChosenStore {
    /// A file.
    Embedded(EmbeddedStore),
    /// A database.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
    /// An object storage.
    #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
    Bucket(BucketStore),
}

impl StorePlace {
    /// Opens the store.
    ///
    /// # Errors
    /// It cannot be opened; nothing was changed.
    pub async fn open(&self) -> Result<ChosenStore, StoreError> {
        match self {
            StorePlace::Folder(folder) => {
                let store = EmbeddedStore::open(folder.clone()).await?;
                Ok(ChosenStore::Embedded(store))
            }
            #[cfg(feature = "postgres")]
            StorePlace::Postgres(database, cluster) => {
                let store = PostgresStore::open(database.clone(), cluster.clone()).await?;
                Ok(ChosenStore::Postgres(store))
            }
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            StorePlace::Bucket(bucket, cluster) => {
                let store = BucketStore::open(bucket, cluster).await?;
                Ok(ChosenStore::Bucket(store))
            }
        }
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorePlace::Folder(folder) => write!(f, "{}", folder.display()),
            #[cfg(feature = "postgres")]
            StorePlace::Postgres(database, _) => write!(f, "{database}"),
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            StorePlace::Bucket(bucket, _) => write!(f, "{bucket}"),
        }
    }
}

impl Store for ChosenStore {
    async fn load(&self) -> Result<Leadership, StoreError> {
        match self {
            ChosenStore::Embedded(store) => store.load().await,
            #[cfg(feature = "postgres")]
            ChosenStore::Postgres(store) => store.load().await,
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            ChosenStore::Bucket(store) => store.load().await,
        }
    }

    async fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>) -> StoreOutcome {
        match self {
            ChosenStore::Embedded(store) => store.commit(epoch, ops).await,
            #[cfg(feature = "postgres")]
            ChosenStore::Postgres(store) => store.commit(epoch, ops).await,
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            ChosenStore::Bucket(store) => store.commit(epoch, ops).await,
        }
    }

    async fn close(&self) {
        match self {
            ChosenStore::Embedded(store) => store.close().await,
            #[cfg(feature = "postgres")]
            ChosenStore::Postgres(store) => store.close().await,
            #[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
            ChosenStore::Bucket(store) => store.close().await,
        }
    }
}
