//! What audit log, store and hand-over have counted, read at the moment somebody asks for metrics.

use std::fmt;

use hawser_audit::Audit;
use hawser_store::Store;
use hawser_tunnel::HandoverHub;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::counter::ConstCounter,
};

/// The rooms that count for themselves.
pub(crate) struct Counters {
    pub(crate) audit: Audit,
    pub(crate) store: Store,
    pub(crate) handover: HandoverHub,
}

impl Counters {
    /// Name, meaning and value of each.
    fn all(&self) -> [(&'static str, &'static str, u64); 11] {
        let (audit, store, handover) = (self.audit.counts(), self.store.counters(), self.handover.stats());
        [
            ("hawser_audit_written", "Audit events on disk", audit.written),
            ("hawser_audit_dropped", "Audit events lost", audit.dropped),
            ("hawser_audit_disk_errors", "Failed attempts to write the audit log", audit.disk_errors),
            ("hawser_store_commits", "Transactions that changed something", store.commits),
            ("hawser_store_changes", "Changes made by this process", store.changes),
            (
                "hawser_store_foreign_changes",
                "Changes of other processes that were seen",
                store.foreign_changes,
            ),
            ("hawser_store_queue_full", "Commands refused because a queue was full", store.queue_full),
            ("hawser_store_watches_lagged", "Watches that fell too far behind", store.watches_lagged),
            ("hawser_handover_datagrams", "Datagrams handed to another worker", handover.handed_over),
            ("hawser_handover_ring_full", "Datagrams dropped before a full ring", handover.ring_full),
            ("hawser_handover_owner_gone", "Datagrams whose worker was gone", handover.owner_gone),
        ]
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in self.all() {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}
