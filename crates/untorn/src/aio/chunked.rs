//! Files that fill in pieces, awaited. See [`chunked`].
//!
//! What writes or syncs runs on tokio's blocking pool. Who waits for bytes is a waker in the file's own list, beside the threads
//! that wait, and holds no thread. Reads of what is there are done where they are polled, 64 KiB at a time.

use std::fmt;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use super::blocking;
use crate::Result;
use crate::chunked::{
    self, ChunkedOptions, CommitOptions, CommitReport, FillOptions, FillReport, OpenIntent,
    RangeSource, ResourceExt, ResourceStatus, Tasks, WaitOutcome, Waiting, sought,
};

/// What is read in one poll, and waited for at once, at most.
const AT_ONCE: usize = 64 << 10;

/// A file that fills in pieces, whose calls are awaited. Clones are the same file. See
/// [`chunked::AtomicChunked`].
///
/// A future that is dropped before it was polled does nothing. Afterwards what it began goes on: a commit runs to its end, but for
/// one that still waits for a thread when the runtime itself shuts down.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use untorn::aio::chunked::AtomicChunked;
/// use untorn::chunked::{ChunkedOptions, FileResource};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("model.bin");
/// let open = |path: &std::path::Path, _| FileResource::open(path);
/// let file = AtomicChunked::open_with(&path, ChunkedOptions::new(), open).await?;
/// let mut cursor = file.cursor();
/// let reading = tokio::spawn(async move {
///     let mut all: Vec<u8> = Vec::new();
///     let mut buf = [0; 4];
///     loop {
///         match cursor.read(&mut buf).await? {
///             0 => return Ok::<_, std::io::Error>(all),
///             count => all.extend(&buf[..count]),
///         }
///     }
/// });
/// file.write_at(5, b"world".to_vec()).await?;
/// file.write_at(0, b"hello".to_vec()).await?;
/// file.commit(None).await?; // durable, under its name
/// assert_eq!(reading.await??, b"helloworld");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AtomicChunked<R: ResourceExt>(Arc<chunked::AtomicChunked<R>>);

impl<R: ResourceExt> AtomicChunked<R> {
    /// Claims the part of `canonical`, and goes on with what is there. As
    /// [`open_with`](crate::chunked::AtomicChunked::open_with).
    ///
    /// # Errors
    /// As [`open_with`](crate::chunked::AtomicChunked::open_with).
    pub async fn open_with<F>(
        canonical: impl Into<PathBuf>,
        options: ChunkedOptions,
        factory: F,
    ) -> Result<Self>
    where
        F: Fn(&Path, OpenIntent) -> Result<R> + Send + Sync + 'static,
    {
        let canonical = canonical.into();
        let given = canonical.clone();
        let open = move || chunked::AtomicChunked::open_with(canonical, options, factory);
        blocking(&given, open).await.map(Self::from)
    }

    /// The same file, for calls that block.
    pub const fn get(&self) -> &Arc<chunked::AtomicChunked<R>> {
        &self.0
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        call: impl FnOnce(&chunked::AtomicChunked<R>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.0);
        blocking(self.0.canonical_path(), move || call(&file)).await
    }

    /// Writes all of `data` at `offset`. As [`write_at`](ResourceExt::write_at).
    ///
    /// # Errors
    /// As [`write_at`](ResourceExt::write_at).
    pub async fn write_at(&self, offset: u64, data: Vec<u8>) -> Result<()> {
        self.on_pool(move |file| file.write_at(offset, &data)).await
    }

    /// Makes all completed writes durable and trusted. As [`checkpoint`](crate::chunked::AtomicChunked::checkpoint).
    ///
    /// # Errors
    /// As [`checkpoint`](crate::chunked::AtomicChunked::checkpoint).
    pub async fn checkpoint(&self) -> Result<u64> {
        self.on_pool(chunked::AtomicChunked::checkpoint).await
    }

    /// Gives the finished file its name. As [`commit`](ResourceExt::commit).
    ///
    /// # Errors
    /// As [`commit_with`](crate::chunked::AtomicChunked::commit_with).
    pub async fn commit(&self, final_len: Option<u64>) -> Result<()> {
        self.on_pool(move |file| file.commit(final_len)).await
    }

    /// As [`commit`](Self::commit), with options and a report.
    ///
    /// # Errors
    /// As [`commit_with`](crate::chunked::AtomicChunked::commit_with).
    pub async fn commit_with(&self, options: CommitOptions) -> Result<CommitReport> {
        self.on_pool(move |file| file.commit_with(options)).await
    }

    /// Fetches every missing byte from `from`. As [`fill`](crate::chunked::fill).
    ///
    /// It holds one thread of the blocking pool until it ends, and starts those that the options ask for. Who drops the future does not end
    /// it: [`FillOptions::cancel`] does.
    ///
    /// # Errors
    /// As [`fill`](crate::chunked::fill).
    pub async fn fill(
        &self,
        from: impl RangeSource + 'static,
        options: FillOptions,
    ) -> Result<FillReport> {
        self.on_pool(move |file| chunked::fill(file, &from, &options)).await
    }

