//! actionqueue-storage: one event with the record in it, and a flush. Its writer is for one thread; the others wait outside.

use std::path::PathBuf;
use std::sync::Mutex;

use actionqueue_core::ids::{AttemptId, RunId};
use actionqueue_core::mutation::AttemptResultKind;
use actionqueue_storage::wal::event::{WalEvent, WalEventType};
use actionqueue_storage::wal::fs_writer::WalFsWriter;
use actionqueue_storage::wal::writer::WalWriter;

use super::Contestant;
use crate::Result;

pub struct Actionqueue(Mutex<WalFsWriter>);

impl Actionqueue {
    pub fn open(path: PathBuf) -> Result<Self> {
        Ok(Self(Mutex::new(WalFsWriter::new(path)?)))
    }
}

impl Contestant for Actionqueue {
    fn name(&self) -> &'static str {
        "actionqueue"
    }

    fn commit(&self, record: &[u8]) -> Result<()> {
        let event = WalEventType::AttemptFinished {
            run_id: RunId::from_uuid(uuid::Uuid::from_u128(1)),
            attempt_id: AttemptId::from_uuid(uuid::Uuid::from_u128(2)),
            result: AttemptResultKind::Success,
            error: None,
            output: Some(record.to_vec()),
            timestamp: 0,
        };
        let mut writer = self.0.lock().map_err(|_| "a writer panicked")?;
        let sequence = writer.current_sequence() + 1;
        writer.append(&WalEvent::new(sequence, event))?;
        writer.flush()?;
        Ok(())
    }
}
