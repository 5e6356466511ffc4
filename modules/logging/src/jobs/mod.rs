//! What runs beside the requests.

mod manage_partitions;
mod store_records;

pub(crate) use manage_partitions::ManagePartitions;
pub(crate) use store_records::StoreRecords;