    /// Is ready when all bytes of `range` are. As [`wait_range`](ResourceExt::wait_range).
    ///
    /// # Errors
    /// As [`wait_range`](ResourceExt::wait_range).
    pub fn wait_range(&self, range: Range<u64>) -> WaitRange<R> {
        self.reader().wait_range(range)
    }

    /// A reader for other tasks. When the last writer goes away without a commit, readers get `Failed`.
    pub fn reader(&self) -> ChunkReader<R> {
        ChunkReader(self.0.tasks())
    }

    /// Reads in order, and waits where bytes are missing.
    pub fn cursor(&self) -> ChunkCursor<R> {
        self.reader().cursor()
    }

    /// What state it is in.
    pub fn status(&self) -> ResourceStatus {
        self.0.status()
    }
}

impl<R: ResourceExt> From<chunked::AtomicChunked<R>> for AtomicChunked<R> {
    fn from(file: chunked::AtomicChunked<R>) -> Self {
        Self(Arc::new(file))
    }
}

impl<R: ResourceExt> From<Arc<chunked::AtomicChunked<R>>> for AtomicChunked<R> {
    fn from(file: Arc<chunked::AtomicChunked<R>>) -> Self {
        Self(file)
    }
}

impl<R: ResourceExt> Clone for AtomicChunked<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: ResourceExt> fmt::Debug for AtomicChunked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads a file while it fills, and after. Cheap to clone; it does not keep the writer.
pub struct ChunkReader<R: ResourceExt>(Tasks<R>);

impl<R: ResourceExt> ChunkReader<R> {
    /// The same reader, for calls that block.
    pub fn get(&self) -> chunked::ChunkReader<R> {
        self.0.reader()
    }

    /// Is ready when all bytes of `range` are. As [`wait_range`](ResourceExt::wait_range).
    ///
    /// # Errors
    /// As [`wait_range`](ResourceExt::wait_range).
    pub fn wait_range(&self, range: Range<u64>) -> WaitRange<R> {
        WaitRange { tasks: self.0.clone(), range, waiting: Waiting::default() }
    }

    /// Reads in order, and waits where bytes are missing.
    pub fn cursor(&self) -> ChunkCursor<R> {
        let (at, range, waiting) = (0, 0..0, Waiting::default());
        ChunkCursor { tasks: self.0.clone(), at, range, waiting }
    }
}

impl<R: ResourceExt> Clone for ChunkReader<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: ResourceExt> fmt::Debug for ChunkReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Waits for bytes: a waker in the file's list, until it is ready or dropped.
#[must_use = "it waits when it is awaited"]
pub struct WaitRange<R: ResourceExt> {
    tasks: Tasks<R>,
    range: Range<u64>,
    waiting: Waiting,
}

impl<R: ResourceExt> Future for WaitRange<R> {
    type Output = Result<WaitOutcome>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.tasks.poll_wait(&this.range, &mut this.waiting, context.waker())
    }
}

impl<R: ResourceExt> fmt::Debug for WaitRange<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitRange").field("range", &self.range).finish_non_exhaustive()
    }
}

/// Reads in order, and waits where bytes are missing.
///
/// A read yields what is there, 64 KiB at most. Only if there is nothing, it waits: for what fits into its buffer, as much at most.
/// A read that is dropped while it waits has taken nothing.
pub struct ChunkCursor<R: ResourceExt> {
    tasks: Tasks<R>,
    at: u64,
    /// What `waiting` is for.
    range: Range<u64>,
    waiting: Waiting,
}

impl<R: ResourceExt> ChunkCursor<R> {
    /// Where the next read begins.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Reads into `buf`, and returns how many bytes; 0 at the end.
    ///
    /// # Errors
    /// `Failed`, `Cancelled`, `Poisoned`, each within an [`io::Error`]; the system's.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        std::future::poll_fn(|context| self.poll_more(context, &mut buf)).await?;
        Ok(buf.filled().len())
    }

    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = buf.remaining().min(AT_ONCE);
        // No file has a byte at the largest number.
        if len == 0 || self.at == u64::MAX {
            return Poll::Ready(Ok(()));
        }
        let range = self.at..self.at.saturating_add(len as u64);
        if self.range != range {
            self.waiting = Waiting::default();
            self.range = range;
        }
        let mut ended = false;
        loop {
            let count = self.tasks.read_available(self.at, buf.initialize_unfilled_to(len))?;
            if count > 0 || ended {
                self.waiting = Waiting::default();
                self.at = self.at.saturating_add(count as u64);
                buf.advance(count);
                return Poll::Ready(Ok(()));
            }
            let waited = self.tasks.poll_wait(&self.range, &mut self.waiting, context.waker());
            match waited? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => ended = outcome == WaitOutcome::Eof,
            }
        }
    }
}

impl<R: ResourceExt> AsyncRead for ChunkCursor<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_more(context, buf)
    }
}

impl<R: ResourceExt> AsyncSeek for ChunkCursor<R> {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        this.at = sought(this.at, to, || this.tasks.known_len())?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.at))
    }
}

impl<R: ResourceExt> fmt::Debug for ChunkCursor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkCursor").field("at", &self.at).finish_non_exhaustive()
    }
}
