//! The calls to etcd that an election makes, on one connection. Their messages are in `etcd.proto`.

use futures::stream::{self, StreamExt};
use proto::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::kv_client::KvClient;
use proto::lease_client::LeaseClient;
use proto::range_request::{SortOrder, SortTarget};
use proto::request_op::Request as Op;
use proto::response_op::Response as OpResponse;
use proto::watch_client::WatchClient;
use proto::watch_request::RequestUnion;
use proto::{
    Compare, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, ResponseOp, TxnRequest, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("etcdserverpb");
}

/// One connection; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Link(Channel);

/// What tells of changes below a prefix.
#[derive(Debug)]
pub(super) struct Watched(Streaming<WatchResponse>);

impl Link {
    pub(super) fn new(channel: Channel) -> Link {
        Link(channel)
    }

    /// A new lease of so many seconds, or more.
    pub(super) async fn grant(&mut self, ttl: i64) -> Result<i64, String> {
        let request = LeaseGrantRequest { ttl, id: 0 };
        let granted = LeaseClient::new(self.0.clone()).lease_grant(request).await;
        let granted = granted.map_err(said)?.into_inner();
        if granted.ttl < ttl {
            return Err(format!("{ttl} s were asked for, {} s given", granted.ttl));
        }
        Ok(granted.id)
    }

    /// Lets the lease last for its whole time from now on. False if it has ended.
    pub(super) async fn keep_alive(&mut self, lease: i64) -> Result<bool, String> {
        let requests = stream::iter([LeaseKeepAliveRequest { id: lease }]);
        let mut client = LeaseClient::new(self.0.clone());
        let answers = client.lease_keep_alive(requests).await.map_err(said)?;
        match answers.into_inner().message().await {
            Ok(Some(answer)) => Ok(answer.ttl > 0),
            Ok(None) => Err("a lease was kept alive, and nothing said about it".to_owned()),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(said(status)),
        }
    }

    /// Ends the lease, and its keys.
    pub(super) async fn revoke(&mut self, lease: i64) -> Result<(), String> {
        let request = LeaseRevokeRequest { id: lease };
        let mut client = LeaseClient::new(self.0.clone());
        match client.lease_revoke(request).await {
            Err(status) if status.code() != Code::NotFound => Err(said(status)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Puts the key where it is not already there, and tells what is below the prefix then, the oldest first, in
    /// which revision.
    pub(super) async fn enter(
        &mut self,
        key: &[u8],
        lease: i64,
        prefix: &str,
    ) -> Result<(i64, Vec<KeyValue>), String> {
        let look = op(Op::RequestRange(RangeRequest {
            key: prefix.into(),
            range_end: end_of(prefix),
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
        }));
        let answer = self.transaction(TxnRequest {
            compare: vec![created_in(key, 0)],
            success: vec![put(key, Vec::new(), lease), look.clone()],
            failure: vec![look],
        });
        let answer = answer.await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let range = answer.responses.into_iter().find_map(range_of);
        let queue = range.ok_or("a range was asked for, and not answered")?;
        Ok((revision, queue))
    }

    /// If the key is the one that was created in this revision, puts the value if there is one. False if it
    /// is another one, or there is none.
    pub(super) async fn put_if(
        &mut self,
        key: &[u8],
        created: i64,
        value: Option<(Vec<u8>, i64)>,
    ) -> Result<bool, String> {
        let put = value.map(|(value, lease)| put(key, value, lease));
        let answer = self.transaction(TxnRequest {
            compare: vec![created_in(key, created)],
            success: put.into_iter().collect(),
            failure: Vec::new(),
        });
        Ok(answer.await?.succeeded)
    }

    async fn transaction(&mut self, transaction: TxnRequest) -> Result<proto::TxnResponse, String> {
        let answer = KvClient::new(self.0.clone()).txn(transaction).await;
        Ok(answer.map_err(said)?.into_inner())
    }

    /// Watches what is below the prefix, from this revision on.
    pub(super) async fn watch(&mut self, prefix: &str, from: i64) -> Result<Watched, String> {
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: prefix.into(),
                range_end: end_of(prefix),
                start_revision: from,
            })),
        };
        // The watch lasts for as long as its requests do.
        let requests = stream::iter([create]).chain(stream::pending());
        let mut request = Request::new(requests);
        // A server that has lost its cluster is to end the watch, instead of telling nothing.
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        let watched = WatchClient::new(self.0.clone()).watch(request).await;
        Ok(Watched(watched.map_err(said)?.into_inner()))
    }
}

impl Watched {
    /// Waits for a change.
    pub(super) async fn changed(&mut self) -> Result<(), String> {
        loop {
            match self.0.message().await.map_err(said)? {
                Some(told) if told.canceled => return Err(told.cancel_reason),
                Some(told) if !told.events.is_empty() => return Ok(()),
                // The watch has begun.
                Some(_) => {}
                None => return Err("the watch has ended".to_owned()),
            }
        }
    }
}

fn op(request: Op) -> RequestOp {
    let request = Some(request);
    RequestOp { request }
}

fn put(key: &[u8], value: Vec<u8>, lease: i64) -> RequestOp {
    let key = key.to_vec();
    op(Op::RequestPut(PutRequest { key, value, lease }))
}

fn range_of(answer: ResponseOp) -> Option<Vec<KeyValue>> {
    match answer.response {
        Some(OpResponse::ResponseRange(range)) => Some(range.kvs),
        None => None,
    }
}

/// Whether the key was created in this revision; in 0 if there is none.
fn created_in(key: &[u8], revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.to_vec(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

/// The first key that does not begin with the prefix, which ends in `/`.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("no prefix is empty") += 1;
    end
}

fn said(status: Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
