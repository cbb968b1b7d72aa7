//! Every store under one [contract], and what each kind has to survive beyond it.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "services")]
mod bucket;
mod contract;
mod embedded;
mod kills;
#[cfg(feature = "services")]
mod postgres;
mod records;

#[tokio::test]
async fn the_memory_store_conforms() {
    let store = jobmanager::store::MemoryStore::new();
    contract::conforms(&store, contract::REIGNS).await;
}
