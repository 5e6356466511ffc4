//! What runs beside the requests.

mod manage_partitions;
mod store_records;
mod verify_audit;

pub(crate) use manage_partitions::ManagePartitions;
pub(crate) use store_records::StoreRecords;
pub(crate) use verify_audit::VerifyAudit;
