//! All eigenvalues of a symmetric matrix, on one thread: faer's own parallel splits are not promised to keep bits.

use crate::error::{Error, Result};
use crate::types::Control;
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd;
use faer::{Mat, MatRef, Par};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Room for the frames of a decomposition.
const STACK: usize = 8 << 20;
/// Size up to which a decomposition is over in a moment.
const QUICK: usize = 384;
/// How long a stop may go unheard.
const LISTEN: Duration = Duration::from_millis(20);

/// All eigenvalues, ascending, and their unit vectors in columns, of the symmetric matrix `[n, n]` of these values, row after row; only its
/// lower half is read. faer hears nothing until it is done: a large one is done by a thread of its own, which is left to itself after a stop.
///
/// # Errors
/// [`Error::Stage`] where the eigenvalues do not converge; [`Error::Cancelled`].
pub(crate) fn spectrum(matrix: Arc<Vec<f64>>, n: usize, control: &Control) -> Result<(Vec<f64>, Mat<f64>)> {
    control.check()?;
    let work = move || decomposed(MatRef::from_row_major_slice(&matrix, n, n));
    if n <= QUICK {
        return work();
    }
    let (done, finished) = mpsc::channel();
    let send = move || {
        // Nobody takes it after a stop.
        let _ = done.send(work());
    };
    std::thread::Builder::new()
        .name("fedhds eigen".into())
        .stack_size(STACK)
        .spawn(send)
        .map_err(|error| Error::stage("eigen", format!("expected a thread of the system, got: {error}")))?;
    loop {
        control.check()?;
        match finished.recv_timeout(LISTEN) {
            Ok(found) => return found,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::stage("eigen", "the decomposition ended without a result"));
            }
        }
    }
}

fn decomposed(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let n = matrix.nrows();
    let mut values = Diag::<f64>::zeros(n);
    let mut vectors = Mat::<f64>::zeros(n, n);
    if n == 0 {
        return Ok((Vec::new(), vectors));
    }
    let request = evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = MemBuffer::new(request);
    let stack = MemStack::new(&mut memory);
    evd::self_adjoint_evd(matrix, values.as_mut(), Some(vectors.as_mut()), Par::Seq, stack, Default::default())
        .map_err(|error| Error::stage("eigen", format!("the eigenvalues do not converge: {error:?}")))?;
    Ok(((0..n).map(|i| values.column_vector()[i]).collect(), vectors))
}
